//! The error of the fleet engine.

use std::io;
use std::path::PathBuf;

use shieldcert::ZoneId;

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
