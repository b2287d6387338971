//! Deadlines on the monotonic clock. `None` is no limit, and so is a duration that reaches beyond any use.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Thirty years. The clock can't represent a deadline that is arbitrarily far away.
const MAX_DURATION: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Returns the deadline that is this far from `start`.
pub(crate) fn deadline_after(start: Instant, duration: Duration) -> Option<Instant> {
    let is_limit = duration < MAX_DURATION;
    is_limit.then(|| start.checked_add(duration)).flatten()
}

/// Returns the deadline that comes first.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether the deadline has passed.
pub(crate) fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Runs a future until the deadline.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await,
        None => Ok(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_duration_beyond_any_use_is_no_limit() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(deadline_after(now, second), Some(now + second));
        for endless in [Duration::MAX, Duration::from_secs(i64::MAX as u64)] {
            assert_eq!(deadline_after(now, endless), None);
        }
        assert_eq!(earlier(None, Some(now)), Some(now));
        assert_eq!(earlier(Some(now + second), Some(now)), Some(now));
        assert!(has_passed(Some(now)) && !has_passed(None) && !has_passed(Some(now + second)));
    }
}
