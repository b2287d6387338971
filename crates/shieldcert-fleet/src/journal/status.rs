//! What the journal holds, counted.

use super::Journal;
use crate::error::Result;

impl Journal {
    /// Returns how many looks after unclear requests are owed.
    pub(crate) fn looks_owed(&self) -> Result<u64> {
        self.read(|connection| {
            connection.query_row(
                "SELECT COUNT(*) FROM generations WHERE look_at IS NOT NULL",
                [],
                |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()),
            )
        })
    }
}
