//! Certificates that were issued for a CSR of the journal, and that nothing uses.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use shieldcert::{CertificateId, ZoneId};

use super::database::Journal;
use super::generation::{Generation, parse};
use super::history::{self, Act};
use crate::error::Result;

/// A surplus certificate that is not revoked yet.
#[derive(Clone, Debug)]
pub(crate) struct Surplus {
    pub(crate) certificate: CertificateId,
    pub(crate) zone: ZoneId,
    device: i64,
    number: u32,
}

pub(super) fn insert(
    connection: &Connection,
    id: &CertificateId,
    generation: &Generation,
    at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO surplus (certificate, generation, zone, found_at) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET revoked_at = NULL",
        )?
        .execute(params![
            id.as_str(),
            generation.id,
            generation.zone.as_str(),
            at.as_second()
        ])?;
    Ok(())
}

impl Journal {
    /// Returns the surplus certificates that are to be revoked. What has become a generation's own is none.
    pub(crate) fn surplus(&self) -> Result<Vec<Surplus>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.certificate, s.zone, g.device, g.number FROM surplus s JOIN generations g ON g.id = s.generation
                 WHERE s.revoked_at IS NULL AND NOT EXISTS (
                     SELECT 1 FROM generations o WHERE o.certificate = s.certificate
                     AND o.state NOT IN ('revoked', 'abandoned'))
                 ORDER BY s.found_at",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Surplus {
                    certificate: parse(row, 0)?,
                    zone: parse(row, 1)?,
                    device: row.get(2)?,
                    number: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Records that a surplus certificate is revoked.
    pub(crate) fn surplus_revoked(&self, surplus: &Surplus, at: Timestamp) -> Result<()> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE surplus SET revoked_at = ? WHERE certificate = ?")?
                .execute(params![at.as_second(), surplus.certificate.as_str()])?;
            let detail = Some(surplus.certificate.as_str());
            history::add(
                transaction,
                at,
                Some(surplus.device),
                Some(surplus.number),
                Act::SurplusRevoked,
                detail,
            )
        })
    }
}
