//! The way of a request: retry → rate limit → credentials → the transport itself.
//!
//! They sit above the seam, so that a test that puts a
//! server in the transport's place still goes through all of them.

pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod exchange;
pub(crate) mod rate_limit;
pub(crate) mod retry;

pub use shieldcert_api::transport::{
    BoxFuture, HttpTransport, Operation, Transport, TransportError, TransportErrorKind,
};
