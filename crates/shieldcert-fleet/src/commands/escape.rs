//! Makes text from outside safe to show: nothing in it moves the cursor, hides, or changes the direction of writing.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns whether a character is shown as itself. Control and format characters are not, nor are spaces other than the usual
/// one, and what is not assigned.
pub fn is_printable(c: char) -> bool {
    // Most text is this, and every character of a list passes here.
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Combining characters are escaped only at the beginning of a text.
    let mut text = String::from(" ");
    text.push(c);
    text.escape_debug().nth(2).is_none()
}

/// Replaces what is not printable by `\u{…}`, or by `\n`, `\r`, `\t`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if is_printable(c) => escaped.push(c),
            c => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped_and_names_of_any_language_are_not() {
        for (text, expected) in [
            ("sensor-001", "sensor-001"),
            ("Zürich ⚙ 计量 \"x\\y'", "Zürich ⚙ 计量 \"x\\y'"),
            ("cafe\u{301}", "cafe\u{301}"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            (
                "a\u{200b}b\u{2066}\u{feff}\u{9b}\u{7f}",
                "a\\u{200b}b\\u{2066}\\u{feff}\\u{9b}\\u{7f}",
            ),
            ("a\u{a0}b\u{2028}", "a\\u{a0}b\\u{2028}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
