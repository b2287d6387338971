//! The tables of the journal, and how older ones are brought up to date.

use rusqlite::{Connection, TransactionBehavior};

/// Each brings a journal from one version to the next. They are never changed once released.
const MIGRATIONS: &[&str] = &[VERSION_1];

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

const VERSION_1: &str = "
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    -- What an operator asked for: rotate, rotate-now, revoke, revoke-now.
    ask TEXT,
    asked_at INTEGER
) STRICT;

-- The n-th key and certificate of a device. Times are seconds since 1970, by the service's clock.
CREATE TABLE generations (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES devices (id),
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    zone TEXT NOT NULL,
    -- What was asked for.
    subject TEXT NOT NULL,
    key TEXT NOT NULL,
    days INTEGER NOT NULL,
    csr_sha256 TEXT,
    public_key_sha256 TEXT,
    -- What resumes the request, as long as its outcome is open.
    intent TEXT,
    -- When the zone is to be looked at once more, because a request was unclear.
    look_at INTEGER,
    look_intent TEXT,
    look_failures INTEGER NOT NULL DEFAULT 0,
    certificate TEXT,
    -- SHA-256 of the certificate, which is the same however its id is written.
    fingerprint TEXT,
    pem TEXT,
    issuer TEXT,
    not_before INTEGER,
    not_after INTEGER,
    hook_started INTEGER NOT NULL DEFAULT 0,
    verified_at INTEGER,
    revoke_at INTEGER,
    leaked INTEGER NOT NULL DEFAULT 0,
    -- What it waits for, and since when it failed how often.
    hold TEXT,
    problem TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at INTEGER,
    UNIQUE (device, number)
) STRICT;

CREATE INDEX generations_csr ON generations (csr_sha256) WHERE csr_sha256 IS NOT NULL;
CREATE INDEX generations_public_key ON generations (public_key_sha256) WHERE public_key_sha256 IS NOT NULL;
CREATE INDEX generations_certificate ON generations (certificate) WHERE certificate IS NOT NULL;
CREATE INDEX generations_fingerprint ON generations (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE INDEX generations_look ON generations (look_at) WHERE look_at IS NOT NULL;

-- Certificates of this journal's CSRs that nothing uses.
CREATE TABLE surplus (
    certificate TEXT PRIMARY KEY,
    generation INTEGER NOT NULL REFERENCES generations (id),
    zone TEXT NOT NULL,
    found_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    -- Milliseconds since 1970.
    at INTEGER NOT NULL,
    device INTEGER REFERENCES devices (id),
    generation INTEGER,
    act TEXT NOT NULL,
    detail TEXT
) STRICT;

CREATE INDEX history_device ON history (device, id);
CREATE INDEX history_at ON history (at);
";

/// What is wrong with a journal's version.
pub(super) enum Mismatch {
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Mismatch {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Returns the version of a journal; 0 if it is empty.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a journal up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Mismatch> {
    // The lock is taken first, so that two processes don't both migrate.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    if found > VERSION {
        return Err(Mismatch::Newer(found));
    }
    for migration in &MIGRATIONS[usize::try_from(found).unwrap_or_default()..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}
