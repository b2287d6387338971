//! Every act, with its time and cause.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;

use super::database::Journal;
use super::generation::words;
use crate::error::Result;
use crate::name::DeviceName;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

words! {
    /// What was done or seen.
    Act {
        /// A generation was begun.
        Planned = "planned",
        /// Key and CSR were made.
        Keyed = "keyed",
        /// A request is about to be sent.
        Sending = "sending",
        /// An open request is being found out about.
        Resuming = "resuming",
        /// A certificate was issued.
        Issued = "issued",
        /// Nothing was issued.
        NotIssued = "not-issued",
        /// The outcome of a request is unclear.
        Unclear = "unclear",
        /// The files were written.
        Written = "written",
        /// The deploy command succeeded.
        Deployed = "deployed",
        /// The deploy command failed.
        DeployFailed = "deploy-failed",
        /// The certificate is known to work.
        Verified = "verified",
        /// The verify command failed.
        VerifyFailed = "verify-failed",
        /// A certificate was revoked.
        Revoked = "revoked",
        /// A generation without a certificate was given up.
        Abandoned = "abandoned",
        /// A certificate that nothing uses was found.
        SurplusFound = "surplus-found",
        /// A certificate that nothing uses was revoked.
        SurplusRevoked = "surplus-revoked",
        /// The zone was looked at once more, and held nothing else.
        LookedAgain = "looked-again",
        /// A step failed.
        Failed = "failed",
        /// Files were restored.
        Repaired = "repaired",
        /// An operator asked for something.
        Asked = "asked",
        /// A certificate from before was taken over.
        Adopted = "adopted",
        /// The inventory showed something else than the journal.
        Differs = "differs",
    }
}

/// An entry of the history.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// When, by the service's clock.
    pub at: Timestamp,
    /// The device.
    pub device: Option<DeviceName>,
    /// The number of its generation.
    pub generation: Option<u32>,
    /// What was done.
    pub act: Act,
    /// Why, or what was seen.
    pub detail: Option<String>,
}

/// How many bytes of the end of a detail are kept.
const MAX_DETAIL: usize = 8 * 1024;

/// Returns the end of a detail, from the first character that fits.
fn end(detail: &str) -> &str {
    let begin = detail.len().saturating_sub(MAX_DETAIL);
    let begin = (begin..).find(|place| detail.is_char_boundary(*place));
    &detail[begin.unwrap_or_default()..]
}

/// Adds an entry.
pub(crate) fn add(
    connection: &Connection,
    at: Timestamp,
    device: Option<i64>,
    generation: Option<u32>,
    act: Act,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    let detail = detail.map(end);
    connection
        .prepare_cached(
            "INSERT INTO history (at, device, generation, act, detail) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            at.as_millisecond(),
            device,
            generation,
            act,
            detail
        ])?;
    Ok(())
}

impl Journal {
    /// Returns the history, oldest first: of one device or of all, and at most so many of the newest entries.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn history(&self, device: Option<&DeviceName>, limit: u32) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.each_entry(device, None, limit, |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Calls `each` with the history, oldest first: of one device or of all, since a time, and at most so many of the newest
    /// entries. They are not in memory together.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn each_entry(
        &self,
        device: Option<&DeviceName>,
        since: Option<Timestamp>,
        limit: u32,
        mut each: impl FnMut(Entry),
    ) -> Result<()> {
        self.read(|connection| {
            // `+` keeps the index on the time from being used for the order.
            let mut statement = connection.prepare_cached(
                "SELECT * FROM (
                     SELECT h.at, d.name, h.generation, h.act, h.detail, h.id FROM history h
                     LEFT JOIN devices d ON d.id = h.device
                     WHERE (?1 IS NULL OR h.device = (SELECT id FROM devices WHERE name = ?1))
                     AND (?2 IS NULL OR +h.at >= ?2)
                     ORDER BY h.id DESC LIMIT ?3
                 ) ORDER BY id",
            )?;
            let name = device.map(DeviceName::as_str);
            let since = since.map(Timestamp::as_millisecond);
            let mut rows = statement.query(params![name, since, limit])?;
            while let Some(row) = rows.next()? {
                let name: Option<String> = row.get(1)?;
                each(Entry {
                    at: Timestamp::from_millisecond(row.get(0)?).unwrap_or(Timestamp::UNIX_EPOCH),
                    device: name.and_then(|name| name.parse().ok()),
                    generation: row.get(2)?,
                    act: row.get(3)?,
                    detail: row.get(4)?,
                });
            }
            Ok(())
        })
    }

    /// Removes the history before a time. The present state is kept.
    pub(crate) fn forget_before(&self, time: Timestamp) -> Result<usize> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM history WHERE at < ?", [time.as_millisecond()])
        })
    }
}
