//! Tests that hold client, emulator and spec together; see the test targets of this package. This is
//! what several of them need.

// Test helpers panic by design, and no user reads their docs.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod fuzz_bodies;
pub mod simulation;
pub mod spec;

use std::sync::Arc;

use shieldcert::transport::Transport;
use shieldcert::{Client, ClientBuilder, Csr, KeyAlgorithm, PrivateKey, Subject, Zone};

/// The zone of every test. Emulators do not share theirs.
pub const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// The token of every test that does not look for it afterwards.
pub const TOKEN: &str = "s3cret";

/// The zone at a base URL, with the client's default settings.
pub fn zone_at(base_url: impl Into<String>) -> Zone {
    zone(Client::builder().token(TOKEN).base_url(base_url))
}

/// The zone through a transport, with the client's default settings.
pub fn zone_through(transport: impl Transport) -> Zone {
    let builder = Client::builder().token(TOKEN);
    zone(builder.transport(Arc::new(transport)))
}

/// The zone of a client with settings of its own.
pub fn zone(builder: ClientBuilder) -> Zone {
    let client = builder.build().expect("a client");
    client.zone(ZONE.parse().expect("a zone id"))
}

/// A new key and a CSR made with it.
pub fn key_and_csr(name: &str) -> (PrivateKey, Csr) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let csr = key.csr(&Subject::common_name(name)).expect("a CSR");
    (key, csr)
}

/// TLS settings for a reqwest client that speaks none: in this workspace reqwest has no crypto
/// provider of its own to fall back on.
pub fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
