//! What a contender found, or what is there.

use serde::Deserialize;

/// The certificates that were found: how many, and a checksum that does not depend on their order.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) checksum: u64,
}
