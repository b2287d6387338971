//! The rate limit: a number of requests in a window, and a block for a window's length past that.
//!
//! The limit is the user's, whichever credential a request has, so an emulator has one, and each
//! [connection](crate::Connection) may have its own. Every response says what is left (`Ratelimit`) and what the
//! limit is (`Ratelimit-Policy`). Times are those of the [`Clock`](crate::core::clock::Clock), since it was made.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::settings::{RateLimit, round_up_to_seconds};

/// Counts requests. Without a limit it refuses only while it is [blocked](Self::block).
#[derive(Debug)]
pub(crate) struct RateLimiter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: Option<RateLimit>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    ends: Option<Duration>,
    used: u32,
    blocked_until: Option<Duration>,
    /// When the last request was counted. A reset of the clock goes back behind it.
    counted_at: Duration,
}

/// What the response to a counted request says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// None if there is no limit.
    pub(crate) left: Option<Left>,
    /// Whole seconds until the block ends, rounded up, if the request is refused.
    pub(crate) refused_for: Option<u64>,
    /// Whether this is the request that went past the quota.
    pub(crate) is_over_quota: bool,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    limit: RateLimit,
    /// How many more requests the window allows.
    requests: u32,
    /// Whole seconds until the window ends, rounded up.
    resets_in: u64,
}

impl RateLimiter {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        let state = State {
            limit,
            window: Window::default(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Sets the limit, and ends the window and the block.
    pub(crate) fn set_limit(&self, limit: RateLimit) {
        *self.lock() = State {
            limit: Some(limit),
            window: Window::default(),
        };
    }

    /// Ends the window and the block.
    pub(crate) fn reset(&self) {
        self.lock().window = Window::default();
    }

    /// Refuses every request from now on for this time.
    pub(crate) fn block(&self, now: Duration, time: Duration) {
        let mut state = self.lock();
        let until = now.saturating_add(time);
        let blocked = &mut state.window.blocked_until;
        *blocked = Some(blocked.map_or(until, |other| other.max(until)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that comes now. The time is read while nobody else counts, since a request whose time was
    /// read first but that is counted second would look like a reset of the clock.
    pub(crate) fn count(&self, now: impl FnOnce() -> Duration) -> Counted {
        let mut state = self.lock();
        let now = now();
        let State { limit, window } = &mut *state;
        if now < window.counted_at || window.blocked_until.is_some_and(|until| now >= until) {
            *window = Window::default();
        }
        window.counted_at = now;
        let seconds = |until: Duration| round_up_to_seconds(until.saturating_sub(now));
        let mut is_over_quota = false;
        // A window begins with its first request.
        let ends = limit.map(|limit| {
            if window.ends.is_none_or(|ends| now >= ends) {
                window.ends = Some(now.saturating_add(limit.window()));
                window.used = 0;
            }
            if window.blocked_until.is_none() && window.used >= limit.quota() {
                window.blocked_until = Some(now.saturating_add(limit.window()));
                is_over_quota = true;
            }
            (limit, window.ends.unwrap_or(now))
        });
        if let Some(until) = window.blocked_until {
            return Counted {
                left: ends.map(|(limit, _)| Left {
                    limit,
                    requests: 0,
                    resets_in: seconds(until),
                }),
                refused_for: Some(seconds(until)),
                is_over_quota,
            };
        }
        window.used = window.used.saturating_add(1);
        Counted {
            left: ends.map(|(limit, ends)| Left {
                limit,
                requests: limit.quota() - window.used,
                resets_in: seconds(ends),
            }),
            refused_for: None,
            is_over_quota,
        }
    }
}

impl Left {
    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// The value of `Ratelimit`.
    pub(crate) fn header(&self) -> String {
        format!("\"default\";r={};t={}", self.requests, self.resets_in)
    }

    /// The value of `Ratelimit-Policy`.
    pub(crate) fn policy(&self) -> String {
        let (quota, window) = (self.limit.quota(), self.limit.window().as_secs());
        format!("\"default\";q={quota};w={window}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_window_begins_with_its_first_request() {
        let limiter = RateLimiter::new(Some(RateLimit::new(2, 10 * SECOND)));
        let start = Duration::from_secs(1_000);
        let left = |at| limiter.count(|| at).left.expect("a limit").header();
        assert_eq!(left(start), "\"default\";r=1;t=10");
        assert_eq!(left(start + SECOND / 2), "\"default\";r=0;t=10");
        assert_eq!(left(start + 10 * SECOND), "\"default\";r=1;t=10");
    }

    #[test]
    fn a_block_lasts_a_windows_length() {
        let limiter = RateLimiter::new(Some(RateLimit::new(1, 10 * SECOND)));
        let start = Duration::from_secs(1_000);
        let count = |at| {
            let counted = limiter.count(|| at);
            (counted.refused_for, counted.is_over_quota)
        };
        assert_eq!(count(start), (None, false));
        assert_eq!(count(start + 4 * SECOND), (Some(10), true));
        // The end of the window does not end the block, and more requests do not extend it.
        assert_eq!(count(start + 11 * SECOND), (Some(3), false));
        assert_eq!(count(start + 13 * SECOND + SECOND / 2), (Some(1), false));
        assert_eq!(count(start + 14 * SECOND), (None, false));
        assert_eq!(count(start + 15 * SECOND), (Some(10), true));
        limiter.reset();
        assert_eq!(count(start + 16 * SECOND), (None, false));
    }

    #[test]
    fn a_block_needs_no_limit() {
        let limiter = RateLimiter::new(None);
        let start = Duration::from_secs(1_000);
        assert_eq!(limiter.count(|| start).refused_for, None);
        limiter.block(start, 5 * SECOND);
        let counted = limiter.count(|| start + SECOND);
        assert_eq!((counted.refused_for, counted.left), (Some(4), None));
        assert!(!counted.is_over_quota);
        assert_eq!(limiter.count(|| start + 5 * SECOND).refused_for, None);
        limiter.block(start + 5 * SECOND, Duration::MAX);
        assert!(limiter.count(|| start + 6 * SECOND).refused_for.is_some());
        let earlier = limiter.count(|| start);
        assert_eq!(earlier.refused_for, None, "the clock was reset");
    }

    #[test]
    fn time_does_not_pass_between_reading_it_and_counting() {
        let limiter = RateLimiter::new(None);
        limiter.count(|| {
            assert!(limiter.state.try_lock().is_err(), "somebody else can count");
            SECOND
        });
    }
}
