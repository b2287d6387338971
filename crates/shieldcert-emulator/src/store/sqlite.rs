//! The zones in a SQLite file, with the CA that signed what is in them.
//!
//! A certificate has a place in its zone, counted from 0 and never given up, so a page of the whole list is a
//! range of places, wherever it stands. Pages by status skip by counts that are kept for every 1,024 places.
//! A transition that is due is settled by whoever comes next, so that statuses and counts are always exact.
//!
//! Several processes may have the file open: what each of them knows of it is in the file alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shieldcert_api::types::ClientCertificate;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Row, Sqlite as Driver, Transaction};
use uuid::Uuid;

use super::{Found, Outcome, Seed, Stretch, ZoneId};
use crate::clock::Clock;
use crate::emulator::Order;
use crate::error::{BoxError, Error};
use crate::paging::Selection;
use crate::transition::{Change, Refusal, Status, Target};

/// "shld": marks a file as an emulator's.
const APPLICATION: i64 = 0x7368_6c64;

/// What each version of the schema adds to the one before. Never changed once it is released.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE ca (id BLOB NOT NULL, certificate BLOB NOT NULL, private_key BLOB NOT NULL);
    CREATE TABLE zones (zone BLOB PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE certificates (
        zone BLOB NOT NULL,
        place INTEGER NOT NULL,
        id BLOB NOT NULL,
        fingerprint TEXT,
        status INTEGER NOT NULL,
        settles_at INTEGER,
        record TEXT NOT NULL
    );
    CREATE UNIQUE INDEX by_place ON certificates (zone, place);
    CREATE UNIQUE INDEX by_id ON certificates (zone, id);
    CREATE INDEX by_status ON certificates (zone, status, place);
    CREATE INDEX by_fingerprint ON certificates (fingerprint);
    CREATE INDEX pending ON certificates (settles_at) WHERE settles_at IS NOT NULL;
    CREATE TABLE counts (
        zone BLOB NOT NULL,
        status INTEGER NOT NULL,
        block INTEGER NOT NULL,
        certificates INTEGER NOT NULL,
        PRIMARY KEY (zone, status, block)
    ) WITHOUT ROWID;
"];

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// SQLite's code for a file that another connection holds.
const BUSY: u32 = 5;

/// How many places a count is for.
const BLOCK: i64 = 1024;

const PAGE: &str = "SELECT record, status FROM certificates
    WHERE zone = ? AND place >= ? AND place < ? ORDER BY place";
const PAGE_BY_STATUS: &str = "SELECT record, status FROM certificates
    WHERE zone = ? AND status = ? AND place >= ? ORDER BY place LIMIT ? OFFSET ?";
const PAGE_BY_ID: &str = "SELECT record, status FROM certificates
    WHERE zone = ?1 AND (?2 IS NULL OR status = ?2) ORDER BY id LIMIT ?3 OFFSET ?4";

/// A CA as it is kept: its id, its certificate in DER, and its key in PKCS#8.
pub(crate) struct KeptCa {
    pub(crate) id: Uuid,
    pub(crate) certificate: Vec<u8>,
    pub(crate) private_key: Vec<u8>,
}

/// The certificates of every zone, in a file.
pub(crate) struct Sqlite {
    readers: SqlitePool,
    /// One connection: writers of this process queue for it in turn, instead of polling the file's lock.
    writer: SqlitePool,
    clock: Clock,
}

impl Sqlite {
    /// Opens a file, or makes one that only its owner can read: a CA's key is in it.
    pub(crate) async fn open(path: &Path, clock: Clock) -> Result<Self, Error> {
        let failed = |source: BoxError| Error::Database {
            path: path.to_owned(),
            source,
        };
        // A path that begins with `:` or `file:` means something to SQLite, a whole one does not.
        let whole = std::path::absolute(path).map_err(|error| failed(error.into()))?;
        make_private(&whole).map_err(|error| failed(error.into()))?;
        // SQLite itself waits for whoever writes, but not for whoever opens a new file at the same moment.
        let started = Instant::now();
        let this = loop {
            match Self::connect(&whole, clock).await {
                Ok(this) => break this,
                Err(error) if code(&error) == Some(BUSY) && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(PATIENCE / 1000).await;
                }
                Err(error) => return Err(failed(explained(error))),
            }
        };
        keep_private(&whole);
        Ok(this)
    }

    async fn connect(path: &Path, clock: Clock) -> Outcome<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered survives the end of this process, though not of the machine's power.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections);
        // A large file's indexes are written to all over: 64 MiB of them stay at hand.
        let writing = options.clone().pragma("cache_size", "-65536");
        let writer = pool(1).connect_with(writing).await?;
        // Before anybody reads: there may be no tables yet.
        migrate(&writer).await?;
        let readers = pool(4).connect_with(options).await?;
        Ok(Self {
            readers,
            writer,
            clock,
        })
    }

    /// Lets go of the file, with everything in it rather than beside it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// How many certificates have been issued, in all zones.
    pub(crate) async fn issued(&self) -> Outcome<u64> {
        let row = sqlx::query("SELECT coalesce(sum(total), 0) FROM zones")
            .fetch_one(&self.readers)
            .await?;
        Ok(u64::try_from(row.get::<i64, _>(0))?)
    }

    /// The CA of the file; the one that is given, where it has none yet.
    pub(crate) async fn ca(&self, new: KeptCa) -> Outcome<KeptCa> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let kept = sqlx::query("SELECT id, certificate, private_key FROM ca")
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = kept {
            return Ok(KeptCa {
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

    pub(crate) async fn insert(
        &self,
        zone: ZoneId,
        id: Uuid,
        certificate: &ClientCertificate,
        quota: Option<usize>,
    ) -> Outcome<bool> {
        let record = serde_json::to_string(certificate)?;
        let zone = zone.bytes();
        let mut transaction = self.begin().await?;
        let active = active(&mut transaction, &zone).await?;
        if quota.is_some_and(|quota| active >= quota) {
            return Ok(false);
        }
        let place = total(&mut transaction, &zone).await?;
        let row = NewRow {
            id,
            fingerprint: certificate.fingerprint_sha256.as_deref(),
            status: Status::Active,
            settles_at: None,
            record,
        };
        put(&mut transaction, &zone, place, row).await?;
        grow(&mut transaction, &zone, 1).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Keeps many at once, in one transaction, if the zone holds `held` before.
    pub(crate) async fn insert_all(
        &self,
        zone: ZoneId,
        held: usize,
        seeds: &[Seed],
        delay: Duration,
    ) -> Outcome<bool> {
        let zone = zone.bytes();
        let mut transaction = self.begin().await?;
        let first = total(&mut transaction, &zone).await?;
        if usize::try_from(first)? != held {
            return Ok(false);
        }
        for (place, seed) in (first..).zip(seeds) {
            let row = NewRow {
                id: seed.id,
                fingerprint: seed.certificate.fingerprint_sha256.as_deref(),
                status: seed.status,
                settles_at: self.settles_at(seed.status, delay),
                record: serde_json::to_string(&*seed.certificate)?,
            };
            put(&mut transaction, &zone, place, row).await?;
        }
        grow(&mut transaction, &zone, i64::try_from(seeds.len())?).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(crate) async fn len(&self, zone: ZoneId) -> Outcome<usize> {
        let total = total(&mut *self.readers.acquire().await?, &zone.bytes()).await?;
        Ok(usize::try_from(total)?)
    }

    /// When a certificate that has just become so is about to settle.
    fn settles_at(&self, status: Status, delay: Duration) -> Option<i64> {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        status
            .is_pending()
            .then(|| self.clock.unix_millis().saturating_add(delay))
    }

    pub(crate) async fn active(&self, zone: ZoneId) -> Outcome<usize> {
        self.settle().await?;
        active(&mut *self.readers.acquire().await?, &zone.bytes()).await
    }

    pub(crate) async fn get(&self, zone: ZoneId, id: Uuid) -> Outcome<Option<Found>> {
        self.settle().await?;
        let row = sqlx::query("SELECT record, status FROM certificates WHERE zone = ? AND id = ?")
            .bind(zone.bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| found(&row)).transpose()
    }

    pub(crate) async fn status_by_fingerprint(&self, sha256: &[u8]) -> Outcome<Option<Status>> {
        self.settle().await?;
        let row = sqlx::query("SELECT status FROM certificates WHERE fingerprint = ?")
            .bind(crate::authority::hex(sha256))
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| status(row.get(0))).transpose()
    }

    pub(crate) async fn change(
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
        let (certificate, before) = found(&row)?;
        let place: i64 = row.get(2);
        let active = active(&mut transaction, &zone).await?;
        if let Err(refusal) = change.allowed(before, active) {
            return Ok(Some(Err(refusal)));
        }
        let after = match (change.target(), before) {
            // On its way there already, or there.
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
        moved(&mut transaction, &zone, place, before, after, settles_at).await?;
        transaction.commit().await?;
        Ok(Some(Ok((certificate, after))))
    }

    pub(crate) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        order: Order,
    ) -> Outcome<Stretch> {
        self.settle().await?;
        let zone = zone.bytes();
        // One transaction, so that page and totals are of the same moment.
        let mut transaction = self.readers.begin().await?;
        let all = total(&mut transaction, &zone).await?;
        let matching = match selection.status {
            None => all,
            Some(status) => counted(&mut transaction, &zone, status).await?,
        };
        let offset = i64::try_from(selection.offset)
            .unwrap_or(i64::MAX)
            .min(matching);
        let limit = i64::try_from(selection.limit)
            .unwrap_or(i64::MAX)
            .min(matching - offset);
        let rows = match order {
            Order::ById => by_id(&mut transaction, &zone, selection.status, offset, limit).await?,
            Order::OldestFirst => {
                by_place(&mut transaction, &zone, selection.status, offset, limit).await?
            }
            Order::NewestFirst => {
                let from_the_start = matching - offset - limit;
                let mut rows = by_place(
                    &mut transaction,
                    &zone,
                    selection.status,
                    from_the_start,
                    limit,
                )
                .await?;
                rows.reverse();
                rows
            }
        };
        Ok(Stretch {
            certificates: rows.iter().map(found).collect::<Outcome<_>>()?,
            all: usize::try_from(all)?,
            matching: usize::try_from(matching)?,
        })
    }

    /// Begins to write, with every transition that is due settled.
    async fn begin(&self) -> Outcome<Transaction<'_, Driver>> {
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = match begun {
            // SQLite ends a transaction itself where the disk is full, and sqlx does not hear of it.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                self.writer.begin_with("BEGIN IMMEDIATE").await?
            }
            begun => begun?,
        };
        let due = sqlx::query("SELECT zone, place, status FROM certificates WHERE settles_at <= ?")
            .bind(self.clock.unix_millis())
            .fetch_all(&mut *transaction)
            .await?;
        for row in due {
            let zone: Vec<u8> = row.get(0);
            let before = status(row.get(2))?;
            let after = match before {
                Status::PendingReactivation => Status::Active,
                _ => Status::Revoked,
            };
            moved(&mut transaction, &zone, row.get(1), before, after, None).await?;
        }
        Ok(transaction)
    }

    /// Settles what is due. Writes only if something is.
    async fn settle(&self) -> Outcome<()> {
        let due = sqlx::query("SELECT 1 FROM certificates WHERE settles_at <= ? LIMIT 1")
            .bind(self.clock.unix_millis())
            .fetch_optional(&self.readers)
            .await?;
        if due.is_some() {
            self.begin().await?.commit().await?;
        }
        Ok(())
    }
}

/// Makes the file before SQLite does, which would let others read it.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    use std::io::ErrorKind;
    let problem = match options.open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match path.metadata() {
            Ok(file) if file.is_file() => return Ok(()),
            Ok(file) if file.is_dir() => "it is a folder; name a file in it",
            Ok(_) => "it is neither a file nor a folder",
            Err(_) => "it is a link that leads nowhere",
        },
        Err(_) if path.is_dir() => "it is a folder; name a file in it",
        Err(error) if error.kind() == ErrorKind::NotFound => "its folder does not exist",
        Err(error) => return Err(error),
    };
    Err(std::io::Error::other(problem))
}

/// Takes a file that was there before, and those beside it, from the eyes of others.
fn keep_private(path: &Path) {
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let Ok(found) = std::fs::metadata(&file) else {
            continue;
        };
        if found.permissions().mode() & 0o077 == 0 {
            continue;
        }
        match std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!(?file, "others could read it: its mode is 0600 now"),
            Err(error) => tracing::warn!(?file, %error, "others can read the CA's key"),
        }
    }
}

/// Brings the schema up to date. A file that this emulator can't use is left as it is.
async fn migrate(writer: &SqlitePool) -> Outcome<()> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let number = async |connection: &mut SqliteConnection, pragma: &'static str| -> Outcome<i64> {
        Ok(sqlx::query(pragma).fetch_one(connection).await?.get(0))
    };
    let application = number(&mut transaction, "PRAGMA application_id").await?;
    let version = number(&mut transaction, "PRAGMA user_version").await?;
    let tables = number(&mut transaction, "SELECT count(*) FROM sqlite_schema").await?;
    if application != APPLICATION && tables > 0 {
        return Err("it is another program's database; choose another file".into());
    }
    let known = i64::try_from(MIGRATIONS.len())?;
    if version > known {
        return Err(format!(
            "its schema has version {version}, and this emulator knows {known}; use a newer emulator"
        )
        .into());
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(version)?) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    if version < known {
        // Pragmas take no parameters. Both numbers are ours.
        let mark = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known}");
        sqlx::raw_sql(AssertSqlSafe(mark))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// What SQLite's code for a failure to open means to whoever chose the file.
pub(super) fn explained(error: BoxError) -> BoxError {
    let Some(database) = database_error(&error) else {
        return error;
    };
    let why = match code(&error) {
        Some(BUSY) => "another process has held it locked for 10 seconds",
        Some(8) => "it can't be written to; see to its permissions and its folder's",
        Some(10) => "the disk does not read or write it",
        Some(11) => "it is damaged or cut off; use a copy, or delete it to begin anew",
        Some(13) => "there is no room on the disk",
        Some(14) => "it can't be opened; see to its permissions and its folder's",
        Some(26) => "it is not a database; choose another file",
        _ => "SQLite refuses it",
    };
    format!("{why} ({})", database.message()).into()
}

fn database_error(error: &BoxError) -> Option<&dyn sqlx::error::DatabaseError> {
    let error = error.downcast_ref::<sqlx::Error>()?;
    error.as_database_error()
}

/// SQLite's primary code, which is the low byte.
fn code(error: &BoxError) -> Option<u32> {
    let code: u32 = database_error(error)?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// A certificate on its way into the file.
struct NewRow<'a> {
    id: Uuid,
    fingerprint: Option<&'a str>,
    status: Status,
    settles_at: Option<i64>,
    record: String,
}

async fn put(
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
    .bind(number(row.status))
    .bind(row.settles_at)
    .bind(row.record)
    .execute(&mut *connection)
    .await?;
    count(connection, zone, row.status, place, 1).await
}

/// Counts certificates that have been put in a zone.
async fn grow(connection: &mut SqliteConnection, zone: &[u8], by: i64) -> Outcome<()> {
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

async fn total(connection: &mut SqliteConnection, zone: &[u8]) -> Outcome<i64> {
    let row = sqlx::query("SELECT total FROM zones WHERE zone = ?")
        .bind(zone)
        .fetch_optional(connection)
        .await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

async fn counted(connection: &mut SqliteConnection, zone: &[u8], status: Status) -> Outcome<i64> {
    let row = sqlx::query(
        "SELECT coalesce(sum(certificates), 0) FROM counts WHERE zone = ? AND status = ?",
    )
    .bind(zone)
    .bind(number(status))
    .fetch_one(connection)
    .await?;
    Ok(row.get(0))
}

/// How many are, or are about to be, active.
async fn active(connection: &mut SqliteConnection, zone: &[u8]) -> Outcome<usize> {
    let settled = counted(connection, zone, Status::Active).await?;
    let pending = counted(connection, zone, Status::PendingReactivation).await?;
    Ok(usize::try_from(settled + pending)?)
}

async fn count(
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
    .bind(number(status))
    .bind(place / BLOCK)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}

async fn moved(
    connection: &mut SqliteConnection,
    zone: &[u8],
    place: i64,
    before: Status,
    after: Status,
    settles_at: Option<i64>,
) -> Outcome<()> {
    sqlx::query("UPDATE certificates SET status = ?, settles_at = ? WHERE zone = ? AND place = ?")
        .bind(number(after))
        .bind(settles_at)
        .bind(zone)
        .bind(place)
        .execute(&mut *connection)
        .await?;
    count(&mut *connection, zone, before, place, -1).await?;
    count(&mut *connection, zone, after, place, 1).await
}

/// A stretch in the order of places.
async fn by_place(
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
    // Whole blocks are skipped by their counts.
    let blocks = sqlx::query(
        "SELECT block, certificates FROM counts WHERE zone = ? AND status = ? ORDER BY block",
    )
    .bind(zone)
    .bind(number(status))
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
        .bind(number(status))
        .bind(first)
        .bind(limit)
        .bind(offset - skipped)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

/// A stretch in the order of ids, which has nothing to skip by: its cost grows with the offset.
async fn by_id(
    connection: &mut SqliteConnection,
    zone: &[u8],
    status: Option<Status>,
    offset: i64,
    limit: i64,
) -> Outcome<Vec<SqliteRow>> {
    let rows = sqlx::query(PAGE_BY_ID)
        .bind(zone)
        .bind(status.map(number))
        .bind(limit)
        .bind(offset)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

fn found(row: &SqliteRow) -> Outcome<Found> {
    let certificate: ClientCertificate = serde_json::from_str(row.get(0))?;
    Ok((Arc::new(certificate), status(row.get(1))?))
}

/// The numbers are in files: they never change.
fn number(status: Status) -> i64 {
    match status {
        Status::Active => 0,
        Status::PendingReactivation => 1,
        Status::PendingRevocation => 2,
        Status::Revoked => 3,
    }
}

fn status(number: i64) -> Outcome<Status> {
    Ok(match number {
        0 => Status::Active,
        1 => Status::PendingReactivation,
        2 => Status::PendingRevocation,
        3 => Status::Revoked,
        other => return Err(format!("the file has a status {other}, which is none").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list's cost is its page's: no query of one goes through a table or sorts anything.
    #[tokio::test]
    async fn pages_come_from_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Sqlite::open(&folder.path().join("emulator.db"), Clock::Wall)
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
