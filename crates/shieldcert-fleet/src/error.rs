//! The error of the fleet engine.

use std::io;
use std::path::PathBuf;

use shieldcert::ZoneId;

use crate::manifest::problem::Problem;

/// The result of the fleet engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the fleet engine can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder can't be read or written.
    #[error("{}: {cause}", path.display())]
    #[non_exhaustive]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },

    /// What a file of the fleet says is not possible.
    #[error("{}: {problem}", path.display())]
    #[non_exhaustive]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// What `fleet.toml` says is not possible.
    #[error(transparent)]
    Config(#[from] crate::config::error::ConfigError),

    /// The manifest can't be opened.
    #[error(transparent)]
    OpenManifest(#[from] crate::manifest::reader::ManifestError),

    /// Rows of the manifest are wrong. Nothing was done.
    #[error("{}: {}", path.display(), first(problems, *more))]
    #[non_exhaustive]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, row by row.
        problems: Vec<Problem>,
        /// How many more problems there are.
        more: u64,
    },

    /// The journal can't be read or written. What it held is unchanged.
    #[error("{}: {problem}", path.display())]
    #[non_exhaustive]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// Another process works on the fleet.
    #[error("{}: another process{} works on this fleet; wait until it has ended, or stop it", path.display(), holder(*pid))]
    #[non_exhaustive]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, if it has said so.
        pid: Option<u32>,
    },

    /// Something about a zone or its credentials is wrong.
    #[error("zone {zone}: {problem}")]
    #[non_exhaustive]
    Zone {
        /// The zone.
        zone: ZoneId,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// A call to the service failed, or something given to it is invalid.
    #[error(transparent)]
    Client(#[from] shieldcert::Error),

    /// A token can't be had.
    #[error("budget {budget}: {problem}")]
    #[non_exhaustive]
    Token {
        /// The budget.
        budget: String,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// The plan would leave more devices without a certificate than needs no confirmation.
    #[error(
        "the plan revokes the last certificate of {devices} devices, and {max} need no confirmation; check the \
         manifest, then confirm the number or set max_revoke in fleet.toml"
    )]
    #[non_exhaustive]
    TooManyRevocations {
        /// How many devices.
        devices: u64,
        /// How many need no confirmation.
        max: u64,
    },

    /// The journal is a restored copy, and the plan would revoke.
    #[error(
        "the journal was opened from a backup, which may not know the newest certificates; compare it with the zones \
         first, then confirm that it may revoke"
    )]
    RestoredJournal,
}

impl Error {
    /// Whether no file can be written, of any device: the disk is full or can't be written.
    pub(crate) fn is_about_the_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let cause = match self {
            Self::Io { cause, .. } | Self::Client(shieldcert::Error::Write { cause, .. }) => cause,
            _ => return false,
        };
        matches!(
            cause.kind(),
            StorageFull | ReadOnlyFilesystem | QuotaExceeded
        )
    }
}

fn first(problems: &[Problem], more: u64) -> String {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    match problems.len() as u64 + more {
        0 | 1 => first,
        count => format!("{first} (and {} other problems)", count - 1),
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl From<shieldcert::InvalidInput> for Error {
    fn from(error: shieldcert::InvalidInput) -> Self {
        Self::Client(error.into())
    }
}

/// Adds the path to an I/O error.
pub(crate) trait AtPath<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|cause| Error::Io {
            path: path.into(),
            cause,
        })
    }
}
