//! Times as records state them.

use jiff::Timestamp;

/// Parses a time: RFC 3339, or the text of Go's times, with any offset. `None` if it is neither.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    // 2026-11-24 10:23:27.5 +0200 CEST, perhaps followed by a reading of the monotonic clock.
    let mut words = text.split_whitespace();
    let (date, time, offset) = (words.next()?, words.next()?, words.next()?);
    format!("{date}T{time}{offset}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset_and_nothing_is_guessed() {
        for text in [
            "2026-11-24T08:23:27Z",
            "2026-11-24T08:23:27.000Z",
            "2026-11-24T10:23:27+02:00",
            "2026-11-24T03:53:27-04:30",
            "2026-11-24 08:23:27Z",
            "2026-11-24 08:23:27 +0000 UTC",
            "2026-11-24 10:23:27 +0200 CEST",
            "2026-11-24 00:23:27 -0800 PST",
            "2026-11-24 13:53:27 +0530 +0530",
            "2026-11-24 08:23:27.000000000 +0000 UTC m=+0.000012",
        ] {
            let time = parse(text).map(|time| time.to_string());
            assert_eq!(time.as_deref(), Some("2026-11-24T08:23:27Z"), "{text}");
        }
        for text in [
            "",
            "soon",
            "2026-11-24",
            "2026-11-24T08:23:27",
            "2026-11-24 08:23:27",
            "2026-11-24 08:23:27 UTC",
            "08:23:27 2026-11-24 +0000",
            "1795508607",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
