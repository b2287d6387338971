//! What the journal holds, counted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use shieldcert::KeyAlgorithm;

use super::ask::Ask;
use super::database::Journal;
use super::generation::{COLUMN_COUNT, COLUMNS, Generation, Hold, State, name, time};
use crate::error::Result;
use crate::manifest::DeviceSubject;
use crate::name::DeviceName;

/// What the journal holds, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// How many devices the journal knows.
    pub devices: u64,
    /// How many of them have no generation yet.
    pub without_generation: u64,
    /// How many devices there are for each state of the newest generation.
    pub states: BTreeMap<State, u64>,
    /// How many devices wait for what.
    pub holds: BTreeMap<Hold, u64>,
    /// How many devices there are for which an operator asked for something that is not done yet, or that lasts.
    pub asks: BTreeMap<Ask, u64>,
    /// How many certificates that nothing uses are known and not revoked yet.
    pub surplus: u64,
    /// How many looks after unclear requests are owed.
    pub looks_owed: u64,
    /// When the next of these looks is due.
    pub next_look: Option<Timestamp>,
    /// When the next certificate that was replaced is revoked.
    pub next_revocation: Option<Timestamp>,
    /// When the next step that failed is tried again.
    pub next_retry: Option<Timestamp>,
    /// Whether it was opened from a backup, and nobody has confirmed yet that it may revoke.
    pub is_restored: bool,
}

/// An abandoned generation waits for nothing once another was begun.
const WAITS: &str = "g.hold IS NOT NULL AND g.state <> 'revoked' AND (g.state <> 'abandoned'
    OR g.number = (SELECT MAX(number) FROM generations WHERE device = g.device))";

impl Journal {
    /// Counts what the journal holds.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn counts(&self) -> Result<Counts> {
        let surplus = self.surplus()?.len() as u64;
        let next_look = self.next_look()?;
        let is_restored = self.is_restored()?;
        let looks_owed = self.looks_owed()?;
        self.read(|connection| {
            let devices = count(connection, "SELECT COUNT(*) FROM devices")?;
            let states: BTreeMap<State, u64> = grouped(
                connection,
                "SELECT state, COUNT(*) FROM generations g
                 WHERE number = (SELECT MAX(number) FROM generations WHERE device = g.device) GROUP BY state",
            )?;
            let waits = format!("SELECT hold, COUNT(DISTINCT device) FROM generations g WHERE {WAITS} GROUP BY hold");
            Ok(Counts {
                devices,
                without_generation: devices.saturating_sub(states.values().sum()),
                states,
                holds: grouped(connection, &waits)?,
                asks: grouped(
                    connection,
                    "SELECT ask, COUNT(*) FROM devices WHERE ask IS NOT NULL GROUP BY ask",
                )?,
                surplus,
                looks_owed,
                next_look,
                next_revocation: earliest(
                    connection,
                    "SELECT MIN(revoke_at) FROM generations WHERE state NOT IN ('revoked', 'abandoned')",
                )?,
                next_retry: earliest(
                    connection,
                    &format!("SELECT MIN(retry_at) FROM generations g WHERE {WAITS}"),
                )?,
                is_restored,
            })
        })
    }

    /// Returns how many looks after unclear requests are owed.
    pub(crate) fn looks_owed(&self) -> Result<u64> {
        self.read(|connection| {
            count(
                connection,
                "SELECT COUNT(*) FROM generations WHERE look_at IS NOT NULL",
            )
        })
    }

    /// Returns every generation of a device, oldest first, and what an operator asked for. `None` if the journal does not
    /// know the device.
    ///
    /// # Errors
    /// Returns an error if the journal can't be read.
    pub fn generations(
        &self,
        device: &DeviceName,
    ) -> Result<Option<(Option<Ask>, Vec<Generation>)>> {
        self.read(|connection| {
            let found = connection
                .prepare_cached("SELECT id, ask FROM devices WHERE name = ?")?
                .query_row([device.as_str()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Ask>>(1)?))
                })
                .optional()?;
            let Some((id, ask)) = found else {
                return Ok(None);
            };
            let sql =
                format!("SELECT {COLUMNS} FROM generations g WHERE g.device = ? ORDER BY g.number");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![id], |row| Generation::read(row, 0))?;
            Ok(Some((ask, rows.collect::<rusqlite::Result<_>>()?)))
        })
    }

    /// Calls `each` with the generation that each device uses: verified, and not replaced.
    pub(crate) fn each_current(
        &self,
        mut each: impl FnMut(&DeviceName, &Generation),
    ) -> Result<()> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS}, d.name FROM generations g JOIN devices d ON d.id = g.device
                 WHERE g.state = 'verified' AND g.revoke_at IS NULL"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(&name(row, COLUMN_COUNT)?, &Generation::read(row, 0)?);
            }
            Ok(())
        })
    }

    /// Returns this machine's time, or the newest time of the service that a run has seen, if that is later. For records of
    /// what operators do without asking the service.
    pub(crate) fn time_of_record(&self) -> Result<Timestamp> {
        let service = self.service_time()?;
        Ok(service
            .into_iter()
            .chain([Timestamp::now()])
            .max()
            .unwrap_or_default())
    }
}

impl Generation {
    /// Returns whether a certificate of it may be active.
    pub fn may_be_active(&self) -> bool {
        self.certificate.is_some() && self.state.may_have_certificate()
    }

    /// Returns what its certificate was asked for: the subject, the algorithm of the key and the days. `None` if the device
    /// has made the key, or it was taken over before it had a row.
    pub fn asked_for(&self) -> Option<(DeviceSubject, KeyAlgorithm, u32)> {
        let spec = &self.spec;
        let subject = serde_json::from_str(&spec.subject).ok()?;
        Some((subject, spec.key.parse().ok()?, spec.days))
    }
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

fn grouped<K: rusqlite::types::FromSql + Ord>(
    connection: &Connection,
    sql: &str,
) -> rusqlite::Result<BTreeMap<K, u64>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    rows.collect()
}

fn earliest(connection: &Connection, sql: &str) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(sql)?
        .query_row([], |row| time(row, 0))
}
