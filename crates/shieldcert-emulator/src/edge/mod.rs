//! The mTLS edge: what stands in front of a zone's origin, and admits or blocks client certificates.
//!
//! It asks each client for a certificate, responds with what a Worker would see of it in
//! `request.cf.tlsClientAuth`, and blocks (403) what an API Shield rule would block: no certificate, one of another
//! CA, an expired or a revoked one.

mod listener;
mod verifier;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use self::listener::{EdgeListener, Presented};
use self::verifier::AcceptAnyClient;
use crate::core::ca::subject_key_identifier;
use crate::core::service::Service;
use crate::core::status::Status;
use crate::error::{BoxError, Error};

/// Serves the edge on a listener until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) -> Result<(), Error> {
    let tls = tls_config(&service).map_err(Error::Edge)?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::Edge(error.into()))?;
    let router = Router::new().fallback(respond).with_state(service);
    let edge = EdgeListener::start(listener, address, TlsAcceptor::from(Arc::new(tls)));
    let router = router.into_make_service_with_connect_info::<Presented>();
    axum::serve(edge, router)
        .await
        .map_err(|error| Error::Edge(error.into()))
}

fn tls_config(service: &Service) -> Result<rustls::ServerConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AcceptAnyClient(provider.signature_verification_algorithms));
    let (certificate, key) = service.ca.edge_certificate(service.clock.unix_seconds())?;
    let key = PrivateKeyDer::try_from(key)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(certificate)], key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
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
    let is_admitted = failure.is_none() && !is_revoked;
    (auth, is_admitted)
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
    use crate::Emulator;
    use crate::core::service::Signing;
    use crate::core::store::ZoneId;

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

    #[tokio::test]
    async fn foreign_server_and_malformed_certificates_are_blocked() {
        let [ours, theirs] = [(), ()].map(|()| Emulator::builder().build().expect("builds"));
        let foreign = issue(&theirs, 10).await;
        let (auth, allowed) = evaluate(service_of(&ours), &foreign).await;
        assert!(auth.cert_verified.starts_with("FAILED:unable to verify") && !allowed);
        let now = service_of(&ours).clock.unix_seconds();
        let server = service_of(&ours).ca.edge_certificate(now);
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
