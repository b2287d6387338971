//! The service as it is: requests to the emulator that meet no fault, without the client that is tested.
//!
//! Other tools use it, too, and what they do is true at once.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use shieldcert::Transport;
use shieldcert_emulator::EmulatorTransport;

use super::secrets::TOKEN;

/// A zone of the emulator.
#[derive(Clone)]
pub(super) struct Service {
    transport: EmulatorTransport,
    zone: String,
}

/// A certificate, as the service has it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) common_name: String,
    pub(super) status: String,
    /// In hex.
    pub(super) serial: String,
}

impl Held {
    fn read(record: &Value) -> Self {
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            common_name: text("common_name"),
            status: text("status"),
            serial: text("serial_number"),
        }
    }
}

impl Service {
    pub(super) fn new(transport: EmulatorTransport, zone: &str) -> Self {
        let zone = zone.to_owned();
        Self { transport, zone }
    }

    /// Every certificate of the zone.
    pub(super) async fn list(&self) -> Vec<Held> {
        let mut held = Vec::new();
        for page in 1.. {
            let query = format!("?per_page=50&page={page}");
            let envelope = self.request(Method::GET, &query, None).await;
            let records = envelope["result"].as_array().expect("a list");
            held.extend(records.iter().map(Held::read));
            if records.len() < 50 {
                break;
            }
        }
        held
    }

    /// Returns the id.
    pub(super) async fn issue(&self, csr_pem: &str, validity_days: u32) -> String {
        let body = json!({ "csr": csr_pem, "validity_days": validity_days });
        let envelope = self.request(Method::POST, "", Some(body)).await;
        Held::read(&envelope["result"]).id
    }

    pub(super) async fn status(&self, id: &str) -> String {
        let envelope = self.request(Method::GET, &format!("/{id}"), None).await;
        Held::read(&envelope["result"]).status
    }

    /// What is not possible does nothing.
    pub(super) async fn revoke(&self, id: &str) {
        self.request(Method::DELETE, &format!("/{id}"), None).await;
    }

    /// What is not possible does nothing.
    pub(super) async fn reactivate(&self, id: &str) {
        let body = Some(json!({ "reactivate": true }));
        self.request(Method::PATCH, &format!("/{id}"), body).await;
    }

    async fn request(&self, method: Method, rest: &str, body: Option<Value>) -> Value {
        let (base, zone) = (EmulatorTransport::BASE_URL, &self.zone);
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}/zones/{zone}/client_certificates{rest}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(body.map_or_else(Bytes::new, |body| body.to_string().into()))
            .expect("a request");
        let response = self.transport.send(request).await;
        let response = response.expect("the emulator is in this process");
        serde_json::from_slice(response.body()).expect("the emulator responds in JSON")
    }
}

/// The 32 hex digits of an id. The service writes ids in several styles.
pub(super) fn plain(id: &str) -> String {
    match id.strip_prefix("cert:") {
        Some(odd) => odd.chars().take(32).collect(),
        None => id.replace('-', ""),
    }
}
