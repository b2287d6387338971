//! The crate's errors.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// Why an emulator could not be built, started or reset.
///
/// The message holds the deepest cause, so there is no chain of causes to print.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process listens on the address.
    #[error(
        "{0}: the address is in use; stop what listens there, or choose another port (0 takes any free one)"
    )]
    AddressInUse(SocketAddr),
    /// The address can't be listened on.
    #[error("{address}: can't listen on the address: {cause}")]
    #[non_exhaustive]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A credential that no request can present. The message doesn't show it.
    #[error("a credential can't be used: {0}")]
    Credential(&'static str),
    /// The control endpoints would be reachable from other machines.
    #[error(
        "{0}: the address can be reached from other machines, so the control endpoints need a secret there \
         (--control-secret); or listen on 127.0.0.1"
    )]
    PublicControl(SocketAddr),
    /// TLS can't be set up.
    #[error("TLS can't be set up: {}", deepest(&**.0))]
    Tls(BoxError),
    /// The certificate of a [`Fixture`](crate::Fixture) can't be made.
    #[error("the fixture can't be used: {0}")]
    Fixture(String),
    /// The database can't be used. What was in the file is still there.
    #[error("{}: the database can't be used: {}", .path.display(), deepest(&**.cause))]
    #[non_exhaustive]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: BoxError,
    },
    /// A setting needs [`open`](crate::EmulatorBuilder::open) or [`start`](crate::EmulatorBuilder::start).
    #[error("{0} can't be set up by `build`; call `open` or `start`")]
    NeedsAsync(&'static str),
    /// A setting that the database does not have.
    #[error("{0}: it needs the store in memory; leave it out, or the database")]
    NeedsMemory(&'static str),
    /// The text is not a zone id.
    #[error("{0:?} is not a zone id; write 32 hex digits")]
    Zone(String),
    /// A zone could not be filled with certificates.
    #[error("a zone could not be filled with certificates: {}", deepest(&**.0))]
    Populate(BoxError),
    /// The certificates could not be deleted.
    #[error("the certificates could not be deleted: {}", deepest(&**.0))]
    Reset(BoxError),
    /// The CA's key or certificate could not be made or read.
    #[error("the CA could not be made: {}", deepest(&**.0))]
    Ca(BoxError),
    /// The operating system has no random bytes.
    #[error("the operating system has no random bytes")]
    Random,
}

impl Error {
    pub(crate) fn listen(address: SocketAddr, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            _ => Self::Listen { address, cause },
        }
    }
}

/// The last cause of a chain.
fn deepest<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest
}

/// Text that is not what it should be. The message names the part that is wrong and how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

impl ParseError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_the_cause_and_what_to_do() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8787));
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let nested = || BoxError::from(io::Error::other(Error::Random));
        let errors = [
            Error::listen(address, io::Error::from(io::ErrorKind::AddrInUse)),
            Error::listen(address, denied()),
            Error::Credential("a token is empty or has characters other than visible ASCII"),
            Error::PublicControl(SocketAddr::from(([0, 0, 0, 0], 8787))),
            Error::Tls(denied().into()),
            Error::Fixture("its status is \"lost\"; write active or revoked".to_owned()),
            Error::Database {
                path: "emulator.db".into(),
                cause: "it is not a database; choose another file".into(),
            },
            Error::NeedsAsync("a database"),
            Error::Zone("example.com".to_owned()),
            Error::Populate(nested()),
            Error::Reset(denied().into()),
            Error::Ca(denied().into()),
            Error::Random,
        ];
        for error in &errors {
            assert!(error.source().is_none(), "the message repeats no cause");
        }
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"));
    }
}
