//! The emulator's time.
//!
//! One clock dates certificates, settles transitions, ends the windows of the rate limit and gives the `Date`
//! header. It can be advanced from outside, and everything that waits by it wakes up then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Tells the time, plus what it was advanced by.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    since: Instant,
    /// Nanoseconds: enough for 584 years.
    advanced: AtomicU64,
    moved: Notify,
}

#[derive(Debug)]
enum Source {
    /// The machine's clock, which other processes with the same database follow too.
    #[cfg(feature = "sqlite")]
    Wall,
    /// This time when the clock was made, and on with tokio's clock, so that pausing that pauses this too.
    From(Duration),
}

impl Clock {
    /// A clock that follows the machine's.
    #[cfg(feature = "sqlite")]
    pub(crate) fn wall() -> Self {
        Self::new(Source::Wall)
    }

    /// A clock that shows `start` now and goes on with tokio's clock.
    pub(crate) fn starting_at(start: SystemTime) -> Self {
        Self::new(Source::From(since_epoch(start)))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            since: Instant::now(),
            advanced: AtomicU64::new(0),
            moved: Notify::new(),
        }
    }

    /// The time since 1970.
    pub(crate) fn now(&self) -> Duration {
        let now = match self.source {
            #[cfg(feature = "sqlite")]
            Source::Wall => since_epoch(SystemTime::now()),
            Source::From(start) => start.saturating_add(self.since.elapsed()),
        };
        now.saturating_add(self.advanced())
    }

    /// Whole seconds since 1970.
    pub(crate) fn unix_seconds(&self) -> i64 {
        i64::try_from(self.now().as_secs()).unwrap_or(i64::MAX)
    }

    /// The time since the clock was made. It never goes back, but for [`reset`](Self::reset).
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed().saturating_add(self.advanced())
    }

    /// Moves the clock forward, and wakes up whatever waits by it.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let add = |advanced: u64| Some(advanced.saturating_add(by));
        // The closure always returns a value.
        let _ = self
            .advanced
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        self.moved.notify_waiters();
    }

    /// Undoes every [`advance`](Self::advance).
    pub(crate) fn reset(&self) {
        self.advanced.store(0, Ordering::Relaxed);
    }

    /// Waits by this clock.
    pub(crate) async fn sleep(&self, time: Duration) {
        let until = self.elapsed().saturating_add(time);
        loop {
            // Listens before it looks, so that no advance is missed.
            let moved = self.moved.notified();
            let left = until.saturating_sub(self.elapsed());
            if left.is_zero() {
                return;
            }
            // Either end of this wait is a reason to look again.
            let _ = tokio::time::timeout(left, moved).await;
        }
    }

    fn advanced(&self) -> Duration {
        Duration::from_nanos(self.advanced.load(Ordering::Relaxed))
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn advancing_adds_to_tokios_clock_and_a_reset_takes_it_away() {
        let start = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let clock = Clock::starting_at(start);
        clock.advance(HOUR);
        tokio::time::advance(HOUR).await;
        assert_eq!(clock.unix_seconds(), 2_000_000_000 + 2 * 3600);
        assert_eq!(clock.elapsed(), 2 * HOUR);
        clock.advance(Duration::MAX);
        assert!(clock.now() > 1000 * HOUR, "an advance too far saturates");
        clock.reset();
        assert_eq!(clock.unix_seconds(), 2_000_000_000 + 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_ends_by_either_clock() {
        let clock = Arc::new(Clock::starting_at(UNIX_EPOCH));
        let started = Instant::now();
        clock.sleep(HOUR).await;
        assert_eq!(started.elapsed(), HOUR);
        let sleeping = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(HOUR).await }
        });
        tokio::task::yield_now().await;
        clock.advance(HOUR / 2);
        tokio::task::yield_now().await;
        assert!(!sleeping.is_finished());
        clock.advance(HOUR / 2);
        sleeping.await.expect("no panic");
        assert_eq!(started.elapsed(), HOUR, "the second sleep took no time");
    }
}
