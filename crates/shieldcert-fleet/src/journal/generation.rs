//! The n-th key and certificate of a device.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use shieldcert::{CertificateId, IssueIntent, ZoneId};

use crate::name::DeviceName;

/// The n-th key and certificate of a device, as the journal has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Generation {
    /// Its place in a journal.
    #[serde(skip)]
    pub(crate) id: i64,
    /// Its number, from 1.
    pub number: u32,
    /// How far it is.
    pub state: State,
    /// Why it was made.
    pub reason: Reason,
    /// The zone, which is chosen when the key is made.
    pub zone: ZoneId,
    /// What the certificate was asked for.
    pub spec: Spec,
    /// SHA-256 of the CSR, in hex.
    pub csr_sha256: Option<String>,
    /// What resumes its request, as long as the outcome is open.
    pub intent: Option<IssueIntent>,
    /// When its zone is to be looked at once more, because a request was unclear.
    pub look_at: Option<Timestamp>,
    /// The certificate.
    pub certificate: Option<CertificateId>,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: Option<String>,
    /// The certificate in PEM, until it is written.
    pub pem: Option<String>,
    /// Who signed the certificate.
    pub issuer: Option<String>,
    /// When the certificate begins to be valid.
    pub not_before: Option<Timestamp>,
    /// When the certificate expires.
    pub not_after: Option<Timestamp>,
    /// Whether the deploy command was started, so that a device may use it.
    pub hook_started: bool,
    /// When it was verified.
    pub verified_at: Option<Timestamp>,
    /// When it is to be revoked, since a later one took its place.
    pub revoke_at: Option<Timestamp>,
    /// Whether its key has leaked.
    pub leaked: bool,
    /// What it waits for.
    pub hold: Option<Hold>,
    /// What went wrong the last time.
    pub problem: Option<String>,
    /// How often in a row it failed.
    pub failures: u32,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
}

/// What a certificate is made from, in the form in which two are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spec {
    /// The subject, in JSON.
    pub subject: String,
    /// The algorithm of the key, or `csr`.
    pub key: String,
    /// How many days it is valid.
    pub days: u32,
}

macro_rules! words {
    ($(#[$docs:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every one.
            #[cfg(test)]
            #[allow(dead_code, reason = "not every kind has such a test")]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word for it, as the journal and the command line write it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("{text:?} is unknown")),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|error: String| FromSqlError::Other(error.into()))
            }
        }
    };
}

pub(super) use words;

words! {
    /// How far a generation is.
    State {
        /// It has a number.
        Planned = "planned",
        /// Key and CSR are on the disk.
        Keyed = "keyed",
        /// The request may have been sent.
        Sending = "sending",
        /// The certificate was received and checked.
        Issued = "issued",
        /// The files are complete.
        Written = "written",
        /// The deploy command succeeded.
        Deployed = "deployed",
        /// It is known to work.
        Verified = "verified",
        /// Its certificate is revoked.
        Revoked = "revoked",
        /// It has no certificate and gets none.
        Abandoned = "abandoned",
    }
}

words! {
    /// Why a generation was made.
    Reason {
        /// The device has none yet.
        New = "new",
        /// The one before it comes to its end.
        Time = "time",
        /// The key of the one before it has leaked.
        Leaked = "leaked",
        /// The manifest asks for another subject.
        SubjectChanged = "subject-changed",
        /// The manifest asks for another type of key.
        KeyChanged = "key-changed",
        /// The manifest asks for another validity.
        ValidityChanged = "validity-changed",
        /// An operator asked for it.
        Asked = "asked",
        /// The device has a new CSR.
        NewCsr = "new-csr",
        /// The one before it can't be used: it has expired, is revoked, or its key is lost.
        Lost = "lost",
        /// It existed before, and was taken over.
        Adopted = "adopted",
    }
}

words! {
    /// What a generation waits for.
    Hold {
        /// A place in the zone's quota.
        Quota = "quota",
        /// A token with the permission.
        Permission = "permission",
        /// A CSR from the device.
        Csr = "csr",
        /// The outcome of a request.
        Unclear = "unclear",
        /// The next try of a step that failed.
        Failed = "failed",
        /// The deploy command, which fails everywhere.
        DeployPaused = "deploy-paused",
        /// An operator: its certificate was revoked by somebody else.
        RevokedElsewhere = "revoked-elsewhere",
        /// An operator: the zone does not have its certificate.
        Missing = "missing",
        /// Its key, which is not where it was, or an operator.
        KeyLost = "key-lost",
        /// An operator: it was taken over without its key.
        Watched = "watched",
        /// An operator, who has paused it. Only an engine on several machines has it.
        Paused = "paused",
        /// A worker: none does the next step. Only an engine on several machines has it.
        Worker = "worker",
    }
}

impl Hold {
    /// Whether an operator decides. Nothing is renewed until one asks for it.
    pub fn needs_operator(self) -> bool {
        matches!(
            self,
            Self::RevokedElsewhere | Self::Missing | Self::KeyLost | Self::Watched
        )
    }
}

impl State {
    /// Whether its certificate may be active.
    pub(crate) fn may_have_certificate(self) -> bool {
        matches!(
            self,
            Self::Sending | Self::Issued | Self::Written | Self::Deployed | Self::Verified
        )
    }
}

/// The columns, in the order in which [`Generation::read`] reads them.
pub(super) const COLUMNS: &str = "g.id, g.number, g.state, g.reason, g.zone, g.subject, g.key, g.days, g.csr_sha256, \
     g.intent, g.look_at, g.certificate, g.pem, g.issuer, g.not_before, g.not_after, g.hook_started, g.verified_at, \
     g.revoke_at, g.leaked, g.hold, g.problem, g.failures, g.retry_at, \
     g.fingerprint";

pub(super) const COLUMN_COUNT: usize = 25;

impl Generation {
    /// Reads it from the columns that begin at this place.
    pub(super) fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(at)?,
            number: row.get(at + 1)?,
            state: row.get(at + 2)?,
            reason: row.get(at + 3)?,
            zone: parse(row, at + 4)?,
            spec: Spec {
                subject: row.get(at + 5)?,
                key: row.get(at + 6)?,
                days: row.get(at + 7)?,
            },
            csr_sha256: row.get(at + 8)?,
            intent: match row.get_ref(at + 9)? {
                ValueRef::Null => None,
                _ => Some(json(row, at + 9)?),
            },
            look_at: time(row, at + 10)?,
            certificate: match row.get_ref(at + 11)? {
                ValueRef::Null => None,
                _ => Some(parse(row, at + 11)?),
            },
            pem: row.get(at + 12)?,
            issuer: row.get(at + 13)?,
            not_before: time(row, at + 14)?,
            not_after: time(row, at + 15)?,
            hook_started: row.get(at + 16)?,
            verified_at: time(row, at + 17)?,
            revoke_at: time(row, at + 18)?,
            leaked: row.get(at + 19)?,
            hold: row.get(at + 20)?,
            problem: row.get(at + 21)?,
            failures: row.get(at + 22)?,
            retry_at: time(row, at + 23)?,
            fingerprint: row.get(at + 24)?,
        })
    }

    /// Creates a generation that was just begun.
    pub fn planned(number: u32, reason: Reason, zone: ZoneId, spec: Spec) -> Self {
        Self {
            id: 0,
            number,
            state: State::Planned,
            reason,
            zone,
            spec,
            csr_sha256: None,
            intent: None,
            look_at: None,
            certificate: None,
            fingerprint: None,
            pem: None,
            issuer: None,
            not_before: None,
            not_after: None,
            hook_started: false,
            verified_at: None,
            revoke_at: None,
            leaked: false,
            hold: None,
            problem: None,
            failures: 0,
            retry_at: None,
        }
    }

    /// Whether its certificate has expired.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| end <= now)
    }
}

fn invalid(column: usize, error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
}

pub(super) fn parse<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: T::Err| invalid(column, error.into()))
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| invalid(column, error.into()))
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceName> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: String| invalid(column, error.into()))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let seconds: Option<i64> = row.get(column)?;
    seconds
        .map(|seconds| {
            Timestamp::from_second(seconds).map_err(|error| invalid(column, error.into()))
        })
        .transpose()
}

pub(crate) fn seconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.as_second())
}

/// What changes of a generation, in one transaction with the entry of the history.
#[derive(Debug, Default)]
pub(crate) struct Change(Vec<(&'static str, rusqlite::types::Value)>);

impl Change {
    /// Changes the state. What it waited for is over.
    pub(crate) fn to(state: State) -> Self {
        Self::default()
            .set("state", state.as_str().to_owned())
            .set("hold", None::<String>)
            .set("problem", None::<String>)
            .set("failures", 0)
            .set("retry_at", None::<i64>)
    }

    /// Holds it, and says why.
    pub(crate) fn hold(hold: Hold, problem: Option<String>, retry_at: Option<Timestamp>) -> Self {
        Self::default()
            .set("hold", hold.as_str().to_owned())
            .set("problem", problem)
            .set("retry_at", seconds(retry_at))
    }

    /// Sets a column.
    pub(crate) fn set(
        mut self,
        column: &'static str,
        value: impl Into<rusqlite::types::Value>,
    ) -> Self {
        self.0.retain(|(other, _)| *other != column);
        self.0.push((column, value.into()));
        self
    }

    pub(crate) fn write(self, connection: &Connection, generation: i64) -> rusqlite::Result<()> {
        let columns: Vec<String> = self
            .0
            .iter()
            .map(|(column, _)| format!("{column} = ?"))
            .collect();
        let sql = format!("UPDATE generations SET {} WHERE id = ?", columns.join(", "));
        let values = self
            .0
            .into_iter()
            .map(|(_, value)| value)
            .chain([generation.into()]);
        connection
            .prepare_cached(&sql)?
            .execute(rusqlite::params_from_iter(values))?;
        Ok(())
    }
}

/// Adds a generation. Returns its id and number.
pub(crate) fn insert(
    connection: &Connection,
    device: i64,
    reason: Reason,
    zone: &ZoneId,
    spec: &Spec,
) -> rusqlite::Result<(i64, u32)> {
    let number: u32 = connection
        .prepare_cached("SELECT COALESCE(MAX(number), 0) + 1 FROM generations WHERE device = ?")?
        .query_row([device], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO generations (device, number, state, reason, zone, subject, key, days) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![device, number, State::Planned, reason, zone.as_str(), spec.subject, spec.key, spec.days])?;
    Ok((connection.last_insert_rowid(), number))
}

/// A generation whose zone is to be looked at once more.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) device: i64,
    pub(crate) name: DeviceName,
    pub(crate) generation: Generation,
    pub(crate) intent: IssueIntent,
    /// How often in a row the look failed.
    pub(crate) failures: u32,
}
