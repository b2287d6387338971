//! The call that an error is about.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

/// A call to the service and how far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// The path, without the base URL and the query. For a page of a list behind the first one, with its place.
    pub path: String,
    /// The HTTP status of the last response, if there was one.
    pub status: Option<StatusCode>,
    /// The `cf-ray` header of the last response. Cloudflare's support asks for it.
    pub ray_id: Option<String>,
    /// The `Retry-After` of the last response.
    pub retry_after: Option<Duration>,
    /// How often the request was sent.
    pub attempts: u32,
    /// Whether the service may have acted on an attempt before the last one, which then says nothing of it.
    pub earlier_unclear: bool,
}

impl Call {
    /// Creates a call that was not sent yet.
    pub(crate) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            status: None,
            ray_id: None,
            retry_after: None,
            attempts: 0,
            earlier_unclear: false,
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }

    /// Whether the status says that the service may respond differently in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        self.status.is_some_and(|status| {
            status.is_server_error()
                || status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::REQUEST_TIMEOUT
        })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(status) = self.status {
            write!(f, " returned {}", status.as_u16())?;
        }
        let mut details = Vec::new();
        if self.attempts > 1 {
            details.push(format!("{} attempts", self.attempts));
        }
        if let Some(ray) = &self.ray_id {
            details.push(format!("ray {ray}"));
        }
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        Ok(())
    }
}
