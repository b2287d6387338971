//! A certificate with its key, ready to be used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::certificate::ClientCertificate;
use crate::error::{Error, Result};
use crate::keys::PrivateKey;
use crate::x509::Certificate;

/// A client certificate and the private key that belongs to it.
///
/// ```no_run
/// # use shieldcert::{Identity, Result};
/// # fn example(certificate: shieldcert::ClientCertificate, key: shieldcert::PrivateKey) -> Result<()> {
/// let identity = Identity::new(certificate, key)?;
/// identity.write_pem("sensor-001.pem")?; // readable by its owner alone
///
/// // With reqwest:
/// let pem = identity.to_pem();
/// let tls = reqwest::Identity::from_pem(pem.as_bytes());
///
/// // With rustls:
/// let (chain, key) = identity.rustls();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Identity {
    certificate: ClientCertificate,
    der: Vec<u8>,
    key: PrivateKey,
}

impl Identity {
    /// Puts a certificate and its key together.
    ///
    /// Fails with [`Error::KeyMismatch`] where the key is another certificate's, and with
    /// [`Error::Input`] where the record holds no readable certificate.
    pub fn new(certificate: ClientCertificate, key: PrivateKey) -> Result<Self> {
        let pem = certificate.pem().ok_or_else(|| {
            Error::input(
                "certificate",
                format!(
                    "the record of {} holds no PEM; get it again",
                    certificate.id()
                ),
            )
        })?;
        let parsed =
            Certificate::from_pem(pem).map_err(|problem| Error::input("certificate", problem))?;
        if parsed.public_key != key.public_key() {
            return Err(Error::KeyMismatch(format!(
                "this private key does not belong to certificate {}{}: their public keys differ",
                certificate.id(),
                certificate
                    .common_name()
                    .map(|name| format!(" ({name})"))
                    .unwrap_or_default(),
            )));
        }
        let der = parsed.into_der();
        Ok(Self {
            certificate,
            der,
            key,
        })
    }

    /// The certificate.
    pub fn certificate(&self) -> &ClientCertificate {
        &self.certificate
    }

    /// Certificate and key in PEM, in this order, as nginx, curl, reqwest and most others read them.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let certificate = pem::encode_config(
            &pem::Pem::new("CERTIFICATE", self.der.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        );
        let key = self.key.to_pem();
        // Reserved whole, so that growing leaves no copy of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(certificate.len() + key.len()));
        text.push_str(&certificate);
        text.push_str(&key);
        text
    }

    /// Writes [`to_pem`](Self::to_pem) to a file that only its owner can read (mode 0600).
    ///
    /// The file appears whole or not at all: it is written beside its place, flushed to the disk,
    /// and renamed over what stood there. On Windows it gets the folder's access rights.
    ///
    /// This waits for the disk, for milliseconds. Where many are written from async code, do it on threads for
    /// blocking work, such as tokio's `spawn_blocking`: the disk then takes several at once.
    pub fn write_pem(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_private(path, self.to_pem().as_bytes()).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Certificate chain and key for rustls, as `ClientConfig::builder().with_client_auth_cert` takes them.
    pub fn rustls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivatePkcs8KeyDer::from(self.key.pkcs8().to_vec());
        (vec![self.der.clone().into()], key.into())
    }
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let written = Beside::write(folder, contents)?;
    fs::rename(&written.0, path)?;
    // The rename itself is on the disk only once the folder is. Not every system lets one ask.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A file on its way into its place. What did not get there is removed.
struct Beside(PathBuf);

impl Beside {
    fn write(folder: &Path, contents: &[u8]) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // Nobody's file is overwritten, and no link that somebody laid is followed.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = folder.join(format!(".shieldcert-{:016x}", fastrand::u64(..)));
        let mut file = options.open(&path)?;
        let beside = Self(path);
        file.write_all(contents)?;
        file.sync_all()?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It is not there where it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use shieldcert_api::types;

    use super::*;
    use crate::keys::KeyAlgorithm;

    const KEY: &str = include_str!("../tests/data/openssl-p256.key.pem");
    const CERTIFICATE: &str = include_str!("../tests/data/openssl-p256.cert.pem");

    fn certificate(pem: Option<&str>) -> ClientCertificate {
        let mut wire = types::ClientCertificate::default();
        wire.id = Some(types::Identifier(
            "7bf7f70c-7600-42e1-81c4-e4c0da9aa515".into(),
        ));
        wire.common_name = Some("sensor-001".into());
        wire.certificate = pem.map(str::to_owned);
        wire.try_into().expect("has an id")
    }

    fn identity() -> Identity {
        let key = PrivateKey::from_pem(KEY).expect("a key");
        Identity::new(certificate(Some(CERTIFICATE)), key).expect("they belong together")
    }

    #[test]
    fn another_key_is_refused_by_name() {
        let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let error = Identity::new(certificate(Some(CERTIFICATE)), other).expect_err("another key");
        assert!(matches!(error, Error::KeyMismatch(_)));
        assert!(
            error
                .to_string()
                .contains("7bf7f70c-7600-42e1-81c4-e4c0da9aa515 (sensor-001)"),
            "{error}"
        );
    }

    #[test]
    fn a_record_without_a_certificate_is_refused() {
        for pem in [None, Some(""), Some("nonsense"), Some(&CERTIFICATE[..200])] {
            let key = PrivateKey::from_pem(KEY).expect("a key");
            let error = Identity::new(certificate(pem), key).expect_err("no certificate");
            assert!(error.is_input(), "{error}");
        }
    }

    #[test]
    fn the_file_is_whole_private_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        std::fs::write(&path, "old").expect("writes");
        identity().write_pem(&path).expect("writes");
        let text = std::fs::read_to_string(&path).expect("reads");
        assert_eq!(text, *identity().to_pem());
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"));
        PrivateKey::from_pem(&text).expect("the key is in it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("exists")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("reads").count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_nothing_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("missing/sensor-001.pem");
        let error = identity().write_pem(&path).expect_err("no folder");
        assert!(
            error.to_string().contains("missing/sensor-001.pem"),
            "{error}"
        );
    }

    #[test]
    fn what_cant_take_its_place_is_not_left_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        fs::create_dir(&path).expect("is made");
        identity()
            .write_pem(&path)
            .expect_err("a folder stands there");
        let left = fs::read_dir(folder.path()).expect("reads").count();
        assert_eq!(left, 1, "the folder alone");
    }

    #[test]
    fn debug_and_errors_show_no_key() {
        let shown = format!("{:?}", identity());
        for line in KEY.lines().filter(|line| !line.starts_with('-')) {
            assert!(!shown.contains(line), "{shown}");
        }
    }
}
