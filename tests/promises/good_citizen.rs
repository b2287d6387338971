//! Promise 5, a good citizen: nearly all of the rate limit's budget is used, and no 429 is met.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shieldcert::transport::{BoxFuture, Transport, TransportError};
use shieldcert::{CertificateId, Zone};
use shieldcert_tests::zone_through;
use tokio::time::Instant;

const QUOTA: u64 = 1200;
const WINDOW: Duration = Duration::from_secs(300);

/// A service that counts requests in windows, and blocks whoever exceeds them.
struct Metered {
    state: Mutex<State>,
}

struct State {
    window_ends: Instant,
    used: u64,
    blocked_until: Option<Instant>,
    refused: Vec<Instant>,
    /// What others used in each window that is over.
    others: Vec<u64>,
    others_now: u64,
}

impl Metered {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                window_ends: Instant::now() + WINDOW,
                used: 0,
                blocked_until: None,
                refused: Vec::new(),
                others: Vec::new(),
                others_now: 0,
            }),
        })
    }

    /// Counts a request; says what is left and for how long, or how long to wait.
    fn count(&self, is_ours: bool) -> Result<(u64, u64), u64> {
        let mut state = self.state.lock().expect("not poisoned");
        let now = Instant::now();
        while now >= state.window_ends {
            state.window_ends += WINDOW;
            state.used = 0;
            let others = std::mem::take(&mut state.others_now);
            state.others.push(others);
        }
        if let Some(until) = state.blocked_until.filter(|until| now < *until) {
            if is_ours {
                state.refused.push(now);
            }
            return Err((until - now).as_secs() + 1);
        }
        if state.used >= QUOTA {
            if is_ours {
                state.refused.push(now);
                state.blocked_until = Some(now + WINDOW);
                return Err(WINDOW.as_secs());
            }
            return Err((state.window_ends - now).as_secs() + 1);
        }
        state.used += 1;
        if !is_ours {
            state.others_now += 1;
        }
        Ok((QUOTA - state.used, (state.window_ends - now).as_secs()))
    }

    fn refused(&self) -> Vec<Instant> {
        self.state.lock().expect("not poisoned").refused.clone()
    }
}

impl Transport for Metered {
    fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let counted = self.count(true);
            tokio::time::sleep(Duration::from_millis(15)).await;
            let response = http::Response::builder().header(
                "ratelimit-policy",
                format!("\"default\";q={QUOTA};w={}", WINDOW.as_secs()),
            );
            Ok(match counted {
                Ok((left, resets_in)) => response
                    .header("ratelimit", format!("\"default\";r={left};t={resets_in}"))
                    .body(Bytes::from_static(
                        br#"{"success":true,"result":{"id":"7bf7f70c-7600-42e1-81c4-e4c0da9aa515"}}"#,
                    )),
                Err(wait) => response.status(429).header("retry-after", wait).body(Bytes::from_static(
                    br#"{"success":false,"errors":[{"code":10429,"message":"rate limited"}]}"#,
                )),
            }
            .expect("a response"))
        })
    }
}

/// Makes `count` calls, eight at a time, and says how long they took.
async fn make_calls(zone: &Zone, count: u64) -> Duration {
    let id: CertificateId = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515"
        .parse()
        .expect("an id");
    let left = Arc::new(Mutex::new(count));
    let started = Instant::now();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (zone, id, left) = (zone.clone(), id.clone(), left.clone());
            tokio::spawn(async move {
                loop {
                    {
                        let mut left = left.lock().expect("not poisoned");
                        match left.checked_sub(1) {
                            Some(fewer) => *left = fewer,
                            None => break,
                        }
                    }
                    zone.get(&id).await.expect("is answered");
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
async fn promise_5_alone_on_the_token_99_percent_of_the_budget_is_used_without_one_429() {
    const CALLS: u64 = 100_000;
    let metered = Metered::new();
    let took = make_calls(&zone_through(metered.clone()), CALLS).await;
    let ideal = WINDOW * u32::try_from((CALLS - 1) / QUOTA).expect("fits");
    let ratio = took.as_secs_f64() / ideal.as_secs_f64();
    println!("{CALLS} calls alone on the token took {ratio:.4} of the ideal time");
    assert!(ratio < 1.01, "{ratio}");
    assert!(
        metered.refused().is_empty(),
        "{:?}",
        metered.refused().len()
    );
}

#[tokio::test(start_paused = true)]
async fn promise_5_with_others_on_the_token_95_percent_of_what_they_leave_is_used() {
    const CALLS: u64 = 50_000;
    let metered = Metered::new();
    let others = tokio::spawn({
        let metered = metered.clone();
        async move {
            let mut random = fastrand::Rng::with_seed(5);
            loop {
                let starts = Instant::now();
                // A varying share of the quota, in the first ten seconds of each window.
                let count = random.u32(0..600);
                for _ in 0..count {
                    let _ = metered.count(false);
                    tokio::time::sleep(Duration::from_secs(10) / count).await;
                }
                tokio::time::sleep_until(starts + WINDOW).await;
            }
        }
    });
    let took = make_calls(&zone_through(metered.clone()), CALLS).await;
    others.abort();
    let state = metered.state.lock().expect("not poisoned");
    let mut left = CALLS;
    let mut windows = 0;
    for others in &state.others {
        if left <= QUOTA - others {
            break;
        }
        left -= QUOTA - others;
        windows += 1;
    }
    let ratio = took.as_secs_f64() / (WINDOW * windows).as_secs_f64();
    println!(
        "{CALLS} calls beside others took {ratio:.4} of the ideal time, {} times 429",
        state.refused.len()
    );
    assert!(ratio < 1.05, "{ratio}");
    for pair in state.refused.windows(2) {
        assert!(pair[1] - pair[0] >= WINDOW, "two 429 in a window");
    }
}
