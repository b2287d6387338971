//! By what the certificates of a zone are compared with the journal.

use shieldcert::{ClientCertificate, Csr, X509Certificate};

use crate::digest::sha256;
use crate::journal::Identifiers;

/// Returns what identifies a certificate.
pub(crate) fn identify(certificate: &ClientCertificate) -> Identifiers<'_> {
    let csr = certificate
        .csr_pem()
        .and_then(|pem| Csr::from_pem(pem).ok());
    let x509 = certificate.x509().ok();
    let public_key = match &csr {
        Some(_) => None,
        None => x509.as_ref().map(X509Certificate::public_key).map(sha256),
    };
    Identifiers {
        id: certificate.id(),
        fingerprint: x509.as_ref().map(X509Certificate::fingerprint_sha256),
        csr: csr.map(|csr| csr.sha256()),
        public_key,
    }
}
