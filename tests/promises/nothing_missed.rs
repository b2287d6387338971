//! Promise 2, nothing missed, nothing twice: lists of a zone in which others issue, revoke and
//! reactivate between any two answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use shieldcert::transport::{BoxFuture, Transport, TransportError};
use shieldcert::{CertificateId, Csr, Status, StatusFilter, Zone};
use shieldcert_emulator::{Emulator, EmulatorTransport, Order, TotalCount};
use shieldcert_tests::{TOKEN, key_and_csr, zone_through};

/// Passes requests on after a while of their own each, and lets others change the zone before each list.
struct Busy {
    inner: EmulatorTransport,
    /// What the others do, and to whom.
    others: Zone,
    csr: Csr,
    random: Mutex<Rng>,
    movable: Mutex<Vec<CertificateId>>,
    heeds_offset: bool,
    lists: Mutex<Vec<String>>,
}

impl Busy {
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
                    let issued = self.others.issue(&self.csr).await.expect("is issued");
                    let id = issued.certificate.id().clone();
                    self.movable.lock().expect("not poisoned").push(id);
                }
                (1, Some(id)) => {
                    self.others.revoke(&id).await.expect("is revoked");
                }
                (_, Some(id)) => {
                    self.others.reactivate(&id).await.expect("is reactivated");
                }
            }
        }
    }
}

impl Transport for Busy {
    fn send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let uri = request.uri().to_string();
            self.lists.lock().expect("not poisoned").push(uri.clone());
            if !self.heeds_offset {
                let kept = uri.replace("offset=", "o=").replace("limit=", "l=");
                *request.uri_mut() = kept.parse().expect("a URI");
            }
            let (before, after) = self.draw(|random| (random.u64(0..100), random.u64(0..100)));
            tokio::time::sleep(Duration::from_millis(before)).await;
            self.change_the_zone().await;
            let answer = self.inner.send(request).await;
            tokio::time::sleep(Duration::from_millis(after)).await;
            answer
        })
    }
}

async fn try_seed(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let order = random
        .choice([Order::NewestFirst, Order::OldestFirst, Order::ById])
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
        "seed {seed}: {count} in {order:?}, {total:?}, {filter}, {size} a page, {prefetch} at once"
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
    let others = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut lasting = HashSet::new();
    let mut movable = Vec::new();
    for _ in 0..count {
        let id = others
            .issue(&csr)
            .await
            .expect("is issued")
            .certificate
            .id()
            .clone();
        let status = if random.bool() {
            others
                .revoke(&id)
                .await
                .expect("is revoked")
                .status()
                .clone()
        } else {
            Status::Active
        };
        if random.u8(0..3) == 0 {
            movable.push(id);
        } else if filter == StatusFilter::All || status.as_str() == filter.to_string() {
            lasting.insert(id);
        }
    }
    let busy = Arc::new(Busy {
        inner: emulator.transport(),
        others,
        csr,
        random: Mutex::new(random.fork()),
        movable: Mutex::new(movable),
        heeds_offset: random.u8(0..4) > 0,
        lists: Mutex::default(),
    });
    let list = zone_through(busy.clone()).list();
    let mut stream = list
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
    let asked = busy.lists.lock().expect("not poisoned").join("\n");
    assert!(
        missed.is_empty(),
        "{setting}: {} missed of {}\n{asked}",
        missed.len(),
        lasting.len()
    );
}

#[tokio::test(start_paused = true)]
async fn promise_2_nothing_is_missed_and_nothing_comes_twice_while_the_list_moves() {
    for seed in 0..100 {
        try_seed(seed).await;
    }
}

/// How many requests a list of a quiet zone takes, and how long at 30 ms each.
async fn quiet(count: usize, filter: StatusFilter, total: TotalCount, size: u32) -> usize {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .total_count(total)
        .sign_inline(true)
        .build()
        .expect("builds");
    let others = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    for _ in 0..count {
        others.issue(&csr).await.expect("is issued");
    }
    let quiet = Arc::new(Counting {
        inner: emulator.transport(),
        requests: Mutex::default(),
    });
    let list = zone_through(quiet.clone())
        .list()
        .status(filter)
        .page_size(size);
    assert_eq!(list.await.expect("is read").len(), count);
    let requests = quiet.requests.lock().expect("not poisoned");
    *requests
}

struct Counting {
    inner: EmulatorTransport,
    requests: Mutex<usize>,
}

impl Transport for Counting {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        *self.requests.lock().expect("not poisoned") += 1;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.inner.send(request).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_made_than_are_needed() {
    use TotalCount::{Filtered, Unfiltered};
    for (count, filter, total, size, requests) in [
        (0, StatusFilter::All, Unfiltered, 50, 1),
        (1, StatusFilter::All, Unfiltered, 50, 1),
        (50, StatusFilter::All, Unfiltered, 50, 1),
        (51, StatusFilter::All, Filtered, 50, 2),
        (100, StatusFilter::All, Unfiltered, 5, 20),
        (0, StatusFilter::Active, Filtered, 50, 1),
        (50, StatusFilter::Active, Filtered, 50, 1),
        // 50, then 49 more with each: the overlap.
        (99, StatusFilter::Active, Filtered, 50, 2),
        (100, StatusFilter::Active, Filtered, 50, 3),
    ] {
        let made = quiet(count, filter, total, size).await;
        assert_eq!(made, requests, "{count} {filter} {total:?} {size}");
    }
}
