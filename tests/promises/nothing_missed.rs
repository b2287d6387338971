//! Promise 2, nothing missed and nothing twice: lists of a zone in which others issue, revoke and reactivate between any
//! two responses.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lying_service::{
    Beyond, Cap, CapKind, LyingService, Moves, Offset, Order, Settings, Total,
};
use bytes::Bytes;
use fastrand::Rng;
use shieldcert::{CertificateId, Csr, Error, Status, StatusFilter, Zone};
use shieldcert_emulator::{Emulator, Operation, Order as EmulatorOrder, TotalCount};
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{TOKEN, issue, key_and_csr, zone_through};

/// Others who change the zone before each list.
struct Others {
    zone: Zone,
    csr: Csr,
    random: Mutex<Rng>,
    movable: Mutex<Vec<CertificateId>>,
    offset_supported: bool,
}

impl Others {
    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.random.lock().expect("not poisoned"))
    }

    async fn change_the_zone(&self) {
        let changes = self.draw(|random| match random.u8(0..10) {
            0..5 => 0,
            5..9 => random.usize(1..8),
            // More than any overlap, at once.
            _ => random.usize(20..60),
        });
        for _ in 0..changes {
            let candidates = self.movable.lock().expect("not poisoned").clone();
            match self.draw(|random| (random.u8(0..3), random.choice(candidates))) {
                (0, _) | (_, None) => {
                    let id = issue(&self.zone, &self.csr).await;
                    self.movable.lock().expect("not poisoned").push(id);
                }
                (1, Some(id)) => {
                    self.zone.revoke(&id).await.expect("is revoked");
                }
                (_, Some(id)) => {
                    self.zone.reactivate(&id).await.expect("is reactivated");
                }
            }
        }
    }

    /// Delays a list, and changes the zone before it is served.
    async fn interfere(&self, mut request: http::Request<Bytes>) -> http::Request<Bytes> {
        if !self.offset_supported {
            let uri = request.uri().to_string();
            let ignored = uri.replace("offset=", "o=").replace("limit=", "l=");
            *request.uri_mut() = ignored.parse().expect("a URI");
        }
        let delay = self.draw(|random| random.u64(0..100));
        tokio::time::sleep(Duration::from_millis(delay)).await;
        self.change_the_zone().await;
        request
    }
}

async fn try_seed(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let order = random
        .choice([
            EmulatorOrder::NewestFirst,
            EmulatorOrder::OldestFirst,
            EmulatorOrder::ById,
        ])
        .expect("not empty");
    let total = random
        .choice([TotalCount::Unfiltered, TotalCount::Filtered])
        .expect("not empty");
    let filter = random
        .choice([
            StatusFilter::All,
            StatusFilter::Active,
            StatusFilter::Revoked,
        ])
        .expect("not empty");
    let (size, prefetch, count) = (random.u32(5..=50), random.u32(1..=8), random.usize(0..160));
    let setting = format!(
        "seed {seed}: {count} in {order:?}, {total:?}, {filter}, {size} a page, {prefetch} prefetched"
    );

    let emulator = Emulator::builder()
        .token(TOKEN)
        .order(order)
        .total_count(total)
        .transition_delay(Duration::ZERO)
        .seed(seed)
        .sign_inline(true)
        .build()
        .expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut lasting = HashSet::new();
    let mut movable = Vec::new();
    for _ in 0..count {
        let id = issue(&zone, &csr).await;
        let status = if random.bool() {
            let revoked = zone.revoke(&id).await.expect("is revoked");
            revoked.status().clone()
        } else {
            Status::Active
        };
        if random.u8(0..3) == 0 {
            movable.push(id);
        } else if filter.matches(&status) {
            lasting.insert(id);
        }
    }
    let others = Arc::new(Others {
        zone,
        csr,
        random: Mutex::new(random.fork()),
        movable: Mutex::new(movable),
        offset_supported: random.u8(0..4) > 0,
    });
    // Responses overtake each other.
    emulator.set_chaos("stall=100%:0ms..100ms".parse().expect("is valid"));
    // Others are not delayed: they have the service to themselves.
    let undelayed = others.clone();
    let tap = Tap::new(emulator.transport()).before(move |request| {
        let others = undelayed.clone();
        Box::pin(async move { others.interfere(request).await })
    });
    let mut stream = zone_through(tap.clone())
        .list()
        .status(filter)
        .page_size(size)
        .prefetch(prefetch)
        .stream();
    let mut times = HashMap::<CertificateId, u32>::new();
    while let Some(certificate) = stream.try_next().await.expect(&setting) {
        *times.entry(certificate.id().clone()).or_default() += 1;
    }
    for (id, times) in &times {
        assert_eq!(*times, 1, "{setting}: {id} was listed {times} times");
    }
    let missed: Vec<_> = lasting
        .iter()
        .filter(|id| !times.contains_key(*id))
        .collect();
    let requests: Vec<_> = tap.requests().iter().map(|r| r.uri().to_string()).collect();
    assert!(
        missed.is_empty(),
        "{setting}: {} missed of {}\n{}",
        missed.len(),
        lasting.len(),
        requests.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_moving_list_misses_nothing_and_repeats_nothing() {
    for seed in 0..100 {
        try_seed(seed).await;
    }
}

/// Lists a zone that nobody changes, and returns how many requests that took.
async fn list_quiet_zone(
    count: usize,
    filter: StatusFilter,
    total: TotalCount,
    size: u32,
) -> usize {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .total_count(total)
        .sign_inline(true)
        .latency(Duration::from_millis(30))
        .build()
        .expect("builds");
    let others = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    for _ in 0..count {
        issue(&others, &csr).await;
    }
    let list = zone_through(emulator.transport())
        .list()
        .status(filter)
        .page_size(size);
    assert_eq!(list.await.expect("is read").len(), count);
    emulator.history().count(Operation::List)
}

#[tokio::test(start_paused = true)]
async fn a_list_takes_no_more_requests_than_needed() {
    use TotalCount::{Filtered, Unfiltered};
    for (count, filter, total, size, expected) in [
        (0, StatusFilter::All, Unfiltered, 50, 1),
        // One more than the fewest possible shows the end.
        (1, StatusFilter::All, Unfiltered, 50, 2),
        (50, StatusFilter::All, Unfiltered, 50, 2),
        (51, StatusFilter::All, Filtered, 50, 3),
        (73, StatusFilter::All, Unfiltered, 50, 3),
        (100, StatusFilter::All, Unfiltered, 5, 21),
        (0, StatusFilter::Active, Filtered, 50, 1),
        (1, StatusFilter::Active, Filtered, 50, 2),
        (50, StatusFilter::Active, Filtered, 50, 2),
        // 50, then 49 more with each: the overlap.
        (99, StatusFilter::Active, Filtered, 50, 3),
        (100, StatusFilter::Active, Filtered, 50, 4),
    ] {
        let requests = list_quiet_zone(count, filter, total, size).await;
        assert_eq!(requests, expected, "{count} {filter} {total:?} {size}");
    }
}

/// What a listing of a lying service came to.
struct Outcome {
    listed: Result<usize, Error>,
    requests: usize,
    /// How the promise was broken, with what was requested.
    broken: Option<String>,
}

/// Lists a service and checks that what is returned is complete, or an error.
async fn list_lying_service(
    service: &LyingService,
    filter: StatusFilter,
    size: u32,
    prefetch: u32,
) -> Outcome {
    let list = zone_through(service.clone()).list();
    let list = list.status(filter).page_size(size).prefetch(prefetch);
    let mut stream = list.stream();
    let mut listed = HashMap::<String, u32>::new();
    let mut problem = None;
    let end = loop {
        match stream.try_next().await {
            Ok(Some(certificate)) => {
                if !filter.matches(certificate.status()) {
                    problem = Some("foreign records".to_owned());
                }
                *listed.entry(certificate.id().to_string()).or_default() += 1;
            }
            Ok(None) => break Ok(listed.len()),
            Err(error) => break Err(error),
        }
    };
    if !matches!(stream.try_next().await, Ok(None)) {
        problem = Some("it went on after its end".to_owned());
    }
    let requests = service.requests();
    if listed.values().any(|times| *times > 1) {
        problem = Some("a record was listed twice".to_owned());
    }
    if end.is_ok() {
        let lasting = service.lasting(filter);
        let missed = lasting
            .iter()
            .filter(|id| !listed.contains_key(*id))
            .count();
        if missed > 0 {
            problem = Some(format!("{missed} missed of {}", lasting.len()));
        }
    }
    if requests.len() > 2 * service.read() + 120 {
        problem = Some(format!("{} requests", requests.len()));
    }
    Outcome {
        listed: end,
        requests: requests.len(),
        broken: problem.map(|problem| format!("{problem}\n{}", requests.join("\n"))),
    }
}

fn draw_settings(random: &mut Rng) -> Settings {
    let kind = |random: &mut Rng| pick(random, &[CapKind::Rewrites, CapKind::Cuts]);
    Settings {
        count: match random.u8(0..4) {
            0 => random.usize(0..8),
            1 => pick(random, &[20, 25, 49, 50, 51, 99, 100, 150]),
            _ => random.usize(0..260),
        },
        order: pick(
            random,
            &[Order::OldestFirst, Order::NewestFirst, Order::ById],
        ),
        cap: match random.u8(0..9) {
            0 => Cap::Always(random.u64(1..50), kind(random)),
            1 => Cap::Later(random.u64(1..50), kind(random)),
            2 => Cap::Sometimes(kind(random)),
            3 => Cap::Fixed(pick(random, &[1, 3, 5, 20, 25, 50, 100])),
            _ => Cap::None,
        },
        total: pick(
            random,
            &[
                Total::Right,
                Total::Right,
                Total::Filtered,
                Total::Missing,
                Total::Null,
                Total::Text,
                Total::Zero,
                Total::Own,
                Total::Active,
                Total::Cached,
                Total::Lagging,
                Total::SecondQuery,
                Total::TooLarge,
            ],
        ),
        offset: pick(
            random,
            &[Offset::Supported, Offset::Ignored, Offset::Refused],
        ),
        beyond: pick(
            random,
            &[
                Beyond::Empty,
                Beyond::NotFound,
                Beyond::BadRequest,
                Beyond::LastPage,
            ],
        ),
        moves: match random.u8(0..6) {
            0..3 => Moves::None,
            3 => Moves::Bursts,
            4 => Moves::BeginningLeaves(random.usize(1..60)),
            _ => Moves::Issues(random.usize(1..40)),
        },
        issued_at_most: 1000,
        page_ignored: random.u8(0..8) == 0,
        filter_ignored: random.u8(0..5) == 0,
        stale: if random.u8(0..6) == 0 { 30 } else { 0 },
        odd: if random.u8(0..5) == 0 { 10 } else { 0 },
    }
}

fn pick<T: Copy>(random: &mut Rng, values: &[T]) -> T {
    random.choice(values).copied().expect("not empty")
}

/// `SEEDS=10000` runs more.
fn seeds(default: u64) -> u64 {
    let seeds = std::env::var("SEEDS").ok();
    seeds
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(start_paused = true)]
async fn a_list_of_a_lying_service_is_complete_or_an_error() {
    let (mut errors, mut broken) = (0, 0);
    let first: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("a seed"));
    for seed in first..first + seeds(300) {
        let mut random = Rng::with_seed(seed);
        let settings = draw_settings(&mut random);
        let filter = pick(
            &mut random,
            &[StatusFilter::All, StatusFilter::All, StatusFilter::Active],
        );
        let (size, prefetch) = (pick(&mut random, &[50, 50, 20, 7, 5]), random.u32(1..=8));
        let setting =
            format!("seed {seed}: {filter}, {size} a page, {prefetch} prefetched, {settings:?}");
        println!("{setting}");
        let service = LyingService::new(settings, seed);
        let outcome = list_lying_service(&service, filter, size, prefetch).await;
        if let Some(problem) = outcome.broken {
            broken += 1;
            println!("BROKEN {setting}: {problem}");
        }
        if let Err(error) = outcome.listed {
            errors += 1;
            println!("ERROR {setting}: {} requests: {error}", outcome.requests);
        }
    }
    println!("{errors} errors");
    assert_eq!(broken, 0);
}
