//! The mTLS edge: what stands in front of a zone's origin, and admits or blocks client certificates.
//!
//! It asks each client for a certificate, responds with what a Worker would see of it in
//! `request.cf.tlsClientAuth`, and blocks (403) what an API Shield rule would block: no certificate, one of another
//! CA, an expired one, and unless the rule forgets it a revoked one.

mod verifier;

use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use ring::digest;
use serde::Serialize;
use tokio::net::TcpListener;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use self::verifier::AcceptAnyClient;
use crate::core::ca::subject_key_identifier;
use crate::core::service::Service;
use crate::core::status::Status;
use crate::error::Error;
use crate::settings::EdgeRule;
use crate::tls;
use crate::tls::listener::TlsListener;

/// Serves the edge on a listener until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) -> Result<(), Error> {
    let verifier = AcceptAnyClient(tls::provider().signature_verification_algorithms);
    let address = listener
        .local_addr()
        .map_err(|error| Error::Tls(error.into()))?;
    let acceptor = tls::acceptor(&service, address.ip(), Some(Arc::new(verifier)));
    let acceptor = acceptor.map_err(Error::Tls)?;
    let router = Router::new().fallback(respond).with_state(service);
    let edge = TlsListener::start(listener, address, acceptor);
    let router = router.into_make_service_with_connect_info::<Presented>();
    axum::serve(edge, router)
        .await
        .map_err(|error| Error::Tls(error.into()))
}

/// The certificate that the client of a connection presented, in DER.
#[derive(Clone)]
struct Presented(Option<Arc<[u8]>>);

impl Connected<IncomingStream<'_, TlsListener>> for Presented {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let first = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Self(first.map(|certificate| certificate.as_ref().into()))
    }
}

/// What a Worker sees of a client's certificate. All values are strings, as there.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TlsClientAuth {
    cert_presented: &'static str,
    cert_verified: String,
    cert_revoked: &'static str,
    #[serde(rename = "certFingerprintSHA256")]
    cert_fingerprint_sha256: String,
    cert_serial: String,
    #[serde(rename = "certSKI")]
    cert_ski: String,
    #[serde(rename = "certSubjectDN")]
    cert_subject_dn: String,
    #[serde(rename = "certIssuerDN")]
    cert_issuer_dn: String,
    cert_not_before: String,
    cert_not_after: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeResponse {
    allowed: bool,
    tls_client_auth: TlsClientAuth,
}

async fn respond(
    State(service): State<Arc<Service>>,
    ConnectInfo(Presented(certificate)): ConnectInfo<Presented>,
) -> Response {
    let (auth, allowed) = match certificate {
        None => {
            let none = TlsClientAuth {
                cert_presented: "0",
                cert_verified: "NONE".into(),
                cert_revoked: "0",
                ..TlsClientAuth::default()
            };
            (none, false)
        }
        Some(der) => evaluate(&service, &der).await,
    };
    tracing::info!(
        verified = auth.cert_verified,
        revoked = auth.cert_revoked,
        allowed,
        "request at the edge"
    );
    let body = serde_json::to_vec(&EdgeResponse {
        allowed,
        tls_client_auth: auth,
    });
    let body = body.expect("strings always serialize");
    let status = if allowed {
        StatusCode::OK
    } else {
        StatusCode::FORBIDDEN
    };
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

/// What the edge says of a certificate, and whether it admits it.
async fn evaluate(service: &Service, der: &[u8]) -> (TlsClientAuth, bool) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        let unreadable = TlsClientAuth {
            cert_presented: "1",
            cert_verified: "FAILED:malformed certificate".into(),
            cert_revoked: "0",
            ..TlsClientAuth::default()
        };
        return (unreadable, false);
    };
    let fingerprint = digest::digest(&digest::SHA256, der);
    // If the store fails, nobody is admitted.
    let status = service
        .store
        .status_by_fingerprint(fingerprint.as_ref())
        .await;
    let status = status.unwrap_or(Some(Status::Revoked));
    let now = service.clock.unix_seconds();
    let validity = certificate.validity();
    let failure = if !service.ca.has_signed(&certificate) {
        Some("unable to verify the first certificate")
    } else if now < validity.not_before.timestamp() {
        Some("certificate is not yet valid")
    } else if now > validity.not_after.timestamp() {
        Some("certificate has expired")
    } else {
        None
    };
    // The edge learns of a change once the certificate is settled.
    let is_revoked = matches!(status, Some(Status::Revoked | Status::PendingReactivation));
    let ski = subject_key_identifier(&certificate);
    let auth = TlsClientAuth {
        cert_presented: "1",
        cert_verified: failure.map_or("SUCCESS".into(), |why| format!("FAILED:{why}")),
        cert_revoked: if is_revoked { "1" } else { "0" },
        cert_fingerprint_sha256: hex::encode(fingerprint.as_ref()),
        cert_serial: hex::encode(certificate.raw_serial()).to_uppercase(),
        cert_ski: ski.unwrap_or_default(),
        cert_subject_dn: certificate.subject().to_string(),
        cert_issuer_dn: certificate.issuer().to_string(),
        cert_not_before: openssl_time(validity.not_before.timestamp()),
        cert_not_after: openssl_time(validity.not_after.timestamp()),
    };
    let is_refused = is_revoked && service.settings.edge_rule == EdgeRule::VerifiedAndNotRevoked;
    (auth, failure.is_none() && !is_refused)
}

/// Formats a time as openssl does: `Dec 22 19:39:00 2018 GMT`.
fn openssl_time(unix_seconds: i64) -> String {
    let time = Timestamp::from_second(unix_seconds);
    let text = time.map(|time| time.strftime("%b %e %H:%M:%S %Y GMT").to_string());
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::core::service::Signing;
    use crate::core::store::ZoneId;
    use crate::{Emulator, Fixture};

    const DAY: Duration = Duration::from_secs(86_400);

    fn service_of(emulator: &Emulator) -> &Arc<Service> {
        &emulator.app.service
    }

    async fn issue(emulator: &Emulator, days: i64) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::default()
            .serialize_request(&key)
            .expect("a CSR");
        let zone = ZoneId::parse("023e105f4ecef8ad9ca31a8372d0c353").expect("an id");
        let csr = request.pem().expect("PEM");
        let created = service_of(emulator)
            .clone()
            .create(zone, csr, days, Signing::default())
            .await;
        let certificate = created.expect("is issued");
        let pem = certificate.certificate.expect("has a PEM");
        pem::parse(pem).expect("PEM").into_contents()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_admitted_while_it_is_valid() {
        let start = SystemTime::now();
        let emulator = Emulator::builder()
            .clock_start(start)
            .build()
            .expect("builds");
        let der = issue(&emulator, 10).await;
        let (auth, allowed) = evaluate(service_of(&emulator), &der).await;
        assert_eq!((auth.cert_verified.as_str(), allowed), ("SUCCESS", true));
        tokio::time::advance(10 * DAY - Duration::from_secs(2)).await;
        assert!(evaluate(service_of(&emulator), &der).await.1);
        tokio::time::advance(Duration::from_secs(4)).await;
        let (auth, allowed) = evaluate(service_of(&emulator), &der).await;
        assert_eq!(
            (auth.cert_verified.as_str(), allowed),
            ("FAILED:certificate has expired", false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rule_that_checks_cert_verified_alone_admits_what_is_revoked() {
        for (rule, expected) in [
            (EdgeRule::VerifiedAndNotRevoked, false),
            (EdgeRule::Verified, true),
        ] {
            let emulator = Emulator::builder().edge_rule(rule).build().expect("builds");
            let revoked = Fixture::new("sensor-001").status("revoked");
            let zone = "023e105f4ecef8ad9ca31a8372d0c353";
            let record = emulator.add(zone, revoked).await.expect("is added");
            let pem = record.certificate.expect("has a PEM");
            let der = pem::parse(pem).expect("PEM").into_contents();
            let (auth, allowed) = evaluate(service_of(&emulator), &der).await;
            let seen = (auth.cert_verified.as_str(), auth.cert_revoked, allowed);
            assert_eq!(seen, ("SUCCESS", "1", expected), "{rule:?}");
        }
    }

    #[tokio::test]
    async fn foreign_server_and_malformed_certificates_are_blocked() {
        let [ours, theirs] = [(), ()].map(|()| Emulator::builder().build().expect("builds"));
        let foreign = issue(&theirs, 10).await;
        let (auth, allowed) = evaluate(service_of(&ours), &foreign).await;
        assert!(auth.cert_verified.starts_with("FAILED:unable to verify") && !allowed);
        let now = service_of(&ours).clock.unix_seconds();
        let server = service_of(&ours).ca.server_certificate(&[], now);
        let (server, _) = server.expect("is made");
        assert!(
            !evaluate(service_of(&ours), &server).await.1,
            "a server's certificate is not for clients"
        );
        assert!(!evaluate(service_of(&ours), b"nonsense").await.1);
    }

    #[test]
    fn times_are_formatted_as_openssl_does() {
        assert_eq!(openssl_time(1_545_507_540), "Dec 22 19:39:00 2018 GMT");
        assert_eq!(openssl_time(1_541_000_000), "Oct 31 15:33:20 2018 GMT");
        assert_eq!(openssl_time(1_541_100_000), "Nov  1 19:20:00 2018 GMT");
        assert_eq!(openssl_time(i64::MAX), "");
    }
}
