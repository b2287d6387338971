//! Records that keep a look-up from a conclusion.

use std::fmt;

use crate::certificate::id::CertificateId;

/// A record that keeps a look-up from a conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnclearRecord {
    /// The record's id, if it has one.
    pub id: Option<CertificateId>,
    /// Why nothing can be concluded from it.
    pub problem: String,
}

impl fmt::Display for UnclearRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{id}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}
