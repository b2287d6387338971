//! One operation's way through the layers: it sends, retries as the policy allows, and keeps the outcome.
//!
//! The generated client's errors leave out the headers and sometimes the status, so the error that a caller sees is
//! made from what is kept here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::clock::ServiceClock;
use super::rate_limit::Limiter;
use super::retry::{RetryBudget, RetryPolicy, is_malformed, is_transient, retry_after};
use super::{BoxFuture, Operation, Transport, TransportError, TransportErrorKind};
use crate::error::call::Call;
use crate::observe::{CallHook, CallSummary};

/// What all calls of a client share below the operations.
pub(crate) struct Stack {
    /// Adds credentials and sends.
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limiter: Limiter,
    pub(crate) retry_budget: RetryBudget,
    pub(crate) clock: ServiceClock,
    pub(crate) on_call: CallHook,
    /// What the base URL puts before every path. It is left out of [`Call::path`].
    pub(crate) base_path: String,
}

/// Sends one operation's request. Created for each operation.
pub(crate) struct Exchange {
    stack: Arc<Stack>,
    policy: RetryPolicy,
    outcome: Mutex<Option<Outcome>>,
}

/// The outcome of an operation's call.
pub(crate) struct Outcome {
    pub(crate) call: Call,
    pub(crate) body: Result<Bytes, TransportError>,
}

impl Exchange {
    pub(crate) fn new(stack: Arc<Stack>, policy: RetryPolicy) -> Self {
        Self {
            stack,
            policy,
            outcome: Mutex::new(None),
        }
    }

    /// Takes the outcome. `None` if nothing was sent.
    pub(crate) fn take(&self) -> Option<Outcome> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn attempt(
        &self,
        request: http::Request<Bytes>,
        rate_limit_wait: &mut Duration,
    ) -> Result<http::Response<Bytes>, TransportError> {
        // Waiting for the limiter is not part of the attempt, and has no timeout of its own.
        let queued = Instant::now();
        let permit = self.stack.limiter.acquire().await;
        *rate_limit_wait += queued.elapsed();
        let sent = timeout(
            self.policy.attempt_timeout,
            self.stack.transport.send(request),
        );
        let outcome = sent.await.unwrap_or_else(|_| Err(timed_out()));
        if let Ok(response) = &outcome {
            permit.complete(response);
            self.stack.clock.update(response.headers());
        }
        outcome
    }

    async fn send_with_retries(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let started = Instant::now();
        let operation = request.extensions().get::<Operation>();
        let operation = operation.map_or("", |operation| operation.0);
        let method = request.method().clone();
        let path = request.uri().path();
        let path = path.strip_prefix(&self.stack.base_path).unwrap_or(path);
        let path = path.to_owned();
        let deadline = self.policy.time_limit.map(|limit| started + limit);
        let mut attempts = 0;
        let mut rate_limit_wait = Duration::ZERO;
        let outcome = loop {
            attempts += 1;
            let attempt = self.attempt(request.clone(), &mut rate_limit_wait);
            let outcome = match deadline {
                None => attempt.await,
                Some(deadline) => {
                    let attempt = timeout_at(deadline, attempt).await;
                    attempt.unwrap_or_else(|_| Err(timed_out()))
                }
            };
            let is_good = |response: &http::Response<Bytes>| {
                !is_transient(response.status()) && !is_malformed(response)
            };
            if outcome.as_ref().is_ok_and(is_good) {
                self.stack.retry_budget.earn();
                break outcome;
            }
            let Some(delay) = self.policy.next_delay(attempts, &method, &outcome) else {
                break outcome;
            };
            let is_too_late = deadline.is_some_and(|deadline| Instant::now() + delay >= deadline);
            if is_too_late || !self.stack.retry_budget.try_spend(&outcome) {
                break outcome;
            }
            tracing::debug!(
                %method,
                path,
                attempts,
                ?delay,
                failure = %describe(&outcome),
                "retrying"
            );
            sleep(delay).await;
        };
        self.stack.on_call.call(|| CallSummary {
            operation,
            method: method.clone(),
            status: outcome.as_ref().ok().map(http::Response::status),
            attempts,
            rate_limit_wait,
            duration: started.elapsed(),
        });
        self.keep(method, path, attempts, outcome)
    }

    /// Keeps the outcome for the operation, and returns what the generated client needs of it.
    fn keep(
        &self,
        method: Method,
        path: String,
        attempts: u32,
        outcome: Result<http::Response<Bytes>, TransportError>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let response = outcome.as_ref().ok();
        let ray_id = response
            .and_then(|response| response.headers().get("cf-ray")?.to_str().ok())
            .map(str::to_owned);
        let call = Call {
            method,
            path,
            status: response.map(http::Response::status),
            ray_id,
            retry_after: response.and_then(|response| retry_after(response.headers())),
            attempts,
        };
        // An error can't be cloned: the original is kept, and the generated client gets its kind.
        let (body, returned) = match outcome {
            Ok(response) => (Ok(response.body().clone()), Ok(response)),
            Err(error) => {
                let kind = error.kind();
                (Err(error), Err(kind.into()))
            }
        };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(Outcome { call, body });
        returned
    }
}

fn timed_out() -> TransportError {
    TransportErrorKind::TimedOut.into()
}

fn describe(outcome: &Result<http::Response<Bytes>, TransportError>) -> String {
    match outcome {
        Ok(response) => response.status().to_string(),
        Err(error) => error.to_string(),
    }
}

impl Transport for Exchange {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.send_with_retries(request))
    }
}
