//! An issued identity opens a TLS connection that asks for a client certificate; another CA's does not.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use shieldcert::Identity;
use shieldcert_emulator::Emulator;
use shieldcert_tests::{TOKEN, key_and_csr, zone_through};

async fn identity(emulator: &Emulator, name: &str) -> Identity {
    let zone = zone_through(emulator.transport());
    let (key, csr) = key_and_csr(name);
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
async fn an_issued_identity_is_let_in_and_another_cas_is_not() {
    let [ours, theirs] =
        [(), ()].map(|()| Emulator::builder().token(TOKEN).build().expect("builds"));
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

/// Takes any server for the right one: what is under test is what the server says of the client.
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
