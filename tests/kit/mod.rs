//! The test kit: zones, keys and CSRs, the spec, and a transport that records and changes requests.

pub mod spec;
pub mod tap;

use std::sync::Arc;

use shieldcert::{
    CertificateId, Client, ClientBuilder, Csr, KeyAlgorithm, PrivateKey, Subject, Transport, Zone,
};

/// The zone of every test. Emulators do not share theirs.
pub const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// The token of every test that does not search for it afterwards.
pub const TOKEN: &str = "s3cret";

/// A certificate id that no emulator issues.
pub const ID: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

/// Returns [`ID`], parsed.
pub fn id() -> CertificateId {
    ID.parse().expect("an id")
}

/// Returns the zone at a base URL, with the client's default settings.
pub fn zone_at(base_url: impl Into<String>) -> Zone {
    zone(Client::builder().token(TOKEN).base_url(base_url))
}

/// Returns the zone through a transport, with the client's default settings.
pub fn zone_through(transport: impl Transport) -> Zone {
    let builder = Client::builder().token(TOKEN);
    zone(builder.transport(Arc::new(transport)))
}

/// Returns the zone of a client with settings of its own.
pub fn zone(builder: ClientBuilder) -> Zone {
    let client = builder.build().expect("a client");
    client.zone(ZONE.parse().expect("a zone id"))
}

/// Generates a key, and a CSR with it.
pub fn key_and_csr(name: &str) -> (PrivateKey, Csr) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let csr = key.csr(&Subject::common_name(name)).expect("a CSR");
    (key, csr)
}

/// Issues a certificate for a CSR and returns its id.
pub async fn issue(zone: &Zone, csr: &Csr) -> CertificateId {
    let issued = zone.issue(csr).await.expect("is issued");
    issued.certificate.id().clone()
}

/// Returns TLS settings for a reqwest client that uses no TLS: in this workspace reqwest has no crypto provider of its
/// own to fall back on.
pub fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
