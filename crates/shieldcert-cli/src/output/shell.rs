//! Command lines to copy.

use std::ffi::OsStr;

/// This process's own command line, as a shell reads it.
pub(crate) fn this_command() -> String {
    let arguments = std::env::args_os().skip(1);
    let words = arguments.map(|argument| quote(&argument));
    std::iter::once("shieldcert".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A word as a shell reads it.
pub(crate) fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, expected) in [
            ("sensor-001.pem", "sensor-001.pem"),
            ("O=Acme, Inc.", "'O=Acme, Inc.'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$(rm)", "'$(rm)'"),
        ] {
            assert_eq!(quote(word), expected);
        }
    }
}
