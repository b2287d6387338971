//! Text from files, made safe to show.

use shieldcert::InvalidInput;

/// Quotes a value, shortened. Control characters and marks that change the direction of writing are escaped.
pub(crate) fn quote(text: &str) -> String {
    InvalidInput::quote(text)
}

/// Returns a key or the name of a column as it is shown, which is without quotes where it needs none.
pub(crate) fn quote_key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let quoted = quote(text);
    match !text.is_empty() && text.chars().all(is_bare) {
        true => quoted.trim_matches('"').to_owned(),
        false => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_moves_text_is_escaped() {
        for (text, expected) in [
            ("Zürich 计量", "\"Zürich 计量\""),
            ("a\u{1b}[31m\r\n\0", r#""a\u{1b}[31m\r\n\0""#),
            ("\u{202e}vsc", r#""\u{202e}vsc""#),
            ("\u{200f}\u{2066}", r#""\u{200f}\u{2066}""#),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(quote(&"a".repeat(65)), format!("\"{}…\"", "a".repeat(64)));
        assert_eq!(quote_key("common_name"), "common_name");
        assert_eq!(quote_key("common name"), "\"common name\"");
        assert_eq!(quote_key(""), "\"\"");
    }
}
