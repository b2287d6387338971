//! The ids of zones and certificates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::input::{InvalidInput, quote};

/// The id of a zone: 32 hex digits, as the dashboard shows it under "API".
///
/// # Examples
///
/// ```
/// use shieldcert::ZoneId;
///
/// let zone: ZoneId = "023e105f4ecef8ad9ca31a8372d0c353".parse()?;
/// assert_eq!(zone, "023e105f4ecef8ad9ca31a8372d0c353");
/// assert!("example.com".parse::<ZoneId>().is_err());
/// # Ok::<_, shieldcert::InvalidInput>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneId(String);

impl ZoneId {
    /// Reads the id from the environment variable `CLOUDFLARE_ZONE_ID`.
    ///
    /// # Errors
    /// Returns an error if the variable is not set or is not a zone id.
    pub fn from_env() -> Result<Self, InvalidInput> {
        match std::env::var("CLOUDFLARE_ZONE_ID") {
            Ok(value) => value.parse(),
            Err(_) => Err(InvalidInput::new(
                "zone id",
                "CLOUDFLARE_ZONE_ID is not set; set it to the id that the dashboard shows under \"API\"",
            )),
        }
    }

    /// Returns the id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneId {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let problem = if text.is_empty() {
            "it is empty".to_owned()
        } else if let Some(odd) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            format!("{} has {odd:?}, which is not a hex digit", quote(text))
        } else if text.len() != 32 {
            format!("{} has {} characters", quote(text), text.len())
        } else {
            return Ok(Self(text.to_ascii_lowercase()));
        };
        Err(InvalidInput::new(
            "zone id",
            format!("{problem}; give the 32 hex digits that the dashboard shows under \"API\""),
        ))
    }
}

/// The id of a client certificate. It is opaque: any text of up to 255 characters that can be a segment of a URL's path;
/// today a UUID or 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CertificateId(String);

impl CertificateId {
    /// Longer than any known id, and short enough for any path.
    const MAX_LEN: usize = 255;

    /// Returns the id as the service wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks that the id stays inside its path segment, once it is percent-encoded. The service chooses ids, so nothing
    /// else is required.
    pub(crate) fn check(text: &str) -> Result<(), InvalidInput> {
        // URLs treat a backslash as a slash, and the generated client does not encode it.
        let odd = text.chars().find(|c| c.is_control() || *c == '\\');
        let problem = if text.is_empty() {
            "it is empty".to_owned()
        } else if text.chars().count() > Self::MAX_LEN {
            let len = text.chars().count();
            format!("{} has {len} characters", quote(text))
        } else if let Some(odd) = odd {
            format!("{} has {odd:?}", quote(text))
        } else if matches!(text, "." | "..") {
            format!("{} would change the path", quote(text))
        } else {
            return Ok(());
        };
        Err(InvalidInput::new(
            "certificate id",
            format!("{problem}; give an id as the list of certificates shows it"),
        ))
    }
}

impl FromStr for CertificateId {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }
}

/// The conversions that both ids have.
macro_rules! text_conversions {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidInput;

            fn try_from(text: &str) -> Result<Self, InvalidInput> {
                text.parse()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidInput;

            fn try_from(text: String) -> Result<Self, InvalidInput> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

text_conversions!(ZoneId);
text_conversions!(CertificateId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_ids_say_what_is_wrong_and_what_to_give() {
        let zone = |text: &str| text.parse::<ZoneId>().expect_err(text).to_string();
        let certificate = |text: &str| text.parse::<CertificateId>().expect_err(text).to_string();
        let messages = [
            zone(""),
            zone("023e105f4ecef8ad9ca31a8372d0c35"),
            zone("023e105f4ecef8ad9ca31a8372d0c3533"),
            zone("example.com"),
            zone("023e105f4ecef8ad9ca31a8372d0c35\n"),
            zone(&"ü".repeat(100_000)),
            certificate(""),
            certificate("a\\b"),
            certificate(".."),
            certificate(&"a".repeat(256)),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r#"
        zone id: it is empty; give the 32 hex digits that the dashboard shows under "API"
        zone id: "023e105f4ecef8ad9ca31a8372d0c35" has 31 characters; give the 32 hex digits that the dashboard shows under "API"
        zone id: "023e105f4ecef8ad9ca31a8372d0c3533" has 33 characters; give the 32 hex digits that the dashboard shows under "API"
        zone id: "example.com" has 'x', which is not a hex digit; give the 32 hex digits that the dashboard shows under "API"
        zone id: "023e105f4ecef8ad9ca31a8372d0c35\n" has '\n', which is not a hex digit; give the 32 hex digits that the dashboard shows under "API"
        zone id: "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü…" has 'ü', which is not a hex digit; give the 32 hex digits that the dashboard shows under "API"
        certificate id: it is empty; give an id as the list of certificates shows it
        certificate id: "a\\b" has '\\'; give an id as the list of certificates shows it
        certificate id: ".." would change the path; give an id as the list of certificates shows it
        certificate id: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" has 256 characters; give an id as the list of certificates shows it
        "#);
    }

    #[test]
    fn zone_ids_ignore_case() {
        let upper: ZoneId = "023E105F4ECEF8AD9CA31A8372D0C353".parse().expect("an id");
        assert_eq!(upper, "023e105f4ecef8ad9ca31a8372d0c353");
    }

    #[test]
    fn certificate_ids_stay_in_their_path_segment() {
        for text in ["", ".", "..", "..\\x", "a\nb", "a\u{85}", &"ü".repeat(256)] {
            assert!(text.parse::<CertificateId>().is_err(), "{text:?}");
        }
        for text in [
            "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
            "023e105f4ecef8ad9ca31a8372d0c353",
            "a/b",
            "a b",
            "a?b#c",
            "a%2e",
            &"ü".repeat(255),
        ] {
            assert_eq!(text.parse::<CertificateId>().expect(text), text);
        }
    }

    #[test]
    fn ids_are_json_strings_and_checked_when_read() {
        let id: CertificateId = serde_json::from_str("\"7bf7\"").expect("an id");
        assert_eq!(serde_json::to_string(&id).expect("JSON"), "\"7bf7\"");
        assert!(serde_json::from_str::<CertificateId>("\"..\"").is_err());
        assert!(serde_json::from_str::<ZoneId>("\"example.com\"").is_err());
    }
}
