//! When a call is sent again, and when it is given up.
//!
//! Three bounds hold at once: a policy's attempts, its time limit, and a budget that all the calls of a
//! client share, so that an outage is not made worse by everybody trying again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::{TransportError, TransportErrorKind};
use crate::error::is_passing;

/// How often and how long a call is tried.
///
/// A call is sent again where that can't do anything twice: when the service has certainly not acted
/// on it (no connection was made, or it answered 429); and after any failure that may pass (a time-out,
/// a broken connection, a 5XX, a garbled answer) for all calls but issuing, which looks before it sends
/// again.
///
/// ```
/// use std::time::Duration;
/// use shieldcert::RetryPolicy;
///
/// let patient = RetryPolicy::default().attempts(8).longest_wait(Duration::from_secs(60));
/// let never = RetryPolicy::never();
/// # let _ = (patient, never);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts: u32,
    attempt_timeout: Duration,
    first_delay: Duration,
    longest_delay: Duration,
    longest_wait: Duration,
    time_limit: Option<Duration>,
}

impl Default for RetryPolicy {
    /// Four attempts of 30 seconds each, half a second to eight between them, and up to six minutes
    /// where the service says how long: its rate limit blocks for five.
    fn default() -> Self {
        Self {
            attempts: 4,
            attempt_timeout: Duration::from_secs(30),
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(8),
            longest_wait: Duration::from_secs(360),
            time_limit: None,
        }
    }
}

impl RetryPolicy {
    /// One attempt.
    pub fn never() -> Self {
        Self::default().attempts(1)
    }

    /// The most times a call is sent, the first one included. 0 counts as 1.
    pub fn attempts(self, attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            ..self
        }
    }

    /// The most time one attempt may take, from the connection to the last byte of the answer.
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        Self {
            attempt_timeout: timeout,
            ..self
        }
    }

    /// The delay before the second attempt, doubled before each that follows, up to `longest`.
    ///
    /// The actual delay is drawn between nothing and this, so that clients that failed together
    /// don't come back together.
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self {
            first_delay: first,
            longest_delay: longest,
            ..self
        }
    }

    /// The most time that is waited because a `Retry-After` asks for it. Where it asks for more, the
    /// call fails at once and the error says so.
    pub fn longest_wait(self, wait: Duration) -> Self {
        Self {
            longest_wait: wait,
            ..self
        }
    }

    /// The most time a call may take, with everything it waits for; none unless set.
    ///
    /// What is under way when it is over is given up, and the error is a time-out. For issuing it bounds
    /// each request, not the search for a lost certificate.
    pub fn time_limit(self, limit: Duration) -> Self {
        Self {
            time_limit: Some(limit),
            ..self
        }
    }

    pub(crate) fn limit_of_time(&self) -> Option<Duration> {
        self.time_limit
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn timeout_of_attempt(&self) -> Duration {
        self.attempt_timeout
    }

    /// How long to wait before the next attempt; none means that there is none.
    pub(crate) fn next_delay(
        &self,
        attempts_made: u32,
        method: &Method,
        outcome: &Result<http::Response<Bytes>, TransportError>,
    ) -> Option<Duration> {
        if attempts_made >= self.attempts || !may_send_again(method, outcome) {
            return None;
        }
        if let Ok(response) = outcome
            && let Some(wait) = retry_after(response.headers())
        {
            return (wait <= self.longest_wait).then_some(wait);
        }
        let doublings = (attempts_made - 1).min(16);
        let longest = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay);
        Some(longest.mul_f64(fastrand::f64()))
    }
}

fn may_send_again(
    method: &Method,
    outcome: &Result<http::Response<Bytes>, TransportError>,
) -> bool {
    // To revoke or to reactivate twice is to do it once; to issue twice is not.
    let is_repeatable = *method != Method::POST;
    match outcome {
        Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => true,
        Ok(response) => is_repeatable && (is_passing(response.status()) || is_garbled(response)),
        Err(error) => match error.kind() {
            TransportErrorKind::NotConnected => true,
            TransportErrorKind::TimedOut | TransportErrorKind::Interrupted => is_repeatable,
            _ => false,
        },
    }
}

/// A success that is no JSON object from its first byte to its last: cut off, or a gateway's.
pub(super) fn is_garbled(response: &http::Response<Bytes>) -> bool {
    let body = response.body().trim_ascii();
    response.status().is_success() && !(body.starts_with(b"{") && body.ends_with(b"}"))
}

/// Whole seconds. The HTTP-date form is not read: the service does not send it, and it depends on
/// two clocks that agree.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// What all the calls of a client may spend on trying again.
///
/// Each retry after a failure costs one; each success earns a tenth, up to the most. In an outage the
/// service so gets little more than the calls themselves. A wait that the service asked for is free: it
/// said when to come back.
pub(crate) struct RetryBudget(Mutex<f64>);

impl RetryBudget {
    const MOST: f64 = 100.0;
    const EARNED: f64 = 0.1;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Self::MOST))
    }

    /// Whether there is enough left to try again after this outcome.
    pub(crate) fn allows(&self, outcome: &Result<http::Response<Bytes>, TransportError>) -> bool {
        let is_asked_for = outcome
            .as_ref()
            .is_ok_and(|response| retry_after(response.headers()).is_some());
        if is_asked_for {
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
        *left = (*left + Self::EARNED).min(Self::MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_not_amplified() {
        let budget = RetryBudget::new();
        let failure = answered(502, None);
        let retries = (0..10_000).filter(|_| budget.allows(&failure)).count();
        assert_eq!(retries, 100);
        assert!(
            budget.allows(&answered(429, Some("1"))),
            "what the service asks for is free"
        );
        for _ in 0..25 {
            budget.earn();
        }
        assert_eq!((0..100).filter(|_| budget.allows(&failure)).count(), 2);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!((0..10_000).filter(|_| budget.allows(&failure)).count(), 100);
    }

    type Outcome = Result<http::Response<Bytes>, TransportError>;

    fn answered(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut response = http::Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header("retry-after", value);
        }
        Ok(response
            .body(Bytes::from_static(b"{}"))
            .expect("a response"))
    }

    fn garbled(body: &'static str) -> Outcome {
        Ok(http::Response::new(Bytes::from_static(body.as_bytes())))
    }

    fn failed(kind: TransportErrorKind) -> Outcome {
        Err(kind.into())
    }

    #[test]
    fn a_call_is_sent_again_only_where_nothing_can_happen_twice() {
        use TransportErrorKind::*;
        for (outcome, others, issuing) in [
            (answered(200, None), false, false),
            (garbled("<html>"), true, false),
            (garbled("{\"success\":tr"), true, false),
            (garbled(""), true, false),
            (answered(400, None), false, false),
            (answered(403, None), false, false),
            (answered(429, None), true, true),
            (answered(500, None), true, false),
            (answered(502, None), true, false),
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
    fn retry_after_is_honoured_to_the_second_or_not_waited_for_at_all() {
        let policy = RetryPolicy::default().longest_wait(Duration::from_secs(60));
        let delay = |value| policy.next_delay(1, &Method::POST, &answered(429, Some(value)));
        assert_eq!(delay("17"), Some(Duration::from_secs(17)));
        assert_eq!(delay(" 60 "), Some(Duration::from_secs(60)));
        assert_eq!(delay("0"), Some(Duration::ZERO));
        assert_eq!(delay("61"), None);
        for nonsense in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            let wait = delay(nonsense).expect("falls back to the backoff");
            assert!(wait <= Duration::from_millis(500), "{nonsense}: {wait:?}");
        }
    }

    #[test]
    fn attempts_end_and_delays_stay_within_their_bounds() {
        let policy = RetryPolicy::default().attempts(40);
        for made in 1..40 {
            let delay = policy
                .next_delay(made, &Method::GET, &answered(502, None))
                .expect("there is another attempt");
            assert!(delay <= Duration::from_secs(8));
        }
        assert_eq!(
            policy.next_delay(40, &Method::GET, &answered(502, None)),
            None
        );
        assert_eq!(
            RetryPolicy::never().next_delay(1, &Method::GET, &answered(502, None)),
            None
        );
        assert_eq!(RetryPolicy::default().attempts(0), RetryPolicy::never());
    }
}
