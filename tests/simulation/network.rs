//! A client's way to the service: a connection to the emulator, which injects the faults, with a distance in time.
//!
//! What happens is added to the history, and what the client sends is checked against the service's limit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
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
    has_response: bool,
    /// Until when the client must wait, by a response that reached it.
    retry_at: Option<Instant>,
}

/// Until a response shows what is left of the limit, a client sends one request at a time. A service that never shows
/// it must not slow it down for ever, so this holds for the first requests alone.
const FIRST_REQUESTS: u32 = 3;

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

    /// Checks what the client sends, and when.
    fn check(&self, what: &str) {
        let client = self.client;
        self.history
            .add(format_args!("client {client} sends {what}"));
        let mut sent = self.sent();
        sent.in_flight += 1;
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
                "promise 5: client {client} sent {what} {early:?} before its `Retry-After` was over"
            ));
        }
    }

    /// Takes note of a response that reaches the client.
    fn receive(&self, response: &http::Response<Bytes>) {
        let mut sent = self.sent();
        sent.has_response = true;
        // What else has the header is about that one request.
        if response.status() != http::StatusCode::TOO_MANY_REQUESTS {
            return;
        }
        // Other forms than whole seconds have tests of their own.
        let wait = response.headers().get("retry-after");
        let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(seconds) = wait {
            let until = Instant::now() + Duration::from_secs(seconds);
            sent.retry_at = Some(sent.retry_at.map_or(until, |other| other.max(until)));
        }
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
            self.check(&describe(request.method(), path));
            let _in_flight = InFlight(self);
            self.hop().await;
            let outcome = self.connection.send(request).await;
            self.hop().await;
            if let Ok(response) = &outcome {
                self.receive(response);
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
    let what = describe(observation.method, observation.path);
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
            history.add(format_args!(
                "service  {what} → {}",
                summarize(status, body)
            ));
        }
        _ => {}
    }
}

fn describe(method: &http::Method, path: &str) -> String {
    let rest = path.split_once("/client_certificates");
    format!(
        "{method} certificates{}",
        rest.map_or(path, |(_, rest)| rest)
    )
}

fn summarize(status: u16, body: &Bytes) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
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
