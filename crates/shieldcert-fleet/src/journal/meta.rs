//! Single values of a journal.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::Journal;
use crate::error::Result;

const SERVICE_TIME: &str = "service_time";
/// Set in a copy that `backup` makes.
const COPY: &str = "copy";

pub(super) fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn set(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?
        .execute(params![key, value])?;
    Ok(())
}

impl Journal {
    /// Returns the newest time of the service that a run has seen.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn service_time(&self) -> Result<Option<Timestamp>> {
        let text = self.read(|connection| get(connection, SERVICE_TIME))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Remembers the service's time.
    pub(crate) fn set_service_time(&self, time: Timestamp) -> Result<()> {
        self.write(|transaction| set(transaction, SERVICE_TIME, &time.to_string()))
    }

    /// Whether it was opened from a backup, and nobody has confirmed yet that it may revoke.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn is_restored(&self) -> Result<bool> {
        self.read(|connection| Ok(get(connection, COPY)?.is_some()))
    }

    /// Confirms that a restored journal may revoke.
    pub(crate) fn confirm_restored(&self) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM meta WHERE key = ?", [COPY])?;
            Ok(())
        })
    }
}

/// Marks a journal as a copy.
pub(super) fn mark_copy(connection: &Connection) -> rusqlite::Result<()> {
    set(connection, COPY, "1")
}
