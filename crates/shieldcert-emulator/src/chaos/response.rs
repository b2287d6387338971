//! Responses that a test makes up.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::settings::round_up_to_seconds;

/// A response of a test's own, for [`Fault::respond`](crate::Fault::respond).
///
/// Without a body it has a gateway's HTML page.
///
/// ```
/// use std::time::Duration;
/// use shieldcert_emulator::CannedResponse;
///
/// let refusal = CannedResponse::new(403).code(1445);
/// let busy = CannedResponse::new(503).retry_after(Duration::from_secs(30));
/// let odd = CannedResponse::new(200).header("x-cache", "HIT").body("{}");
/// assert_eq!(busy.to_string(), "503 retry-after=30");
/// # let _ = (refusal, odd);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannedResponse {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Body,
}

/// What a [`CannedResponse`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// A gateway's page about the status.
    Page,
    /// A failure envelope with this code.
    Error(i64),
    /// These bytes.
    Bytes(Bytes),
}

impl CannedResponse {
    /// A response with this HTTP status.
    ///
    /// # Panics
    /// If the status is not from 200 to 999.
    pub fn new(status: u16) -> Self {
        Self::from_status(status)
            .unwrap_or_else(|| panic!("{status} is not an HTTP status of a response"))
    }

    pub(super) fn from_status(status: u16) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok();
        let status = status.filter(|status| !status.is_informational())?;
        Some(Self {
            status,
            headers: Vec::new(),
            body: Body::Page,
        })
    }

    /// Adds a header.
    ///
    /// # Panics
    /// If the name or the value is not that of a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        match (name.parse(), value.parse()) {
            (Ok(name), Ok(value)) => self.with_header(name, value),
            _ => panic!("{name}: {value} is not a header"),
        }
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a `Retry-After` header, in whole seconds, rounded up.
    pub fn retry_after(self, time: Duration) -> Self {
        self.with_header(RETRY_AFTER, round_up_to_seconds(time).into())
    }

    /// Makes the body a failure envelope of the API with this error code.
    pub fn code(mut self, code: i64) -> Self {
        self.body = Body::Error(code);
        self
    }

    /// Sets the body.
    ///
    /// Unless a `Content-Type` header was added, a body that begins with `{` or `[` is sent as JSON, one that begins
    /// with `<` as HTML, and any other as plain text.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(body.into());
        self
    }

    pub(crate) fn parts(&self) -> (StatusCode, &[(HeaderName, HeaderValue)], &Body) {
        (self.status, &self.headers, &self.body)
    }
}
