//! One operation's way through the stack: it sends, sends again as the policy allows, and keeps
//! what came of it. The generated client's errors leave out the headers and sometimes the status,
//! so the error that a caller sees is made of this.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Method;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::rate_limit::Limiter;
use super::retry::{RetryBudget, RetryPolicy, is_garbled};
use super::{BoxFuture, Transport, TransportError, TransportErrorKind};
use crate::error::{Call, is_passing};

/// What all the operations of a client share.
pub(crate) struct Limits {
    pub(crate) rate: Limiter,
    pub(crate) retries: RetryBudget,
}

/// Sends one operation's request. Made anew for every operation.
pub(crate) struct Exchange {
    inner: Arc<dyn Transport>,
    limits: Arc<Limits>,
    policy: RetryPolicy,
    base_path: Arc<str>,
    record: Mutex<Option<Record>>,
}

/// What came of an operation.
pub(crate) struct Record {
    pub(crate) call: Call,
    pub(crate) outcome: Result<Bytes, TransportError>,
}

impl Exchange {
    /// `base_path` is what the base URL puts before every path, and is left out of what is recorded.
    pub(crate) fn new(
        inner: Arc<dyn Transport>,
        limits: Arc<Limits>,
        policy: RetryPolicy,
        base_path: Arc<str>,
    ) -> Self {
        Self {
            inner,
            limits,
            policy,
            base_path,
            record: Mutex::new(None),
        }
    }

    /// What came of it. Nothing where nothing was sent.
    pub(crate) fn take(&self) -> Option<Record> {
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn attempt(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        // Waiting for a turn is no part of the attempt, and does not time out.
        let permit = self.limits.rate.acquire().await;
        let outcome = timeout(self.policy.timeout_of_attempt(), self.inner.send(request))
            .await
            .unwrap_or_else(|_| Err(TransportErrorKind::TimedOut.into()));
        if let Ok(response) = &outcome {
            permit.answered(response);
        }
        outcome
    }

    async fn send_until_done(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let method = request.method().clone();
        let path = request.uri().path();
        let path = path
            .strip_prefix(&*self.base_path)
            .unwrap_or(path)
            .to_owned();
        let mut attempts = 0;
        let deadline = self
            .policy
            .limit_of_time()
            .map(|limit| Instant::now() + limit);
        let outcome = loop {
            attempts += 1;
            let outcome = match deadline {
                None => self.attempt(request.clone()).await,
                Some(deadline) => timeout_at(deadline, self.attempt(request.clone()))
                    .await
                    .unwrap_or_else(|_| Err(TransportErrorKind::TimedOut.into())),
            };
            let is_good = |response: &http::Response<Bytes>| {
                !is_passing(response.status()) && !is_garbled(response)
            };
            if outcome.as_ref().is_ok_and(is_good) {
                self.limits.retries.earn();
                break outcome;
            }
            let Some(delay) = self.policy.next_delay(attempts, &method, &outcome) else {
                break outcome;
            };
            let is_too_late = deadline.is_some_and(|deadline| Instant::now() + delay >= deadline);
            if is_too_late || !self.limits.retries.allows(&outcome) {
                break outcome;
            }
            tracing::debug!(
                %method,
                path,
                attempts,
                ?delay,
                failure = %failure(&outcome),
                "trying again after a delay"
            );
            sleep(delay).await;
        };
        self.keep(method, path, attempts, outcome)
    }

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
            attempts,
        };
        // Both sides get their own: the error itself is kept, and what passes on says its kind.
        let (kept, passed_on) = match outcome {
            Ok(response) => (Ok(response.body().clone()), Ok(response)),
            Err(error) => {
                let kind = error.kind();
                (Err(error), Err(kind.into()))
            }
        };
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(Record {
            call,
            outcome: kept,
        });
        passed_on
    }
}

fn failure(outcome: &Result<http::Response<Bytes>, TransportError>) -> String {
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
        Box::pin(self.send_until_done(request))
    }
}
