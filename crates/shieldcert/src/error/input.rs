//! The error of everything that is parsed or validated before a request is sent.

/// Something that was given to this crate, or a certificate in a record, is invalid.
///
/// This is the error of `FromStr` and `TryFrom` on this crate's types. It converts into [`Error`](crate::Error).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct InvalidInput {
    what: &'static str,
    problem: String,
}

impl InvalidInput {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self {
            what,
            problem: problem.into(),
        }
    }

    /// Quotes what was given, for a message: shortened, and with control characters and marks that change the direction of
    /// writing escaped.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::InvalidInput;
    ///
    /// assert_eq!(InvalidInput::quote("a\u{1b}[31m"), r#""a\u{1b}[31m""#);
    /// ```
    pub fn quote(text: &str) -> String {
        quote(text)
    }

    /// Returns what was given: `"zone id"`, `"CSR"`, `"base URL"` and so on.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Returns what is wrong with it and what to do.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Quotes what was given, shortened for a message.
pub(crate) fn quote(text: &str) -> String {
    let mut start: String = text.chars().take(64).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}
