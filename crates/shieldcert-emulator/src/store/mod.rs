//! What the zones hold: in memory, or in a SQLite file.
//!
//! Everything that is kept goes through [`Store`]'s few methods, which know nothing of HTTP or of X.509.

mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use tokio::time::Instant;
use uuid::Uuid;

use crate::emulator::Order;
use crate::error::BoxError;
use crate::paging::Selection;
use crate::transition::{Change, Refusal, Status};

/// A zone's id: 32 hex digits, of either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ZoneId(u128);

impl ZoneId {
    /// None where `text` is not 32 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }

    pub(crate) fn number(self) -> u128 {
        self.0
    }

    #[cfg(feature = "sqlite")]
    fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// A certificate as it is returned, its status apart.
pub(crate) type Found = (Arc<ClientCertificate>, Status);

/// A certificate that was never asked for, to fill a zone with.
pub(crate) struct Seed {
    pub(crate) id: Uuid,
    pub(crate) certificate: Arc<ClientCertificate>,
    pub(crate) status: Status,
}

/// A stretch of a list.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) certificates: Vec<Found>,
    /// How many certificates the zone holds.
    pub(crate) all: usize,
    /// How many of them have the status that was asked for.
    pub(crate) matching: usize,
}

/// The certificates of every zone.
pub(crate) enum Store {
    Memory(memory::Memory),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Sqlite),
}

impl Default for Store {
    fn default() -> Self {
        Self::Memory(memory::Memory::default())
    }
}

/// What a store answers. Memory never fails; a disk may.
type Outcome<T> = Result<T, BoxError>;

impl Store {
    /// Keeps a certificate that has just been issued, if that leaves no more active ones than `quota`.
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

    /// Keeps many certificates at once, if the zone holds `held` before: another process may fill it too. Those that
    /// are pending settle after `delay`.
    pub(crate) async fn insert_all(
        &self,
        zone: ZoneId,
        held: usize,
        seeds: &[Seed],
        delay: Duration,
    ) -> Outcome<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.insert_all(zone, held, seeds, Instant::now(), delay)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => {
                let kept = sqlite.insert_all(zone, held, seeds, delay).await;
                kept.map_err(sqlite::explained)
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

    /// Lets go of what is kept, whole.
    pub(crate) async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }

    /// How many certificates of the zone are, or are about to be, active.
    pub(crate) async fn active(&self, zone: ZoneId) -> Outcome<usize> {
        match self {
            Self::Memory(memory) => Ok(memory.active(zone)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.active(zone).await,
        }
    }

    /// The certificate with this id, if the zone has it.
    pub(crate) async fn get(&self, zone: ZoneId, id: Uuid) -> Outcome<Option<Found>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(zone, id, Instant::now())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.get(zone, id).await,
        }
    }

    /// The status of the certificate with this SHA-256, if any zone has it.
    pub(crate) async fn status_by_fingerprint(&self, sha256: &[u8]) -> Outcome<Option<Status>> {
        match self {
            Self::Memory(memory) => Ok(memory.status_by_fingerprint(sha256, Instant::now())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.status_by_fingerprint(sha256).await,
        }
    }

    /// Changes where a certificate is going, if the zone has it and nothing speaks against it.
    pub(crate) async fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
        delay: Duration,
    ) -> Outcome<Option<Result<Found, Refusal>>> {
        match self {
            Self::Memory(memory) => Ok(memory.change(zone, id, Instant::now(), change, delay)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.change(zone, id, change, delay).await,
        }
    }

    /// One stretch of the zone's list.
    pub(crate) async fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        order: Order,
    ) -> Outcome<Stretch> {
        match self {
            Self::Memory(memory) => Ok(memory.list(zone, selection, order, Instant::now())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.list(zone, selection, order).await,
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::random::Random;

    const ZONES: [ZoneId; 2] = [ZoneId(1), ZoneId(2)];
    const ORDERS: [Order; 3] = [Order::NewestFirst, Order::OldestFirst, Order::ById];
    const STATUSES: [Option<Status>; 5] = [
        None,
        Some(Status::Active),
        Some(Status::PendingReactivation),
        Some(Status::PendingRevocation),
        Some(Status::Revoked),
    ];

    /// Both kinds of store, which are to answer alike.
    struct Both {
        memory: Store,
        sqlite: Store,
        // Holds the file.
        folder: tempfile::TempDir,
    }

    impl Both {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let sqlite = Self::open(&folder).await;
            Self {
                memory: Store::default(),
                sqlite,
                folder,
            }
        }

        async fn open(folder: &tempfile::TempDir) -> Store {
            let path = folder.path().join("emulator.db");
            Store::Sqlite(
                sqlite::Sqlite::open(&path, Clock::Wall)
                    .await
                    .expect("opens"),
            )
        }

        async fn reopen(&mut self) {
            self.sqlite.close().await;
            self.sqlite = Self::open(&self.folder).await;
        }

        async fn assert_page(&self, zone: ZoneId, order: Order, selection: &Selection) {
            let memory = self.memory.list(zone, selection, order).await;
            let sqlite = self.sqlite.list(zone, selection, order).await;
            let (memory, sqlite) = (memory.expect("a list"), sqlite.expect("a list"));
            let of = |stretch: &Stretch| {
                let found = stretch.certificates.iter();
                let found: Vec<_> = found
                    .map(|(certificate, status)| (certificate.ski.clone(), *status))
                    .collect();
                (found, stretch.all, stretch.matching)
            };
            assert_eq!(of(&memory), of(&sqlite), "{order:?} {selection:?}");
        }

        async fn assert_alike(&self, pages: u64) {
            for zone in ZONES {
                let active = self.memory.active(zone).await.expect("a count");
                assert_eq!(active, self.sqlite.active(zone).await.expect("a count"));
                assert_eq!(
                    self.memory.len(zone).await.expect("a count"),
                    self.sqlite.len(zone).await.expect("a count")
                );
                for order in ORDERS {
                    for status in STATUSES {
                        let all = self.memory.len(zone).await.expect("a count") as u64;
                        for page in 0..=pages {
                            let (offset, limit) = (page * all / pages.max(1), 7 + page % 3);
                            let selection = Selection::new(status, offset, limit);
                            self.assert_page(zone, order, &selection).await;
                        }
                        let none = Selection::new(status, u64::MAX, u64::MAX);
                        self.assert_page(zone, order, &none).await;
                        let every = Selection::new(status, 0, u64::MAX);
                        self.assert_page(zone, order, &every).await;
                    }
                }
            }
        }
    }

    fn certificate(id: Uuid) -> Arc<ClientCertificate> {
        let mut certificate = ClientCertificate::default();
        certificate.ski = Some(id.to_string());
        certificate.fingerprint_sha256 = Some(format!("{:064x}", id.as_u128()));
        Arc::new(certificate)
    }

    #[tokio::test]
    async fn memory_and_sqlite_answer_alike() {
        for seed in 0..8 {
            let random = Random::seeded(seed);
            let below = |bound: usize| (random.fraction() * bound as f64) as usize;
            let mut both = Both::new().await;
            let mut ids = Vec::new();
            for step in 0..120 {
                let zone = ZONES[below(2)];
                let quota = [None, Some(5), Some(30)][below(3)];
                // A delay that is over at once, or never: no test waits.
                let delay = [Duration::ZERO, Duration::MAX][below(2)];
                if ids.is_empty() || below(3) == 0 {
                    let id = random.uuid();
                    let memory = both.memory.insert(zone, id, certificate(id), quota).await;
                    let sqlite = both.sqlite.insert(zone, id, certificate(id), quota).await;
                    assert_eq!(memory.expect("kept"), sqlite.expect("kept"), "{step}");
                    ids.push(id);
                } else {
                    let id = ids[below(ids.len())];
                    let reactivate = Change::Reactivate {
                        revoked_too: below(2) == 0,
                        quota,
                    };
                    let change = [Change::Revoke, reactivate][below(2)];
                    let memory = both.memory.change(zone, id, change, delay).await;
                    let sqlite = both.sqlite.change(zone, id, change, delay).await;
                    let status = |changed: Outcome<Option<Result<Found, Refusal>>>| {
                        changed
                            .expect("no error")
                            .map(|found| found.map(|(_, status)| status))
                    };
                    assert_eq!(status(memory), status(sqlite), "{step} of {seed}");
                    let memory = both.memory.get(zone, id).await.expect("no error");
                    let sqlite = both.sqlite.get(zone, id).await.expect("no error");
                    assert_eq!(
                        memory.map(|(_, status)| status),
                        sqlite.map(|(_, status)| status)
                    );
                    let sha256 = id.as_u128().to_be_bytes();
                    let sha256 = [[0; 16], sha256].concat();
                    assert_eq!(
                        both.memory
                            .status_by_fingerprint(&sha256)
                            .await
                            .expect("no error"),
                        both.sqlite
                            .status_by_fingerprint(&sha256)
                            .await
                            .expect("no error")
                    );
                }
            }
            both.assert_alike(3).await;
            both.reopen().await;
            both.assert_alike(3).await;
        }
    }

    /// Pages by status skip whole blocks of places: several, some without a match.
    #[tokio::test]
    async fn many_certificates_are_paged_alike() {
        let both = Both::new().await;
        let random = Random::seeded(0);
        let status = |index: usize| match index {
            1_024..2_048 => Status::Revoked,
            2_048..4_096 if index.is_multiple_of(2) => Status::Revoked,
            3_000 => Status::PendingRevocation,
            _ => Status::Active,
        };
        let seeds: Vec<_> = (0..5_000)
            .map(|index| {
                let id = random.uuid();
                Seed {
                    id,
                    certificate: certificate(id),
                    status: status(index),
                }
            })
            .collect();
        for (number, part) in seeds.chunks(1_700).enumerate() {
            let held = number * 1_700;
            for store in [&both.memory, &both.sqlite] {
                let kept = store.insert_all(ZONES[0], held, part, Duration::MAX).await;
                assert!(kept.expect("no error"));
            }
        }
        let late = both
            .sqlite
            .insert_all(ZONES[0], 7, &[], Duration::MAX)
            .await;
        assert!(!late.expect("no error"), "another one was faster");
        both.assert_alike(40).await;
    }

    /// By the machine's clock, which a file's transitions follow.
    #[tokio::test]
    async fn a_transition_in_a_file_settles_when_its_time_has_come() {
        let mut both = Both::new().await;
        let id = Uuid::from_u128(7);
        let zone = ZONES[0];
        let kept = both.sqlite.insert(zone, id, certificate(id), None).await;
        assert!(kept.expect("kept"));
        let delay = Duration::from_millis(300);
        let changed = both.sqlite.change(zone, id, Change::Revoke, delay).await;
        let (_, status) = changed.expect("no error").expect("there").expect("allowed");
        assert_eq!(status, Status::PendingRevocation);
        both.reopen().await;
        let settled = async {
            loop {
                let found = both.sqlite.get(zone, id).await.expect("no error");
                match found.expect("there").1 {
                    Status::PendingRevocation => tokio::time::sleep(delay / 30).await,
                    status => break status,
                }
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(60), settled).await;
        assert_eq!(status, Ok(Status::Revoked));
        let revoked = Selection::new(Some(Status::Revoked), 0, 10);
        let listed = both.sqlite.list(zone, &revoked, Order::NewestFirst).await;
        assert_eq!(listed.expect("a list").matching, 1);
    }
}
