//! Records that are no certificates.

use std::fmt;

use bytes::Bytes;

/// A record of a list that can't be read as a certificate with an id.
///
/// It is reported beside the certificates, so that it costs no other record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRecord {
    problem: String,
    json: Bytes,
}

impl UnreadableRecord {
    pub(crate) fn new(problem: impl Into<String>, json: impl Into<Bytes>) -> Self {
        Self {
            problem: problem.into(),
            json: json.into(),
        }
    }

    /// Returns what is wrong with the record.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Returns the record's JSON.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

impl fmt::Display for UnreadableRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 200;
        let text = String::from_utf8_lossy(&self.json);
        let start: String = text.chars().take(MAX_CHARS).collect();
        let ellipsis = if start.len() < text.len() { "…" } else { "" };
        write!(f, "{}: {start}{ellipsis}", self.problem)
    }
}
