//! The tables, their migrations, and how statuses are numbered.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Row};

use crate::core::status::Status;
use crate::core::store::record::Outcome;

/// "shld": the application id of an emulator's file.
const APPLICATION: i64 = 0x7368_6c64;

/// What each version of the schema adds. A released migration never changes.
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

/// Brings the schema up to date. A file that this emulator can't use stays as it is.
pub(super) async fn migrate(writer: &SqlitePool) -> Outcome<()> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let read = async |connection: &mut SqliteConnection, pragma: &'static str| -> Outcome<i64> {
        Ok(sqlx::query(pragma).fetch_one(connection).await?.get(0))
    };
    let application = read(&mut transaction, "PRAGMA application_id").await?;
    let version = read(&mut transaction, "PRAGMA user_version").await?;
    let tables = read(&mut transaction, "SELECT count(*) FROM sqlite_schema").await?;
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
        // Pragmas take no parameters. Both values are constants.
        let mark = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known}");
        sqlx::raw_sql(AssertSqlSafe(mark))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The number of a status in the file. It never changes.
pub(super) fn status_to_number(status: Status) -> i64 {
    match status {
        Status::Active => 0,
        Status::PendingReactivation => 1,
        Status::PendingRevocation => 2,
        Status::Revoked => 3,
    }
}

pub(super) fn status_from_number(number: i64) -> Outcome<Status> {
    Ok(match number {
        0 => Status::Active,
        1 => Status::PendingReactivation,
        2 => Status::PendingRevocation,
        3 => Status::Revoked,
        other => return Err(format!("the file has an unknown status {other}").into()),
    })
}
