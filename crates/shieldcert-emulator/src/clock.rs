//! The time that certificates carry: the wall clock's, or one that starts where a setting says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time at which a certificate is issued.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// The machine's clock.
    Wall,
    /// Starts at a time that was given and goes on with tokio's clock, so that a paused one pauses it too.
    From { start: SystemTime, since: Instant },
}

impl Clock {
    /// A clock that shows `start` now.
    pub(crate) fn starting_at(start: SystemTime) -> Self {
        Self::From {
            start,
            since: Instant::now(),
        }
    }

    /// Whole seconds since 1970.
    pub(crate) fn unix_seconds(self) -> i64 {
        self.unix_millis() / 1000
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_millis(self) -> i64 {
        let now = match self {
            Self::Wall => SystemTime::now(),
            Self::From { start, since } => start.checked_add(since.elapsed()).unwrap_or(start),
        };
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}
