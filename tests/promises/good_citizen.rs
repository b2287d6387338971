//! Promise 5, a good citizen: nearly the whole budget is used, and no 429 is met.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shieldcert::{CertificateId, Client, Transport, Zone};
use shieldcert_emulator::{Emulator, EmulatorTransport, RateLimit};
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{TOKEN, ZONE, issue, key_and_csr, zone_through};
use tokio::time::Instant;

const QUOTA: u64 = 1200;
const WINDOW: Duration = Duration::from_secs(300);

/// The service at 30 ms with its own rate limit, and a certificate.
async fn service() -> (Emulator, CertificateId) {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .latency(Duration::from_millis(30))
        .rate_limit(RateLimit::default())
        .build()
        .expect("builds");
    let (_, csr) = key_and_csr("sensor-001");
    let id = issue(&zone_through(emulator.transport()), &csr).await;
    // A window of its own for the test.
    tokio::time::sleep(WINDOW).await;
    (emulator, id)
}

/// Records when 429s are met.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Vec<Instant>>>);

impl Refusals {
    /// A client of the emulator whose 429s are recorded.
    fn watch(&self, emulator: &Emulator) -> Zone {
        let refusals = self.0.clone();
        let tap = Tap::new(emulator.transport()).after(move |response| {
            if response.status() == 429 {
                refusals.lock().expect("not poisoned").push(Instant::now());
            }
            response
        });
        zone_through(tap)
    }

    fn get(&self) -> Vec<Instant> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// Makes `count` calls, eight at a time, and returns how long they took.
async fn make_calls(zone: &Zone, id: &CertificateId, count: u64) -> Duration {
    let left = Arc::new(AtomicU64::new(count));
    let started = Instant::now();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (zone, id, left) = (zone.clone(), id.clone(), left.clone());
            tokio::spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    zone.get(&id).await.expect("succeeds");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("ends");
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn alone_on_a_budget_99_percent_of_it_is_used_without_a_429() {
    const CALLS: u64 = 20_000;
    let (emulator, id) = service().await;
    let refusals = Refusals::default();
    let took = make_calls(&refusals.watch(&emulator), &id, CALLS).await;
    let ideal = WINDOW * u32::try_from((CALLS - 1) / QUOTA).expect("fits");
    let ratio = took.as_secs_f64() / ideal.as_secs_f64();
    println!("{CALLS} calls alone on a budget took {ratio:.4} of the ideal time");
    assert!(ratio < 1.01, "{ratio}");
    assert!(refusals.get().is_empty(), "{}", refusals.get().len());
}

#[tokio::test(start_paused = true)]
async fn with_others_on_a_budget_95_percent_of_what_they_leave_is_used() {
    const CALLS: u64 = 12_000;
    let (emulator, id) = service().await;
    let by_others = Arc::new(AtomicU64::new(0));
    let others = tokio::spawn(share(emulator.clone(), id.clone(), by_others.clone()));
    let refusals = Refusals::default();
    let took = make_calls(&refusals.watch(&emulator), &id, CALLS).await;
    others.abort();
    let served = CALLS + by_others.load(Ordering::Relaxed);
    let windows = u32::try_from((served - 1) / QUOTA).expect("fits");
    let ratio = took.as_secs_f64() / (WINDOW * windows).as_secs_f64();
    let refusals = refusals.get();
    println!(
        "{CALLS} calls beside others took {ratio:.4} of the ideal time, with {} 429s",
        refusals.len()
    );
    assert!(ratio < 1.05, "{ratio}");
    for pair in refusals.windows(2) {
        assert!(pair[1] - pair[0] >= WINDOW, "two 429s in a window");
    }
}

/// Others on the budget: they use a varying share of each window at its beginning, and stop before it is used up.
async fn share(emulator: Emulator, id: CertificateId, served: Arc<AtomicU64>) {
    let mut random = fastrand::Rng::with_seed(5);
    let transport = emulator.transport();
    let base = EmulatorTransport::BASE_URL;
    let url = format!("{base}/zones/{ZONE}/client_certificates/{id}");
    loop {
        let mut resets_in = WINDOW.as_secs();
        for _ in 0..random.u32(1..600) {
            let request =
                http::Request::get(&url).header("authorization", format!("Bearer {TOKEN}"));
            let request = request.body(bytes::Bytes::new()).expect("a request");
            let response = transport.send(request).await.expect("a response");
            served.fetch_add(1, Ordering::Relaxed);
            let left;
            (left, resets_in) = remaining(&response);
            if left < 100 {
                break;
            }
        }
        tokio::time::sleep(Duration::from_secs(resets_in + 1)).await;
    }
}

/// Reads `"default";r=50;t=30`.
fn remaining(response: &http::Response<bytes::Bytes>) -> (u64, u64) {
    let header = response.headers()["ratelimit"].to_str().expect("text");
    let number = |name: &str| {
        let (_, value) = header.split_once(name).expect("is there");
        let digits = value.split(';').next().expect("not empty");
        digits.parse().expect("a number")
    };
    (number("r="), number("t="))
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_limit_is_reported() {
    let (emulator, id) = service().await;
    let waits = Arc::new(Mutex::new(Vec::new()));
    let report = waits.clone();
    let limit = shieldcert::RateLimit::default()
        .on_wait(move |wait| report.lock().expect("not poisoned").push(wait));
    let builder = Client::builder().token(TOKEN).rate_limit(limit);
    let zone = shieldcert_tests::kit::zone(builder.transport(Arc::new(emulator.transport())));
    make_calls(&zone, &id, QUOTA + 1).await;
    let waits = waits.lock().expect("not poisoned");
    assert!(
        !waits.is_empty() && waits.iter().all(|wait| *wait <= WINDOW),
        "{waits:?}"
    );
}
