//! Moments: a time, a day, or how long ago.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use shieldcert_fleet::parse_duration;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The time that it is. A duration that reaches back before the first time there is, is that.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
        }
    }
}

/// Parses a time in RFC 3339, a day, which begins in UTC, or a duration.
pub(crate) fn parse(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse() {
        return Ok(Moment::At(time));
    }
    if let Some(start) = text
        .parse::<Date>()
        .ok()
        .and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok())
    {
        return Ok(Moment::At(start));
    }
    parse_duration(text).map(Moment::Ago).map_err(|_| {
        "write a day (2026-01-31, in UTC), a time (2026-01-31T12:00:00Z), or how long ago (90d)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_times_or_durations() {
        let now = "2026-02-02T00:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
            ("2d", "2026-01-31T00:00:00Z"),
        ] {
            assert_eq!(
                parse(text).expect(text).at(now).to_string(),
                expected,
                "{text}"
            );
        }
        for text in ["", "yesterday", "31.1.2026", "2026-13-01", "-2d"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("90d"), "{text}: {error}");
        }
    }
}
