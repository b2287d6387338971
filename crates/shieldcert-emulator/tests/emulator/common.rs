//! What the tests share: requests to an emulator without a socket, and CSRs for new keys.

use bytes::Bytes;
use http::{HeaderMap, Request};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use shieldcert_api::transport::Transport;
use shieldcert_emulator::{Emulator, EmulatorTransport};

pub const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub const OTHER_ZONE: &str = "f00e105f4ecef8ad9ca31a8372d0c3ff";

pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Response {
    pub fn code(&self) -> i64 {
        self.body["errors"][0]["code"].as_i64().unwrap_or_default()
    }

    pub fn result(&self, field: &str) -> &str {
        self.body["result"][field].as_str().unwrap_or_default()
    }

    /// The envelope of the failure is what the spec says.
    #[track_caller]
    pub fn assert_failed(&self, status: u16, code: i64) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        let envelope = self.body.as_object().expect("an object");
        let mut fields: Vec<_> = envelope.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["errors", "messages", "result", "success"]);
        assert_eq!(self.body["success"], false);
        assert_eq!(self.body["messages"], json!([]));
        assert_eq!(self.body["result"], Value::Null);
        assert!(
            !self.body["errors"][0]["message"]
                .as_str()
                .expect("a message")
                .is_empty()
        );
        assert_eq!(self.headers["content-type"], "application/json");
    }

    #[track_caller]
    pub fn assert_succeeded(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.body["success"], true);
        assert_eq!(self.body["errors"], json!([]));
        assert_eq!(self.body["messages"], json!([]));
        assert_eq!(self.headers["content-type"], "application/json");
    }
}

/// Sends a request as it is: no credential is added.
pub async fn send(emulator: &Emulator, request: Request<Bytes>) -> Response {
    let response = emulator.transport().send(request).await;
    let response = response.expect("a response");
    let (parts, body) = response.into_parts();
    Response {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// Calls a path below `client_certificates` of [`ZONE`], with the token `t`.
pub async fn call(
    emulator: &Emulator,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Response {
    call_at(
        emulator,
        method,
        &format!("/zones/{ZONE}/client_certificates{path}"),
        body,
    )
    .await
}

/// Calls a path below the base URL, with the token `t`.
pub async fn call_at(
    emulator: &Emulator,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", EmulatorTransport::BASE_URL))
        .header("authorization", "Bearer t")
        .body(body.into())
        .expect("a request");
    send(emulator, request).await
}

pub fn emulator() -> Emulator {
    Emulator::builder().build().expect("an emulator")
}

/// A CSR in PEM, with LF, for a new P-256 key.
pub fn csr(common_name: &str) -> String {
    csr_of(&KeyPair::generate().expect("a key"), common_name)
}

pub fn csr_of(key: &KeyPair, common_name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let request = params.serialize_request(key).expect("a CSR");
    // On Windows the encoder writes CRLF.
    request.pem().expect("PEM").replace("\r\n", "\n")
}

pub fn create_body(csr: &str, validity_days: impl Into<Value>) -> Vec<u8> {
    json!({ "csr": csr, "validity_days": validity_days.into() })
        .to_string()
        .into_bytes()
}

/// Issues a certificate and returns its id.
pub async fn issue(emulator: &Emulator, common_name: &str) -> String {
    let response = call(emulator, "POST", "", create_body(&csr(common_name), 365)).await;
    response.assert_succeeded();
    response.result("id").to_owned()
}

/// Calls a control endpoint.
pub async fn control(emulator: &Emulator, method: &str, path: &str, body: &str) -> Response {
    let base = EmulatorTransport::BASE_URL.trim_end_matches("/client/v4");
    let request = Request::builder()
        .method(method)
        .uri(format!("{base}/__shieldcert/{path}"))
        .body(Bytes::copy_from_slice(body.as_bytes()));
    send(emulator, request.expect("a request")).await
}

/// How many certificates [`ZONE`] holds.
pub async fn count(emulator: &Emulator) -> u64 {
    let list = call(emulator, "GET", "", "").await;
    list.body["result_info"]["total_count"]
        .as_u64()
        .expect("a number")
}
