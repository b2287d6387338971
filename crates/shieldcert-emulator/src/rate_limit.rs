//! The rate limit: so many requests in a window, and a block for a window's length past that.
//!
//! It is the user's limit, whichever credential a request carries, so the emulator has one. Every answer
//! says what is left (`Ratelimit`) and what the limit is (`Ratelimit-Policy`), as the service's do.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A limit of so many requests in so many seconds.
///
/// ```
/// use shieldcert_emulator::RateLimit;
///
/// let limit: RateLimit = "1200/300s".parse()?;
/// assert_eq!(limit, RateLimit::default());
/// assert_eq!(limit.to_string(), "1200/300s");
/// # Ok::<_, String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    quota: u32,
    window: Duration,
}

impl RateLimit {
    /// `quota` requests in `window`, which is rounded up to whole seconds. Each is 1 at the least.
    pub fn new(quota: u32, window: Duration) -> Self {
        let seconds = window.as_secs() + u64::from(window.subsec_nanos() > 0);
        Self {
            quota: quota.max(1),
            window: Duration::from_secs(seconds.max(1)),
        }
    }
}

impl Default for RateLimit {
    /// What the service allows: 1,200 requests in 300 seconds.
    fn default() -> Self {
        Self::new(1200, Duration::from_secs(300))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.quota, self.window.as_secs())
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (quota, window) = text.split_once('/')?;
            let seconds: u64 = window.strip_suffix('s')?.parse().ok()?;
            let quota: u32 = quota.parse().ok()?;
            (quota > 0 && (1..=86_400).contains(&seconds))
                .then(|| Self::new(quota, Duration::from_secs(seconds)))
        };
        parsed().ok_or_else(|| {
            format!("{text:?} is no rate limit; write requests and seconds, such as 1200/300s (at most a day)")
        })
    }
}

/// Counts requests.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: RateLimit,
    state: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    ends: Option<Instant>,
    used: u32,
    blocked_until: Option<Instant>,
}

/// What a counted request is told of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many more requests the window allows.
    pub(crate) left: u32,
    /// Whole seconds until the window ends, rounded up.
    pub(crate) resets_in: u64,
    /// Whole seconds to stay away, rounded up, for a request that is refused.
    pub(crate) refused_for: Option<u64>,
}

impl Meter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            state: Mutex::new(Window {
                ends: None,
                used: 0,
                blocked_until: None,
            }),
        }
    }

    /// Counts a request that comes now.
    pub(crate) fn count(&self, now: Instant) -> Counted {
        let mut window = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if window.blocked_until.is_some_and(|until| now >= until) {
            *window = Window {
                ends: None,
                used: 0,
                blocked_until: None,
            };
        }
        // A window begins with its first request.
        let ends = match window.ends.filter(|ends| now < *ends) {
            Some(ends) => ends,
            None => {
                let ends = now + self.limit.window;
                window.ends = Some(ends);
                window.used = 0;
                ends
            }
        };
        if window.blocked_until.is_none() && window.used >= self.limit.quota {
            window.blocked_until = Some(now + self.limit.window);
        }
        let seconds = |until: Instant| {
            let wait = until.saturating_duration_since(now);
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        };
        if let Some(until) = window.blocked_until {
            return Counted {
                left: 0,
                resets_in: seconds(until),
                refused_for: Some(seconds(until)),
            };
        }
        window.used += 1;
        Counted {
            left: self.limit.quota - window.used,
            resets_in: seconds(ends),
            refused_for: None,
        }
    }

    /// The value of `Ratelimit-Policy`.
    pub(crate) fn policy(&self) -> String {
        let RateLimit { quota, window } = self.limit;
        format!("\"default\";q={quota};w={}", window.as_secs())
    }
}

impl Counted {
    /// The value of `Ratelimit`.
    pub(crate) fn header(&self) -> String {
        format!("\"default\";r={};t={}", self.left, self.resets_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_begins_with_its_first_request_and_ends() {
        let meter = Meter::new(RateLimit::new(2, 10 * SECOND));
        let start = Instant::now();
        let told = |left, resets_in, refused_for| Counted {
            left,
            resets_in,
            refused_for,
        };
        assert_eq!(meter.count(start), told(1, 10, None));
        assert_eq!(meter.count(start + SECOND / 2), told(0, 10, None));
        assert_eq!(meter.count(start + 10 * SECOND), told(1, 10, None));
    }

    #[test]
    fn past_the_quota_everything_is_refused_for_a_windows_length() {
        let meter = Meter::new(RateLimit::new(1, 10 * SECOND));
        let start = Instant::now();
        assert_eq!(meter.count(start).refused_for, None);
        assert_eq!(meter.count(start + 4 * SECOND).refused_for, Some(10));
        // The window's own end does not lift the block, and asking does not lengthen it.
        assert_eq!(meter.count(start + 11 * SECOND).refused_for, Some(3));
        assert_eq!(
            meter.count(start + 13 * SECOND + SECOND / 2).refused_for,
            Some(1)
        );
        assert_eq!(meter.count(start + 14 * SECOND).refused_for, None);
        assert_eq!(meter.count(start + 15 * SECOND).refused_for, Some(10));
    }

    #[test]
    fn limits_read_as_they_are_written() {
        for text in ["1200/300s", "1/1s", "1000000/86400s"] {
            assert_eq!(
                text.parse::<RateLimit>()
                    .map(|limit| limit.to_string())
                    .as_deref(),
                Ok(text)
            );
        }
        for text in [
            "", "1200", "0/1s", "1/0s", "1/1", "1/86401s", "-1/1s", "1/1m", "off", "a/bs",
        ] {
            assert!(
                text.parse::<RateLimit>()
                    .is_err_and(|why| why.contains("1200/300s")),
                "{text:?}"
            );
        }
    }
}
