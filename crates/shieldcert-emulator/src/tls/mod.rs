//! TLS, with a server certificate of the emulator's CA.

pub(crate) mod listener;

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use tokio_rustls::TlsAcceptor;

use crate::core::service::Service;
use crate::error::BoxError;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// An acceptor with a new certificate for this machine, the address that it listens on, and the names of the settings.
/// It asks clients for a certificate if there is a verifier.
pub(crate) fn acceptor(
    service: &Service,
    address: IpAddr,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<TlsAcceptor, BoxError> {
    let mut names = service.settings.tls_names.clone();
    for name in &names {
        check_name(name)?;
    }
    if !address.is_loopback() && !address.is_unspecified() {
        names.push(address.to_string());
    }
    let now = service.clock.unix_seconds();
    let (certificate, key) = service.ca.server_certificate(&names, now)?;
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

/// Checks that a client can ask for this name. A wildcard may stand for its first label.
fn check_name(name: &str) -> Result<(), BoxError> {
    let concrete = name.strip_prefix("*.").unwrap_or(name);
    ServerName::try_from(concrete).map(|_| ()).map_err(|_| {
        let problem = "it is neither a host name nor an IP address; give it without scheme, port and brackets";
        format!("{name:?}: {problem}").into()
    })
}
