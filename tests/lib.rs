//! Tests that hold client, emulator and spec together; see the test targets of this package. This is
//! what several of them need.

/// TLS settings for a reqwest client that speaks none: in this workspace reqwest has no crypto
/// provider of its own to fall back on.
pub fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
