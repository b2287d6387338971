//! Promise 2, nothing missed and nothing twice: lists of a zone in which others issue, revoke and reactivate between any
//! two responses.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lying_service::{
    Beyond, Cap, CapKind, LyingService, Moves, Offset, Order, Settings, Total,
};
use bytes::Bytes;
use fastrand::Rng;
use shieldcert::{CertificateId, Csr, Error, Status, StatusFilter, Zone};
use shieldcert_emulator::{Emulator, Operation, Order as EmulatorOrder, Script, TotalCount};
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{TOKEN, ZONE, issue, key_and_csr, zone_through};

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
        // Nobody waits for the limit.
        .rate_limit("1000000/1s".parse().expect("a limit"))
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
    let shown = || -> String {
        let requests = tap.requests();
        let queries = requests.iter().map(|r| r.uri().query().unwrap_or_default());
        queries.collect::<Vec<_>>().join("\n")
    };
    loop {
        match stream.try_next().await {
            Ok(Some(certificate)) => *times.entry(certificate.id().clone()).or_default() += 1,
            Ok(None) => break,
            Err(error) => panic!("{setting}: {error}\n{}", shown()),
        }
    }
    for (id, times) in &times {
        assert_eq!(*times, 1, "{setting}: {id} was listed {times} times");
    }
    let missed: Vec<_> = lasting
        .iter()
        .filter(|id| !times.contains_key(*id))
        .collect();
    assert!(
        missed.is_empty(),
        "{setting}: {} missed of {}\n{}",
        missed.len(),
        lasting.len(),
        shown()
    );
}

#[tokio::test(start_paused = true)]
async fn a_moving_list_misses_nothing_and_repeats_nothing() {
    let first: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("a seed"));
    for seed in first..first + seeds(100) {
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

/// Lists 200 pages of a zone, with one more certificate issued before the hundredth request. Returns how many requests that
/// took.
async fn list_200_pages() -> usize {
    const LATENCY: Duration = Duration::from_millis(30);
    let emulator = Emulator::builder()
        .token(TOKEN)
        .latency(LATENCY)
        .populate(ZONE, 4000)
        .rate_limit("1000000/1s".parse().expect("a limit"))
        .open()
        .await
        .expect("opens");
    let others = Arc::new(zone_through(emulator.transport()));
    let csr = Arc::new(key_and_csr("sensor").1);
    let requested = Arc::new(AtomicUsize::new(0));
    let tap = Tap::new(emulator.transport()).before(move |request| {
        let is_hundredth = requested.fetch_add(1, Ordering::Relaxed) == 99;
        let (others, csr) = (others.clone(), csr.clone());
        Box::pin(async move {
            if is_hundredth {
                issue(&others, &csr).await;
            }
            request
        })
    });
    let list = zone_through(tap).list().page_size(20);
    let listed = list.await.expect("is read").len();
    assert!((4000..=4001).contains(&listed), "{listed}");
    emulator.history().count(Operation::List)
}

#[tokio::test(start_paused = true)]
async fn a_list_that_moves_once_is_read_again_from_a_few_pages_back() {
    let requests = list_200_pages().await;
    // What is behind is read with overlaps, which takes 1.4 times the requests.
    assert!((202..=265).contains(&requests), "{requests}");
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

/// Draws a service that can be told from another one by its responses.
fn draw_settings(random: &mut Rng, size: u32) -> Settings {
    let mut settings = draw_any_settings(random);
    let is_capped = settings.cap != Cap::None;
    // Where ranges can't overlap, the client has to believe that no response is older than the one before it.
    if settings.offset != Offset::Supported && (is_capped || size < 14) {
        settings.stale = 0;
    }
    // Up to five records that come again and count themselves are a whole list, or page 1 of a list that is capped.
    if settings.total == Total::Own && is_capped {
        settings.page_ignored = false;
    }
    // A page of the smallest size has five records: cut to fewer, it looks like the end.
    if settings.offset != Offset::Supported && settings.count < 6 && is_capped {
        settings.cap = Cap::None;
    }
    settings
}

fn draw_any_settings(random: &mut Rng) -> Settings {
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
        let filter = pick(
            &mut random,
            &[StatusFilter::All, StatusFilter::All, StatusFilter::Active],
        );
        let (size, prefetch) = (pick(&mut random, &[50, 50, 20, 7, 5]), random.u32(1..=8));
        let settings = draw_settings(&mut random, size);
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

#[tokio::test(start_paused = true)]
async fn a_page_that_is_newer_than_one_behind_it_is_read_again() {
    let mut broken = Vec::new();
    for seed in 0..seeds(200) {
        // In one list in several, a certificate comes to be on a page that is read after the next one. No total shows it.
        let settings = Settings {
            order: Order::ById,
            total: Total::Cached,
            moves: Moves::Seldom(20),
            ..Settings::new(800)
        };
        let service = LyingService::new(settings, seed);
        let outcome = list_lying_service(&service, StatusFilter::All, 20, 8).await;
        if let Some(problem) = outcome.broken {
            broken.push(format!("seed {seed}: {problem}"));
        }
        outcome.listed.expect("is read");
    }
    assert!(broken.is_empty(), "{}: {}", broken.len(), broken[0]);
}

/// Lists a service that must be read completely, and returns how many requests that took.
async fn read_completely(settings: Settings, filter: StatusFilter) -> usize {
    let setting = format!("{filter}, {settings:?}");
    let service = LyingService::new(settings, 7);
    let outcome = list_lying_service(&service, filter, 50, 8).await;
    assert_eq!(outcome.broken, None, "{setting}");
    if let Err(error) = outcome.listed {
        panic!("{setting}: {error}\n{}", service.requests().join("\n"));
    }
    outcome.requests
}

/// Lists a service that can't be read, and returns the error and how many requests that took.
async fn fail_to_read(settings: Settings, filter: StatusFilter) -> (String, usize) {
    let setting = format!("{filter}, {settings:?}");
    let service = LyingService::new(settings, 7);
    let outcome = list_lying_service(&service, filter, 50, 8).await;
    assert_eq!(outcome.broken, None, "{setting}");
    let error = outcome.listed.expect_err(&setting);
    (error.to_string(), outcome.requests)
}

const COUNTS: [usize; 12] = [0, 1, 3, 5, 6, 20, 25, 49, 50, 100, 137, 230];
const TOTALS: [Total; 12] = [
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
];

#[tokio::test(start_paused = true)]
async fn a_service_that_returns_fewer_records_than_asked_for_is_read_completely() {
    for count in COUNTS {
        for records in [5, 6, 7, 13, 25, 49] {
            for kind in [CapKind::Rewrites, CapKind::Cuts] {
                for cap in [Cap::Always(records, kind), Cap::Later(records, kind)] {
                    for offset in [Offset::Supported, Offset::Ignored] {
                        for total in [Total::Right, Total::Missing] {
                            let settings = Settings {
                                cap,
                                offset,
                                total,
                                ..Settings::new(count)
                            };
                            read_completely(settings, StatusFilter::All).await;
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_chooses_the_page_size_is_read_completely() {
    for count in COUNTS {
        for size in [1, 3, 5, 20, 25, 50, 100] {
            for total in [Total::Right, Total::Missing] {
                let settings = Settings {
                    cap: Cap::Fixed(size),
                    total,
                    offset: Offset::Ignored,
                    ..Settings::new(count)
                };
                read_completely(settings, StatusFilter::All).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_is_a_hint() {
    for count in COUNTS {
        for total in TOTALS {
            if total == Total::TooLarge {
                continue;
            }
            for filter in [StatusFilter::All, StatusFilter::Active] {
                for moves in [Moves::None, Moves::Bursts] {
                    let settings = Settings {
                        total,
                        moves,
                        ..Settings::new(count)
                    };
                    read_completely(settings, filter).await;
                }
            }
        }
    }
}

/// Something between the client and the service leaves records out, or counts others too.
#[tokio::test(start_paused = true)]
async fn a_total_that_stays_larger_than_the_list_is_an_error() {
    for count in COUNTS {
        for offset in [Offset::Supported, Offset::Ignored, Offset::Refused] {
            for beyond in [Beyond::Empty, Beyond::NotFound, Beyond::LastPage] {
                let settings = Settings {
                    total: Total::TooLarge,
                    offset,
                    beyond,
                    ..Settings::new(count)
                };
                let (error, requests) = fail_to_read(settings, StatusFilter::All).await;
                assert!(
                    requests <= 2 * count.div_ceil(50) + 30,
                    "{requests}: {error}"
                );
            }
        }
    }
}

/// A replica that is behind has nothing where others have records, and says so twice.
#[tokio::test(start_paused = true)]
async fn an_empty_page_of_an_older_state_is_not_the_end() {
    let builder = Emulator::builder().token(TOKEN);
    let emulator = builder.build().expect("builds");
    let zone = zone_through(emulator.transport());
    let mut ids = HashSet::new();
    for number in 0..19 {
        if number == 6 {
            emulator.advance(Duration::from_secs(60));
        }
        let (_, csr) = key_and_csr(&format!("sensor-{number}"));
        ids.insert(issue(&zone, &csr).await);
    }
    let stale = "list@2..3: quirk=lag=39s\nlist@5..200: quirk=lag=39s";
    emulator.script(stale.parse::<Script>().expect("a script"));
    match zone.list().page_size(8).await {
        Ok(list) => assert_eq!(list.len(), ids.len()),
        Err(error) => assert!(matches!(error, Error::InvalidResponse { .. }), "{error}"),
    }
}

/// A service that chooses the size of its pages, and that shows a page only in part, twice, or as it was: what follows
/// is no proof that nothing is between.
#[tokio::test(start_paused = true)]
async fn a_damaged_page_in_a_sequence_is_not_the_end() {
    for (quirks, fault, size, count) in [
        ("ignore-per-page, total=missing", "quirk=cut=5", 50, 18),
        ("ignore-per-page, ignore-offset", "quirk=cut=7", 7, 45),
        (
            "ignore-per-page, ignore-offset, total=missing",
            "quirk=cut=7",
            7,
            45,
        ),
        ("ignore-per-page, ignore-offset", "quirk=cap=3", 7, 45),
        ("ignore-per-page, ignore-offset", "quirk=repeat-page", 7, 95),
        ("ignore-per-page, ignore-page, no-id", "quirk=cap=3", 7, 45),
    ] {
        for first in 1..=8 {
            let builder = Emulator::builder().token(TOKEN);
            let emulator = builder.build().expect("builds");
            let zone = zone_through(emulator.transport());
            let (_, csr) = key_and_csr("sensor-001");
            for _ in 0..count {
                issue(&zone, &csr).await;
            }
            emulator.set_quirks(quirks.parse().expect("quirks"));
            let script = format!("list@{first}: {fault}");
            emulator.script(script.parse::<Script>().expect("a script"));
            match zone.list().page_size(size).await {
                Ok(list) => assert_eq!(list.len(), count, "{quirks}; {script}"),
                Err(Error::InvalidResponse { .. }) => {}
                Err(error) => panic!("{quirks}; {script}: {error}"),
            }
        }
    }
}

/// A full page whose total is its own count, and failures of the one behind it that may be by chance.
#[tokio::test(start_paused = true)]
async fn a_failure_that_repeats_is_not_the_end() {
    for (fault, last) in [("quota", 4), ("respond=404", 4), ("not-found", 3)] {
        let builder = Emulator::builder().token(TOKEN);
        let emulator = builder.build().expect("builds");
        let zone = zone_through(emulator.transport());
        let (_, csr) = key_and_csr("sensor-001");
        for _ in 0..11 {
            issue(&zone, &csr).await;
        }
        let script = format!("list@1: quirk=total=page\nlist@2..{last}: {fault}");
        emulator.script(script.parse::<Script>().expect("a script"));
        match zone.list().page_size(5).await {
            Ok(list) => assert_eq!(list.len(), 11, "{fault}"),
            Err(error) => assert!(fault != "not-found", "{fault}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_end_does_not_matter() {
    for count in COUNTS {
        for beyond in [
            Beyond::Empty,
            Beyond::NotFound,
            Beyond::BadRequest,
            Beyond::LastPage,
        ] {
            for total in [Total::Right, Total::Missing] {
                for filter in [StatusFilter::All, StatusFilter::Active] {
                    let settings = Settings {
                        beyond,
                        total,
                        ..Settings::new(count)
                    };
                    read_completely(settings, filter).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ignores_page_is_an_error_after_a_handful_of_requests() {
    for count in [51, 230] {
        for total in TOTALS {
            for offset in [Offset::Ignored, Offset::Refused] {
                for filter in [StatusFilter::All, StatusFilter::Active] {
                    let settings = Settings {
                        page_ignored: true,
                        offset,
                        total,
                        ..Settings::new(count * 2)
                    };
                    let (error, requests) = fail_to_read(settings, filter).await;
                    assert!(requests <= 8, "{requests}: {error}");
                }
            }
        }
        let settings = Settings {
            page_ignored: true,
            ..Settings::new(count)
        };
        read_completely(settings, StatusFilter::All).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_leaves_in_bursts_costs_nothing_where_offset_is_ignored() {
    for count in [100, 200, 400] {
        for leave in [1, 10, 25, 49, 50, 60] {
            let settings = Settings {
                offset: Offset::Ignored,
                moves: Moves::BeginningLeaves(leave),
                ..Settings::new(count)
            };
            read_completely(settings, StatusFilter::Active).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_the_service_ignores_is_applied_here() {
    for count in COUNTS {
        let settings = Settings {
            filter_ignored: true,
            ..Settings::new(count)
        };
        read_completely(settings, StatusFilter::Active).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_moves_faster_than_it_can_be_read_is_an_error() {
    for order in [Order::OldestFirst, Order::NewestFirst, Order::ById] {
        let settings = Settings {
            order,
            moves: Moves::Issues(60),
            issued_at_most: u64::MAX,
            ..Settings::new(200)
        };
        let (error, requests) = fail_to_read(settings, StatusFilter::All).await;
        assert!(
            error.contains("changes faster than it can be read"),
            "{error}"
        );
        assert!(requests < 300, "{order:?}: {requests}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_read_are_returned_beside_the_others() {
    for order in [Order::OldestFirst, Order::NewestFirst, Order::ById] {
        let settings = Settings {
            order,
            odd: 20,
            ..Settings::new(230)
        };
        read_completely(settings.clone(), StatusFilter::All).await;
        let service = LyingService::new(settings, 7);
        let list = zone_through(service.clone()).list().await.expect("is read");
        let ids: HashSet<String> = list.iter().map(|c| c.id().to_string()).collect();
        assert_eq!(ids, service.lasting(StatusFilter::All));
        let odd: Vec<String> = list
            .unreadable()
            .iter()
            .map(|record| String::from_utf8_lossy(record.json()).into_owned())
            .collect();
        assert_eq!(
            odd.len(),
            service.odd().len(),
            "each is reported once: {odd:?}"
        );

        let mut stream = zone_through(service).list().stream();
        let mut certificates = 0;
        while stream.try_next().await.expect("is read").is_some() {
            certificates += 1;
        }
        assert_eq!(certificates, list.len());
        assert_eq!(stream.take_unreadable(), list.unreadable());
        assert!(stream.take_unreadable().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_an_error_that_names_it_and_ends_the_stream() {
    for body in [
        r#"{"success":true,"result":[{"id":"0]}"#,
        "<html>busy</html>",
        "5",
    ] {
        let mut service = LyingService::new(Settings::new(230), 7);
        for request in 2..40 {
            service = service.instead(request, 200, body);
        }
        let mut stream = zone_through(service).list().prefetch(1).stream();
        let mut read = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(certificate) => read += usize::from(certificate.is_some()),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(read, 100, "what was read before stays usable");
        assert!(
            error.contains("client_certificates?page=3&per_page=50"),
            "{error}"
        );
        for _ in 0..3 {
            assert!(stream.try_next().await.expect("has ended").is_none());
        }
    }
}

/// Prints what a list costs beside the least possible. Run it with `--nocapture`.
#[tokio::test(start_paused = true)]
async fn a_list_of_a_hostile_service_takes_a_bounded_number_of_requests() {
    let kinds: [(&str, Settings); 8] = [
        ("well-behaved", Settings::new(0)),
        (
            "caps at 25",
            Settings {
                cap: Cap::Always(25, CapKind::Rewrites),
                ..Settings::new(0)
            },
        ),
        (
            "cuts at 25",
            Settings {
                cap: Cap::Always(25, CapKind::Cuts),
                ..Settings::new(0)
            },
        ),
        (
            "pages of 20",
            Settings {
                cap: Cap::Fixed(20),
                ..Settings::new(0)
            },
        ),
        (
            "cuts some",
            Settings {
                cap: Cap::Sometimes(CapKind::Cuts),
                ..Settings::new(0)
            },
        ),
        (
            "no total",
            Settings {
                total: Total::Missing,
                ..Settings::new(0)
            },
        ),
        (
            "404 beyond",
            Settings {
                beyond: Beyond::NotFound,
                ..Settings::new(0)
            },
        ),
        (
            "issues 10 a request",
            Settings {
                moves: Moves::Issues(10),
                ..Settings::new(0)
            },
        ),
    ];
    println!("{:20} {:>6} {:>6} {:>6}", "certificates", 73, 230, 1000);
    let counts = [73, 230, 1000];
    println!("{:20} {:>6} {:>6} {:>6}", "least possible", 2, 5, 20);
    for (name, settings) in kinds {
        let mut requests = Vec::new();
        for count in counts {
            let settings = Settings {
                count,
                ..settings.clone()
            };
            let took = read_completely(settings, StatusFilter::All).await;
            let least = count.div_ceil(50);
            if name == "well-behaved" {
                assert!(took <= least + 1, "{took}");
            }
            assert!(took <= 4 * least + 40, "{name}: {took}");
            requests.push(took);
        }
        let [a, b, c] = requests[..] else {
            unreachable!()
        };
        println!("{name:20} {a:>6} {b:>6} {c:>6}");
    }
}
