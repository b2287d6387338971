//! TLS, with a server certificate of the emulator's CA.

pub(crate) mod listener;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use tokio_rustls::TlsAcceptor;

use crate::core::service::Service;
use crate::error::BoxError;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// An acceptor with a new certificate for this machine and the names of the settings. It asks clients for a certificate
/// if there is a verifier.
pub(crate) fn acceptor(
    service: &Service,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<TlsAcceptor, BoxError> {
    let (names, now) = (&service.settings.tls_names, service.clock.unix_seconds());
    let (certificate, key) = service.ca.server_certificate(names, now)?;
    let key = PrivateKeyDer::try_from(key)?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![CertificateDer::from(certificate)], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
