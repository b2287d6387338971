//! When a call is retried, and when it is given up.
//!
//! Three bounds apply at once: a policy's attempts, its time limit, and a budget that all calls of a client share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use super::TransportErrorKind;
use super::clock::{date, parse_date};
use crate::error::Error;

/// How often and for how long a call is retried.
///
/// A call is retried where the repetition can't act twice:
///
/// - any call if the service has certainly not acted on it: no connection was made, or the API refused it with a 429;
/// - any call but issuing after a transient failure: a timeout, a broken connection, a 5XX, a success that is no
///   response of the API. Issuing looks for the certificate first, see [`Issue`](crate::Issue).
///
/// Retries also draw on a budget that all calls of a client share, so that an outage is not amplified. After a 429 all
/// calls of the client wait until the block is over. Such retries draw on no budget and are not counted as attempts.
/// [`max_retry_after`](Self::max_retry_after) bounds them.
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
    /// How often a call is sent at most, the first attempt included, refusals with a 429 not counted. 0 counts as 1, and
    /// 1 means that nothing is retried. Default: 4.
    pub max_attempts: u32,
    /// How long one attempt may take, from the connection to the last byte of the response. Default: 30 seconds.
    pub attempt_timeout: Duration,
    /// The upper bound of the delay before the second attempt. It doubles before each further attempt. Default: half
    /// a second.
    pub initial_backoff: Duration,
    /// The upper bound of every delay. Default: 8 seconds.
    pub max_backoff: Duration,
    /// How long a call waits for the service, after a 429 or a `Retry-After`. If it has to wait longer, it fails at once,
    /// and so do later calls until the block is over. Default: 6 minutes, since the service's rate limit blocks for five.
    ///
    /// Bulk calls wait longer: they pause until the block is over.
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

    /// Sets how often a call is sent at most, the first attempt included, refusals with a 429 not counted. 0 counts as 1.
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

    /// Sets how long a call waits for the service, after a 429 or a `Retry-After`.
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

    /// Returns how long to wait before the next attempt, or `None` if there is none. For every failure but a 429.
    pub(crate) fn next_delay(
        &self,
        attempts: u32,
        method: &Method,
        error: &Error,
    ) -> Option<Duration> {
        if attempts >= self.max_attempts || !can_retry(method, error) {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let bound = self
            .initial_backoff
            .saturating_mul(1 << doublings)
            .min(self.max_backoff);
        let delay = bound.mul_f64(fastrand::f64());
        let stated = error.retry_after().unwrap_or_default();
        (stated <= self.max_retry_after).then(|| delay.max(stated))
    }

    /// Whether a call that was refused with a 429 is sent again, once the block is over.
    pub(crate) fn retries_refusal(&self, method: &Method, error: &Error) -> bool {
        self.max_attempts > 1 && can_retry(method, error)
    }
}

/// Whether a call may be repeated after this failure. Revoking or reactivating twice has the effect of once; issuing
/// twice has not.
fn can_retry(method: &Method, error: &Error) -> bool {
    let is_idempotent = *method != Method::POST;
    match error {
        Error::Transport { cause, .. } => match cause.kind() {
            TransportErrorKind::NotConnected => true,
            TransportErrorKind::TimedOut | TransportErrorKind::Interrupted => is_idempotent,
            _ => false,
        },
        Error::Api { call, .. } if call.status == Some(StatusCode::TOO_MANY_REQUESTS) => true,
        Error::Api { call, .. } | Error::InvalidResponse { call, .. } => {
            is_idempotent && (call.is_transient() || call.is_success() && !error.is_refusal())
        }
        _ => false,
    }
}

/// Reads a `Retry-After`: seconds, also with a fraction, or a time.
///
/// A time is relative to the response's own `Date`, or else to the service's time.
pub(super) fn retry_after(headers: &HeaderMap, now: Option<Timestamp>) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    let text = text.trim();
    if let Some(until) = parse_date(text) {
        let wait = until.duration_since(date(headers).or(now)?);
        return Some(wait.try_into().unwrap_or_default());
    }
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = is_number.then(|| text.parse().ok()).flatten()?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// What all calls of a client may spend on retries.
///
/// A retry after a failure costs one; a success earns a tenth, up to the maximum. So in an outage the service gets
/// little more than the calls themselves. A retry after a 429 is free, because the rate limit bounds it.
pub(crate) struct RetryBudget(Mutex<f64>);

impl RetryBudget {
    const MAX: f64 = 100.0;
    const EARNED_BY_SUCCESS: f64 = 0.1;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(Self::MAX))
    }

    /// Pays for a retry, if there is enough left.
    pub(crate) fn try_spend(&self) -> bool {
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
    use serde_json::json;

    use super::*;
    use crate::error::api::ApiMessage;
    use crate::error::call::Call;
    use crate::transport::TransportError;

    #[test]
    fn an_outage_is_not_amplified() {
        let budget = RetryBudget::new();
        let spend = |times| (0..times).filter(|_| budget.try_spend()).count();
        assert_eq!(spend(10_000), 100);
        for _ in 0..25 {
            budget.earn();
        }
        assert_eq!(spend(100), 2);
        for _ in 0..100_000 {
            budget.earn();
        }
        assert_eq!(spend(10_000), 100);
    }

    fn call(status: Option<u16>) -> Box<Call> {
        let mut call = Call::new(Method::GET, "/".into());
        call.status = status.and_then(|status| StatusCode::from_u16(status).ok());
        Box::new(call)
    }

    /// A response of the API that the call failed.
    fn api(status: u16, error: serde_json::Value) -> Error {
        Error::Api {
            call: call(Some(status)),
            messages: ApiMessage::read_all(&json!({ "errors": [error] })),
        }
    }

    /// A response of a gateway.
    fn page(status: u16) -> Error {
        Error::invalid_response(*call(Some(status)), "it is no response of the API", "")
    }

    fn failed(kind: TransportErrorKind) -> Error {
        Error::Transport {
            call: call(None),
            cause: TransportError::from(kind),
        }
    }

    #[test]
    fn a_call_is_retried_only_where_it_cannot_act_twice() {
        use TransportErrorKind::*;
        let coded = || json!({ "code": 1445, "message": "quota" });
        let uncoded = || json!({ "message": "maintenance" });
        for (error, others, issuing) in [
            (page(200), true, false),
            (api(200, uncoded()), true, false),
            (api(200, coded()), false, false),
            (api(400, coded()), false, false),
            (api(403, uncoded()), false, false),
            (page(403), false, false),
            (page(302), false, false),
            (api(408, coded()), true, false),
            (api(429, uncoded()), true, true),
            (page(429), true, false),
            (api(500, coded()), true, false),
            (page(502), true, false),
            (failed(NotConnected), true, true),
            (failed(NotSent), false, false),
            (failed(ProxyRefused), false, false),
            (failed(DeadlinePassed), false, false),
            (failed(TimedOut), true, false),
            (failed(Interrupted), true, false),
            (failed(TooLarge(1)), false, false),
        ] {
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                assert_eq!(can_retry(&method, &error), others, "{method} {error:?}");
            }
            assert_eq!(can_retry(&Method::POST, &error), issuing, "{error:?}");
            // What may be retried has certainly not happened, and what was refused is not ambiguous.
            assert!(!issuing || !error.is_ambiguous(), "{error:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let now = "2026-11-25T15:00:00Z".parse().ok();
        let read = |value: &str, date: Option<&str>, now| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().expect("a header value"));
            if let Some(date) = date {
                headers.insert("date", date.parse().expect("a header value"));
            }
            retry_after(&headers, now)
        };
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        for (value, expected) in [
            ("17", seconds(17.0)),
            (" 60 ", seconds(60.0)),
            ("0", seconds(0.0)),
            ("1.5", seconds(1.5)),
            ("86400", seconds(86_400.0)),
            ("99999999999999999999", Some(Duration::MAX)),
            ("Wed, 25 Nov 2026 15:05:00 GMT", seconds(300.0)),
            ("Wed, 25 Nov 2026 14:05:00 GMT", seconds(0.0)),
            ("", None),
            (".", None),
            ("-1", None),
            ("soon", None),
            ("inf", None),
            ("1e3", None),
            ("2026-11-25T15:00:00Z", None),
        ] {
            assert_eq!(read(value, None, now), expected, "{value}");
        }
        let until = "Wed, 25 Nov 2026 15:05:00 GMT";
        let own = Some("Wed, 25 Nov 2026 15:04:00 GMT");
        assert_eq!(read(until, own, now), seconds(60.0));
        assert_eq!(read(until, None, None), None, "relative to nothing");
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn attempts_and_delays_stay_within_their_bounds() {
        let policy = RetryPolicy::default().max_attempts(40);
        for made in 1..40 {
            let delay = policy
                .next_delay(made, &Method::GET, &page(502))
                .expect("another attempt");
            assert!(delay <= Duration::from_secs(8));
        }
        assert_eq!(policy.next_delay(40, &Method::GET, &page(502)), None);
        for policy in [RetryPolicy::never(), RetryPolicy::default().max_attempts(0)] {
            assert_eq!(policy.next_delay(1, &Method::GET, &page(502)), None);
            assert!(!policy.retries_refusal(&Method::GET, &page(429)));
        }
        let endless = RetryPolicy::default().backoff(Duration::MAX, Duration::MAX);
        for _ in 0..1000 {
            endless.next_delay(1, &Method::GET, &page(502));
        }
    }

    #[test]
    fn a_stated_wait_is_the_least_delay_or_ends_the_call() {
        let policy = RetryPolicy::default().max_retry_after(Duration::from_secs(60));
        let delay = |seconds| {
            let mut call = call(Some(503));
            call.retry_after = Some(Duration::from_secs(seconds));
            let error = Error::invalid_response(*call, "", "");
            policy.next_delay(1, &Method::GET, &error)
        };
        assert_eq!(delay(60), Some(Duration::from_secs(60)));
        assert!(delay(0).is_some_and(|delay| delay <= Duration::from_millis(500)));
        assert_eq!(delay(61), None);
    }
}
