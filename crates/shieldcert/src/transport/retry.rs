//! When a call is retried, and when it is given up.
//!
//! Three bounds apply at once: a policy's attempts, its time limit, and a budget that all calls of a client share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::{TransportError, TransportErrorKind};

/// How often and for how long a call is retried.
///
/// A call is retried where the repetition can't act twice:
///
/// - any call if the service has certainly not acted on it: no connection was made, or the response was a 429;
/// - any call but issuing after a transient failure: a timeout, a broken connection, a 5XX, an unreadable response.
///   Issuing looks for the certificate first, see [`Issue`](crate::Issue).
///
/// Retries also draw on a budget that all calls of a client share, so that an outage is not amplified.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use shieldcert::RetryPolicy;
///
/// let patient = RetryPolicy::default().max_attempts(8).max_retry_after(Duration::from_secs(60));
/// assert_eq!(patient.max_attempts, 8);
/// let never = RetryPolicy::never();
/// # let _ = never;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct RetryPolicy {
    /// How often a call is sent at most, the first attempt included. 0 counts as 1. Default: 4.
    pub max_attempts: u32,
    /// How long one attempt may take, from the connection to the last byte of the response. Default: 30 seconds.
    pub attempt_timeout: Duration,
    /// The upper bound of the delay before the second attempt. It doubles before each further attempt. Default: half
    /// a second.
    pub initial_backoff: Duration,
    /// The upper bound of every delay. Default: 8 seconds.
    pub max_backoff: Duration,
    /// How long a `Retry-After` is honoured. If the service asks for a longer wait, the call fails at once. Default: 6
    /// minutes, since the service's rate limit blocks for five.
    pub max_retry_after: Duration,
    /// How long a call may take, with all attempts and waits. Default: no limit.
    pub time_limit: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            attempt_timeout: Duration::from_secs(30),
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(8),
            max_retry_after: Duration::from_secs(360),
            time_limit: None,
        }
    }
}

impl RetryPolicy {
    /// Returns a policy with a single attempt.
    pub fn never() -> Self {
        Self::default().max_attempts(1)
    }

    /// Sets how often a call is sent at most, the first attempt included. 0 counts as 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets how long one attempt may take, from the connection to the last byte of the response.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets the backoff: the delay before the second attempt, doubled before each further one up to `max`.
    ///
    /// The actual delay is drawn between zero and this bound (full jitter), so that clients that failed together do
    /// not come back together.
    pub fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.initial_backoff = initial;
        self.max_backoff = max;
        self
    }

    /// Sets how long a `Retry-After` is honoured. If the service asks for a longer wait, the call fails at once.
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.max_retry_after = wait;
        self
    }

    /// Sets how long a call may take, with all attempts and waits.
    ///
    /// When the limit passes, the attempt in flight is abandoned and the error is a timeout. For issuing it bounds
    /// each request, not the search for a lost certificate.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Returns how long to wait before the next attempt, or `None` if there is none.
    pub(crate) fn next_delay(
        &self,
        attempts: u32,
        method: &Method,
        outcome: &Result<http::Response<Bytes>, TransportError>,
    ) -> Option<Duration> {
        if attempts >= self.max_attempts || !can_retry(method, outcome) {
            return None;
        }
        if let Ok(response) = outcome
            && let Some(wait) = retry_after(response.headers())
        {
            return (wait <= self.max_retry_after).then_some(wait);
        }
        let doublings = (attempts - 1).min(16);
        let bound = self
            .initial_backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff);
        Some(bound.mul_f64(fastrand::f64()))
    }
}

/// Whether a failed attempt may be repeated. Revoking or reactivating twice has the effect of once; issuing twice
/// has not.
fn can_retry(method: &Method, outcome: &Result<http::Response<Bytes>, TransportError>) -> bool {
    let is_idempotent = *method != Method::POST;
    match outcome {
        Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => true,
        Ok(response) => {
            is_idempotent && (is_transient(response.status()) || is_malformed(response))
        }
        Err(error) => match error.kind() {
            TransportErrorKind::NotConnected => true,
            TransportErrorKind::TimedOut | TransportErrorKind::Interrupted => is_idempotent,
            _ => false,
        },
    }
}

/// Whether the service may respond differently in a moment.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// Whether a success is no complete JSON object: cut off, or of a gateway.
pub(super) fn is_malformed(response: &http::Response<Bytes>) -> bool {
    let body = response.body().trim_ascii();
    response.status().is_success() && !(body.starts_with(b"{") && body.ends_with(b"}"))
}

/// Reads a `Retry-After` in whole seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// What all calls of a client may spend on retries.
///
/// A retry after a failure costs one; a success earns a tenth, up to the maximum. So in an outage the service gets
/// little more than the calls themselves. A retry that the service asked for with `Retry-After` is free.
pub(crate) struct RetryBudget(Mutex<f64>);

impl RetryBudget {
    const MAX: f64 = 100.0;
    const EARNED_BY_SUCCESS: f64 = 0.1;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Self::MAX))
    }

    /// Pays for a retry after this outcome, if there is enough left.
    pub(crate) fn try_spend(
        &self,
        outcome: &Result<http::Response<Bytes>, TransportError>,
    ) -> bool {
        let is_requested = outcome
            .as_ref()
            .is_ok_and(|response| retry_after(response.headers()).is_some());
        if is_requested {
            return true;
        }
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *left < 1.0 {
            return false;
        }
        *left -= 1.0;
        true
    }

    pub(crate) fn earn(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + Self::EARNED_BY_SUCCESS).min(Self::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_not_amplified() {
        let budget = RetryBudget::new();
        let failure = response(502, None);
        let retries = (0..10_000).filter(|_| budget.try_spend(&failure)).count();
        assert_eq!(retries, 100);
        assert!(
            budget.try_spend(&response(429, Some("1"))),
            "a retry that the service asks for is free"
        );
        for _ in 0..25 {
            budget.earn();
        }
        assert_eq!((0..100).filter(|_| budget.try_spend(&failure)).count(), 2);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!(
            (0..10_000).filter(|_| budget.try_spend(&failure)).count(),
            100
        );
    }

    type Outcome = Result<http::Response<Bytes>, TransportError>;

    fn response(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut response = http::Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header("retry-after", value);
        }
        Ok(response
            .body(Bytes::from_static(b"{}"))
            .expect("a response"))
    }

    fn malformed(body: &'static str) -> Outcome {
        Ok(http::Response::new(Bytes::from_static(body.as_bytes())))
    }

    fn failed(kind: TransportErrorKind) -> Outcome {
        Err(kind.into())
    }

    #[test]
    fn a_call_is_retried_only_where_it_cannot_act_twice() {
        use TransportErrorKind::*;
        for (outcome, others, issuing) in [
            (response(200, None), false, false),
            (malformed("<html>"), true, false),
            (malformed("{\"success\":tr"), true, false),
            (malformed(""), true, false),
            (response(400, None), false, false),
            (response(403, None), false, false),
            (response(429, None), true, true),
            (response(500, None), true, false),
            (response(502, None), true, false),
            (failed(NotConnected), true, true),
            (failed(NotSent), false, false),
            (failed(TimedOut), true, false),
            (failed(Interrupted), true, false),
            (failed(TooLarge(1)), false, false),
        ] {
            let policy = RetryPolicy::default();
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                assert_eq!(
                    policy.next_delay(1, &method, &outcome).is_some(),
                    others,
                    "{method} {outcome:?}"
                );
            }
            assert_eq!(
                policy.next_delay(1, &Method::POST, &outcome).is_some(),
                issuing,
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn retry_after_is_honoured_to_the_second_or_fails_the_call() {
        let policy = RetryPolicy::default().max_retry_after(Duration::from_secs(60));
        let delay = |value| policy.next_delay(1, &Method::POST, &response(429, Some(value)));
        assert_eq!(delay("17"), Some(Duration::from_secs(17)));
        assert_eq!(delay(" 60 "), Some(Duration::from_secs(60)));
        assert_eq!(delay("0"), Some(Duration::ZERO));
        assert_eq!(delay("61"), None);
        for nonsense in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            let wait = delay(nonsense).expect("the backoff");
            assert!(wait <= Duration::from_millis(500), "{nonsense}: {wait:?}");
        }
    }

    #[test]
    fn attempts_and_delays_stay_within_their_bounds() {
        let policy = RetryPolicy::default().max_attempts(40);
        for made in 1..40 {
            let delay = policy
                .next_delay(made, &Method::GET, &response(502, None))
                .expect("another attempt");
            assert!(delay <= Duration::from_secs(8));
        }
        assert_eq!(
            policy.next_delay(40, &Method::GET, &response(502, None)),
            None
        );
        assert_eq!(
            RetryPolicy::never().next_delay(1, &Method::GET, &response(502, None)),
            None
        );
        assert_eq!(
            RetryPolicy::default().max_attempts(0).next_delay(
                1,
                &Method::GET,
                &response(502, None)
            ),
            None
        );
    }
}
