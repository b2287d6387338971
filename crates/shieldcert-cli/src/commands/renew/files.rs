//! The files that are renewed: each a certificate with its key, in PEM.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shieldcert::{Identity, Issue, KeyAlgorithm, PrivateKey, X509Certificate};
use shieldcert_fleet::{DeviceName, DeviceSubject};
use zeroize::Zeroizing;

use crate::args::subject;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::shell::quote;

/// A file that can be renewed.
pub(super) struct Given {
    /// As it was named.
    pub(super) path: PathBuf,
    /// Where it is, links followed.
    pub(super) place: PathBuf,
    pub(super) certificate: X509Certificate,
    pub(super) key: PrivateKey,
    pub(super) fingerprint: String,
    pub(super) expires: Option<Timestamp>,
    pub(super) spec: Spec,
    /// How many certificates of its chain the file holds.
    pub(super) chain: usize,
}

/// What a new certificate is asked for.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) subject: DeviceSubject,
    pub(super) key: KeyAlgorithm,
    pub(super) days: u32,
}

/// Reads a file. The message of a failure begins with its path.
pub(super) fn read(path: &Path) -> Result<Given> {
    let failed = |problem: &str| Failure::failed(format!("{}: {problem}", path.display()));
    let place = fs::canonicalize(path).map_err(|error| Failure::input(path, &error))?;
    let text = fs::read(&place).map_err(|error| Failure::input(path, &error))?;
    let text = Zeroizing::new(text);
    if place
        .to_str()
        .is_none_or(|text| text.chars().any(char::is_control))
    {
        return Err(failed("its path is no plain text; rename the file"));
    }
    let has = |words: &str| {
        text.windows(words.len())
            .any(|part| part == words.as_bytes())
    };
    if !has("-----BEGIN ") {
        return Err(failed(
            "it is not PEM; give the file with the certificate and its private key, as `shieldcert issue` writes it",
        ));
    }
    if has("ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        let name = quote(path);
        return Err(failed(
            "its private key is encrypted, and the new one would not be; decrypt it first",
        )
        .hint(format!("shieldcert export {name} --pem NEW.pem")));
    }
    if !has("PRIVATE KEY-----") {
        let name = quote(path);
        return Err(failed(
            "it has no private key, which would not be replaced; give a file that holds both",
        )
        .hint(format!("umask 077; cat {name} KEY > NEW.pem")));
    }
    let identity = Identity::from_pem(&*text).map_err(|error| {
        let problem = match &error {
            shieldcert::Error::InvalidInput(error) => error.problem().to_owned(),
            error => error.to_string(),
        };
        failed(&problem)
    })?;
    let (certificate, chain, key) = identity.into_parts();
    let subject =
        subject::parse_name(&certificate.subject()).map_err(|problem| failed(&problem))?;
    subject
        .to_subject()
        .check()
        .map_err(|error| failed(&format!("its subject: {}", error.problem())))?;
    let is_rsa = key.algorithm().as_str().starts_with("rsa");
    if is_rsa && !cfg!(feature = "rsa") {
        return Err(failed(
            "its key is an RSA key, which this shieldcert does not make; install it with the feature `rsa`",
        ));
    }
    Ok(Given {
        path: path.to_owned(),
        place,
        fingerprint: certificate.fingerprint_sha256(),
        expires: certificate.not_after(),
        spec: Spec {
            subject,
            key: key.algorithm(),
            days: lifetime(&certificate),
        },
        chain: chain.len(),
        certificate,
        key,
    })
}

/// How many days a certificate is valid. The service may begin a few minutes early.
pub(in crate::commands) fn lifetime(certificate: &X509Certificate) -> u32 {
    const DAY: i64 = 86_400;
    let (Some(begin), Some(end)) = (certificate.not_before(), certificate.not_after()) else {
        return 365;
    };
    let days = (end.as_second() - begin.as_second() + DAY / 2) / DAY;
    let days = u32::try_from(days).unwrap_or(1);
    days.clamp(1, Issue::MAX_VALIDITY_DAYS)
}

impl Given {
    /// A name for it in the journal: what people recognize, and what makes it unique.
    pub(super) fn device(&self, is_taken: impl Fn(&DeviceName) -> bool) -> Result<DeviceName> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let place = short_hash(&self.place.to_string_lossy());
        // The file has held another certificate before.
        let again = format!(
            "{place}-{}",
            &self.fingerprint[..8.min(self.fingerprint.len())]
        );
        for suffix in [place, again] {
            let name: DeviceName =
                format!("{}-{suffix}", plain(&stem))
                    .parse()
                    .map_err(|problem| {
                        Failure::failed(format!("{}: {problem}", self.path.display()))
                    })?;
            if !is_taken(&name) {
                return Ok(name);
            }
        }
        Err(Failure::new(
            ExitCode::Failed,
            format!(
                "{}: an earlier run has renewed and revoked this certificate; issue a new one with `shieldcert issue`",
                self.path.display()
            ),
        ))
    }
}

/// What is safe in the name of a device.
fn plain(stem: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let text: String = (stem.chars().take(40))
        .map(|c| if is_plain(c) { c } else { '-' })
        .collect();
    match text.trim_matches('-') {
        "" => "file".to_owned(),
        text => text.to_owned(),
    }
}

/// The first digits of a SHA-256.
pub(super) fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_become_names_of_devices() {
        for (stem, expected) in [
            ("sensor-001", "sensor-001"),
            ("con.local", "con-local"),
            (".hidden ", "hidden"),
            ("é", "file"),
        ] {
            assert_eq!(plain(stem), expected);
            let name = format!("{}-{}", plain(stem), short_hash(stem));
            name.parse::<DeviceName>().expect(stem);
        }
        assert_eq!(plain(&"x".repeat(100)).len(), 40);
    }
}
