//! The ids of certificates that this user has issued, in their state folder, by fingerprint, and what was asked for.
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

/// What a certificate was issued for. The service may have granted something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) days: u32,
    /// The subject of the CSR.
    pub(crate) subject: String,
}

/// Remembers the id of a certificate. Where that fails, it is looked for when it is needed.
pub(crate) fn remember(x509: &X509Certificate, id: &CertificateId, asked: &Asked) {
    if let Err(error) = store(x509, id, asked) {
        tracing::debug!(%error, "the id is not remembered");
    }
}

fn store(x509: &X509Certificate, id: &CertificateId, asked: &Asked) -> io::Result<()> {
    let folder = folder().ok_or(io::ErrorKind::NotFound)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&folder)?;
    let mut file = NamedTempFile::new_in(&folder)?;
    // A subject is escaped, and has no line ends.
    let Asked { days, subject } = asked;
    file.write_all(format!("{id}\n{days}\n{subject}\n").as_bytes())?;
    file.persist(folder.join(x509.fingerprint_sha256()))?;
    Ok(())
}

/// Returns the id that was remembered for a certificate.
pub(crate) fn recall(x509: &X509Certificate) -> Option<CertificateId> {
    read(x509)?.lines().next()?.trim().parse().ok()
}

/// Returns what was asked for when a certificate was issued.
pub(crate) fn recall_asked(x509: &X509Certificate) -> Option<Asked> {
    let text = read(x509)?;
    let mut lines = text.lines().skip(1);
    Some(Asked {
        days: lines.next()?.parse().ok()?,
        subject: lines.next()?.to_owned(),
    })
}

fn read(x509: &X509Certificate) -> Option<String> {
    fs::read_to_string(folder()?.join(x509.fingerprint_sha256())).ok()
}

fn folder() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    let folder = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    Some(folder.join("shieldcert").join("ids"))
}
