//! Opens a file that only its owner can read, and explains why it can't.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::schema::migrate;
use crate::core::store::record::Outcome;
use crate::error::BoxError;

/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// SQLite's code for a file that another connection holds.
const BUSY: u32 = 5;

/// The connections to a file.
pub(super) struct Pools {
    pub(super) readers: SqlitePool,
    /// One connection: writers of this process queue for it in turn, instead of polling the file's lock.
    pub(super) writer: SqlitePool,
}

/// Opens a file, or makes it.
pub(super) async fn open(path: &Path) -> Outcome<Pools> {
    // SQLite gives names that begin with `:` or `file:` a meaning. An absolute path has none.
    let path = std::path::absolute(path)?;
    create_private(&path)?;
    // SQLite waits for a writer, but not for a process that opens a new file at the same moment.
    let started = Instant::now();
    let pools = loop {
        match connect(&path).await {
            Ok(pools) => break pools,
            Err(error) if code(&error) == Some(BUSY) && started.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_TIMEOUT / 1000).await;
            }
            Err(error) => return Err(explain(error)),
        }
    };
    make_private(&path);
    Ok(pools)
}

async fn connect(path: &Path) -> Outcome<Pools> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit survives the end of this process, but not of the machine's power.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
    // Inserts touch a large file's indexes all over. 64 MiB of them stay in memory.
    let writing = options.clone().pragma("cache_size", "-65536");
    let writer = pool(1).connect_with(writing).await?;
    // Before the readers connect: there may be no tables yet.
    migrate(&writer).await?;
    let readers = pool(4).connect_with(options).await?;
    Ok(Pools { readers, writer })
}

/// Creates the file, if it does not exist, before SQLite does: SQLite's would be readable by others.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    use std::io::ErrorKind;
    let problem = match options.open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match path.metadata() {
            Ok(file) if file.is_file() => return Ok(()),
            Ok(file) if file.is_dir() => "it is a folder; name a file in it",
            Ok(_) => "it is neither a file nor a folder",
            Err(_) => "it is a link to nothing",
        },
        Err(_) if path.is_dir() => "it is a folder; name a file in it",
        Err(error) if error.kind() == ErrorKind::NotFound => "its folder does not exist",
        Err(error) => return Err(error),
    };
    Err(std::io::Error::other(problem))
}

/// Makes a file that existed before, and SQLite's files next to it, readable by their owner alone.
fn make_private(path: &Path) {
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let Ok(found) = std::fs::metadata(&file) else {
            continue;
        };
        if found.permissions().mode() & 0o077 == 0 {
            continue;
        }
        match std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!(
                ?file,
                "the file was readable by others: its mode is 0600 now"
            ),
            Err(error) => {
                tracing::warn!(?file, %error, "the file is readable by others, and holds the CA's key")
            }
        }
    }
}

/// Says what SQLite's error code means for the file, and what to do.
pub(crate) fn explain(error: BoxError) -> BoxError {
    let Some(database) = database_error(&error) else {
        return error;
    };
    let why = match code(&error) {
        Some(BUSY) => "another process has held it locked for 10 seconds",
        Some(8) => "it can't be written; check its permissions and its folder's",
        Some(10) => "the disk failed to read or write it",
        Some(11) => "it is damaged or truncated; use a copy, or delete it to start over",
        Some(13) => "the disk is full",
        Some(14) => "it can't be opened; check its permissions and its folder's",
        Some(26) => "it is not a database; choose another file",
        _ => "SQLite refused it",
    };
    format!("{why} ({})", database.message()).into()
}

fn database_error(error: &BoxError) -> Option<&dyn sqlx::error::DatabaseError> {
    let error = error.downcast_ref::<sqlx::Error>()?;
    error.as_database_error()
}

/// SQLite's primary error code, which is the low byte.
fn code(error: &BoxError) -> Option<u32> {
    let code: u32 = database_error(error)?.code()?.parse().ok()?;
    Some(code & 0xff)
}
