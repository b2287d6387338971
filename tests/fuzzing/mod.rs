//! The bodies of the fuzz targets for the client, the emulator and fleets. Each accepts any bytes and must not panic.

// A panic is what a fuzzer finds; no user reads these docs.
#![allow(clippy::missing_panics_doc)]

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use shieldcert::{
    BoxFuture, Client, Csr, Error, Identity, PrivateKey, RetryPolicy, Transport, TransportError,
    X509Certificate, Zone,
};
use shieldcert_emulator::{Chaos, Emulator, Fixture, Quirks, RateLimit, Script};
use shieldcert_fleet::{Config, Manifest, ManifestFormat};

use crate::kit::tap::Tap;
use crate::kit::{TOKEN, ZONE, id, zone};

/// Runs a future on a paused clock.
fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future);
}

fn zone_responding(transport: impl Transport) -> Zone {
    let builder = Client::builder()
        .token(TOKEN)
        .retry(RetryPolicy::default().max_attempts(2));
    zone(builder.transport(Arc::new(transport)))
}

/// Runs operations against a service that sends this response to every request.
fn call_operations(response: http::Response<Bytes>) {
    let zone = zone_responding(Tap::responding(response));
    let id = id();
    block_on(async {
        let mut pages = zone.list().pages();
        for _ in 0..3 {
            format(pages.try_next().await);
        }
        format(zone.get(&id).await);
        let wait = zone.revoke(&id).until_settled();
        format(wait.timeout(Duration::from_secs(5)).await);
    });
}

/// Formats the error, if there is one: that must not panic either.
fn format<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        let _ = format!("{error} {error:?}");
    }
}

/// Feeds a response: a byte for the status, then the body.
pub fn response(data: &[u8]) {
    let Some((status, body)) = data.split_first() else {
        return;
    };
    // Mostly 200: the body of a success is parsed in the most detail.
    let status = if *status < 160 {
        200
    } else {
        200 + u16::from(*status)
    };
    let response = http::Response::builder().status(status);
    call_operations(
        response
            .body(Bytes::copy_from_slice(body))
            .expect("a response"),
    );
}

/// Feeds rate limit headers, one per line.
pub fn rate_limit_headers(data: &[u8]) {
    let names = ["ratelimit", "ratelimit-policy", "retry-after"];
    let body = Bytes::from_static(b"{\"success\":true,\"result\":[]}");
    let mut response = http::Response::new(body);
    for (line, name) in data
        .split(|byte| *byte == b'\n')
        .zip(names.into_iter().cycle())
    {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            response
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
    }
    if data.first().is_some_and(|byte| byte % 4 == 0) {
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
    }
    call_operations(response);
}

/// Feeds a list: responses to one request after the other, separated by a byte that is in no text. Each begins with a byte
/// for the status. The last one is repeated.
pub fn list(data: &[u8]) {
    let responses: Vec<_> = data
        .split(|byte| *byte == 0xff)
        .filter_map(|response| {
            let (status, body) = response.split_first()?;
            let status = if *status < 160 {
                200
            } else {
                200 + u16::from(*status)
            };
            let response = http::Response::builder().status(status);
            response.body(Bytes::copy_from_slice(body)).ok()
        })
        .collect();
    if responses.is_empty() {
        return;
    }
    let zone = zone_responding(Responses {
        responses,
        sent: AtomicUsize::new(0),
    });
    block_on(async {
        let mut stream = zone.list().page_size(5).stream();
        let mut certificates = 0;
        loop {
            match stream.try_next().await {
                Ok(Some(_)) => certificates += 1,
                Ok(None) => break,
                Err(error) => {
                    format::<()>(Err(error));
                    break;
                }
            }
        }
        // Each was in one of the responses.
        assert!(certificates <= data.len());
    });
}

struct Responses {
    responses: Vec<http::Response<Bytes>>,
    sent: AtomicUsize,
}

impl Transport for Responses {
    fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let place = self.sent.fetch_add(1, Ordering::Relaxed);
        assert!(place < 10_000, "a list takes a bounded number of requests");
        let response = &self.responses[place.min(self.responses.len() - 1)];
        Box::pin(std::future::ready(Ok(response.clone())))
    }
}

/// Feeds a CSR, in PEM or DER, to the client and to the emulator.
pub fn csr(data: &[u8]) {
    for csr in [Csr::from_pem(data), Csr::from_der(data)]
        .into_iter()
        .flatten()
    {
        assert_eq!(
            Csr::from_pem(csr.to_pem()).expect("what was written is read"),
            csr
        );
        let _ = (csr.common_name(), csr.subject(), csr.sha256());
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let emulator = Emulator::builder().build();
    let emulator = emulator.expect("an emulator");
    // A fixture takes what a request to issue takes.
    block_on(async {
        if let Ok(record) = emulator.add(ZONE, Fixture::for_csr(text)).await {
            let pem = record.certificate.expect("was issued");
            X509Certificate::from_pem(pem).expect("what was issued is read");
        }
    });
}

/// Feeds a private key, in PEM or DER.
pub fn key(data: &[u8]) {
    for key in [
        PrivateKey::from_pem(data),
        PrivateKey::from_pkcs8(data),
        PrivateKey::from_encrypted_pem(data, "secret"),
    ]
    .into_iter()
    .flatten()
    {
        let again = PrivateKey::from_pem(&*key.to_pem()).expect("what was written is read");
        assert_eq!(again.public_key(), key.public_key());
        let _ = format!("{key:?}");
    }
}

/// Feeds a certificate, in PEM or DER.
pub fn certificate(data: &[u8]) {
    for certificate in [
        X509Certificate::from_pem(data),
        X509Certificate::from_der(data),
    ]
    .into_iter()
    .flatten()
    {
        let again = X509Certificate::from_pem(certificate.to_pem());
        assert_eq!(
            again.expect("what was written is read").der(),
            certificate.der()
        );
        let _ = format!("{certificate:?} {}", certificate.subject());
        let _ = (certificate.not_before(), certificate.not_after());
        assert!(certificate.has_serial_number(&certificate.serial_number()));
    }
}

/// Feeds a file with a key and certificates, in PEM.
pub fn identity(data: &[u8]) {
    match Identity::from_pem(data) {
        Ok(identity) => {
            let again = Identity::from_pem(&*identity.to_pem()).expect("what was written is read");
            assert_eq!(again.certificate().der(), identity.certificate().der());
        }
        Err(error) => format::<()>(Err(error)),
    }
}

/// Feeds the texts that the emulator's options and control endpoints take.
pub fn chaos(data: &[u8]) {
    fn round_trip<T: FromStr + Display>(text: &str) {
        if let Ok(parsed) = text.parse::<T>() {
            let written = parsed.to_string();
            let again = written.parse::<T>();
            let again = again.unwrap_or_else(|_| panic!("what was written is read: {written:?}"));
            assert_eq!(again.to_string(), written);
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        round_trip::<Chaos>(text);
        round_trip::<Quirks>(text);
        round_trip::<Script>(text);
        round_trip::<RateLimit>(text);
    }
}

/// Feeds a PKCS#12 file. Those of the corpus have no MAC, which would refuse every change at once.
pub fn pkcs12(data: &[u8]) {
    format(Identity::from_pkcs12(data, "secret"));
}

/// Feeds a manifest, as CSV and as JSONL.
pub fn manifest(data: &[u8]) {
    let config = format!("[zones.main]\nid = \"{ZONE}\"\n");
    let config = Config::from_toml(&config).expect("a configuration");
    let lines = data.split(|byte| *byte == b'\n').count() as u64;
    for format in [ManifestFormat::Csv, ManifestFormat::Jsonl] {
        let reader = std::io::Cursor::new(data.to_vec());
        for row in Manifest::from_reader(reader, format, &config) {
            match row {
                Ok(device) => {
                    let subject = device.subject.to_subject();
                    subject.check().expect("a device has a valid subject");
                    assert!((1..=36_500).contains(&device.validity_days));
                    assert!(device.zone.is_none_or(|zone| zone == "main"));
                }
                Err(problem) => {
                    assert!((1..=lines).contains(&problem.line), "{problem}");
                    assert!(!problem.to_string().contains(char::is_control));
                }
            }
        }
    }
}
