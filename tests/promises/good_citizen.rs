//! Promise 5, a good citizen: nearly the whole budget is used, and no 429 is met.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shieldcert::{CertificateId, Client, RetryPolicy, Transport, Zone};
use shieldcert_emulator::{
    CannedResponse, Emulator, EmulatorTransport, Fault, Operation, RateLimit, ScriptedFault,
};
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

/// Makes calls all at once, and returns how many succeed.
async fn burst(zone: &Zone, id: &CertificateId, count: usize) -> usize {
    let calls: Vec<_> = (0..count)
        .map(|_| tokio::spawn(zone.get(id).send()))
        .collect();
    let mut succeeded = 0;
    for call in calls {
        succeeded += usize::from(call.await.expect("ends").is_ok());
    }
    succeeded
}

#[tokio::test(start_paused = true)]
async fn a_new_client_asks_with_one_request_before_it_sends_a_burst() {
    for left in [0, 1, 40] {
        let (emulator, id) = service().await;
        make_calls(&zone_through(emulator.transport()), &id, QUOTA - left).await;
        let refusals = Refusals::default();
        let succeeded = burst(&refusals.watch(&emulator), &id, 75).await;
        assert_eq!(succeeded, 75);
        // Only the one that asks can be refused.
        let refused = refusals.get().len();
        assert_eq!(refused, usize::from(left == 0), "{left} left");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_states_no_limit_is_not_asked_one_by_one_for_ever() {
    let emulator = Emulator::builder().token(TOKEN);
    let emulator = emulator
        .latency(Duration::from_secs(1))
        .build()
        .expect("builds");
    let (_, csr) = key_and_csr("sensor-001");
    let id = issue(&zone_through(emulator.transport()), &csr).await;
    let started = Instant::now();
    let zone = zone_through(emulator.transport());
    assert_eq!(burst(&zone, &id, 100).await, 100);
    assert!(
        started.elapsed() <= Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

/// Returns an emulator that gives this response to every request.
fn always(response: CannedResponse) -> Emulator {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let fault = Fault::respond(response);
    emulator.script([ScriptedFault::next(Operation::Any, fault).always()]);
    emulator
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_asks_for_more_is_not_amplified() {
    for wait in [0, 1] {
        let response = CannedResponse::new(503).retry_after(Duration::from_secs(wait));
        let emulator = always(response);
        let zone = zone_through(emulator.transport());
        assert_eq!(burst(&zone, &id(), 1000).await, 0);
        let requests = emulator.history().count(Operation::Any);
        println!("Retry-After: {wait}: {requests} requests of 1000 calls");
        assert!(requests <= 1100, "{requests}");
    }
}

/// Blocks of minutes whose end the service does not state, or states wrongly.
#[tokio::test(start_paused = true)]
async fn a_block_without_a_usable_end_is_met_with_growing_waits() {
    for stated in [
        None,
        Some("0"),
        Some("1"),
        Some("0.5"),
        Some("soon"),
        Some("-1"),
    ] {
        let mut refusal = CannedResponse::new(429).code(10429);
        if let Some(stated) = stated {
            refusal = refusal.header("retry-after", stated);
        }
        let emulator = always(refusal);
        let zone = zone_through(emulator.transport());
        let started = Instant::now();
        let error = zone.get(&id()).await.expect_err("is blocked for ever");
        assert!(error.is_rate_limited() && error.is_retryable(), "{error}");
        // As long as `max_retry_after` allows: through a block of five minutes.
        assert!(
            started.elapsed() >= Duration::from_secs(270),
            "{:?}",
            started.elapsed()
        );
        assert!(
            started.elapsed() <= Duration::from_secs(361),
            "{:?}",
            started.elapsed()
        );
        let started = Instant::now();
        assert_eq!(burst(&zone, &id(), 50).await, 0);
        assert!(
            started.elapsed() <= Duration::from_secs(361),
            "{:?}",
            started.elapsed()
        );
        let at: Vec<f64> = emulator
            .history()
            .into_iter()
            .map(|event| event.at)
            .collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (place, gap) in gaps.iter().enumerate() {
            let least = f64::from(1 << place.min(6)).min(60.0);
            let is_stated = place == 0 && stated == Some("0.5");
            assert!(*gap >= least - 0.01 || is_stated, "{stated:?}: {gaps:?}");
        }
        assert!(gaps.len() >= 6, "{stated:?}: {gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_of_minutes_without_an_end_is_survived() {
    let (emulator, id) = service().await;
    let block = CannedResponse::new(429).code(10429);
    let block = ScriptedFault::next(Operation::Get, Fault::respond(block)).times(9);
    emulator.script([block]);
    let zone = zone_through(emulator.transport());
    let started = Instant::now();
    zone.get(&id).await.expect("succeeds in the end");
    println!("after {:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_long_block_fails_later_calls_at_once_without_sending() {
    let (emulator, id) = service().await;
    let day = Duration::from_secs(86_400);
    emulator.script([ScriptedFault::next(Operation::Get, Fault::rate_limit(day))]);
    let zone = zone_through(emulator.transport());
    let sent = emulator.history().count(Operation::Any);
    let error = zone.get(&id).await.expect_err("is blocked");
    assert!(error.to_string().contains("wait for 86400 s"), "{error}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let started = Instant::now();
    for error in [
        zone.get(&id).await.expect_err("is blocked"),
        zone.revoke(&id).await.expect_err("is blocked"),
        zone.list().await.expect_err("is blocked"),
    ] {
        assert!(error.is_rate_limited() && !error.is_ambiguous(), "{error}");
        assert_eq!(error.retry_after(), Some(day - Duration::from_secs(60)));
        assert!(error.to_string().contains("86340s"), "{error}");
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(emulator.history().count(Operation::Any), sent + 1);
    // It ends.
    tokio::time::sleep(day).await;
    zone.get(&id).await.expect("succeeds");
}

#[tokio::test(start_paused = true)]
async fn a_block_beyond_the_deadline_fails_the_call_at_once() {
    let (emulator, id) = service().await;
    let minute = Duration::from_secs(60);
    emulator.script([ScriptedFault::next(
        Operation::Get,
        Fault::rate_limit(minute),
    )]);
    let zone = zone_through(emulator.transport());
    let limit = RetryPolicy::default().time_limit(Duration::from_secs(30));
    let started = Instant::now();
    for _ in 0..3 {
        let error = zone.get(&id).retry(limit.clone()).await;
        let error = error.expect_err("is blocked");
        assert_eq!(error.retry_after(), Some(minute), "{error}");
    }
    // The first of them got the 429, 30 ms later.
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    zone.get(&id).await.expect("waits");
    assert!(started.elapsed() >= minute, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bulk_calls_pause_while_they_are_blocked() {
    let hour = Duration::from_secs(3600);
    for until_settled in [false, true] {
        let emulator = Emulator::builder().token(TOKEN);
        let emulator = emulator.build().expect("builds");
        let zone = zone_through(emulator.transport());
        let csrs: Vec<_> = (0..20)
            .map(|n| key_and_csr(&format!("sensor-{n}")).1)
            .collect();
        let block = |operation| ScriptedFault::next(operation, Fault::rate_limit(hour));
        emulator.script([
            block(Operation::Create),
            block(Operation::Delete),
            block(Operation::Get),
        ]);
        let started = Instant::now();
        let mut ids = Vec::new();
        let mut issued = zone.issue_all(csrs).stream();
        while let Some((_, result)) = issued.next().await {
            ids.push(result.expect("is issued").certificate.id().clone());
        }
        let mut revoke = zone.revoke_all(ids);
        if until_settled {
            revoke = revoke.until_settled();
        }
        let mut revoked = revoke.stream();
        let mut count = 0;
        while let Some((_, result)) = revoked.next().await {
            result.expect("is revoked");
            count += 1;
        }
        assert_eq!(count, 20);
        assert!(started.elapsed() >= 2 * hour, "{:?}", started.elapsed());
    }
}

/// A certificate's id, for a service that knows none.
fn id() -> CertificateId {
    shieldcert_tests::kit::id()
}
