//! A certificate opens a door, and stops opening it once it is revoked.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use shieldcert::{Identity, Zone};
use shieldcert_emulator::{Emulator, RunningEmulator};
use shieldcert_tests::{TOKEN, key_and_csr, zone_at};

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

async fn identity(zone: &Zone) -> Identity {
    let (key, csr) = key_and_csr("sensor-001");
    let issued = zone.issue(&csr).await.expect("is issued");
    Identity::new(issued.certificate, key).expect("they belong together")
}

/// Knocks at the edge, trusting the CA that the API's port gives.
async fn knock(emulator: &RunningEmulator, identity: Option<&Identity>) -> (u16, Value) {
    let plain = reqwest::Client::builder()
        .tls_backend_preconfigured(shieldcert_tests::no_tls())
        .build()
        .expect("a client");
    let ca = format!("http://{}/__shieldcert/ca.pem", emulator.address());
    let ca = plain
        .get(ca)
        .send()
        .await
        .expect("is answered")
        .bytes()
        .await
        .expect("is whole");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&ca).expect("a CA"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let tls = match identity {
        None => tls.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.rustls();
            tls.with_client_auth_cert(chain, key)
                .expect("they belong together")
        }
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build()
        .expect("a client");
    let edge = emulator.edge_address().expect("there is an edge");
    let url = format!("https://localhost:{}/door", edge.port());
    let response = client.get(url).send().await.expect("is answered");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("is whole");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn issued_opens_revoked_does_not_reactivated_does_again() {
    let (emulator, zone) = start().await;
    let identity = identity(&zone).await;
    let id = identity.certificate().id().clone();

    let (status, seen) = knock(&emulator, Some(&identity)).await;
    let auth = &seen["tlsClientAuth"];
    assert_eq!(status, 200, "{seen}");
    assert_eq!(auth["certPresented"], "1");
    assert_eq!(auth["certVerified"], "SUCCESS");
    assert_eq!(auth["certRevoked"], "0");
    let certificate = identity.certificate();
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

    zone.revoke(&id).until_settled().await.expect("settles");
    let (status, seen) = knock(&emulator, Some(&identity)).await;
    assert_eq!(
        (status, &seen["tlsClientAuth"]["certRevoked"]),
        (403, &"1".into()),
        "{seen}"
    );

    zone.reactivate(&id).until_settled().await.expect("settles");
    assert_eq!(knock(&emulator, Some(&identity)).await.0, 200);
}

#[tokio::test]
async fn nobody_and_strangers_are_not_let_in() {
    let (emulator, _) = start().await;
    let (status, seen) = knock(&emulator, None).await;
    assert_eq!(status, 403, "{seen}");
    assert_eq!(seen["tlsClientAuth"]["certPresented"], "0");
    assert_eq!(seen["tlsClientAuth"]["certVerified"], "NONE");

    let (_other, other_zone) = start().await;
    let stranger = identity(&other_zone).await;
    let (status, seen) = knock(&emulator, Some(&stranger)).await;
    assert_eq!(status, 403, "{seen}");
    let verified = seen["tlsClientAuth"]["certVerified"]
        .as_str()
        .expect("text");
    assert!(verified.starts_with("FAILED:"), "{seen}");
}
