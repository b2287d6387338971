//! Certificates in a SQLite file, with the CA that signed them.
//!
//! A certificate has a place in its zone, counted from 0 and never given up, so a page of the unfiltered list is a
//! range of places. Pages by status skip by counts for every 1,024 places. Each access
//! first settles the transitions that are due, so statuses and counts are always exact.
//!
//! Several processes may have the file open: all that they know of it is in the file.

mod open;
mod query;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row, Sqlite as Driver, Transaction};
use uuid::Uuid;

pub(crate) use self::open::explain;
use self::query::NewRow;
use self::schema::status_from_number;
use super::record::{Found, NewCertificate, Outcome, Page, ZoneId};
use super::selection::Selection;
use crate::core::clock::Clock;
use crate::core::refusal::Refusal;
use crate::core::status::{Change, Status, Target};
use crate::settings::Order;

/// What the file holds of a CA: its id, its certificate in DER, and its key in PKCS#8.
pub(crate) struct StoredCa {
    pub(crate) id: Uuid,
    pub(crate) certificate: Vec<u8>,
    pub(crate) private_key: Vec<u8>,
}

/// The certificates of every zone, in a file.
pub(crate) struct Sqlite {
    readers: SqlitePool,
    /// One connection, as [`Pools`](self::open::Pools) says.
    writer: SqlitePool,
    clock: Arc<Clock>,
}

impl Sqlite {
    /// Opens a file, or makes one that only its owner can read: the CA's key is in it.
    pub(crate) async fn open(path: &Path, clock: Arc<Clock>) -> Outcome<Self> {
        let open::Pools { readers, writer } = open::open(path).await?;
        Ok(Self {
            readers,
            writer,
            clock,
        })
    }

    /// Closes the file, with everything in it rather than in the log next to it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Deletes every certificate, those of other processes too. The CA stays.
    pub(super) async fn clear(&self) -> Outcome<()> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql("DELETE FROM certificates; DELETE FROM counts; DELETE FROM zones")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How many certificates all zones hold.
    pub(crate) async fn total(&self) -> Outcome<u64> {
        let row = sqlx::query("SELECT coalesce(sum(total), 0) FROM zones")
            .fetch_one(&self.readers)
            .await?;
        Ok(u64::try_from(row.get::<i64, _>(0))?)
    }

    /// The CA of the file. If it has none, it gets the new one.
    pub(crate) async fn ca(&self, new: StoredCa) -> Outcome<StoredCa> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let stored = sqlx::query("SELECT id, certificate, private_key FROM ca")
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = stored {
            return Ok(StoredCa {
                id: Uuid::from_slice(row.get(0))?,
                certificate: row.get(1),
                private_key: row.get(2),
            });
        }
        sqlx::query("INSERT INTO ca (id, certificate, private_key) VALUES (?, ?, ?)")
            .bind(new.id.as_bytes().as_slice())
            .bind(new.certificate.as_slice())
            .bind(new.private_key.as_slice())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(new)
    }

    pub(super) async fn insert(
        &self,
        zone: ZoneId,
        id: Uuid,
        certificate: &ClientCertificate,
        quota: Option<usize>,
    ) -> Outcome<bool> {
        let record = serde_json::to_string(certificate)?;
        let zone = zone.bytes();
        let mut transaction = self.begin().await?;
        let active = query::count_active(&mut transaction, &zone).await?;
        if quota.is_some_and(|quota| active >= quota) {
            return Ok(false);
        }
        let place = query::total(&mut transaction, &zone).await?;
        let row = NewRow {
            id,
            fingerprint: certificate.fingerprint_sha256.as_deref(),
            status: Status::Active,
            settles_at: None,
            record,
        };
        query::insert(&mut transaction, &zone, place, row).await?;
        query::add_to_total(&mut transaction, &zone, 1).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// One transaction.
    pub(super) async fn insert_all(
        &self,
        zone: ZoneId,
        held: usize,
        certificates: &[NewCertificate],
        delay: Duration,
    ) -> Outcome<bool> {
        let zone = zone.bytes();
        let mut transaction = self.begin().await?;
        let first = query::total(&mut transaction, &zone).await?;
        if usize::try_from(first)? != held {
            return Ok(false);
        }
        for (place, new) in (first..).zip(certificates) {
            let row = NewRow {
                id: new.id,
                fingerprint: new.certificate.fingerprint_sha256.as_deref(),
                status: new.status,
                settles_at: self.settles_at(new.status, delay),
                record: serde_json::to_string(&*new.certificate)?,
            };
            query::insert(&mut transaction, &zone, place, row).await?;
        }
        query::add_to_total(&mut transaction, &zone, i64::try_from(certificates.len())?).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn len(&self, zone: ZoneId) -> Outcome<usize> {
        let total = query::total(&mut *self.readers.acquire().await?, &zone.bytes()).await?;
        Ok(usize::try_from(total)?)
    }

    /// When a certificate that gets this status now will settle, in milliseconds since 1970.
    fn settles_at(&self, status: Status, delay: Duration) -> Option<i64> {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        status
            .is_pending()
            .then(|| self.now().saturating_add(delay))
    }

    pub(super) async fn active(&self, zone: ZoneId) -> Outcome<usize> {
        self.settle().await?;
        query::count_active(&mut *self.readers.acquire().await?, &zone.bytes()).await
    }

    pub(super) async fn get(&self, zone: ZoneId, id: Uuid) -> Outcome<Option<Found>> {
        self.settle().await?;
        let row = sqlx::query("SELECT record, status FROM certificates WHERE zone = ? AND id = ?")
            .bind(zone.bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| query::parse_row(&row)).transpose()
    }

    pub(super) async fn status_by_fingerprint(&self, sha256: &[u8]) -> Outcome<Option<Status>> {
        self.settle().await?;
        let row = sqlx::query("SELECT status FROM certificates WHERE fingerprint = ?")
            .bind(hex::encode(sha256))
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| status_from_number(row.get(0))).transpose()
    }

    pub(super) async fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
        delay: Duration,
    ) -> Outcome<Option<Result<Found, Refusal>>> {
        let zone = zone.bytes();
        let mut transaction = self.begin().await?;
        let row =
            sqlx::query("SELECT record, status, place FROM certificates WHERE zone = ? AND id = ?")
                .bind(zone.as_slice())
                .bind(id.as_bytes().as_slice())
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let (certificate, before) = query::parse_row(&row)?;
        let place: i64 = row.get(2);
        let active = query::count_active(&mut transaction, &zone).await?;
        if let Err(refusal) = change.check(before, active) {
            return Ok(Some(Err(refusal)));
        }
        let after = match (change.target(), before) {
            // It is, or will be, what is asked for.
            (Target::Active, Status::Active | Status::PendingReactivation)
            | (Target::Revoked, Status::Revoked | Status::PendingRevocation) => {
                return Ok(Some(Ok((certificate, before))));
            }
            (Target::Active, _) if delay.is_zero() => Status::Active,
            (Target::Revoked, _) if delay.is_zero() => Status::Revoked,
            (Target::Active, _) => Status::PendingReactivation,
            (Target::Revoked, _) => Status::PendingRevocation,
        };
        let settles_at = self.settles_at(after, delay);
        query::set_status(&mut transaction, &zone, place, before, after, settles_at).await?;
        transaction.commit().await?;
        Ok(Some(Ok((certificate, after))))
    }

    pub(super) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        order: Order,
    ) -> Outcome<Page> {
        self.settle().await?;
        let zone = zone.bytes();
        // One transaction, so that page and totals agree.
        let mut transaction = self.readers.begin().await?;
        let all = query::total(&mut transaction, &zone).await?;
        let matching = match selection.status {
            None => all,
            Some(status) => query::count_status(&mut transaction, &zone, status).await?,
        };
        let offset = i64::try_from(selection.offset)
            .unwrap_or(i64::MAX)
            .min(matching);
        let limit = i64::try_from(selection.limit)
            .unwrap_or(i64::MAX)
            .min(matching - offset);
        let rows = match order {
            Order::ById => {
                query::page_by_id(&mut transaction, &zone, selection.status, offset, limit).await?
            }
            // The others need memory: see `Store::can_show`.
            Order::OldestFirst | Order::ByName | Order::ByExpiry => {
                query::page_by_place(&mut transaction, &zone, selection.status, offset, limit)
                    .await?
            }
            Order::NewestFirst => {
                let from_oldest = matching - offset - limit;
                let mut rows = query::page_by_place(
                    &mut transaction,
                    &zone,
                    selection.status,
                    from_oldest,
                    limit,
                )
                .await?;
                rows.reverse();
                rows
            }
        };
        Ok(Page {
            certificates: rows.iter().map(query::parse_row).collect::<Outcome<_>>()?,
            all: usize::try_from(all)?,
            matching: usize::try_from(matching)?,
        })
    }

    /// Begins a write, and settles the transitions that are due.
    async fn begin(&self) -> Outcome<Transaction<'_, Driver>> {
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = match begun {
            // SQLite itself ends a transaction when the disk is full, and sqlx does not notice.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                self.writer.begin_with("BEGIN IMMEDIATE").await?
            }
            begun => begun?,
        };
        let due = sqlx::query("SELECT zone, place, status FROM certificates WHERE settles_at <= ?")
            .bind(self.now())
            .fetch_all(&mut *transaction)
            .await?;
        for row in due {
            let zone: Vec<u8> = row.get(0);
            let before = status_from_number(row.get(2))?;
            let after = match before {
                Status::PendingReactivation => Status::Active,
                _ => Status::Revoked,
            };
            query::set_status(&mut transaction, &zone, row.get(1), before, after, None).await?;
        }
        Ok(transaction)
    }

    /// Settles the transitions that are due. Writes only if there are any.
    async fn settle(&self) -> Outcome<()> {
        let due = sqlx::query("SELECT 1 FROM certificates WHERE settles_at <= ? LIMIT 1")
            .bind(self.now())
            .fetch_optional(&self.readers)
            .await?;
        if due.is_some() {
            self.begin().await?.commit().await?;
        }
        Ok(())
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::query::{PAGE, PAGE_BY_ID, PAGE_BY_STATUS};
    use super::*;

    /// The cost of a list is that of its page: no query scans a table or sorts.
    #[tokio::test]
    async fn pages_are_read_by_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Sqlite::open(&folder.path().join("emulator.db"), Arc::new(Clock::wall()))
            .await
            .expect("opens");
        for (query, index) in [
            (PAGE, "by_place (zone=? AND place>? AND place<?)"),
            (
                PAGE_BY_STATUS,
                "by_status (zone=? AND status=? AND place>?)",
            ),
            (PAGE_BY_ID, "by_id (zone=?)"),
        ] {
            let mut plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")));
            for _ in 0..query.matches('?').count() {
                plan = plan.bind(0);
            }
            let steps = plan.fetch_all(&store.readers).await.expect("a plan");
            let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
            let expected = format!("SEARCH certificates USING INDEX {index}");
            assert_eq!(steps, [expected]);
        }
    }
}
