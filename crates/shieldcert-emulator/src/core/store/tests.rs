//! Memory and SQLite return the same, whatever happens.

use super::*;
use crate::core::random::Random;
use crate::settings::Order;

const ZONES: [ZoneId; 2] = [ZoneId::from_number(1), ZoneId::from_number(2)];
const ORDERS: [Order; 3] = [Order::NewestFirst, Order::OldestFirst, Order::ById];
const STATUSES: [Option<Status>; 5] = [
    None,
    Some(Status::Active),
    Some(Status::PendingReactivation),
    Some(Status::PendingRevocation),
    Some(Status::Revoked),
];

/// Both kinds of store, with one clock.
struct Both {
    memory: Store,
    sqlite: Store,
    clock: Arc<Clock>,
    // Deletes the file when it is dropped.
    folder: tempfile::TempDir,
}

impl Both {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Clock::wall());
        Self {
            memory: Store::in_memory(clock.clone()),
            sqlite: Self::open(&folder, &clock).await,
            clock,
            folder,
        }
    }

    async fn open(folder: &tempfile::TempDir, clock: &Arc<Clock>) -> Store {
        let path = folder.path().join("emulator.db");
        Store::Sqlite(Sqlite::open(&path, clock.clone()).await.expect("opens"))
    }

    async fn reopen(&mut self) {
        self.sqlite.close().await;
        self.sqlite = Self::open(&self.folder, &self.clock).await;
    }

    async fn assert_page(&self, zone: ZoneId, order: Order, selection: &Selection) {
        let memory = self.memory.list(zone, selection, order.into()).await;
        let sqlite = self.sqlite.list(zone, selection, order.into()).await;
        let (memory, sqlite) = (memory.expect("a list"), sqlite.expect("a list"));
        let fields = |page: &Page| {
            let found = page.certificates.iter();
            let found: Vec<_> = found
                .map(|(certificate, status)| (certificate.ski.clone(), *status))
                .collect();
            (found, page.all, page.matching)
        };
        assert_eq!(fields(&memory), fields(&sqlite), "{order:?} {selection:?}");
    }

    async fn assert_agree(&self, pages: u64) {
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
                        let selection = Selection {
                            status,
                            offset,
                            limit,
                        };
                        self.assert_page(zone, order, &selection).await;
                    }
                    let none = Selection {
                        status,
                        offset: u64::MAX,
                        limit: u64::MAX,
                    };
                    self.assert_page(zone, order, &none).await;
                    let every = Selection {
                        status,
                        offset: 0,
                        limit: u64::MAX,
                    };
                    self.assert_page(zone, order, &every).await;
                }
            }
        }
    }
}

fn certificate(id: Uuid) -> Arc<ClientCertificate> {
    let mut certificate = ClientCertificate::default();
    let fingerprint = format!("{:064x}", id.as_u128());
    certificate.ski = Some(id.to_string());
    certificate.fingerprint_sha256 = Some(fingerprint);
    Arc::new(certificate)
}

#[tokio::test]
async fn memory_and_sqlite_agree() {
    for seed in 0..8 {
        let random = Random::from_seed(seed);
        let below = |bound: usize| (random.fraction() * bound as f64) as usize;
        let mut both = Both::new().await;
        let mut ids = Vec::new();
        for step in 0..120 {
            let zone = ZONES[below(2)];
            let quota = [None, Some(5), Some(30)][below(3)];
            // A delay that ends at once, or never.
            let delay = [Duration::ZERO, Duration::MAX][below(2)];
            if ids.is_empty() || below(3) == 0 {
                let id = random.uuid();
                let memory = both.memory.insert(zone, id, certificate(id), quota).await;
                let sqlite = both.sqlite.insert(zone, id, certificate(id), quota).await;
                assert_eq!(
                    memory.expect("no error"),
                    sqlite.expect("no error"),
                    "{step}"
                );
                ids.push(id);
            } else {
                let id = ids[below(ids.len())];
                let reactivate = Change::Reactivate {
                    repeatable: true,
                    allow_revoked: below(2) == 0,
                    quota,
                };
                let change = [Change::Revoke { repeatable: true }, reactivate][below(2)];
                let memory = both.memory.change(zone, id, change, delay).await;
                let sqlite = both.sqlite.change(zone, id, change, delay).await;
                let status = |changed: Outcome<Option<Result<Found, Refusal>>>| {
                    changed
                        .expect("no error")
                        .map(|found| found.map(|(_, status)| status))
                };
                assert_eq!(status(memory), status(sqlite), "{step} of {seed}");
                let memory = both.memory.get(zone, id, None).await.expect("no error");
                let sqlite = both.sqlite.get(zone, id, None).await.expect("no error");
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
        both.assert_agree(3).await;
        both.reopen().await;
        both.assert_agree(3).await;
    }
}

/// Pages by status skip several blocks of places, some of them without a match.
#[tokio::test]
async fn memory_and_sqlite_agree_on_pages_of_many_certificates() {
    let both = Both::new().await;
    let random = Random::from_seed(0);
    let status = |index: usize| match index {
        1_024..2_048 => Status::Revoked,
        2_048..4_096 if index.is_multiple_of(2) => Status::Revoked,
        3_000 => Status::PendingRevocation,
        _ => Status::Active,
    };
    let certificates: Vec<_> = (0..5_000)
        .map(|index| {
            let id = random.uuid();
            NewCertificate {
                id,
                certificate: certificate(id),
                status: status(index),
            }
        })
        .collect();
    for (number, part) in certificates.chunks(1_700).enumerate() {
        let held = number * 1_700;
        for store in [&both.memory, &both.sqlite] {
            let stored = store.insert_all(ZONES[0], held, part, Duration::MAX).await;
            assert!(stored.expect("no error"));
        }
    }
    let late = both
        .sqlite
        .insert_all(ZONES[0], 7, &[], Duration::MAX)
        .await;
    assert!(!late.expect("no error"), "another one was faster");
    both.assert_agree(40).await;
}

#[tokio::test]
async fn transitions_settle_by_the_clock() {
    let mut both = Both::new().await;
    let id = Uuid::from_u128(7);
    let zone = ZONES[0];
    let delay = Duration::from_secs(1000);
    for store in [&both.memory, &both.sqlite] {
        let stored = store.insert(zone, id, certificate(id), None).await;
        assert!(stored.expect("no error"));
        let changed = store
            .change(zone, id, Change::Revoke { repeatable: true }, delay)
            .await;
        let (_, status) = changed.expect("no error").expect("there").expect("allowed");
        assert_eq!(status, Status::PendingRevocation);
    }
    both.reopen().await;
    both.clock.advance(delay / 2);
    both.assert_agree(1).await;
    both.clock.advance(delay / 2);
    let revoked = Selection {
        status: Some(Status::Revoked),
        offset: 0,
        limit: 10,
    };
    for store in [&both.memory, &both.sqlite] {
        let found = store
            .get(zone, id, None)
            .await
            .expect("no error")
            .expect("there");
        assert_eq!(found.1, Status::Revoked);
        let page = store.list(zone, &revoked, Order::NewestFirst.into()).await;
        assert_eq!(page.expect("no error").matching, 1);
    }
}

#[tokio::test]
async fn a_cleared_store_is_as_good_as_new() {
    let mut both = Both::new().await;
    for _ in 0..2 {
        for store in [&both.memory, &both.sqlite] {
            for number in 0..3 {
                let id = Uuid::from_u128(number);
                let stored = store.insert(ZONES[0], id, certificate(id), Some(3)).await;
                assert!(stored.expect("no error"), "the quota is free");
            }
            store.clear().await.expect("no error");
            assert_eq!(store.len(ZONES[0]).await.expect("a count"), 0);
            let gone = [0; 32];
            let status = store.status_by_fingerprint(&gone).await;
            assert_eq!(status.expect("no error"), None);
        }
        both.assert_agree(1).await;
        both.reopen().await;
    }
}
