//! The layers below an operation: retry, rate limit, credentials, and the transport itself.
//!
//! They stand above the seam, so a test that puts a server in the transport's place still passes through all of them.
//! This module knows no certificates: `certificate` and `context` read the responses.

pub(crate) mod auth;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod exchange;
mod page;
pub(crate) mod rate_limit;
pub(crate) mod redact;
pub(crate) mod response;
pub(crate) mod retry;

pub(crate) use shieldcert_api::transport::{
    BoxFuture, HttpTransport, Operation, Transport, TransportError, TransportErrorKind,
};
