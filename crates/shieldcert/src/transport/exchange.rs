//! One attempt of a call: it waits for the rate limit, sends, and keeps what happened.
//!
//! The generated client's errors leave out the headers and sometimes the status, so the error that a caller sees is
//! made from what is kept here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::clock::{SendWindow, ServiceClock};
use super::deadline::{deadline_after, earlier, has_passed, within};
use super::rate_limit::{Bounds, Limiter, Permit, Refused};
use super::redact::Redactor;
use super::retry::{RetryBudget, retry_after};
use super::{BoxFuture, Operation, Transport, TransportError, TransportErrorKind};
use crate::observe::CallHook;

/// What all calls of a client share below the operations.
pub(crate) struct Stack {
    /// Adds credentials and sends.
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) retry_budget: RetryBudget,
    pub(crate) clock: Arc<ServiceClock>,
    pub(crate) redactor: Redactor,
    pub(crate) on_call: CallHook,
    /// What the base URL puts before every path. It is left out of [`Call::path`](crate::Call::path).
    pub(crate) base_path: String,
}

/// Sends one operation's request once. Created for each attempt.
pub(crate) struct Exchange {
    stack: Arc<Stack>,
    attempt_timeout: Duration,
    bounds: Bounds,
    /// A permit that was taken ahead.
    permit: Mutex<Option<Permit>>,
    attempt: Mutex<Option<Attempt>>,
}

/// What happened to an attempt.
pub(crate) struct Attempt {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Without the base URL and the query.
    pub(crate) path: String,
    pub(crate) rate_limit_wait: Duration,
    /// When the transport had the request. `None` if it never had.
    pub(crate) window: Option<SendWindow>,
    pub(crate) outcome: Result<Received, NoResponse>,
}

/// A response.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The `Retry-After` header, as a duration from when the response arrived.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// Why there is no response.
pub(crate) enum NoResponse {
    /// The rate limit blocks for this long, which is longer than the call may wait.
    RateLimited(Duration),
    Failed(TransportError),
}

impl From<Refused> for NoResponse {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Blocked(wait) => Self::RateLimited(wait),
            Refused::DeadlinePassed => Self::Failed(TransportErrorKind::DeadlinePassed.into()),
        }
    }
}

impl From<TransportError> for NoResponse {
    fn from(error: TransportError) -> Self {
        Self::Failed(error)
    }
}

impl Exchange {
    pub(crate) fn new(
        stack: Arc<Stack>,
        attempt_timeout: Duration,
        bounds: Bounds,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            stack,
            attempt_timeout,
            bounds,
            permit: Mutex::new(permit),
            attempt: Mutex::new(None),
        }
    }

    /// Takes what happened. `None` if the generated client made no request.
    pub(crate) fn take(&self) -> Option<Attempt> {
        take(&self.attempt)
    }

    async fn attempt(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let operation = request.extensions().get::<Operation>();
        let path = request.uri().path();
        let path = path.strip_prefix(&self.stack.base_path).unwrap_or(path);
        let mut attempt = Attempt {
            operation: operation.map_or("", |operation| operation.0),
            method: request.method().clone(),
            path: path.to_owned(),
            rate_limit_wait: Duration::ZERO,
            window: None,
            outcome: Err(NoResponse::Failed(TransportErrorKind::NotSent.into())),
        };
        // An error can't be cloned: the original is kept, and the generated client gets its kind. It needs no headers.
        let returned = match self.send_once(request, &mut attempt).await {
            Ok(mut response) => {
                let headers = std::mem::take(response.headers_mut());
                attempt.outcome = Ok(Received {
                    status: response.status(),
                    retry_after: retry_after(&headers, self.stack.clock.now()),
                    headers,
                    body: response.body().clone(),
                });
                Ok(response)
            }
            Err(failure) => {
                let kind = match &failure {
                    NoResponse::Failed(error) => error.kind(),
                    NoResponse::RateLimited(_) => TransportErrorKind::NotSent,
                };
                attempt.outcome = Err(failure);
                Err(kind.into())
            }
        };
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
        returned
    }

    async fn send_once(
        &self,
        request: http::Request<Bytes>,
        attempt: &mut Attempt,
    ) -> Result<http::Response<Bytes>, NoResponse> {
        // Waiting for the limiter is not part of the attempt, and only the call's deadline bounds it.
        let queued = Instant::now();
        let permit = match take(&self.permit) {
            Some(permit) => Ok(permit),
            None => self.stack.limiter.acquire(self.bounds).await,
        };
        attempt.rate_limit_wait = queued.elapsed();
        let mut permit = permit?;
        if has_passed(self.bounds.deadline) {
            return Err(Refused::DeadlinePassed.into());
        }
        permit.begin();
        let began = Instant::now();
        let until = earlier(
            self.bounds.deadline,
            deadline_after(began, self.attempt_timeout),
        );
        let sent = within(until, self.stack.transport.send(request)).await;
        let ended = Instant::now();
        attempt.window = Some(SendWindow { began, ended });
        let response = sent
            .unwrap_or_else(|_| Err(TransportErrorKind::TimedOut.into()))
            .map_err(NoResponse::Failed)?;
        let wait = retry_after(response.headers(), self.stack.clock.now());
        permit.complete(response.status(), response.headers(), wait);
        Ok(response)
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Transport for Exchange {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.attempt(request))
    }
}
