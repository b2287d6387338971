//! The certificates of every zone, in memory or in a SQLite file.

mod memory;
mod record;
mod selection;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use uuid::Uuid;

use self::memory::Memory;
use self::record::Outcome;
pub(crate) use self::record::{Found, NewCertificate, Page, ZoneId};
pub(crate) use self::selection::{Selection, View};
#[cfg(feature = "sqlite")]
use self::sqlite::Sqlite;
use super::clock::Clock;
use super::refusal::Refusal;
use super::status::{Change, Status};

/// Where certificates are kept.
pub(crate) enum Store {
    Memory(Memory),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
}

impl Store {
    pub(crate) fn in_memory(clock: Arc<Clock>) -> Self {
        Self::Memory(Memory::new(clock))
    }

    /// Stores a certificate that was just issued. Returns false if `quota` certificates are active already.
    pub(crate) async fn insert(
        &self,
        zone: ZoneId,
        id: Uuid,
        certificate: Arc<ClientCertificate>,
        quota: Option<usize>,
    ) -> Outcome<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.insert(zone, id, certificate, quota)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.insert(zone, id, &certificate, quota).await,
        }
    }

    /// Stores many certificates at once. Those that are pending settle after `delay`. Returns false if the zone
    /// does not hold `held` certificates before: another process may populate it too.
    pub(crate) async fn insert_all(
        &self,
        zone: ZoneId,
        held: usize,
        certificates: &[NewCertificate],
        delay: Duration,
    ) -> Outcome<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.insert_all(zone, held, certificates, delay)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => {
                let stored = sqlite.insert_all(zone, held, certificates, delay).await;
                stored.map_err(sqlite::explain)
            }
        }
    }

    /// How many certificates the zone holds.
    pub(crate) async fn len(&self, zone: ZoneId) -> Outcome<usize> {
        match self {
            Self::Memory(memory) => Ok(memory.len(zone)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.len(zone).await,
        }
    }

    /// Deletes every certificate of every zone.
    pub(crate) async fn clear(&self) -> Outcome<()> {
        match self {
            Self::Memory(memory) => {
                memory.clear();
                Ok(())
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.clear().await.map_err(sqlite::explain),
        }
    }

    /// Closes the file, if there is one.
    pub(crate) async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }

    /// How many certificates of the zone are or will be active.
    pub(crate) async fn active(&self, zone: ZoneId) -> Outcome<usize> {
        match self {
            Self::Memory(memory) => Ok(memory.active(zone)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.active(zone).await,
        }
    }

    /// Whether the store can show this.
    pub(crate) fn can_show(&self, view: View) -> bool {
        matches!(self, Self::Memory(_)) || view.as_of.is_none() && !view.order.needs_memory()
    }

    /// The certificate with this id, if the zone has it, or had it at `as_of`.
    pub(crate) async fn get(
        &self,
        zone: ZoneId,
        id: Uuid,
        as_of: Option<Duration>,
    ) -> Outcome<Option<Found>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(zone, id, as_of)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.get(zone, id).await,
        }
    }

    /// The status of the certificate with this SHA-256, if any zone has it.
    pub(crate) async fn status_by_fingerprint(&self, sha256: &[u8]) -> Outcome<Option<Status>> {
        match self {
            Self::Memory(memory) => Ok(memory.status_by_fingerprint(sha256)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.status_by_fingerprint(sha256).await,
        }
    }

    /// Changes a certificate, if the zone has it.
    pub(crate) async fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
        delay: Duration,
    ) -> Outcome<Option<Result<Found, Refusal>>> {
        match self {
            Self::Memory(memory) => Ok(memory.change(zone, id, change, delay)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.change(zone, id, change, delay).await,
        }
    }

    /// A page of the zone's list, which the store [can show](Self::can_show).
    pub(crate) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        view: View,
    ) -> Outcome<Page> {
        match self {
            Self::Memory(memory) => Ok(memory.list(zone, selection, view)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.list(zone, selection, view.order).await,
        }
    }
}
