//! Removes the secret from what is printed or kept of a response, in case the sender repeats it.
//!
//! What a caller matches on, such as ids and statuses, is never changed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

/// Replaces the client's secret in texts.
pub(crate) struct Redactor(Option<SecretString>);

/// The service's tokens have 40 characters and its keys 37. A short secret, such as one for an emulator, occurs in
/// texts by chance.
const MIN_REDACTED_LEN: usize = 16;

const REPLACEMENT: &[u8] = b"(redacted)";

impl Redactor {
    pub(crate) fn new(secret: &SecretString) -> Self {
        let is_long = secret.expose_secret().len() >= MIN_REDACTED_LEN;
        Self(is_long.then(|| secret.clone()))
    }

    /// Replaces the secret, also where JSON escapes some of its characters.
    pub(crate) fn redact_bytes(&self, body: Bytes) -> Bytes {
        match self.replace(&body) {
            Some(redacted) => redacted.into(),
            None => body,
        }
    }

    /// Like [`redact_bytes`](Self::redact_bytes), for text.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.replace(text.as_bytes()) {
            Some(redacted) => String::from_utf8_lossy(&redacted).into_owned().into(),
            None => text.into(),
        }
    }

    /// Returns the text without the secret. `None` if it does not hold it.
    fn replace(&self, text: &[u8]) -> Option<Vec<u8>> {
        let secret = self.0.as_ref()?.expose_secret().as_bytes();
        let mut redacted = Vec::new();
        let mut copied = 0;
        let mut place = 0;
        while place < text.len() {
            match match_secret(&text[place..], secret) {
                Some(len) => {
                    redacted.extend_from_slice(&text[copied..place]);
                    redacted.extend_from_slice(REPLACEMENT);
                    place += len;
                    copied = place;
                }
                None => place += 1,
            }
        }
        if copied == 0 {
            return None;
        }
        redacted.extend_from_slice(&text[copied..]);
        Some(redacted)
    }
}

/// Returns how long the secret is at the start of a text, if it is there.
fn match_secret(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut len = 0;
    for &byte in secret {
        len += match_byte(&text[len..], byte)?;
    }
    Some(len)
}

/// Matches a byte as it is or escaped: `\/`, `\u002f`, with more backslashes for JSON in a string of JSON.
fn match_byte(text: &[u8], byte: u8) -> Option<usize> {
    if text.first() == Some(&byte) {
        return Some(1);
    }
    let backslashes = text.iter().take_while(|byte| **byte == b'\\').count();
    let escaped = &text[backslashes..];
    if backslashes == 0 {
        None
    } else if escaped.first() == Some(&byte) {
        Some(backslashes + 1)
    } else {
        let digits = std::str::from_utf8(escaped.strip_prefix(b"u")?.get(..4)?).ok()?;
        let is_byte = u32::from_str_radix(digits, 16) == Ok(byte.into());
        is_byte.then_some(backslashes + 5)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_replaced_in_every_notation() {
        let redactor = Redactor::new(&SecretString::from("s3cret/T0ken-of-18".to_owned()));
        for (text, expected) in [
            ("", ""),
            ("nothing here", "nothing here"),
            ("s3cret/T0ken-of-18", "(redacted)"),
            (
                "Bearer s3cret/T0ken-of-18, s3cret/T0ken-of-18s3cret/T0ken-of",
                "Bearer (redacted), (redacted)s3cret/T0ken-of",
            ),
            (
                r#"{"a":"\u00733cret\/T0ken-of-18"}"#,
                r#"{"a":"(redacted)"}"#,
            ),
            (
                r#"{"a":"{\"b\":\"\\u0073\u0033cret\\/T0ken\u002Dof-18\"}"}"#,
                r#"{"a":"{\"b\":\"(redacted)\"}"}"#,
            ),
            (r"s3cret\", r"s3cret\"),
            (r"\u00", r"\u00"),
        ] {
            assert_eq!(redactor.redact(text), expected, "{text}");
            assert_eq!(redactor.redact_bytes(Bytes::from(text)), expected, "{text}");
        }
        assert!(!format!("{redactor:?}").contains("s3cret"));
    }

    #[test]
    fn a_short_secret_is_left_since_it_occurs_by_chance() {
        let redactor = Redactor::new(&SecretString::from("active".to_owned()));
        assert_eq!(redactor.redact("status active"), "status active");
    }
}
