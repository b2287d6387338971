//! The edge admits an issued certificate, until it is revoked.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use shieldcert::{ClientCertificate, Identity, Zone};
use shieldcert_emulator::{Emulator, RunningEmulator};
use shieldcert_tests::kit::{TOKEN, key_and_csr, no_tls, zone_at};

async fn start() -> (RunningEmulator, Zone) {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_millis(50))
        .edge(([127, 0, 0, 1], 0).into())
        .start()
        .await
        .expect("starts");
    let zone = zone_at(emulator.base_url());
    (emulator, zone)
}

async fn issue(zone: &Zone) -> (Identity, ClientCertificate) {
    let (key, csr) = key_and_csr("sensor-001");
    let certificate = zone.issue(&csr).await.expect("is issued").certificate;
    let identity = Identity::new(&certificate, key).expect("they belong together");
    (identity, certificate)
}

fn http_client(tls: ClientConfig) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .expect("a client")
}

/// Sends a request to the edge. The client trusts the CA that the API's port serves.
async fn request_edge(emulator: &RunningEmulator, identity: Option<&Identity>) -> (u16, Value) {
    let ca = format!("http://{}/__shieldcert/ca.pem", emulator.address());
    let ca = http_client(no_tls()).get(ca).send().await;
    let ca = ca.expect("a response").bytes().await.expect("a body");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&ca).expect("a CA"))
        .expect("a root");
    let tls = match identity {
        Some(identity) => identity
            .rustls_client_config_with_roots(roots)
            .expect("an identity for TLS"),
        None => {
            let provider = rustls::crypto::ring::default_provider();
            ClientConfig::builder_with_provider(provider.into())
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth()
        }
    };
    let edge = emulator.edge_address().expect("there is an edge");
    let url = format!("https://localhost:{}/resource", edge.port());
    let response = http_client(tls).get(url).send().await.expect("a response");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn a_certificate_is_admitted_until_it_is_revoked_and_again_once_reactivated() {
    let (emulator, zone) = start().await;
    let (identity, certificate) = issue(&zone).await;
    let id = certificate.id();

    let (status, seen) = request_edge(&emulator, Some(&identity)).await;
    let auth = &seen["tlsClientAuth"];
    assert_eq!(status, 200, "{seen}");
    assert_eq!(auth["certPresented"], "1");
    assert_eq!(auth["certVerified"], "SUCCESS");
    assert_eq!(auth["certRevoked"], "0");
    assert_eq!(
        auth["certFingerprintSHA256"].as_str(),
        certificate.fingerprint_sha256()
    );
    assert_eq!(
        auth["certSKI"].as_str(),
        certificate.subject_key_identifier()
    );
    assert_eq!(auth["certSubjectDN"], "CN=sensor-001");
    let serial = certificate.serial_number().expect("has one");
    assert!(
        auth["certSerial"]
            .as_str()
            .expect("text")
            .eq_ignore_ascii_case(serial)
    );

    zone.revoke(id).until_settled().await.expect("settles");
    let (status, seen) = request_edge(&emulator, Some(&identity)).await;
    assert_eq!(
        (status, &seen["tlsClientAuth"]["certRevoked"]),
        (403, &"1".into()),
        "{seen}"
    );

    zone.reactivate(id).until_settled().await.expect("settles");
    assert_eq!(request_edge(&emulator, Some(&identity)).await.0, 200);
}

#[tokio::test]
async fn no_certificate_and_one_of_another_ca_are_blocked() {
    let (emulator, _) = start().await;
    let (status, seen) = request_edge(&emulator, None).await;
    assert_eq!(status, 403, "{seen}");
    assert_eq!(seen["tlsClientAuth"]["certPresented"], "0");
    assert_eq!(seen["tlsClientAuth"]["certVerified"], "NONE");

    let (_other, other_zone) = start().await;
    let (foreign, _) = issue(&other_zone).await;
    let (status, seen) = request_edge(&emulator, Some(&foreign)).await;
    assert_eq!(status, 403, "{seen}");
    let verified = seen["tlsClientAuth"]["certVerified"]
        .as_str()
        .expect("text");
    assert!(verified.starts_with("FAILED:"), "{seen}");
}
