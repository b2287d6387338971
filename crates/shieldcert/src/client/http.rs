//! The HTTP stack: reqwest with rustls and ring, and the system's root certificates.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;

use super::base_url::BaseUrl;
use crate::error::IoCause;
use crate::error::input::InvalidInput;
use crate::pki::x509::X509Certificate;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the default HTTP client for a service.
pub(super) fn default_client(
    base: &BaseUrl,
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<reqwest::Client, InvalidInput> {
    let unusable = |error: rustls::Error| {
        InvalidInput::new(
            "TLS",
            format!("the system's root certificates can't be used ({error})"),
        )
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let mut tls = if base.scheme == Scheme::HTTP {
        // Plain HTTP needs no roots, and loading them takes longer than many a call.
        tls.with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    } else {
        let verifier = Verifier::new_with_extra_roots(extra_roots, provider).map_err(unusable)?;
        // rustls calls every verifier but its own dangerous. This one is the system's.
        tls.dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("shieldcert/", env!("CARGO_PKG_VERSION")));
    if base.is_loopback {
        // A proxy would take plain HTTP off this machine, and could not connect back to it.
        builder = builder.no_proxy();
    }
    build(builder)
}

/// Reads the CAs of a file in PEM.
pub(super) fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidInput> {
    let invalid = |problem: &dyn Display| {
        InvalidInput::new("CA file", format!("{}: {problem}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| invalid(&IoCause(&error)))?;
    let certificates = X509Certificate::all_from_pem(text).map_err(|error| invalid(&error))?;
    if certificates.is_empty() {
        return Err(invalid(&"it holds no certificate"));
    }
    let roots = certificates
        .iter()
        .map(|certificate| certificate.der().to_vec().into());
    Ok(roots.collect())
}

/// Builds an HTTP client that follows no redirects.
pub(super) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, InvalidInput> {
    builder
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| InvalidInput::new("HTTP client", format!("it can't be built ({error})")))
}
