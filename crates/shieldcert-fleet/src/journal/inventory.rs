//! The journal beside what the zones hold.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use shieldcert::{CertificateId, ZoneId};

use super::database::Journal;
use super::generation::{
    COLUMN_COUNT, COLUMNS, Change, Generation, Hold, Reason, Spec, State, name,
};
use super::history::{self, Act};
use super::surplus;
use crate::error::Result;
use crate::name::DeviceName;

/// What identifies a certificate of a zone.
#[derive(Debug)]
pub(crate) struct Identifiers<'a> {
    pub(crate) id: &'a CertificateId,
    /// SHA-256 of the certificate, where it can be read.
    pub(crate) fingerprint: Option<String>,
    /// SHA-256 of its CSR.
    pub(crate) csr: Option<String>,
    /// SHA-256 of its public key, where its CSR can't be read.
    pub(crate) public_key: Option<String>,
}

/// A generation, with its device.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) device: i64,
    pub(crate) name: DeviceName,
    pub(crate) generation: Generation,
}

/// A generation that was found, with its number.
#[derive(Debug)]
pub(crate) struct FoundGeneration<'a> {
    pub(crate) number: u32,
    pub(crate) zone: &'a ZoneId,
    pub(crate) spec: &'a Spec,
    /// What else is known of it.
    pub(crate) change: Change,
}

/// What a certificate of a zone is to the journal.
#[derive(Debug)]
pub(crate) enum Match {
    /// The certificate of a generation.
    Own(Owner),
    /// It was issued for a CSR of a generation, and is not its certificate.
    Other(Owner),
    /// It was issued for a CSR of a generation, and may be its certificate.
    Unclear(Owner),
    /// It was revoked as surplus.
    Surplus(Owner),
    /// It has nothing to do with the journal.
    Foreign,
}

impl Journal {
    /// Forgets which certificates were seen, before a zone is listed.
    pub(crate) fn begin_listing(&self) -> Result<()> {
        self.read(|connection| {
            connection.execute_batch(
                "DROP TABLE IF EXISTS temp.seen; CREATE TEMP TABLE seen (certificate TEXT PRIMARY KEY) WITHOUT ROWID;",
            )
        })
    }

    /// Finds what a certificate of a zone is to the journal, and remembers that it was seen.
    pub(crate) fn matches(&self, identifiers: &Identifiers<'_>) -> Result<Match> {
        self.read(|connection| {
            let id = identifiers.id.as_str();
            let by_id = Some(("g.certificate = ?", id));
            let fingerprint = identifiers.fingerprint.as_deref();
            let by_fingerprint = fingerprint.map(|fingerprint| ("g.fingerprint = ?", fingerprint));
            for (condition, value) in by_id.into_iter().chain(by_fingerprint) {
                if let Some(owner) = owner(connection, condition, value)? {
                    if let Some(id) = &owner.generation.certificate {
                        see(connection, id)?;
                    }
                    return Ok(Match::Own(owner));
                }
            }
            let is_surplus = "g.id = (SELECT generation FROM surplus WHERE certificate = ?)";
            if let Some(owner) = owner(connection, is_surplus, id)? {
                return Ok(Match::Surplus(owner));
            }
            let by_csr = identifiers
                .csr
                .as_deref()
                .map(|csr| ("g.csr_sha256 = ?", csr));
            // A key that the device has made may be in other CSRs.
            let by_key = identifiers
                .public_key
                .as_deref()
                .map(|key| ("g.key <> 'csr' AND g.public_key_sha256 = ?", key));
            for (condition, value) in by_csr.into_iter().chain(by_key) {
                if let Some(owner) = owner(connection, condition, value)? {
                    // It may be the generation's own, if nothing shows what it is.
                    return Ok(
                        match fingerprint.is_none() && owner.generation.certificate.is_some() {
                            true => Match::Unclear(owner),
                            false => Match::Other(owner),
                        },
                    );
                }
            }
            Ok(Match::Foreign)
        })
    }

    /// Calls `each` with the generations of a zone whose certificate the list did not hold.
    pub(crate) fn unseen(&self, zone: &ZoneId, mut each: impl FnMut(Owner)) -> Result<()> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS}, d.id, d.name FROM generations g JOIN devices d ON d.id = g.device
                 WHERE g.zone = ? AND g.certificate IS NOT NULL AND g.state NOT IN ('revoked', 'abandoned')
                 AND NOT EXISTS (SELECT 1 FROM temp.seen s WHERE s.certificate = g.certificate)"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([zone.as_str()])?;
            while let Some(row) = rows.next()? {
                each(Owner {
                    generation: Generation::read(row, 0)?,
                    device: row.get(COLUMN_COUNT)?,
                    name: name(row, COLUMN_COUNT + 1)?,
                });
            }
            Ok(())
        })
    }

    /// Records that an operator is to decide about a generation, or that there is nothing to decide any more.
    pub(crate) fn set_question(
        &self,
        owner: &Owner,
        hold: Option<Hold>,
        at: Timestamp,
    ) -> Result<()> {
        let present = owner.generation.hold.filter(|hold| hold.needs_operator());
        if present == hold {
            return Ok(());
        }
        self.write(|transaction| {
            Change::default()
                .set("hold", hold.map(|hold| hold.as_str().to_owned()))
                .set("problem", None::<String>)
                .write(transaction, owner.generation.id)?;
            let detail = hold.map_or("it is as it should be again", Hold::as_str);
            let (device, number) = (Some(owner.device), Some(owner.generation.number));
            history::add(transaction, at, device, number, Act::Differs, Some(detail))
        })
    }

    /// Returns when the certificate of a generation was issued, as far as the history goes back.
    pub(crate) fn issued_at(&self, owner: &Owner) -> Result<Option<Timestamp>> {
        self.read(|connection| {
            let at: Option<i64> = connection
                .prepare_cached(
                    "SELECT MAX(at) FROM history WHERE device = ? AND generation = ? AND act = ?",
                )?
                .query_row(
                    params![owner.device, owner.generation.number, Act::Issued],
                    |row| row.get(0),
                )?;
            Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
        })
    }

    /// Records a surplus certificate that the inventory showed.
    pub(crate) fn add_surplus(
        &self,
        owner: &Owner,
        id: &CertificateId,
        at: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| {
            surplus::insert(transaction, id, &owner.generation, at)?;
            let (device, number) = (Some(owner.device), Some(owner.generation.number));
            history::add(
                transaction,
                at,
                device,
                number,
                Act::SurplusFound,
                Some(id.as_str()),
            )
        })
    }

    /// Returns the highest number of a device's generations, and its place. Adds the device if it is unknown.
    pub(crate) fn device_place(&self, device: &DeviceName) -> Result<(i64, u32)> {
        self.write(|transaction| {
            transaction
                .prepare_cached("INSERT INTO devices (name) VALUES (?) ON CONFLICT DO NOTHING")?
                .execute([device.as_str()])?;
            let id: i64 = transaction
                .prepare_cached("SELECT id FROM devices WHERE name = ?")?
                .query_row([device.as_str()], |row| row.get(0))?;
            let number = transaction
                .prepare_cached(
                    "SELECT COALESCE(MAX(number), 0) FROM generations WHERE device = ?",
                )?
                .query_row([id], |row| row.get(0))?;
            Ok((id, number))
        })
    }

    /// Adds a generation as it was found, which is recorded as this act. Returns whether it was not there yet.
    pub(crate) fn add_generation(
        &self,
        device: i64,
        found: FoundGeneration<'_>,
        at: Timestamp,
        act: Act,
        detail: &str,
    ) -> Result<bool> {
        let FoundGeneration {
            number,
            zone,
            spec,
            change,
        } = found;
        self.write(|transaction| {
            let added = transaction
                .prepare_cached(
                    "INSERT INTO generations (device, number, state, reason, zone, subject, key, days)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    device,
                    number,
                    State::Keyed,
                    Reason::Adopted,
                    zone.as_str(),
                    spec.subject,
                    spec.key,
                    spec.days
                ])?;
            if added == 0 {
                return Ok(false);
            }
            change.write(transaction, transaction.last_insert_rowid())?;
            history::add(transaction, at, Some(device), Some(number), act, Some(detail))?;
            Ok(true)
        })
    }

    /// Whether a generation has this certificate already.
    pub(crate) fn has_certificate(&self, id: &CertificateId) -> Result<Option<DeviceName>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT d.name FROM generations g JOIN devices d ON d.id = g.device WHERE g.certificate = ?",
                )?
                .query_row([id.as_str()], |row| name(row, 0))
                .optional()
        })
    }
}

fn see(connection: &Connection, id: &CertificateId) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO temp.seen (certificate) VALUES (?)")?
        .execute([id.as_str()])
}

fn owner(connection: &Connection, condition: &str, value: &str) -> rusqlite::Result<Option<Owner>> {
    let sql = format!(
        "SELECT {COLUMNS}, d.id, d.name FROM generations g JOIN devices d ON d.id = g.device WHERE {condition}
         ORDER BY g.number DESC LIMIT 1"
    );
    connection
        .prepare_cached(&sql)?
        .query_row([value], |row| {
            Ok(Owner {
                generation: Generation::read(row, 0)?,
                device: row.get(COLUMN_COUNT)?,
                name: name(row, COLUMN_COUNT + 1)?,
            })
        })
        .optional()
}
