//! Lengths of time that a fault takes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use crate::error::ParseError;

/// The longest time that can be written.
const MAX: Duration = Duration::from_secs(86_400);

/// A length of time, or a range of them to draw from.
///
/// ```
/// use std::time::Duration;
/// use shieldcert_emulator::TimeRange;
///
/// let second = Duration::from_secs(1);
/// assert_eq!("1s".parse(), Ok(TimeRange::from(second)));
/// assert_eq!("1s..1m".parse(), Ok(TimeRange::from(second..=60 * second)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    from: Duration,
    to: Duration,
}

impl TimeRange {
    pub(super) const fn from_millis(from: u64, to: u64) -> Self {
        Self {
            from: Duration::from_millis(from),
            to: Duration::from_millis(to),
        }
    }

    /// The time at this fraction of the range, from 0 to 1.
    pub(super) fn at(self, fraction: f64) -> Duration {
        self.from + (self.to - self.from).mul_f64(fraction)
    }

    pub(super) fn is_fixed(self) -> bool {
        self.from == self.to
    }
}

impl From<Duration> for TimeRange {
    fn from(time: Duration) -> Self {
        Self {
            from: time,
            to: time,
        }
    }
}

impl From<RangeInclusive<Duration>> for TimeRange {
    /// The ends may be in either order.
    fn from(range: RangeInclusive<Duration>) -> Self {
        let (one, other) = range.into_inner();
        Self {
            from: one.min(other),
            to: one.max(other),
        }
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        write!(f, "{:#}", signed(self.from))?;
        if !self.is_fixed() {
            write!(f, "..{:#}", signed(self.to))?;
        }
        Ok(())
    }
}

impl FromStr for TimeRange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let range = || {
            let (from, to) = (parse_time(from)?, parse_time(to)?);
            (from <= to && to <= MAX).then_some(Self { from, to })
        };
        range().ok_or_else(|| {
            ParseError::new(format!(
                "{text:?} is not a time; write 5s, 20ms..500ms or 1s..1m (at most a day)"
            ))
        })
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let time: SignedDuration = text.trim().parse().ok()?;
    time.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_round_trip_through_text() {
        for text in ["5s", "1ms..20ms", "1s..1m", "1m 30s..2h", "0s"] {
            let range: TimeRange = text.parse().expect(text);
            assert_eq!(range.to_string(), text);
        }
        let range: TimeRange = "1000ms..60s".parse().expect("a range");
        assert_eq!(range.to_string(), "1s..1m");
        for text in ["", "soon", "5", "-5s", "9s..1s", "1s..", "25h", "1s..25h"] {
            let error = text.parse::<TimeRange>().expect_err(text);
            assert!(error.to_string().contains("write 5s"), "{error}");
        }
    }

    #[test]
    fn a_fraction_is_a_time_of_the_range() {
        let range = TimeRange::from_millis(1_000, 3_000);
        assert_eq!(range.at(0.0), Duration::from_secs(1));
        assert_eq!(range.at(0.5), Duration::from_secs(2));
    }
}
