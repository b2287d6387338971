//! What lies between a client and the service: faults on the way, the service's rate limit, and the
//! history of what passed.

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

/// How bad a network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// How many requests in a hundred meet a fault.
    pub(super) faults: u32,
    /// How many in a hundred that meet none are refused with a 429 that all have to wait for.
    pub(super) storms: u32,
    /// How many issues in a hundred are refused since the quota is reached.
    pub(super) quota: u32,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    NotConnected,
    RequestLost,
    AnswerLost,
    ResetBefore,
    ResetAfter,
    BadGatewayBefore,
    BadGatewayAfter,
    /// The gateway gives up at once; the service acts so many seconds later.
    Late(u64),
    /// Nothing is answered at all, and the service acts so many seconds later.
    StalledLate(u64),
    HtmlInstead,
    CutOff,
    Slow(u64),
}

impl Fault {
    fn draw(random: &mut Rng) -> Self {
        match random.u8(0..14) {
            0 => Self::NotConnected,
            1 => Self::RequestLost,
            2 | 3 => Self::AnswerLost,
            4 => Self::ResetBefore,
            5 => Self::ResetAfter,
            6 => Self::BadGatewayBefore,
            7 | 8 => Self::BadGatewayAfter,
            9 => Self::Late(random.u64(1..=60)),
            10 => Self::StalledLate(random.u64(1..=60)),
            11 => Self::HtmlInstead,
            12 => Self::CutOff,
            _ => Self::Slow(random.u64(1..=25)),
        }
    }
}

/// A client's way to the service.
pub(super) struct Network {
    inner: EmulatorTransport,
    client: usize,
    weather: Weather,
    random: Mutex<Rng>,
    meter: Mutex<Meter>,
    history: History,
}

/// The service's rate limit for one token: so many requests in fixed windows, and a block after that.
struct Meter {
    quota: u64,
    window: Duration,
    window_ends: Instant,
    used: u64,
    blocked_until: Option<Instant>,
    /// When the client was told, by an answer that reached it, to stay away until then.
    told_until: Option<Instant>,
}

impl Network {
    pub(super) fn new(
        inner: EmulatorTransport,
        client: usize,
        weather: Weather,
        random: &mut Rng,
        history: History,
    ) -> Arc<Self> {
        let window = Duration::from_secs(random.u64(10..=120));
        Arc::new(Self {
            inner,
            client,
            weather,
            meter: Mutex::new(Meter {
                quota: random.u64(40..=200),
                window,
                window_ends: Instant::now() + window.mul_f64(random.f64()),
                used: 0,
                blocked_until: None,
                told_until: None,
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

    /// Counts a request that arrives; refuses it with how long to stay away.
    fn count(&self, what: &str) -> Result<String, Duration> {
        let storm = self.draw(|random| random.u32(0..100) < self.weather.storms);
        let mut meter = self.meter.lock().expect("not poisoned");
        let now = Instant::now();
        while now >= meter.window_ends {
            let window = meter.window;
            meter.window_ends += window;
            meter.used = 0;
        }
        if let Some(until) = meter.blocked_until.filter(|until| now < *until) {
            return Err(until - now);
        }
        meter.used += 1;
        if meter.used > meter.quota {
            let (used, quota) = (meter.used, meter.quota);
            self.history.broken(format_args!(
                "promise 5: client {} sent request {used} of a quota of {quota}: {what}",
                self.client
            ));
        }
        if storm {
            let wait = Duration::from_secs(self.draw(|random| random.u64(1..=90)));
            meter.blocked_until = Some(now + wait);
            return Err(wait);
        }
        let (left, resets_in) = (
            meter.quota.saturating_sub(meter.used),
            (meter.window_ends - now).as_secs(),
        );
        Ok(format!("\"default\";r={left};t={resets_in}"))
    }

    fn policy(&self) -> String {
        let meter = self.meter.lock().expect("not poisoned");
        format!("\"default\";q={};w={}", meter.quota, meter.window.as_secs())
    }

    async fn deliver(&self, request: http::Request<Bytes>, what: &str) -> http::Response<Bytes> {
        let counted = self.count(what);
        let mut response = match counted {
            Ok(left) => {
                let is_over_quota = *request.method() == Method::POST
                    && self.draw(|random| random.u32(0..100) < self.weather.quota);
                let mut response = if is_over_quota {
                    answered(403, br#"{"success":false,"errors":[{"code":1445,"message":"quota"}],"messages":[],"result":null}"#)
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
                let mut response = answered(429, br#"{"success":false,"errors":[{"code":10429,"message":"rate limited"}],"messages":[],"result":null}"#);
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers_mut().insert("retry-after", seconds.into());
                response
            }
        };
        response
            .headers_mut()
            .insert("ratelimit-policy", self.policy().parse().expect("a value"));
        self.history
            .add(format_args!("service  {what} → {}", brief(&response)));
        response
    }

    /// Looks at what the client sends and when.
    fn sent(&self, what: &str) {
        self.history
            .add(format_args!("client {} sends {what}", self.client));
        let mut meter = self.meter.lock().expect("not poisoned");
        if let Some(until) = meter.told_until {
            if Instant::now() + Duration::from_millis(1) < until {
                let early = until - Instant::now();
                self.history.broken(format_args!(
                    "promise 5: client {} sent {what} {early:?} before it was told to",
                    self.client
                ));
            }
            meter.told_until = None;
        }
    }

    /// Looks at what reaches the client.
    fn received(&self, response: &http::Response<Bytes>) {
        let wait = response.headers().get("retry-after");
        let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(seconds) = wait {
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut meter = self.meter.lock().expect("not poisoned");
            meter.told_until = Some(meter.told_until.map_or(until, |other| other.max(until)));
        }
    }

    async fn pass(
        self: Arc<Self>,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let what = described(&request);
        self.sent(&what);
        self.hop().await;
        let faults = self.weather.faults;
        let fault = self.draw(|random| (random.u32(0..100) < faults).then(|| Fault::draw(random)));
        if let Some(fault) = fault {
            self.history.add(format_args!("network  {fault:?}: {what}"));
        }
        let answer = match fault {
            None => Ok(self.deliver(request, &what).await),
            Some(Fault::NotConnected) => Err(TransportErrorKind::NotConnected),
            Some(Fault::RequestLost) => std::future::pending().await,
            Some(Fault::AnswerLost) => {
                self.deliver(request, &what).await;
                std::future::pending().await
            }
            Some(Fault::ResetBefore) => Err(TransportErrorKind::Interrupted),
            Some(Fault::ResetAfter) => {
                self.deliver(request, &what).await;
                Err(TransportErrorKind::Interrupted)
            }
            Some(Fault::BadGatewayBefore) => Ok(answered(502, b"<html>bad gateway</html>")),
            Some(Fault::BadGatewayAfter) => {
                self.deliver(request, &what).await;
                Ok(answered(502, b"<html>bad gateway</html>"))
            }
            Some(Fault::Late(seconds) | Fault::StalledLate(seconds)) => {
                // The service works on though whoever asked may be gone. It counts a request when it comes.
                if self.count(&what).is_ok() {
                    let (this, what) = (self.clone(), what.clone());
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(seconds)).await;
                        let response = this.inner.send(request).await.expect("in this process");
                        this.history
                            .add(format_args!("service  {what}, late → {}", brief(&response)));
                    });
                }
                match fault {
                    Some(Fault::StalledLate(_)) => std::future::pending().await,
                    _ => Ok(answered(504, b"")),
                }
            }
            Some(Fault::HtmlInstead) => {
                self.deliver(request, &what).await;
                Ok(answered(200, b"<html>welcome</html>"))
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
        if let Ok(response) = &answer {
            self.received(response);
        }
        answer.map_err(TransportError::from)
    }
}

/// A client's handle to its network.
#[derive(Clone)]
pub(super) struct Line(pub(super) Arc<Network>);

impl Transport for Line {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.0.clone().pass(request))
    }
}

pub(super) fn answered(status: u16, body: &'static [u8]) -> http::Response<Bytes> {
    let response = http::Response::builder().status(status);
    response.body(Bytes::from_static(body)).expect("a response")
}

fn described(request: &http::Request<Bytes>) -> String {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let path = path
        .split_once("/client_certificates")
        .map_or(path, |(_, rest)| rest);
    format!("{} certificates{path}", request.method())
}

fn brief(response: &http::Response<Bytes>) -> String {
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
