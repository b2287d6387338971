//! The looks that are owed after unclear requests, and what is recorded with a certificate.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use shieldcert::CertificateId;

use super::database::Journal;
use super::generation::{COLUMN_COUNT, COLUMNS, Change, Generation, Owed, json, name, parse};
use super::history::{self, Act};
use super::surplus;
use crate::backoff::backoff;
use crate::error::Result;

/// No look that failed waits longer, in seconds. A later time was recorded by a clock that was ahead of the service's.
const LONGEST: i64 = 24 * 3600;

impl Journal {
    /// Returns the looks that are due, at most so many.
    pub(crate) fn owed_looks(&self, now: Timestamp, limit: usize) -> Result<Vec<Owed>> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS}, d.id, d.name, g.look_intent, g.look_failures FROM generations g JOIN devices d ON d.id = g.device
                 WHERE g.look_at <= ?1 OR (g.look_failures > 0 AND g.look_at > ?1 + {LONGEST}) ORDER BY g.look_at LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![now.as_second(), limit], |row| {
                Ok(Owed {
                    generation: Generation::read(row, 0)?,
                    device: row.get(COLUMN_COUNT)?,
                    name: name(row, COLUMN_COUNT + 1)?,
                    intent: json(row, COLUMN_COUNT + 2)?,
                    failures: row.get(COLUMN_COUNT + 3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Returns when the next look is due.
    pub(crate) fn next_look(&self) -> Result<Option<Timestamp>> {
        self.read(|connection| {
            let seconds: Option<i64> = connection
                .query_row(
                    "SELECT MIN(look_at) FROM generations WHERE look_at IS NOT NULL",
                    [],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
        })
    }

    /// Returns when the last look is due of those that are due within this window after the first one.
    pub(crate) fn next_looks(&self, window: Duration) -> Result<Option<Timestamp>> {
        let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        self.read(|connection| {
            let seconds: Option<i64> = connection
                .query_row(
                    "WITH next AS (SELECT MIN(look_at) AS at FROM generations WHERE look_at IS NOT NULL)
                     SELECT MAX(look_at) FROM generations, next WHERE look_at - next.at <= ?1",
                    [window],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
        })
    }

    /// Records that a look failed. It is made again later.
    pub(crate) fn postpone_look(&self, owed: &Owed, problem: &str, now: Timestamp) -> Result<()> {
        let generation = &owed.generation;
        let failures = owed.failures.saturating_add(1);
        let at = now.checked_add(backoff(failures)).unwrap_or(now);
        self.write(|transaction| {
            Change::default()
                .set("look_at", at.as_second())
                .set("look_failures", i64::from(failures))
                .write(transaction, generation.id)?;
            let detail = format!("a look after an unclear request failed: {problem}");
            history::add(
                transaction,
                now,
                Some(owed.device),
                Some(generation.number),
                Act::Failed,
                Some(&detail),
            )
        })
    }

    /// Records surplus certificates of a generation, and that it needs no further look.
    pub(crate) fn finish_look(
        &self,
        device: i64,
        generation: &Generation,
        surplus: &[CertificateId],
        at: Timestamp,
    ) -> Result<()> {
        let change = Change::default()
            .set("look_at", None::<i64>)
            .set("look_failures", 0)
            .set("look_intent", None::<String>);
        let entry = surplus.is_empty().then_some((Act::LookedAgain, ""));
        self.change_with_surplus(device, generation, change, surplus, entry, at)
    }

    /// Changes a generation, and records the surplus certificates that its request has led to.
    pub(crate) fn change_with_surplus(
        &self,
        device: i64,
        generation: &Generation,
        change: Change,
        surplus: &[CertificateId],
        entry: Option<(Act, &str)>,
        at: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| {
            change.write(transaction, generation.id)?;
            for id in surplus {
                surplus::insert(transaction, id, generation, at)?;
            }
            let found = surplus.iter().map(|id| (Act::SurplusFound, id.as_str()));
            for (act, detail) in found.chain(entry) {
                let (device, number) = (Some(device), Some(generation.number));
                let detail = Some(detail).filter(|detail| !detail.is_empty());
                history::add(transaction, at, device, number, act, detail)?;
            }
            Ok(())
        })
    }

    /// Returns the certificates that the journal has for a CSR, in any generation.
    pub(crate) fn certificates_of_csr(&self, csr_sha256: &str) -> Result<Vec<CertificateId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT certificate FROM generations WHERE csr_sha256 = ?1 AND certificate IS NOT NULL
                 UNION SELECT s.certificate FROM surplus s JOIN generations g ON g.id = s.generation
                 WHERE g.csr_sha256 = ?1",
            )?;
            let rows = statement.query_map([csr_sha256], |row| parse(row, 0))?;
            rows.collect()
        })
    }

    /// Changes a generation without an entry of the history.
    pub(crate) fn set(&self, generation: &Generation, change: Change) -> Result<()> {
        self.write(|transaction| change.write(transaction, generation.id))
    }
}
