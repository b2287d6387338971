//! The network between a client and the service: faults, the service's rate limit, and the history.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Method;
use shieldcert::{BoxFuture, Transport, TransportError, TransportErrorKind};
use shieldcert_emulator::EmulatorTransport;
use tokio::time::{Instant, sleep};

/// What happened, in order.
#[derive(Clone)]
pub(super) struct History {
    started: Instant,
    lines: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<Vec<String>>>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            lines: Arc::default(),
            broken: Arc::default(),
        }
    }

    pub(super) fn add(&self, line: impl std::fmt::Display) {
        let at = self.started.elapsed().as_secs_f64();
        self.lines
            .lock()
            .expect("not poisoned")
            .push(format!("{at:9.3}  {line}"));
    }

    pub(super) fn broken(&self, promise: impl std::fmt::Display) {
        self.add(format_args!("BROKEN: {promise}"));
        self.broken
            .lock()
            .expect("not poisoned")
            .push(promise.to_string());
    }

    pub(super) fn take(&self) -> (Vec<String>, Vec<String>) {
        let lines = std::mem::take(&mut *self.lines.lock().expect("not poisoned"));
        (
            lines,
            std::mem::take(&mut *self.broken.lock().expect("not poisoned")),
        )
    }
}

/// How often faults are injected.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultRates {
    /// The percentage of requests with a fault.
    pub(super) faults: u32,
    /// The percentage of the others that get a 429, which blocks the client.
    pub(super) blocks: u32,
    /// The percentage of creates that are refused because the quota is reached.
    pub(super) quota: u32,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    NotConnected,
    RequestLost,
    ResponseLost,
    ResetBefore,
    ResetAfter,
    BadGatewayBefore,
    BadGatewayAfter,
    /// A gateway responds 504 at once, and the service acts that many seconds later.
    Late(u64),
    /// There is no response, and the service acts that many seconds later.
    StalledLate(u64),
    Html,
    CutOff,
    Slow(u64),
}

impl Fault {
    fn draw(random: &mut Rng) -> Self {
        match random.u8(0..14) {
            0 => Self::NotConnected,
            1 => Self::RequestLost,
            2 | 3 => Self::ResponseLost,
            4 => Self::ResetBefore,
            5 => Self::ResetAfter,
            6 => Self::BadGatewayBefore,
            7 | 8 => Self::BadGatewayAfter,
            9 => Self::Late(random.u64(1..=60)),
            10 => Self::StalledLate(random.u64(1..=60)),
            11 => Self::Html,
            12 => Self::CutOff,
            _ => Self::Slow(random.u64(1..=25)),
        }
    }
}

/// A client's connection to the service.
pub(super) struct Network {
    inner: EmulatorTransport,
    client: usize,
    rates: FaultRates,
    random: Mutex<Rng>,
    limiter: Mutex<Limiter>,
    history: History,
}

/// The service's rate limit for one token: a quota in fixed windows, and a block after too many requests.
struct Limiter {
    quota: u64,
    window: Duration,
    window_ends: Instant,
    used: u64,
    blocked_until: Option<Instant>,
    /// Until when the client must wait, by a response that reached it.
    retry_at: Option<Instant>,
}

impl Network {
    pub(super) fn new(
        inner: EmulatorTransport,
        client: usize,
        rates: FaultRates,
        random: &mut Rng,
        history: History,
    ) -> Arc<Self> {
        let window = Duration::from_secs(random.u64(10..=120));
        Arc::new(Self {
            inner,
            client,
            rates,
            limiter: Mutex::new(Limiter {
                quota: random.u64(40..=200),
                window,
                window_ends: Instant::now() + window.mul_f64(random.f64()),
                used: 0,
                blocked_until: None,
                retry_at: None,
            }),
            random: Mutex::new(random.fork()),
            history,
        })
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.random.lock().expect("not poisoned"))
    }

    async fn hop(&self) {
        let millis = self.draw(|random| random.u64(1..=150));
        sleep(Duration::from_millis(millis)).await;
    }

    /// Counts a request that arrives. The error is how long the client must wait.
    fn count(&self, what: &str) -> Result<String, Duration> {
        let is_blocked = self.draw(|random| random.u32(0..100) < self.rates.blocks);
        let mut limiter = self.limiter.lock().expect("not poisoned");
        let now = Instant::now();
        while now >= limiter.window_ends {
            let window = limiter.window;
            limiter.window_ends += window;
            limiter.used = 0;
        }
        if let Some(until) = limiter.blocked_until.filter(|until| now < *until) {
            return Err(until - now);
        }
        limiter.used += 1;
        if limiter.used > limiter.quota {
            let (used, quota) = (limiter.used, limiter.quota);
            self.history.broken(format_args!(
                "promise 5: client {} sent request {used} of a quota of {quota}: {what}",
                self.client
            ));
        }
        if is_blocked {
            let wait = Duration::from_secs(self.draw(|random| random.u64(1..=90)));
            limiter.blocked_until = Some(now + wait);
            return Err(wait);
        }
        let (left, resets_in) = (
            limiter.quota.saturating_sub(limiter.used),
            (limiter.window_ends - now).as_secs(),
        );
        Ok(format!("\"default\";r={left};t={resets_in}"))
    }

    fn policy(&self) -> String {
        let limiter = self.limiter.lock().expect("not poisoned");
        format!(
            "\"default\";q={};w={}",
            limiter.quota,
            limiter.window.as_secs()
        )
    }

    async fn deliver(&self, request: http::Request<Bytes>, what: &str) -> http::Response<Bytes> {
        let counted = self.count(what);
        let mut response = match counted {
            Ok(left) => {
                let is_quota_reached = *request.method() == Method::POST
                    && self.draw(|random| random.u32(0..100) < self.rates.quota);
                let mut response = if is_quota_reached {
                    respond(403, br#"{"success":false,"errors":[{"code":1445,"message":"quota"}],"messages":[],"result":null}"#)
                } else {
                    self.inner
                        .send(request)
                        .await
                        .expect("the emulator is in this process")
                };
                response
                    .headers_mut()
                    .insert("ratelimit", left.parse().expect("a value"));
                response
            }
            Err(wait) => {
                let mut response = respond(429, br#"{"success":false,"errors":[{"code":10429,"message":"rate limited"}],"messages":[],"result":null}"#);
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers_mut().insert("retry-after", seconds.into());
                response
            }
        };
        response
            .headers_mut()
            .insert("ratelimit-policy", self.policy().parse().expect("a value"));
        self.history
            .add(format_args!("service  {what} → {}", summarize(&response)));
        response
    }

    /// Checks what the client sends, and when.
    fn check_sent(&self, what: &str) {
        self.history
            .add(format_args!("client {} sends {what}", self.client));
        let mut limiter = self.limiter.lock().expect("not poisoned");
        if let Some(until) = limiter.retry_at {
            if Instant::now() + Duration::from_millis(1) < until {
                let early = until - Instant::now();
                self.history.broken(format_args!(
                    "promise 5: client {} sent {what} {early:?} before its `Retry-After` was over",
                    self.client
                ));
            }
            limiter.retry_at = None;
        }
    }

    /// Takes note of a response that reaches the client.
    fn received(&self, response: &http::Response<Bytes>) {
        let wait = response.headers().get("retry-after");
        let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(seconds) = wait {
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut limiter = self.limiter.lock().expect("not poisoned");
            limiter.retry_at = Some(limiter.retry_at.map_or(until, |other| other.max(until)));
        }
    }

    async fn send(
        self: Arc<Self>,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let what = describe(&request);
        self.check_sent(&what);
        self.hop().await;
        let faults = self.rates.faults;
        let fault = self.draw(|random| (random.u32(0..100) < faults).then(|| Fault::draw(random)));
        if let Some(fault) = fault {
            self.history.add(format_args!("network  {fault:?}: {what}"));
        }
        let outcome = match fault {
            None => Ok(self.deliver(request, &what).await),
            Some(Fault::NotConnected) => Err(TransportErrorKind::NotConnected),
            Some(Fault::RequestLost) => std::future::pending().await,
            Some(Fault::ResponseLost) => {
                self.deliver(request, &what).await;
                std::future::pending().await
            }
            Some(Fault::ResetBefore) => Err(TransportErrorKind::Interrupted),
            Some(Fault::ResetAfter) => {
                self.deliver(request, &what).await;
                Err(TransportErrorKind::Interrupted)
            }
            Some(Fault::BadGatewayBefore) => Ok(respond(502, b"<html>bad gateway</html>")),
            Some(Fault::BadGatewayAfter) => {
                self.deliver(request, &what).await;
                Ok(respond(502, b"<html>bad gateway</html>"))
            }
            Some(Fault::Late(seconds) | Fault::StalledLate(seconds)) => {
                // The service acts even if the client is gone. It counts a request when it arrives.
                if self.count(&what).is_ok() {
                    let (this, what) = (self.clone(), what.clone());
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(seconds)).await;
                        let response = this.inner.send(request).await.expect("in this process");
                        this.history.add(format_args!(
                            "service  {what}, late → {}",
                            summarize(&response)
                        ));
                    });
                }
                match fault {
                    Some(Fault::StalledLate(_)) => std::future::pending().await,
                    _ => Ok(respond(504, b"")),
                }
            }
            Some(Fault::Html) => {
                self.deliver(request, &what).await;
                Ok(respond(200, b"<html>welcome</html>"))
            }
            Some(Fault::CutOff) => {
                let response = self.deliver(request, &what).await;
                Ok(response.map(|body| body.slice(..body.len() / 2)))
            }
            Some(Fault::Slow(seconds)) => {
                sleep(Duration::from_secs(seconds)).await;
                Ok(self.deliver(request, &what).await)
            }
        };
        self.hop().await;
        if let Ok(response) = &outcome {
            self.received(response);
        }
        outcome.map_err(TransportError::from)
    }
}

/// The transport of a client: a handle to its network.
#[derive(Clone)]
pub(super) struct NetworkTransport(pub(super) Arc<Network>);

impl Transport for NetworkTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.0.clone().send(request))
    }
}

pub(super) fn respond(status: u16, body: &'static [u8]) -> http::Response<Bytes> {
    let response = http::Response::builder().status(status);
    response.body(Bytes::from_static(body)).expect("a response")
}

fn describe(request: &http::Request<Bytes>) -> String {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let path = path
        .split_once("/client_certificates")
        .map_or(path, |(_, rest)| rest);
    format!("{} certificates{path}", request.method())
}

fn summarize(response: &http::Response<Bytes>) -> String {
    let status = response.status().as_u16();
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let result = &body["result"];
    match (result["id"].as_str(), result.as_array()) {
        (Some(id), _) => format!("{status} {id} {}", result["status"].as_str().unwrap_or("")),
        (_, Some(list)) => format!(
            "{status} {} of {}",
            list.len(),
            body["result_info"]["total_count"]
        ),
        _ => format!("{status} {}", body["errors"]),
    }
}
