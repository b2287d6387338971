//! What an observer of a connection is told.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::chaos::{Fault, Operation};

/// Something that happened to a request of a [`Connection`](crate::Connection).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Observation<'a> {
    /// The time since the emulator was made, by its clock.
    pub at: Duration,
    /// The [number](crate::Connection::id) of the connection.
    pub connection: u64,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path and query.
    pub path: &'a str,
    /// The operation that the request asks for. None if it asks for none.
    pub operation: Option<Operation>,
    /// What happened.
    pub moment: Moment<'a>,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Moment<'a> {
    /// It was sent, and met this fault, if any.
    Sent {
        /// The fault, which takes `time`.
        fault: Option<&'a Fault>,
        /// How long the fault takes. Zero if it takes none.
        time: Duration,
    },
    /// The rate limiter counted it, and it was past the quota. It is told once for each window.
    OverQuota,
    /// The service responded, whether or not the response reaches the client.
    Responded {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: &'a Bytes,
    },
}
