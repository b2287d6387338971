//! What the journal and the manifest hold of a device.

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::database::Journal;
use super::generation::{
    self, COLUMN_COUNT, COLUMNS, Change, Generation, Reason, Spec, State, name, seconds,
};
use super::history::{self, Act};
use crate::error::Result;
use crate::manifest::Device;
use crate::name::DeviceName;
use shieldcert::ZoneId;

/// What the journal and the manifest hold of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its place in the journal. `None` if it is not there yet.
    #[serde(skip)]
    pub(crate) id: Option<i64>,
    /// Its name.
    pub name: DeviceName,
    /// Its row of the manifest. `None`: it is unmanaged.
    pub device: Option<Device>,
    /// What an operator asked for.
    pub ask: Option<Ask>,
    /// Its generations that are neither revoked nor abandoned, oldest first, and the newest one in any case. Of a device that
    /// has made its key itself, all of them: their CSRs are not to be used again.
    pub generations: Vec<Generation>,
}

const SELECT: &str = "SELECT d.id, COALESCE(d.name, m.name), m.device, d.ask";

/// Revoked and abandoned generations say nothing any more, but the newest one may, and the CSRs of a device's own keys.
const RELEVANT: &str =
    "g.device = d.id AND (g.state NOT IN ('revoked', 'abandoned') OR g.key = 'csr'
    OR g.number = (SELECT MAX(number) FROM generations WHERE device = d.id))";

impl Snapshot {
    fn begin(row: &Row<'_>) -> rusqlite::Result<Self> {
        let device: Option<String> = row.get(2)?;
        let device = device
            .map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    2,
                    rusqlite::types::Type::Text,
                    error.into(),
                )
            })?;
        Ok(Self {
            id: row.get(0)?,
            name: name(row, 1)?,
            device,
            ask: row.get(3)?,
            generations: Vec::new(),
        })
    }
}

/// Calls `each` with each device of a query whose rows are ordered by device and generation.
fn group(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    mut each: impl FnMut(Snapshot),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    debug_assert_eq!(statement.column_count(), 4 + COLUMN_COUNT);
    let mut rows = statement.query(parameters)?;
    let mut current: Option<Snapshot> = None;
    while let Some(row) = rows.next()? {
        let is_other = |current: &Snapshot| {
            Ok::<_, rusqlite::Error>(current.name.as_str() != row.get_ref(1)?.as_str()?)
        };
        if current.as_ref().map(is_other).transpose()?.unwrap_or(true) {
            if let Some(done) = current.take() {
                each(done);
            }
            current = Some(Snapshot::begin(row)?);
        }
        let is_generation: Option<i64> = row.get(4)?;
        if let (Some(current), Some(_)) = (&mut current, is_generation) {
            current.generations.push(Generation::read(row, 4)?);
        }
    }
    if let Some(done) = current {
        each(done);
    }
    Ok(())
}

impl Journal {
    /// Calls `each` with every device of the manifest in its order, and then with those that only the journal has.
    pub(crate) fn each_device(&self, mut each: impl FnMut(Snapshot)) -> Result<()> {
        self.read(|connection| {
            let managed = format!(
                "{SELECT}, {COLUMNS} FROM temp.manifest m LEFT JOIN devices d ON d.name = m.name
                 LEFT JOIN generations g ON {RELEVANT} ORDER BY m.row, g.number"
            );
            group(connection, &managed, [], &mut each)?;
            let unmanaged = format!(
                "SELECT d.id, d.name, NULL, d.ask, {COLUMNS} FROM devices d LEFT JOIN generations g ON {RELEVANT}
                 WHERE NOT EXISTS (SELECT 1 FROM temp.manifest m WHERE m.name = d.name) ORDER BY d.id, g.number"
            );
            group(connection, &unmanaged, [], &mut each)
        })
    }

    /// Returns a device by its place in the journal.
    pub(crate) fn device(&self, id: i64) -> Result<Option<Snapshot>> {
        self.read(|connection| {
            let sql = format!(
                "{SELECT}, {COLUMNS} FROM devices d LEFT JOIN temp.manifest m ON m.name = d.name
                 LEFT JOIN generations g ON {RELEVANT} WHERE d.id = ? ORDER BY g.number"
            );
            let mut found = None;
            group(connection, &sql, [id], |snapshot| found = Some(snapshot))?;
            Ok(found)
        })
    }

    /// Begins a generation. Returns it with its number.
    pub(crate) fn begin_generation(
        &self,
        device: i64,
        reason: Reason,
        zone: &ZoneId,
        spec: &Spec,
        failures: u32,
        at: Timestamp,
    ) -> Result<u32> {
        self.write(|transaction| {
            let (id, number) = generation::insert(transaction, device, reason, zone, spec)?;
            Change::default()
                .set("failures", i64::from(failures))
                .write(transaction, id)?;
            history::add(
                transaction,
                at,
                Some(device),
                Some(number),
                Act::Planned,
                Some(reason.as_str()),
            )?;
            Ok(number)
        })
    }

    /// Changes a generation, and adds what was done to the history.
    pub(crate) fn change(
        &self,
        device: i64,
        generation: &Generation,
        change: Change,
        at: Timestamp,
        act: Act,
        detail: Option<&str>,
    ) -> Result<()> {
        self.write(|transaction| {
            change.write(transaction, generation.id)?;
            history::add(
                transaction,
                at,
                Some(device),
                Some(generation.number),
                act,
                detail,
            )
        })
    }

    /// Corrects the times of generations that were verified by a clock of this machine that was ahead: what they have
    /// replaced is revoked a grace period from now. Returns of how many devices.
    pub(crate) fn correct_times(&self, now: Timestamp) -> Result<u64> {
        // What the service has said before is later than what it says now only by its own oddities.
        const SLACK: i64 = 3_600;
        let known = self.service_time()?.unwrap_or(now).max(now);
        let (limit, now) = (known.as_second().saturating_add(SLACK), now.as_second());
        let ahead = self.read(|connection| {
            connection
                .prepare_cached("SELECT COUNT(*) FROM generations WHERE verified_at > ?")?
                .query_row([limit], |row| row.get::<_, i64>(0))
        })?;
        if ahead == 0 {
            return Ok(0);
        }
        self.write(|transaction| {
            // The grace period is what lies between the two times.
            transaction.execute(
                "UPDATE generations AS g SET revoke_at = ?1 + g.revoke_at - v.at
                 FROM (SELECT o.id, MIN(n.verified_at) AS at FROM generations o
                       JOIN generations n ON n.device = o.device AND n.number > o.number
                       WHERE o.revoke_at IS NOT NULL GROUP BY o.id) AS v
                 WHERE v.id = g.id AND v.at > ?2 AND g.revoke_at >= v.at",
                [now, limit],
            )?;
            let mut statement = transaction.prepare(
                "UPDATE generations SET verified_at = ?1 WHERE verified_at > ?2 RETURNING device, number",
            )?;
            let corrected = statement.query_map([now, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let corrected: Vec<(i64, u32)> = corrected.collect::<rusqlite::Result<_>>()?;
            let at = Timestamp::from_second(now).unwrap_or_default();
            for (device, number) in &corrected {
                let detail = Some("its times were those of a clock that was ahead");
                history::add(transaction, at, Some(*device), Some(*number), Act::Differs, detail)?;
            }
            Ok(corrected.len() as u64)
        })
    }

    /// Records that a generation is verified, and when those before it are to be revoked.
    pub(crate) fn verify(
        &self,
        device: i64,
        generation: &Generation,
        at: Timestamp,
        revoke_at: Timestamp,
        detail: Option<&str>,
    ) -> Result<()> {
        self.write(|transaction| {
            Change::to(State::Verified)
                .set("verified_at", at.as_second())
                .write(transaction, generation.id)?;
            transaction
                .prepare_cached(
                    "UPDATE generations SET revoke_at = MIN(COALESCE(revoke_at, ?1), ?1)
                     WHERE device = ?2 AND number < ?3 AND state NOT IN ('revoked', 'abandoned')",
                )?
                .execute(rusqlite::params![seconds(Some(revoke_at)), device, generation.number])?;
            transaction
                .prepare_cached("UPDATE devices SET ask = NULL WHERE id = ? AND ask IN ('rotate', 'rotate-now')")?
                .execute([device])?;
            history::add(transaction, at, Some(device), Some(generation.number), Act::Verified, detail)
        })
    }
}
