//! The statements. Each takes the connection of its caller's transaction.

use std::sync::Arc;

use shieldcert_api::types::ClientCertificate;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::schema::{status_from_number, status_to_number};
use crate::core::status::Status;
use crate::core::store::record::{Found, Outcome};

/// How many places share a row of counts.
const BLOCK: i64 = 1024;

pub(super) const PAGE: &str = "SELECT record, status FROM certificates
    WHERE zone = ? AND place >= ? AND place < ? ORDER BY place";
pub(super) const PAGE_BY_STATUS: &str = "SELECT record, status FROM certificates
    WHERE zone = ? AND status = ? AND place >= ? ORDER BY place LIMIT ? OFFSET ?";
pub(super) const PAGE_BY_ID: &str = "SELECT record, status FROM certificates
    WHERE zone = ?1 AND (?2 IS NULL OR status = ?2) ORDER BY id LIMIT ?3 OFFSET ?4";

/// A certificate to insert.
pub(super) struct NewRow<'a> {
    pub(super) id: Uuid,
    pub(super) fingerprint: Option<&'a str>,
    pub(super) status: Status,
    pub(super) settles_at: Option<i64>,
    pub(super) record: String,
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    zone: &[u8],
    place: i64,
    row: NewRow<'_>,
) -> Outcome<()> {
    sqlx::query(
        "INSERT INTO certificates (zone, place, id, fingerprint, status, settles_at, record)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(zone)
    .bind(place)
    .bind(row.id.as_bytes().as_slice())
    .bind(row.fingerprint)
    .bind(status_to_number(row.status))
    .bind(row.settles_at)
    .bind(row.record)
    .execute(&mut *connection)
    .await?;
    add_to_count(connection, zone, row.status, place, 1).await
}

/// Adds to the total of a zone.
pub(super) async fn add_to_total(
    connection: &mut SqliteConnection,
    zone: &[u8],
    by: i64,
) -> Outcome<()> {
    sqlx::query(
        "INSERT INTO zones (zone, total) VALUES (?, ?)
         ON CONFLICT DO UPDATE SET total = total + excluded.total",
    )
    .bind(zone)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn total(connection: &mut SqliteConnection, zone: &[u8]) -> Outcome<i64> {
    let row = sqlx::query("SELECT total FROM zones WHERE zone = ?")
        .bind(zone)
        .fetch_optional(connection)
        .await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

pub(super) async fn count_status(
    connection: &mut SqliteConnection,
    zone: &[u8],
    status: Status,
) -> Outcome<i64> {
    let row = sqlx::query(
        "SELECT coalesce(sum(certificates), 0) FROM counts WHERE zone = ? AND status = ?",
    )
    .bind(zone)
    .bind(status_to_number(status))
    .fetch_one(connection)
    .await?;
    Ok(row.get(0))
}

/// How many certificates are or will be active.
pub(super) async fn count_active(connection: &mut SqliteConnection, zone: &[u8]) -> Outcome<usize> {
    let settled = count_status(connection, zone, Status::Active).await?;
    let pending = count_status(connection, zone, Status::PendingReactivation).await?;
    Ok(usize::try_from(settled + pending)?)
}

async fn add_to_count(
    connection: &mut SqliteConnection,
    zone: &[u8],
    status: Status,
    place: i64,
    by: i64,
) -> Outcome<()> {
    sqlx::query(
        "INSERT INTO counts (zone, status, block, certificates) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET certificates = certificates + excluded.certificates",
    )
    .bind(zone)
    .bind(status_to_number(status))
    .bind(place / BLOCK)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_status(
    connection: &mut SqliteConnection,
    zone: &[u8],
    place: i64,
    before: Status,
    after: Status,
    settles_at: Option<i64>,
) -> Outcome<()> {
    sqlx::query("UPDATE certificates SET status = ?, settles_at = ? WHERE zone = ? AND place = ?")
        .bind(status_to_number(after))
        .bind(settles_at)
        .bind(zone)
        .bind(place)
        .execute(&mut *connection)
        .await?;
    add_to_count(&mut *connection, zone, before, place, -1).await?;
    add_to_count(&mut *connection, zone, after, place, 1).await
}

/// A page in the order of places.
pub(super) async fn page_by_place(
    connection: &mut SqliteConnection,
    zone: &[u8],
    status: Option<Status>,
    offset: i64,
    limit: i64,
) -> Outcome<Vec<SqliteRow>> {
    let Some(status) = status else {
        let rows = sqlx::query(PAGE)
            .bind(zone)
            .bind(offset)
            .bind(offset + limit)
            .fetch_all(connection)
            .await?;
        return Ok(rows);
    };
    // The counts skip whole blocks.
    let blocks = sqlx::query(
        "SELECT block, certificates FROM counts WHERE zone = ? AND status = ? ORDER BY block",
    )
    .bind(zone)
    .bind(status_to_number(status))
    .fetch_all(&mut *connection)
    .await?;
    let (mut first, mut skipped) = (0, 0);
    for row in blocks {
        let (block, certificates): (i64, i64) = (row.get(0), row.get(1));
        if skipped + certificates > offset {
            first = block * BLOCK;
            break;
        }
        skipped += certificates;
    }
    let rows = sqlx::query(PAGE_BY_STATUS)
        .bind(zone)
        .bind(status_to_number(status))
        .bind(first)
        .bind(limit)
        .bind(offset - skipped)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

/// A page in the order of ids. Its cost grows with the offset.
pub(super) async fn page_by_id(
    connection: &mut SqliteConnection,
    zone: &[u8],
    status: Option<Status>,
    offset: i64,
    limit: i64,
) -> Outcome<Vec<SqliteRow>> {
    let rows = sqlx::query(PAGE_BY_ID)
        .bind(zone)
        .bind(status.map(status_to_number))
        .bind(limit)
        .bind(offset)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

pub(super) fn parse_row(row: &SqliteRow) -> Outcome<Found> {
    let certificate: ClientCertificate = serde_json::from_str(row.get(0))?;
    Ok((Arc::new(certificate), status_from_number(row.get(1))?))
}
