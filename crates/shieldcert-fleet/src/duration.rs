//! Durations as people write them.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Parses a duration as people write it: `90s`, `24h`, `1h 30m`, `30d`. A day has 24 hours.
///
/// # Errors
/// Returns what is wrong with the text and what to write: a number without a unit, a unit without a fixed length, or a
/// negative number.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use shieldcert_fleet::parse_duration;
///
/// assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
/// assert!(parse_duration("24").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "write a number with its unit, such as 2s, 500ms, 1m or 30d".to_owned())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years have no fixed length; write days, such as 30d".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it can't be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_their_units() {
        for (text, millis) in [
            ("2s", 2_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h 30m", 5_400_000),
            ("0s", 0),
            ("30d", 30 * 86_400_000),
            ("2 weeks", 14 * 86_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(
            parse_duration("-2s"),
            Err("it can't be negative".to_owned())
        );
        for text in ["", "2", "s", "soon", "2 parsecs"] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains("500ms"), "{text:?}: {error}");
        }
        for text in ["1mo", "1y"] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains("30d"), "{text:?}: {error}");
        }
    }
}
