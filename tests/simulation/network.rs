//! A client's way to the service: a connection to the emulator, which injects the faults, with a distance in time.
//!
//! What happens is added to the history, and what the client sends is checked against the service's limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Method;
use shieldcert::{BoxFuture, Transport, TransportError};
use shieldcert_emulator::{Connection, Moment, Observation};
use tokio::time::{Instant, sleep};

use super::history::History;

/// The transport of a client.
pub(super) struct Network {
    connection: Connection,
    client: usize,
    random: Mutex<Rng>,
    sent: Mutex<Sent>,
    history: History,
}

/// What the client has sent and received.
#[derive(Default)]
struct Sent {
    in_flight: u32,
    finished: u32,
    /// How many requests to issue there were.
    creates: u32,
    has_response: bool,
    /// Until when the client must wait, by a response that reached it.
    retry_at: Option<Instant>,
    /// How many 429s in a row reached it. Those of requests that were in flight together count once.
    refusals: u32,
    refused_at: Option<Instant>,
    /// When it last asked for a certificate, by path.
    reads: HashMap<String, Instant>,
}

/// Until a response shows what is left of the limit, a client sends one request at a time. A service that never shows
/// it must not slow it down for ever, so this holds for the first requests alone.
const FIRST_REQUESTS: u32 = 3;

/// How long a client must wait at least after the second 429 in a row, whatever the response says. It doubles with each
/// further one.
const MIN_BACKOFF: Duration = Duration::from_secs(2);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl Network {
    pub(super) fn new(
        connection: Connection,
        client: usize,
        random: &mut Rng,
        history: History,
    ) -> Arc<Self> {
        let observer = {
            let history = history.clone();
            move |observation: &Observation<'_>| observe(&history, client, observation)
        };
        Arc::new(Self {
            connection: connection.seed(random.u64(..)).observe(observer),
            client,
            random: Mutex::new(random.fork()),
            sent: Mutex::default(),
            history,
        })
    }

    async fn hop(&self) {
        let millis = self.random.lock().expect("not poisoned").u64(1..=150);
        sleep(Duration::from_millis(millis)).await;
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests the client has sent.
    pub(super) fn count(&self) -> u32 {
        let sent = self.sent();
        sent.in_flight + sent.finished
    }

    /// How many requests to issue the client has sent.
    pub(super) fn count_creates(&self) -> u32 {
        self.sent().creates
    }

    /// Whether the client has asked for a certificate since then.
    pub(super) fn has_read(&self, id: &str, since: Instant) -> bool {
        let sent = self.sent();
        let mut reads = sent.reads.iter();
        reads.any(|(path, at)| path.ends_with(id) && *at >= since)
    }

    /// Checks what the client sends, and when.
    fn check(&self, method: &Method, path: &str) {
        let client = self.client;
        let what = What(method, path);
        self.history
            .add(format_args!("client {client} sends {what}"));
        let mut sent = self.sent();
        sent.in_flight += 1;
        sent.creates += u32::from(*method == Method::POST);
        if *method == Method::GET {
            sent.reads.insert(path.to_owned(), Instant::now());
        }
        if sent.in_flight > 1 && !sent.has_response && sent.finished < FIRST_REQUESTS {
            self.history.broken(format_args!(
                "promise 5: client {client} sent {what} before its first request told what is left"
            ));
        }
        let early = sent
            .retry_at
            .take()
            .and_then(|until| until.checked_duration_since(Instant::now()))
            .filter(|early| *early > Duration::from_millis(1));
        if let Some(early) = early {
            self.history.broken(format_args!(
                "promise 5: client {client} sent {what} {early:?} too early, after {} 429s in a row",
                sent.refusals
            ));
        }
    }

    /// Takes note of a response that reaches the client, to a request that it sent at that time.
    fn receive(&self, sent_at: Instant, response: &http::Response<Bytes>) {
        let mut sent = self.sent();
        sent.has_response = true;
        if response.status() != http::StatusCode::TOO_MANY_REQUESTS {
            // What else has a `Retry-After` is about that one request.
            if !response.status().is_server_error() {
                sent.refusals = 0;
            }
            return;
        }
        let now = Instant::now();
        if sent.refused_at.is_none_or(|refused| sent_at >= refused) {
            sent.refusals += 1;
        }
        sent.refused_at = Some(now);
        // Other forms than whole seconds have tests of their own.
        let stated = response.headers().get("retry-after");
        let stated = stated.and_then(|value| value.to_str().ok()?.parse().ok());
        let stated = stated.map_or(Duration::ZERO, Duration::from_secs);
        let backoff = match sent.refusals {
            0 | 1 => Duration::ZERO,
            refusals => MIN_BACKOFF
                .saturating_mul(1 << (refusals - 2).min(6))
                .min(MAX_BACKOFF),
        };
        let until = now + stated.max(backoff);
        sent.retry_at = Some(sent.retry_at.map_or(until, |other| other.max(until)));
    }
}

impl Transport for Network {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let path = request
                .uri()
                .path_and_query()
                .map_or("", |path| path.as_str());
            self.check(request.method(), path);
            let sent_at = Instant::now();
            let _in_flight = InFlight(self);
            self.hop().await;
            let outcome = self.connection.send(request).await;
            self.hop().await;
            if let Ok(response) = &outcome {
                self.receive(sent_at, response);
            }
            outcome
        })
    }
}

/// A request that the client waits for, until it gives up.
struct InFlight<'a>(&'a Network);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut sent = self.0.sent();
        sent.in_flight -= 1;
        sent.finished += 1;
    }
}

fn observe(history: &History, client: usize, observation: &Observation<'_>) {
    let what = What(observation.method, observation.path);
    match observation.moment {
        Moment::Sent {
            fault: Some(fault),
            time,
        } => {
            history.add(format_args!("network  {fault} ({time:?}): {what}"));
        }
        Moment::OverQuota => history.broken(format_args!(
            "promise 5: client {client} sent more than the quota: {what}"
        )),
        Moment::Responded { status, body } => {
            history.add(format_args!("service  {what} → {status} {}", Summary(body)));
        }
        _ => {}
    }
}

/// A request, in short.
struct What<'a>(&'a Method, &'a str);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(method, path) = self;
        match path.split_once("/client_certificates") {
            Some((_, rest)) => write!(f, "{method} certificates{rest}"),
            None => write!(f, "{method} {path}"),
        }
    }
}

/// The body of a response, in short.
struct Summary<'a>(&'a Bytes);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: serde_json::Value = serde_json::from_slice(self.0).unwrap_or_default();
        let result = &body["result"];
        match (result["id"].as_str(), result.as_array()) {
            (Some(id), _) => write!(f, "{id} {}", result["status"].as_str().unwrap_or("")),
            (_, Some(list)) => {
                let total = &body["result_info"]["total_count"];
                write!(f, "{} of {total}", list.len())
            }
            _ => write!(f, "{}", body["errors"]),
        }
    }
}
