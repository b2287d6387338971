//! An issued identity opens a TLS connection that asks for a client certificate; another CA's does not.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use shieldcert::{Client, Identity, KeyAlgorithm, PrivateKey, Subject};
use shieldcert_emulator::Emulator;

async fn identity(emulator: &Emulator, name: &str) -> Identity {
    let client = Client::builder()
        .token("s3cret")
        .base_url("http://localhost/client/v4")
        .transport(Arc::new(emulator.transport()))
        .build()
        .expect("a client");
    let zone = client.zone(
        "023e105f4ecef8ad9ca31a8372d0c353"
            .parse()
            .expect("a zone id"),
    );
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let csr = key.csr(&Subject::common_name(name)).expect("a CSR");
    let issued = zone.issue(&csr).await.expect("is issued");
    Identity::new(issued.certificate, key).expect("they belong together")
}

fn roots(emulator: &Emulator) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("a CA");
    roots.add(ca).expect("a root");
    Arc::new(roots)
}

/// Shakes hands in memory; says what the server says of the client.
fn shake_hands(
    edge: &Emulator,
    client: &Identity,
    server_name: &Identity,
) -> Result<(), rustls::Error> {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(edge), provider())
        .build()
        .expect("a verifier");
    let (chain, key) = server_name.rustls();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let (chain, key) = client.rustls();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(shieldcert_tests::AnyServer))
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
async fn an_issued_identity_is_let_in_and_another_cas_is_not() {
    let [ours, theirs] =
        [(), ()].map(|()| Emulator::builder().token("s3cret").build().expect("builds"));
    let server = identity(&ours, "localhost").await;
    let device = identity(&ours, "sensor-001").await;
    let stranger = identity(&theirs, "sensor-001").await;
    shake_hands(&ours, &device, &server).expect("is let in");
    let error = shake_hands(&ours, &stranger, &server).expect_err("is not let in");
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "{error}"
    );
}
