//! The ids of certificates that this user has issued, in their state folder, by fingerprint.
//!
//! A certificate does not hold its id, and the service finds none by fingerprint: the whole list would have to be read,
//! which takes minutes and thousands of requests in a large zone. What is remembered here takes one. It is a cache: it is
//! verified before it is used, and nothing is lost with it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use shieldcert::{CertificateId, X509Certificate};
use tempfile::NamedTempFile;

/// Remembers the id of a certificate. Where that fails, it is looked for when it is needed.
pub(crate) fn remember(x509: &X509Certificate, id: &CertificateId) {
    if let Err(error) = store(x509, id) {
        tracing::debug!(%error, "the id is not remembered");
    }
}

fn store(x509: &X509Certificate, id: &CertificateId) -> io::Result<()> {
    let folder = folder().ok_or(io::ErrorKind::NotFound)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&folder)?;
    let mut file = NamedTempFile::new_in(&folder)?;
    file.write_all(id.as_str().as_bytes())?;
    file.persist(folder.join(x509.fingerprint_sha256()))?;
    Ok(())
}

/// Returns the id that was remembered for a certificate.
pub(crate) fn recall(x509: &X509Certificate) -> Option<CertificateId> {
    let text = fs::read_to_string(folder()?.join(x509.fingerprint_sha256())).ok()?;
    text.trim().parse().ok()
}

fn folder() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    let folder = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    Some(folder.join("shieldcert").join("ids"))
}
