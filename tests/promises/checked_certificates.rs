//! Promise 7: what `issue` returns matches the request, and TLS servers that trust the CA accept it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use serde_json::json;
use shieldcert::{Error, Identity};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::{ID, TOKEN, key_and_csr, zone_through};

async fn identity(emulator: &Emulator, name: &str) -> Identity {
    let zone = zone_through(emulator.transport());
    let (key, csr) = key_and_csr(name);
    let issued = zone.issue(&csr).await.expect("is issued");
    Identity::new(&issued.certificate, key).expect("they belong together")
}

fn roots(emulator: &Emulator) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("a CA");
    roots.add(ca).expect("a root");
    Arc::new(roots)
}

/// Does a TLS handshake in memory and returns the server's verdict on the client.
fn handshake(ca: &Emulator, client: &Identity, server: &Identity) -> Result<(), rustls::Error> {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), provider())
        .build()
        .expect("a verifier");
    let (chain, key) = server.to_rustls();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let (chain, key) = client.to_rustls();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(chain, key)?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("in memory");
        server.read_tls(&mut wire.as_slice()).expect("in memory");
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).expect("in memory");
        client.read_tls(&mut wire.as_slice()).expect("in memory");
        client.process_new_packets()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_accepts_an_issued_identity_and_none_of_another_ca() {
    let [ours, theirs] =
        [(), ()].map(|()| Emulator::builder().token(TOKEN).build().expect("builds"));
    let server = identity(&ours, "localhost").await;
    let device = identity(&ours, "sensor-001").await;
    let foreign = identity(&theirs, "sensor-001").await;
    handshake(&ours, &device, &server).expect("is accepted");
    let error = handshake(&ours, &foreign, &server).expect_err("is another CA's");
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_key_is_an_error() {
    let other = include_str!("../../crates/shieldcert/tests/data/openssl-p256.cert.pem");
    let record = json!({
        "id": ID, "status": "active", "certificate": other,
    });
    let body = json!({ "success": true, "errors": [], "messages": [], "result": record });
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let response = CannedResponse::new(200).body(body.to_string());
    emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::respond(response),
    )]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone_through(emulator.transport());
    let error = zone.issue(&csr).validity_days(90).await;
    let error = error.expect_err("another key's");
    assert!(matches!(error, Error::WrongCertificate { .. }), "{error}");
    insta::assert_snapshot!(error, @"the service returned a certificate that does not match the request (id 7bf7f70c-7600-42e1-81c4-e4c0da9aa515): its public key is not the CSR's");
    assert_eq!(emulator.history().count(Operation::Create), 1);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_its_certificate_is_completed_by_a_request_of_its_own() {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let fault = "quirk=certificate=null".parse().expect("a fault");
    emulator.script([ScriptedFault::next(Operation::Create, fault)]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone_through(emulator.transport());
    let issued = zone.issue(&csr).await.expect("is issued");
    assert!(issued.certificate.pem().is_some());
    let history = emulator.history();
    let requests = [Operation::Create, Operation::Get].map(|operation| history.count(operation));
    assert_eq!(requests, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_certificate_of_a_chain_is_the_one_that_has_issued_no_other() {
    for order in ["chain", "chain-reversed"] {
        let quirks = format!("certificate={order}").parse().expect("quirks");
        let builder = Emulator::builder().token(TOKEN).quirks(quirks);
        let zone = zone_through(builder.build().expect("builds").transport());
        let (_, csr) = key_and_csr("sensor-001");
        let issued = zone.issue(&csr).await.expect("is issued").certificate;
        let x509 = issued.x509().expect("is read");
        assert_eq!(x509.common_name(), Some("sensor-001"), "{order}");
    }
}

/// Accepts any server: the server's verdict on the client is under test.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
