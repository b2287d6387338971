//! The database: how it is opened, read and written, and what its errors mean.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::schema::{self, Mismatch};
use crate::error::{Error, Result};

/// The journal of a fleet.
pub struct Journal {
    path: PathBuf,
    pub(super) connection: Mutex<Connection>,
}

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

impl Journal {
    /// Opens the journal, and creates it or brings it up to date.
    ///
    /// # Errors
    /// Returns an error if it can't be read or written, is damaged, or was written by a newer version.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        create_private(path)?;
        let mut connection = Self::connect(path, flags)?;
        let failed = |error| describe(path, &error);
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(failed)?;
        tracing::trace!(mode, "opened the journal");
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        schema::migrate(&mut connection).map_err(|mismatch| match mismatch {
            Mismatch::Newer(version) => newer(path, version),
            Mismatch::Sqlite(error) => describe(path, &error),
        })?;
        let journal = Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        };
        Ok(journal)
    }

    /// Opens the journal of a fleet that another process may work on, to read it and to ask for something.
    ///
    /// # Errors
    /// Returns an error if there is none, if it can't be read, or if it has another version.
    pub(crate) fn open_beside(path: &Path) -> Result<Self> {
        let connection = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version = schema::version(&connection).map_err(|error| describe(path, &error))?;
        if version > schema::VERSION {
            return Err(newer(path, version));
        }
        if version < schema::VERSION {
            return Err(Error::Journal {
                path: path.to_owned(),
                problem: "it was written by an older version; `shieldcert fleet apply` brings it up to date".to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    /// Opens an empty journal that is kept nowhere.
    ///
    /// # Errors
    /// Returns an error if there is no place for temporary files.
    pub(crate) fn open_empty() -> Result<Self> {
        let path = Path::new(":memory:");
        let failed = |error| describe(path, &error);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        schema::migrate(&mut connection).map_err(|mismatch| match mismatch {
            Mismatch::Newer(version) => newer(path, version),
            Mismatch::Sqlite(error) => describe(path, &error),
        })?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
        let open = || {
            let connection =
                Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_prepared_statement_cache_capacity(64);
            // The manifest is a temporary table, which may be larger than memory.
            connection.pragma_update(None, "temp_store", "FILE")?;
            connection.pragma_update(None, "cache_size", -16_384)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        open().map_err(|error| describe(path, &error))
    }

    /// Returns the path of the journal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads in one transaction.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        block(|| {
            let connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            read(&connection).map_err(|error| describe(&self.path, &error))
        })
    }

    /// Writes in one transaction, which is on the disk when this returns.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        block(|| {
            let mut connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let run = || {
                let transaction =
                    connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let written = write(&transaction)?;
                transaction.commit()?;
                Ok(written)
            };
            run().map_err(|error| describe(&self.path, &error))
        })
    }
}

/// Runs what blocks. A runtime with several threads moves its other tasks away first.
pub(crate) fn block<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Creates the file so that its owner alone can read it. SQLite gives the files beside it the same permissions.
fn create_private(path: &Path) -> Result<()> {
    use crate::error::AtPath;
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // SQLite says what it needs.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && path.exists() => {
            Ok(())
        }
        opened => opened.map(|_| ()).at(path),
    }
}

fn newer(path: &Path, version: i64) -> Error {
    Error::Journal {
        path: path.to_owned(),
        problem: format!(
            "it has version {version}, and this program knows {}; use the shieldcert that wrote it, or a newer one",
            schema::VERSION
        ),
    }
}

fn describe(path: &Path, error: &rusqlite::Error) -> Error {
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "the disk is full; what was recorded is kept; make room, and run the command again"
                .to_owned()
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "it can't be written; run the command as its owner, or mount the folder writable"
                .to_owned()
        }
        Some(ErrorCode::CannotOpen) if !path.exists() => {
            "there is no journal; `shieldcert fleet apply` makes one".to_owned()
        }
        Some(ErrorCode::CannotOpen) => {
            "it can't be opened; check the permissions of the folder".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
            "it is damaged ({error}); put a backup in its place (`shieldcert fleet backup` makes them), and run \
             `shieldcert fleet plan --refresh`"
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps it locked; end that program, and run the command again"
                .to_owned()
        }
        Some(ErrorCode::SystemIoFailure) => format!(
            "the disk failed, or is full ({error}); what was recorded is kept; make room, and run the command again"
        ),
        _ => error.to_string(),
    };
    Error::Journal {
        path: path.to_owned(),
        problem,
    }
}
