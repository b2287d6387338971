//! A zone, several clients and other tools.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use shieldcert::{
    CertificateId, Client, Csr, KeyAlgorithm, PrivateKey, StatusFilter, Subject, Transport, Zone,
};
use shieldcert_emulator::{Chaos, Emulator, EmulatorTransport};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::history::History;
use super::network::Network;
use super::record::{Fixed, Record};
use super::secrets::TOKEN;
use super::service::{Service, plain};
use super::settings::{Settings, draw_limit};
use crate::kit::ZONE;

/// Longer than any operation may take.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(4 * 3600);

/// After this, nothing that was sent still acts.
pub(super) const SETTLED: Duration = Duration::from_secs(300);

/// Starts a runtime on a paused clock.
pub(super) fn start() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

pub(super) fn zone_through(transport: Arc<dyn Transport>, zone: &str) -> Zone {
    let client = Client::builder()
        .token(TOKEN)
        .base_url(EmulatorTransport::BASE_URL)
        .transport(transport)
        .build()
        .expect("a client");
    client.zone(zone.parse().expect("a zone id"))
}

/// Returns the n-th CSR of this thread. Each has a name of its own. Some share a key, as renewals do.
pub(super) fn csr(number: usize) -> Csr {
    thread_local! {
        static CSRS: RefCell<Vec<Csr>> = const { RefCell::new(Vec::new()) };
        static KEY: RefCell<Option<PrivateKey>> = const { RefCell::new(None) };
    }
    CSRS.with_borrow_mut(|csrs| {
        while csrs.len() <= number {
            let number = csrs.len();
            let subject = Subject::common_name(format!("sensor-{number}"));
            let csr = KEY.with_borrow_mut(|key| {
                if key.is_none() || !is_renewal(number) {
                    *key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).ok();
                }
                let key = key.as_ref().expect("a key");
                key.csr(&subject).expect("a CSR")
            });
            csrs.push(csr);
        }
        csrs[number].clone()
    })
}

/// How many CSRs each user has.
pub(super) const CSRS: usize = 4;

/// Whether a CSR has the key of the one before it.
fn is_renewal(number: usize) -> bool {
    number % CSRS == 1
}

/// Whether two CSRs have the same key.
pub(super) fn have_one_key(one: usize, other: usize) -> bool {
    one == other || !has_own_key(one) && !has_own_key(other) && one / CSRS == other / CSRS
}

/// Whether no other CSR has the key.
pub(super) fn has_own_key(number: usize) -> bool {
    number % CSRS > 1
}

/// The CSRs that the zone's other certificates are for. Those of clients follow.
pub(super) const OTHERS: Range<usize> = 0..2 * CSRS;

/// What all clients share.
pub(super) struct World {
    emulator: Emulator,
    pub(super) settings: Settings,
    /// The service without faults, as other tools use it.
    pub(super) service: Service,
    pub(super) history: History,
    record: Mutex<Record>,
    /// Certificates that clients revoke and reactivate.
    pub(super) pool: Vec<CertificateId>,
    /// Certificates that nobody touches.
    fixed: Mutex<BTreeMap<String, Fixed>>,
    /// Who moves which certificate of the pool.
    moves: Mutex<HashMap<CertificateId, Moves>>,
}

/// The moves of a certificate, by anybody.
#[derive(Default)]
struct Moves {
    begun: u32,
    under_way: u32,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl World {
    /// A zone of a service like that.
    pub(super) fn of_seed(seed: u64, settings: Settings, history: History) -> Self {
        let emulator = Emulator::builder()
            .token(TOKEN)
            .seed(seed)
            .clock_start(UNIX_EPOCH + Duration::from_secs(settings.clock_start))
            .order(settings.order)
            .total_count(settings.total_count)
            .ids(settings.ids)
            .transition_delay(settings.transition_delay)
            .build()
            .expect("builds");
        Self::new(emulator, settings, history)
    }

    pub(super) fn new(emulator: Emulator, settings: Settings, history: History) -> Self {
        Self {
            service: Service::new(emulator.transport(), ZONE),
            emulator,
            settings,
            history,
            record: Mutex::default(),
            pool: Vec::new(),
            fixed: Mutex::default(),
            moves: Mutex::default(),
        }
    }

    /// A client with a connection of its own.
    pub(super) fn connect(&self, client: usize, random: &mut Rng) -> (Zone, Arc<Network>) {
        let chaos = self.settings.chaos.clone();
        self.connect_through(chaos, client, random)
    }

    pub(super) fn connect_through(
        &self,
        chaos: Chaos,
        client: usize,
        random: &mut Rng,
    ) -> (Zone, Arc<Network>) {
        let mut connection = self
            .emulator
            .connect()
            .chaos(chaos)
            .quirks(self.settings.quirks.clone());
        if self.settings.shows_rate_limit {
            connection = connection.rate_limit(draw_limit(random));
        }
        let network = Network::new(connection, client, random, self.history.clone());
        (zone_through(network.clone(), ZONE), network)
    }

    /// The service without faults.
    pub(super) fn transport(&self) -> EmulatorTransport {
        self.emulator.transport()
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fixed(&self) -> MutexGuard<'_, BTreeMap<String, Fixed>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves<T>(&self, id: &CertificateId, change: impl FnOnce(&mut Moves) -> T) -> T {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        change(moves.entry(id.clone()).or_default())
    }

    /// Notes that somebody begins to move a certificate. Returns its number, if nobody else may be at it.
    pub(super) fn begin_move(&self, id: &CertificateId) -> Option<u32> {
        self.moves(id, |moves| {
            moves.begun += 1;
            moves.under_way += 1;
            let is_settled = moves.ended.is_none_or(|ended| ended.elapsed() > SETTLED);
            (moves.under_way == 1 && is_settled).then_some(moves.begun)
        })
    }

    /// Notes that a move ends. Returns whether nobody began another one.
    pub(super) fn end_move(&self, id: &CertificateId, number: Option<u32>) -> bool {
        self.moves(id, |moves| {
            moves.under_way -= 1;
            moves.ended = Some(Instant::now());
            number == Some(moves.begun)
        })
    }

    /// Keeps an eye on a certificate that nobody is to touch from now on.
    pub(super) fn fix(&self, id: String, status: &str) {
        let (status, since) = (status.to_owned(), Instant::now());
        self.fixed().insert(id, Fixed { status, since });
    }

    /// Another tool issues for the CSR of a client. Returns the id.
    pub(super) async fn issue_beside(&self, csr: &Csr, days: u32) -> CertificateId {
        let id = self.service.issue(&csr.to_pem(), days).await;
        self.fix(plain(&id), "active");
        self.record().elsewhere.insert(plain(&id));
        self.history
            .add(format_args!("another tool issues {id} for {days} days"));
        id.parse().expect("an id")
    }

    /// What a list that begins now must have.
    pub(super) fn lasting(&self, filter: StatusFilter) -> BTreeSet<String> {
        let is_lasting = |fixed: &Fixed| {
            let status = fixed.status.parse().expect("a status");
            filter.matches(&status) && fixed.since.elapsed() > self.settings.lag
        };
        let mut lasting: BTreeSet<_> = self
            .fixed()
            .iter()
            .filter(|(_, fixed)| is_lasting(fixed))
            .map(|(id, _)| id.clone())
            .collect();
        if filter == StatusFilter::All {
            lasting.extend(self.pool.iter().map(|id| plain(id.as_str())));
        }
        lasting
    }

    /// Another tool issues a few certificates, for CSRs of its own.
    pub(super) async fn issue_elsewhere(&self, random: &mut Rng, count: usize) {
        for _ in 0..count {
            let csr = csr(random.usize(OTHERS));
            self.service.issue(&csr.to_pem(), 30).await;
        }
    }

    /// Issues the certificates that are there before any client, and waits until they are settled.
    pub(super) async fn populate(&mut self, random: &mut Rng) {
        let mut fixed = Vec::new();
        for number in 0..self.settings.size {
            // Years of a fleet's life, or a moment.
            if random.u8(0..4) == 0 {
                sleep(Duration::from_secs(random.u64(1..200_000))).await;
            }
            let csr = csr(number % OTHERS.len());
            let id = self.service.issue(&csr.to_pem(), 30).await;
            if random.bool() {
                self.service.revoke(&id).await;
            }
            if random.u8(0..3) == 0 {
                self.pool.push(id.parse().expect("an id"));
            } else {
                fixed.push(plain(&id));
            }
        }
        sleep(Duration::from_secs(30)).await;
        let held = self.service.list().await;
        for id in fixed {
            let held = held.iter().find(|held| plain(&held.id) == id);
            self.fix(id, &held.expect("is held").status);
        }
        // Until even the slowest replica has all of it.
        sleep(Duration::from_secs(120)).await;
    }
}
