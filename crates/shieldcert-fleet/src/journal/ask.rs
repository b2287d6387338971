//! What operators ask for, while another process may work on the fleet.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::database::Journal;
use super::generation::{self, words};
use super::history::{self, Act};
use super::meta;
use crate::error::Result;
use crate::name::DeviceName;

words! {
    /// What an operator asked for.
    Ask {
        /// A new certificate; the old one is revoked after the grace period.
        Rotate = "rotate",
        /// The key has leaked: its certificate is revoked at once, and a new one is made.
        RotateNow = "rotate-now",
        /// The certificates are revoked, and no new one is made until somebody asks for a rotation.
        Revoke = "revoke",
        /// The same, before everything else: the key has leaked.
        RevokeNow = "revoke-now",
    }
}

impl Ask {
    fn is_leak(self) -> bool {
        matches!(self, Self::RotateNow | Self::RevokeNow)
    }

    /// Whether the device is to have a new certificate.
    pub(crate) fn rotates(self) -> bool {
        matches!(self, Self::Rotate | Self::RotateNow)
    }

    /// Whether the device is to have no certificate.
    pub(crate) fn revokes(self) -> bool {
        matches!(self, Self::Revoke | Self::RevokeNow)
    }
}

impl Journal {
    /// Asks for something for these devices, in one transaction. Whoever works on the fleet does it. Returns how many
    /// devices the journal knows.
    ///
    /// # Errors
    /// Returns an error if the journal can't be written. Nothing was asked for then.
    pub fn ask<'a>(
        &self,
        ask: Ask,
        devices: impl IntoIterator<Item = &'a DeviceName>,
        at: Timestamp,
    ) -> Result<u64> {
        self.write(|transaction| {
            let mut count = 0;
            for name in devices {
                let id: Option<i64> = transaction
                    .prepare_cached(
                        "UPDATE devices SET ask = ?, asked_at = ? WHERE name = ? RETURNING id",
                    )?
                    .query_map(params![ask, at.as_second(), name.as_str()], |row| {
                        row.get(0)
                    })?
                    .next()
                    .transpose()?;
                let Some(id) = id else { continue };
                count += 1;
                // Who asks wants it now, and may have mended what failed.
                transaction
                    .prepare_cached(
                        "UPDATE generations SET retry_at = NULL
                         WHERE device = ? AND state NOT IN ('revoked', 'abandoned')",
                    )?
                    .execute([id])?;
                if ask.is_leak() {
                    transaction
                        .prepare_cached(
                            "UPDATE generations SET leaked = 1
                             WHERE device = ? AND state NOT IN ('revoked', 'abandoned')",
                        )?
                        .execute([id])?;
                }
                history::add(
                    transaction,
                    at,
                    Some(id),
                    None,
                    Act::Asked,
                    Some(ask.as_str()),
                )?;
            }
            count_ask(transaction, count)?;
            Ok(count)
        })
    }

    /// Has steps that failed, and wait for their next try, tried again at once. Whoever works on the fleet does it. Returns
    /// of how many devices.
    ///
    /// # Errors
    /// Returns an error if the journal can't be written. Nothing is tried again then.
    pub fn retry_now(&self, selects: impl Fn(&DeviceName) -> bool, at: Timestamp) -> Result<u64> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT DISTINCT d.id, d.name FROM generations g JOIN devices d ON d.id = g.device
                 WHERE g.retry_at IS NOT NULL AND g.state <> 'revoked' ORDER BY d.id",
            )?;
            let waiting = statement.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, generation::name(row, 1)?))
            })?;
            let waiting: Vec<_> = waiting.collect::<rusqlite::Result<_>>()?;
            let mut count = 0;
            for (id, _) in waiting.iter().filter(|(_, name)| selects(name)) {
                count += 1;
                transaction
                    .prepare_cached("UPDATE generations SET retry_at = NULL WHERE device = ?")?
                    .execute([id])?;
                let detail = Some("retry-now");
                history::add(transaction, at, Some(*id), None, Act::Asked, detail)?;
            }
            count_ask(transaction, count)?;
            Ok(count)
        })
    }

    /// Returns how often something was asked for. It costs little, so whoever works on the fleet can poll it.
    pub(crate) fn asks(&self) -> Result<u64> {
        self.read(count_asks)
    }
}

const ASKS: &str = "asks";

/// Counts that something was asked for, of so many devices.
fn count_ask(connection: &Connection, devices: u64) -> rusqlite::Result<()> {
    if devices == 0 {
        return Ok(());
    }
    let asks = count_asks(connection)? + 1;
    meta::set(connection, ASKS, &asks.to_string())
}

fn count_asks(connection: &Connection) -> rusqlite::Result<u64> {
    let text = meta::get(connection, ASKS)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}
