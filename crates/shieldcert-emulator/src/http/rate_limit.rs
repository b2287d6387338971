//! The rate limit: a number of requests in a window, and a block for a window's length past that.
//!
//! The limit is the user's, whichever credential a request has, so an emulator has one. Every response says what is
//! left (`Ratelimit`) and what the limit is (`Ratelimit-Policy`). Times are those of the
//! [`Clock`](crate::core::clock::Clock), since it was made.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::settings::{RateLimit, round_up_to_seconds};

/// Counts requests.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limit: RateLimit,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    ends: Option<Duration>,
    used: u32,
    blocked_until: Option<Duration>,
}

/// What the response to a counted request says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many more requests the window allows.
    pub(crate) left: u32,
    /// Whole seconds until the window ends, rounded up.
    pub(crate) resets_in: u64,
    /// Whole seconds until the block ends, rounded up, if the request is refused.
    pub(crate) refused_for: Option<u64>,
}

impl RateLimiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            window: Mutex::default(),
        }
    }

    /// Ends the window and the block.
    pub(crate) fn reset(&self) {
        *self.lock() = Window::default();
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that comes now.
    pub(crate) fn count(&self, now: Duration) -> Counted {
        let mut window = self.lock();
        if window.blocked_until.is_some_and(|until| now >= until) {
            *window = Window::default();
        }
        // A window begins with its first request.
        let ends = match window.ends.filter(|ends| now < *ends) {
            Some(ends) => ends,
            None => {
                let ends = now + self.limit.window();
                window.ends = Some(ends);
                window.used = 0;
                ends
            }
        };
        if window.blocked_until.is_none() && window.used >= self.limit.quota() {
            window.blocked_until = Some(now + self.limit.window());
        }
        let seconds = |until: Duration| round_up_to_seconds(until.saturating_sub(now));
        if let Some(until) = window.blocked_until {
            return Counted {
                left: 0,
                resets_in: seconds(until),
                refused_for: Some(seconds(until)),
            };
        }
        window.used += 1;
        Counted {
            left: self.limit.quota() - window.used,
            resets_in: seconds(ends),
            refused_for: None,
        }
    }

    /// The value of `Ratelimit-Policy`.
    pub(crate) fn policy(&self) -> String {
        let (quota, window) = (self.limit.quota(), self.limit.window().as_secs());
        format!("\"default\";q={quota};w={window}")
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
    fn a_window_begins_with_its_first_request() {
        let limiter = RateLimiter::new(RateLimit::new(2, 10 * SECOND));
        let start = Duration::from_secs(1_000);
        let counted = |left, resets_in, refused_for| Counted {
            left,
            resets_in,
            refused_for,
        };
        assert_eq!(limiter.count(start), counted(1, 10, None));
        assert_eq!(limiter.count(start + SECOND / 2), counted(0, 10, None));
        assert_eq!(limiter.count(start + 10 * SECOND), counted(1, 10, None));
    }

    #[test]
    fn a_block_lasts_a_windows_length() {
        let limiter = RateLimiter::new(RateLimit::new(1, 10 * SECOND));
        let start = Duration::from_secs(1_000);
        assert_eq!(limiter.count(start).refused_for, None);
        assert_eq!(limiter.count(start + 4 * SECOND).refused_for, Some(10));
        // The end of the window does not end the block, and more requests do not extend it.
        assert_eq!(limiter.count(start + 11 * SECOND).refused_for, Some(3));
        assert_eq!(
            limiter.count(start + 13 * SECOND + SECOND / 2).refused_for,
            Some(1)
        );
        assert_eq!(limiter.count(start + 14 * SECOND).refused_for, None);
        assert_eq!(limiter.count(start + 15 * SECOND).refused_for, Some(10));
        limiter.reset();
        assert_eq!(limiter.count(start + 16 * SECOND).refused_for, None);
    }
}
