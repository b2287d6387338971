//! How long a step that failed waits for its next try.

use std::time::Duration;

/// How long to wait before a step is tried again that failed so often in a row.
pub(crate) fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(60);
    const MAX: Duration = Duration::from_secs(6 * 3600);
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(MAX)
}
