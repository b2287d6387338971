//! Durations.

use std::time::Duration;

use jiff::SignedDuration;

/// Parses a duration as people write it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "write a number with its unit, such as 2s, 500ms or 1m".to_owned())?;
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
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("-2s"), Err("it can't be negative".to_owned()));
        for text in ["", "2", "s", "soon", "2 parsecs"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("500ms"), "{text:?}: {error}");
        }
    }
}
