//! The names of devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a device: unique in its fleet, whatever the case of its letters, and safe as the name of a folder.
///
/// It has 1 to 64 characters: ASCII letters and digits, and `-`, `_`, `.`, `@`, `+` within.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// The most characters that a name has.
    pub const MAX_LEN: usize = 64;

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_inner = |c: char| is_word(c) || "-.@+".contains(c);
        if text.is_empty() {
            return Err("it is empty; give the device a name".to_owned());
        }
        if text.chars().count() > Self::MAX_LEN {
            return Err(format!("it is longer than {} characters", Self::MAX_LEN));
        }
        if let Some(odd) = text.chars().find(|c| !is_inner(*c)) {
            return Err(format!(
                "it has {odd:?}; use ASCII letters, digits, and - _ . @ + within the name"
            ));
        }
        if !text.starts_with(is_word) || !text.ends_with(is_word) {
            return Err("it must begin and end with a letter, a digit or _".to_owned());
        }
        let stem = text.split('.').next().unwrap_or_default();
        if RESERVED
            .iter()
            .any(|reserved| stem.eq_ignore_ascii_case(reserved))
        {
            return Err(format!(
                "{stem:?} can't be the name of a folder on Windows; give another"
            ));
        }
        Ok(Self(text))
    }
}

/// What Windows takes for devices of its own.
const RESERVED: &[&str] = &[
    "con", "prn", "aux", "nul", "com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7",
    "com8", "com9", "lpt0", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
