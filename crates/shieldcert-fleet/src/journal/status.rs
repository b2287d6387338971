//! What the journal holds, counted.

use std::collections::BTreeMap;

use super::{Hold, Journal};
use crate::error::Result;

impl Journal {
    /// Returns how many devices wait for what.
    pub(crate) fn waiting(&self) -> Result<BTreeMap<Hold, u64>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT hold, COUNT(DISTINCT device) FROM generations
                 WHERE hold IS NOT NULL AND state NOT IN ('revoked') GROUP BY hold",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            rows.collect()
        })
    }

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
