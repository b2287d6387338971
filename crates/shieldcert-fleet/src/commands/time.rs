//! Times and durations as people read them. Programs get RFC 3339.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Returns a time without what is below a second.
pub fn to_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Returns the day in UTC, such as `2026-01-31`.
pub fn day(time: Timestamp) -> String {
    TimeZone::UTC.to_datetime(time).date().to_string()
}

/// Returns how far a time is away, such as `29d`, or `3h ago`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = time.duration_since(now);
    let text = short(distance.unsigned_abs());
    match distance < SignedDuration::ZERO {
        true => format!("{text} ago"),
        false => text,
    }
}

/// Returns a duration in its largest unit, rounded down: `29d`, `13h`, `5m`, `40s`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_have_one_unit() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        for (time, expected) in [
            ("2026-01-31T12:00:40Z", "40s"),
            ("2026-01-31T12:59:59Z", "59m"),
            ("2026-02-01T11:00:00Z", "23h"),
            ("2026-03-02T12:00:00Z", "30d"),
            ("2026-01-28T12:00:00Z", "3d ago"),
            ("2126-01-31T12:00:00Z", "36524d"),
        ] {
            let time = time.parse().expect("a time");
            assert_eq!(relative(time, now), expected, "{time}");
        }
        assert_eq!(day(now), "2026-01-31");
    }
}
