//! Why an emulator could not be made.

use std::io;
use std::net::SocketAddr;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an emulator could not be made or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens on the address already.
    #[error(
        "{0} is in use: stop what listens there, or choose another port (0 takes any free one)"
    )]
    AddressInUse(SocketAddr),
    /// The address can't be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A credential that no request could ever present. The text says what is wrong with it, and not what it is.
    #[error("a credential can't be used: {0}")]
    Credential(&'static str),
    /// The control endpoints would be reached from other machines.
    #[error(
        "{0} can be reached from other machines, so the control endpoints can't be served on it; listen on 127.0.0.1"
    )]
    ControlInPublic(SocketAddr),
    /// The edge could not be set up, or stopped.
    #[error("the edge can't be served")]
    Edge(#[source] BoxError),
    /// The database can't be used. What was in the file still is.
    #[error("can't use the database {path}")]
    Database {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: BoxError,
    },
    /// Something is set that takes time to make.
    #[error("the emulator was given {0}, which takes `open` or `start`, not `build`")]
    TakesOpen(&'static str),
    /// Not a zone's id.
    #[error("{0:?} is no zone id: one has 32 hex digits")]
    Zone(String),
    /// The certificates to begin with could not be made or kept.
    #[error("could not make the certificates to begin with")]
    Seed(#[source] BoxError),
    /// The CA's key or certificate could not be made.
    #[error("could not make the CA")]
    Authority(#[source] BoxError),
    /// The operating system has no randomness to give.
    #[error("the operating system gave no random bytes")]
    Random,
}

impl Error {
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            _ => Self::Listen { address, source },
        }
    }
}
