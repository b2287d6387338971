//! A zone, several clients and other tools, and what they do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use shieldcert::{
    CertificateId, Client, ClientCertificate, Csr, Error, KeyAlgorithm, PrivateKey, Status,
    StatusFilter, Subject, Transport, Zone,
};
use shieldcert_emulator::{Emulator, EmulatorTransport};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

use super::history::History;
use super::network::Network;
use super::promises;
use super::record::{Fixed, Issuing, IssuingEnd, Listing, Outcome, Record};
use super::secrets::TOKEN;
use super::service::{Service, plain};
use super::settings::{Settings, draw_limit, pick};
use crate::kit::ZONE;

/// Longer than any operation may take.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(4 * 3600);

/// After this, nothing that was sent still acts.
const SETTLED: Duration = Duration::from_secs(300);

/// A replica that lags by less does not make a certificate look as if somebody had moved it.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(75);

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

/// Returns the n-th CSR of this thread. Each has a key and a name of its own.
pub(super) fn csr(number: usize) -> Csr {
    thread_local! {
        static CSRS: RefCell<Vec<Csr>> = const { RefCell::new(Vec::new()) };
    }
    CSRS.with_borrow_mut(|csrs| {
        while csrs.len() <= number {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
            let subject = Subject::common_name(format!("sensor-{}", csrs.len()));
            csrs.push(key.csr(&subject).expect("a CSR"));
        }
        csrs[number].clone()
    })
}

/// The CSRs that the zone's other certificates are for. Those of clients follow.
const OTHERS: Range<usize> = 0..8;

/// What all clients share.
struct World {
    /// The service without faults, as other tools use it.
    service: Service,
    history: History,
    record: Mutex<Record>,
    /// Certificates that clients revoke and reactivate.
    pool: Vec<CertificateId>,
    /// Certificates that nobody touches.
    fixed: Mutex<BTreeMap<String, Fixed>>,
    /// Who moves which certificate of the pool.
    moves: Mutex<HashMap<CertificateId, Moves>>,
    /// How old what a response shows may be.
    lag: Duration,
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
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fixed(&self) -> MutexGuard<'_, BTreeMap<String, Fixed>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves<T>(&self, id: &CertificateId, change: impl FnOnce(&mut Moves) -> T) -> T {
        let mut moves = self.moves.lock().unwrap_or_else(PoisonError::into_inner);
        change(moves.entry(id.clone()).or_default())
    }

    /// Notes that somebody begins to move a certificate. Returns its number, if nobody else may be at it.
    fn begin_move(&self, id: &CertificateId) -> Option<u32> {
        self.moves(id, |moves| {
            moves.begun += 1;
            moves.under_way += 1;
            let is_settled = moves.ended.is_none_or(|ended| ended.elapsed() > SETTLED);
            (moves.under_way == 1 && is_settled).then_some(moves.begun)
        })
    }

    /// Notes that a move ends. Returns whether nobody began another one.
    fn end_move(&self, id: &CertificateId, number: Option<u32>) -> bool {
        self.moves(id, |moves| {
            moves.under_way -= 1;
            moves.ended = Some(Instant::now());
            number == Some(moves.begun)
        })
    }

    /// What a list that begins now must have.
    fn lasting(&self, filter: StatusFilter) -> BTreeSet<String> {
        let is_lasting = |fixed: &Fixed| {
            let status = fixed.status.parse().expect("a status");
            filter.matches(&status) && fixed.since.elapsed() > self.lag
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
    async fn issue_elsewhere(&self, random: &mut Rng, count: usize) {
        for _ in 0..count {
            let csr = csr(random.usize(OTHERS));
            self.service.issue(&csr.to_pem(), 30).await;
        }
    }
}

/// Runs a seed and checks the promises.
pub(super) async fn run(seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let history = History::new();
    let settings = Settings::draw(&mut random);
    history.add(format_args!("{settings:?}"));
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(seed)
        .sign_inline(true)
        .clock_start(UNIX_EPOCH + Duration::from_secs(settings.clock_start))
        .order(settings.order)
        .total_count(settings.total_count)
        .ids(settings.ids)
        .transition_delay(settings.transition_delay)
        .build()
        .expect("builds");
    let service = Service::new(emulator.transport(), ZONE);

    let mut pool = Vec::new();
    let mut fixed = Vec::new();
    for number in 0..settings.size {
        // Years of a fleet's life, or a moment.
        if random.u8(0..4) == 0 {
            sleep(Duration::from_secs(random.u64(1..200_000))).await;
        }
        let csr = csr(number % OTHERS.len());
        let id = service.issue(&csr.to_pem(), 30).await;
        if random.bool() {
            service.revoke(&id).await;
        }
        if random.u8(0..3) == 0 {
            pool.push(id.parse().expect("an id"));
        } else {
            fixed.push(plain(&id));
        }
    }
    sleep(Duration::from_secs(30)).await;
    let held = service.list().await;
    let keep = |id: String| {
        let held = held.iter().find(|held| plain(&held.id) == id);
        let status = held.expect("is held").status.clone();
        let since = Instant::now();
        (id, Fixed { status, since })
    };
    let fixed = fixed.into_iter().map(keep).collect();
    // Until even the slowest replica has all of it.
    sleep(Duration::from_secs(120)).await;
    let world = Arc::new(World {
        fixed: Mutex::new(fixed),
        lag: settings.lag,
        service,
        history: history.clone(),
        record: Mutex::default(),
        pool,
        moves: Mutex::default(),
    });

    let mut clients = Vec::new();
    let mut csrs = OTHERS.end;
    for client in 0..random.usize(1..=3) {
        let mut connection = emulator
            .connect()
            .chaos(settings.chaos.clone())
            .quirks(settings.quirks.clone());
        if settings.shows_rate_limit {
            connection = connection.rate_limit(draw_limit(&mut random));
        }
        let network = Network::new(connection, client, &mut random, history.clone());
        let zone = zone_through(network, ZONE);
        for _ in 0..random.usize(1..=3) {
            let task = Task {
                world: world.clone(),
                zone: zone.clone(),
                client,
                random: random.fork(),
                csrs: csrs..csrs + 4,
                used: Vec::new(),
                steps: random.usize(1..=3),
            };
            csrs += 4;
            clients.push(tokio::spawn(task.run()));
        }
    }
    for client in clients {
        match timeout(MAX_DURATION, client).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => history.broken(format_args!("a client panicked: {error}")),
            Err(_) => history.broken("an operation does not end"),
        }
    }
    sleep(SETTLED).await;
    let record = std::mem::take(&mut *world.record());
    let held = world.service.list().await;
    promises::check(&record, &world.fixed(), &held, &settings, &history);
    let (history, broken) = history.take();
    Outcome {
        broken,
        history,
        tally: record.tally,
    }
}

/// A user of a client, who runs one operation after the other.
struct Task {
    world: Arc<World>,
    zone: Zone,
    client: usize,
    random: Rng,
    /// The CSRs that were not used yet.
    csrs: Range<usize>,
    used: Vec<usize>,
    steps: usize,
}

impl Task {
    async fn run(mut self) {
        for _ in 0..self.steps {
            let before = self.random.u64(0..5_000);
            sleep(Duration::from_millis(before)).await;
            match self.random.u8(0..8) {
                0..3 => self.issue().await,
                3..5 => self.list().await,
                _ => self.transition().await,
            }
        }
    }

    /// Runs an operation, or drops it at any await.
    async fn run_or_drop<T>(&mut self, operation: impl Future<Output = T>) -> Option<T> {
        if self.random.u8(0..6) > 0 {
            return Some(operation.await);
        }
        let after = Duration::from_millis(self.random.u64(0..40_000));
        timeout(after, operation).await.ok()
    }

    /// Chooses a CSR: a new one, or now and then one that this task has used.
    fn choose_csr(&mut self) -> Option<usize> {
        if self.random.u8(0..6) == 0
            && let Some(again) = self.random.choice(&self.used)
        {
            return Some(*again);
        }
        let number = self.csrs.next()?;
        self.used.push(number);
        Some(number)
    }

    async fn issue(&mut self) {
        let Some(number) = self.choose_csr() else {
            return;
        };
        let csr = csr(number);
        let days = pick(&mut self.random, &[1, 30, 30, 90, 365]);
        let issue = self.zone.issue(&csr).validity_days(days);
        // Two calls for one CSR at once take turns.
        let is_twin = self.random.u8(0..8) == 0;
        let twin = is_twin.then(|| issue.clone().send());
        let name = format!(
            "client {} issues sensor-{number} for {days} days",
            self.client
        );
        self.world.history.add(&name);
        let both = async {
            let one = issue.send();
            match twin {
                None => vec![one.await],
                Some(twin) => {
                    let (one, twin) = tokio::join!(one, twin);
                    vec![one, twin]
                }
            }
        };
        let ends = match self.run_or_drop(both).await {
            None if is_twin => vec![IssuingEnd::Dropped, IssuingEnd::Dropped],
            None => vec![IssuingEnd::Dropped],
            Some(outcomes) => outcomes.into_iter().map(IssuingEnd::of).collect(),
        };
        for end in ends {
            self.world.history.add(format_args!("{name} → {end:?}"));
            if let IssuingEnd::Issued { id, .. } = &end {
                let fixed = Fixed {
                    status: "active".to_owned(),
                    since: Instant::now(),
                };
                self.world.fixed().insert(id.clone(), fixed);
            }
            let mut record = self.world.record();
            record.count("issue", end.kind());
            record.issuings.push(Issuing {
                common_name: csr.common_name().unwrap_or_default().to_string(),
                end,
            });
        }
    }

    async fn list(&mut self) {
        let filter = pick(
            &mut self.random,
            &[
                StatusFilter::All,
                StatusFilter::Active,
                StatusFilter::Revoked,
            ],
        );
        let (size, prefetch) = (self.random.u32(5..=12), self.random.u32(1..=4));
        let lasting = self.world.lasting(filter);
        let mut stream = self
            .zone
            .list()
            .status(filter)
            .page_size(size)
            .prefetch(prefetch)
            .stream();
        let name = format!("client {} lists {filter} by {size}", self.client);
        self.world.history.add(&name);
        // Others issue while it is read.
        let world = self.world.clone();
        let mut other = self.random.fork();
        let burst = if self.random.u8(0..3) == 0 {
            self.random.usize(1..12)
        } else {
            0
        };
        let mut listed: Vec<ClientCertificate> = Vec::new();
        let collect = async {
            let read = async {
                while let Some(certificate) = stream.try_next().await? {
                    listed.push(certificate);
                }
                Ok::<_, Error>(())
            };
            let issue = async {
                if burst > 0 {
                    sleep(Duration::from_millis(other.u64(0..2_000))).await;
                    world.issue_elsewhere(&mut other, burst).await;
                }
            };
            tokio::join!(read, issue).0
        };
        let outcome = self.run_or_drop(collect).await;
        let end = match outcome {
            None => "dropped",
            Some(Err(_)) => "failed",
            Some(Ok(())) => "complete",
        };
        self.world
            .history
            .add(format_args!("{name} → {end}, {}", listed.len()));
        let foreign = listed
            .iter()
            .filter(|certificate| !filter.matches(certificate.status()))
            .count();
        let unreadable = stream.take_unreadable().len();
        let mut record = self.world.record();
        record.count("list", end);
        if end == "complete" {
            record.listings.push(Listing {
                filter,
                lasting,
                foreign,
                unreadable,
                listed: listed
                    .iter()
                    .map(|certificate| plain(certificate.id().as_str()))
                    .collect(),
            });
        }
    }

    async fn transition(&mut self) {
        // Others do the same to the same certificates, and sometimes somebody outside issues, too.
        if self.random.u8(0..3) == 0 {
            let count = self.random.usize(0..12);
            self.world.issue_elsewhere(&mut self.random, count).await;
        }
        let Some(id) = self.random.choice(&self.world.pool).cloned() else {
            return;
        };
        if self.random.u8(0..6) == 0 {
            let number = self.world.begin_move(&id);
            match self.random.bool() {
                true => self.world.service.revoke(id.as_str()).await,
                false => self.world.service.reactivate(id.as_str()).await,
            }
            self.world.end_move(&id, number);
        }
        let (wanted, request) = if self.random.bool() {
            (Status::Revoked, self.zone.revoke(&id).until_settled())
        } else {
            (Status::Active, self.zone.reactivate(&id).until_settled())
        };
        let limit = Duration::from_secs(self.random.u64(1..=400));
        let name = format!(
            "client {} moves {id} to {wanted} within {limit:?}",
            self.client
        );
        self.world.history.add(&name);
        let started = Instant::now();
        let number = self.world.begin_move(&id);
        let wait = request.timeout(limit).send();
        let outcome = self.run_or_drop(wait).await;
        let is_alone = self.world.end_move(&id, number);
        let waited = started.elapsed();
        let end = match outcome {
            None => "dropped",
            Some(Ok(certificate)) if *certificate.status() == wanted => "settled",
            Some(Ok(certificate)) => {
                let seen = certificate.status();
                let broken = format!("promise 4: {name} returned {seen}");
                self.world.history.broken(broken);
                "wrong"
            }
            Some(Err(Error::Overtaken { seen, .. })) => {
                if is_alone && self.world.lag < OVERTAKEN_AFTER {
                    let broken =
                        format!("promise 4: {name} was overtaken by {seen}, but nobody did");
                    self.world.history.broken(broken);
                }
                "overtaken"
            }
            Some(Err(Error::NotSettled { .. })) => "not settled",
            Some(Err(_)) => "failed",
        };
        self.world
            .history
            .add(format_args!("{name} → {end} after {waited:?}"));
        if waited > limit + Duration::from_secs(1) {
            let broken = format!("promise 4: {name} ended after {waited:?}");
            self.world.history.broken(broken);
        }
        self.world.record().count("transition", end);
    }
}
