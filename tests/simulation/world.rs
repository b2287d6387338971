//! A zone, several clients, and what they do.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use shieldcert::{
    CertificateId, Client, ClientCertificate, Csr, Error, KeyAlgorithm, PrivateKey, Status,
    StatusFilter, Subject, Zone,
};
use shieldcert_emulator::{Emulator, EmulatorTransport, IdStyle, Order, TotalCount};
use tokio::time::{Instant, sleep, timeout};

use super::network::{FaultRates, History, Network, NetworkTransport};
use super::promises;
use super::record::{Issuing, IssuingEnd, Listing, Outcome, Record};
use super::sabotage::{Sabotage, Saboteur};
use super::secrets::TOKEN;

/// Longer than any operation may take.
const MAX_DURATION: Duration = Duration::from_secs(4 * 3600);

/// What all clients share.
struct World {
    /// The service without faults.
    truth: Zone,
    history: History,
    record: Mutex<Record>,
    /// Certificates that clients revoke and reactivate.
    pool: Vec<CertificateId>,
    /// Certificates that nobody touches, with the status that they keep.
    fixed: Mutex<HashMap<CertificateId, Status>>,
    csr: Csr,
}

impl World {
    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().expect("not poisoned")
    }

    fn lasting(&self, filter: StatusFilter) -> HashSet<CertificateId> {
        let fixed = self.fixed.lock().expect("not poisoned");
        let mut lasting: HashSet<_> = fixed
            .iter()
            .filter(|(_, status)| filter.matches(status))
            .map(|(id, _)| id.clone())
            .collect();
        if filter == StatusFilter::All {
            lasting.extend(self.pool.iter().cloned());
        }
        lasting
    }
}

fn zone_through(transport: Arc<dyn shieldcert::Transport>) -> Zone {
    let client = Client::builder()
        .token(TOKEN)
        .base_url(EmulatorTransport::BASE_URL)
        .transport(transport)
        .build()
        .expect("a client");
    client.zone(crate::kit::ZONE.parse().expect("a zone id"))
}

/// Keys are slow to generate and do not matter here, so all CSRs share one. Their names differ.
fn csr(number: usize) -> Csr {
    thread_local! {
        static KEY: PrivateKey = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        static CSRS: std::cell::RefCell<Vec<Csr>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    CSRS.with_borrow_mut(|csrs| {
        while csrs.len() <= number {
            let subject = Subject::common_name(format!("sensor-{}", csrs.len()));
            csrs.push(KEY.with(|key| key.csr(&subject)).expect("a CSR"));
        }
        csrs[number].clone()
    })
}

/// Runs a seed and checks the promises.
pub(super) async fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let history = History::new();
    let whole_seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(seed)
        .sign_inline(true)
        .clock_start(UNIX_EPOCH + Duration::from_secs(whole_seconds))
        .order(pick(
            &mut random,
            &[Order::NewestFirst, Order::OldestFirst, Order::ById],
        ))
        .total_count(pick(
            &mut random,
            &[TotalCount::Unfiltered, TotalCount::Filtered],
        ))
        .ids(pick(&mut random, &[IdStyle::Hyphenated, IdStyle::Hex]))
        .transition_delay(Duration::from_millis(random.u64(0..20_000)))
        .build()
        .expect("builds");
    let truth = zone_through(Arc::new(emulator.transport()));

    let size = random.usize(0..25);
    let mut pool = Vec::new();
    let mut fixed = HashMap::new();
    for number in 0..size {
        let id = truth
            .issue(&csr(0))
            .await
            .expect("is issued")
            .certificate
            .id()
            .clone();
        if random.bool() {
            truth.revoke(&id).await.expect("is revoked");
        }
        if random.u8(0..3) == 0 {
            pool.push(id);
        } else {
            fixed.insert(id, number);
        }
    }
    sleep(Duration::from_secs(30)).await;
    let mut statuses = HashMap::new();
    for id in fixed.into_keys() {
        let status = truth.get(&id).await.expect("exists").status().clone();
        statuses.insert(id, status);
    }
    let world = Arc::new(World {
        truth,
        history: history.clone(),
        record: Mutex::default(),
        pool,
        fixed: Mutex::new(statuses),
        csr: csr(0),
    });

    let rates = FaultRates {
        faults: pick(&mut random, &[0, 5, 15, 30, 50]),
        blocks: pick(&mut random, &[0, 0, 1, 4]),
        quota: pick(&mut random, &[0, 0, 10]),
    };
    let mut clients = Vec::new();
    let mut csrs = 1;
    for client in 0..random.usize(1..=3) {
        let network = Network::new(
            emulator.transport(),
            client,
            rates,
            &mut random,
            history.clone(),
        );
        let transport: Arc<dyn shieldcert::Transport> = match sabotage {
            None => Arc::new(NetworkTransport(network)),
            Some(sabotage) => Arc::new(Saboteur::new(sabotage, NetworkTransport(network))),
        };
        let zone = zone_through(transport);
        for _ in 0..random.usize(1..=3) {
            let task = Task {
                world: world.clone(),
                zone: zone.clone(),
                client,
                random: random.fork(),
                csrs: csrs..csrs + 4,
                steps: random.usize(1..=3),
                sabotage,
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
    // Late commits happen.
    sleep(Duration::from_secs(120)).await;
    let record = std::mem::take(&mut *world.record());
    promises::check(&world.truth, &record, &history).await;
    let (history, broken) = history.take();
    Outcome {
        broken,
        history,
        tally: record.tally,
    }
}

fn pick<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(0..choices.len())]
}

/// A user of a client, who runs one operation after the other.
struct Task {
    world: Arc<World>,
    zone: Zone,
    client: usize,
    random: Rng,
    csrs: std::ops::Range<usize>,
    steps: usize,
    sabotage: Option<Sabotage>,
}

impl Task {
    async fn run(mut self) {
        for _ in 0..self.steps {
            let before = self.random.u64(0..5_000);
            sleep(Duration::from_millis(before)).await;
            match self.random.u8(0..8) {
                _ if self.sabotage.is_some_and(Sabotage::shows_in_issues_alone) => {
                    self.issue().await
                }
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

    async fn issue(&mut self) {
        let Some(number) = self.csrs.next() else {
            return;
        };
        let csr = csr(number);
        let issue = self.zone.issue(&csr).validity_days(30).send();
        let name = format!("client {} issues sensor-{number}", self.client);
        self.world.history.add(&name);
        let end = match self.run_or_drop(issue).await {
            None => IssuingEnd::Dropped,
            Some(Ok(issued)) => {
                let id = issued.certificate.id().clone();
                let mut fixed = self.world.fixed.lock().expect("not poisoned");
                fixed.insert(id.clone(), Status::Active);
                IssuingEnd::Issued(id)
            }
            Some(Err(Error::OutcomeUnknown { .. })) => IssuingEnd::Unknown,
            Some(Err(error)) => IssuingEnd::CleanFailure(error.to_string()),
        };
        self.world.history.add(format_args!("{name} → {end:?}"));
        let kind = match &end {
            IssuingEnd::Issued(_) => "issued",
            IssuingEnd::CleanFailure(_) => "clean failure",
            IssuingEnd::Unknown => "unknown",
            IssuingEnd::Dropped => "dropped",
        };
        let mut record = self.world.record();
        record.count("issue", kind);
        record.issuings.push(Issuing { csr, end });
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
        let mut listed: Vec<ClientCertificate> = Vec::new();
        let collect = async {
            while let Some(certificate) = stream.try_next().await? {
                listed.push(certificate);
            }
            Ok::<_, Error>(())
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
        let mut record = self.world.record();
        record.count("list", end);
        if end == "complete" {
            record.listings.push(Listing {
                filter,
                lasting,
                listed: listed
                    .iter()
                    .map(|certificate| certificate.id().clone())
                    .collect(),
            });
        }
    }

    async fn transition(&mut self) {
        // Others do the same to the same certificates, and sometimes somebody outside issues too.
        if self.sabotage.is_some() || self.random.u8(0..3) == 0 {
            for _ in 0..self.random.usize(0..12) {
                let _ = self.world.truth.issue(&self.world.csr).await;
            }
        }
        let Some(id) = self.random.choice(&self.world.pool).cloned() else {
            return;
        };
        let (wanted, request) = if self.random.bool() {
            (Status::Revoked, self.zone.revoke(&id).until_settled())
        } else {
            (Status::Active, self.zone.reactivate(&id).until_settled())
        };
        let limit = Duration::from_secs(self.random.u64(1..=400));
        let name = format!("client {} moves {id} to {wanted}", self.client);
        self.world.history.add(&name);
        let started = Instant::now();
        let wait = request.timeout(limit).send();
        let end = match self.run_or_drop(wait).await {
            None => "dropped",
            Some(Ok(certificate)) if *certificate.status() == wanted => "settled",
            Some(Ok(certificate)) => {
                let seen = certificate.status();
                let broken = format_args!("promise 4: {name} returned {seen}").to_string();
                self.world.history.broken(broken);
                "wrong"
            }
            Some(Err(Error::Overtaken { .. })) => "overtaken",
            Some(Err(Error::NotSettled { .. })) => "not settled",
            Some(Err(_)) => "failed",
        };
        self.world
            .history
            .add(format_args!("{name} → {end} after {:?}", started.elapsed()));
        self.world.record().count("transition", end);
    }
}
