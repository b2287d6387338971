//! Which certificates a list asks for.

use crate::core::status::Status;

/// A part of a zone's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selection {
    /// None selects every status.
    pub(crate) status: Option<Status>,
    /// How many matches to skip.
    pub(crate) offset: u64,
    /// The most matches to return.
    pub(crate) limit: u64,
}
