//! A certificate with its private key.

use std::path::Path;

use zeroize::Zeroizing;

use super::file::write_private;
use super::key::PrivateKey;
use super::x509::X509Certificate;
use crate::certificate::ClientCertificate;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result};

/// A client certificate with the private key that belongs to it.
///
/// # Examples
///
/// ```
/// use shieldcert::Identity;
///
/// let pem = ["tests/data/openssl-p256.cert.pem", "tests/data/openssl-p256.key.pem"]
///     .map(|file| std::fs::read_to_string(file).expect("is readable"))
///     .concat();
/// let identity = Identity::from_pem(&pem)?;
/// assert_eq!(identity.certificate().common_name(), Some("sensor-001"));
///
/// let path = std::env::temp_dir().join("shieldcert-example-sensor-001.pem");
/// identity.write_pem(&path)?; // mode 0600
/// # std::fs::remove_file(&path).expect("was written");
/// # Ok::<_, shieldcert::Error>(())
/// ```
#[derive(Debug)]
pub struct Identity {
    certificate: X509Certificate,
    /// The certificates of the CAs above it.
    chain: Vec<X509Certificate>,
    key: PrivateKey,
}

impl Identity {
    /// Combines a certificate that the service issued with its key.
    ///
    /// # Errors
    /// Returns [`Error::KeyMismatch`] if the key belongs to another certificate, and [`Error::InvalidInput`] if the
    /// record holds no readable certificate.
    pub fn new(certificate: &ClientCertificate, key: PrivateKey) -> Result<Self> {
        let x509 = certificate.x509()?;
        let subject = match certificate.common_name() {
            Some(name) => format!("{} ({name})", certificate.id()),
            None => certificate.id().to_string(),
        };
        Self::combine(x509, Vec::new(), key, Some(subject))
    }

    /// Reads the certificate and the key from one text in PEM, such as [`write_pem`](Self::write_pem) writes.
    ///
    /// The key, the certificate and its chain may stand in any order.
    ///
    /// # Errors
    /// Returns [`Error::KeyMismatch`] if the key belongs to another certificate, and [`Error::InvalidInput`] if the
    /// certificate or the key is missing or damaged.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        Self::from_pem_and_key(text, PrivateKey::from_pem(text)?)
    }

    /// Reads the certificate and an encrypted key from one text in PEM, as `openssl pkcs12` writes them.
    ///
    /// The key is read as by [`PrivateKey::from_encrypted_pem`], and takes as long.
    ///
    /// # Errors
    /// Returns the errors of [`from_pem`](Self::from_pem), and [`Error::InvalidInput`] if the password is wrong.
    #[cfg(feature = "encrypted-keys")]
    pub fn from_encrypted_pem(text: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        Self::from_pem_and_key(text, PrivateKey::from_encrypted_pem(text, password)?)
    }

    fn from_pem_and_key(text: &[u8], key: PrivateKey) -> Result<Self> {
        let certificates = X509Certificate::all_from_pem(text)?;
        if certificates.is_empty() {
            return Err(invalid(
                "the text holds a private key but no certificate; add the certificate",
            )
            .into());
        }
        Self::find(certificates, key)
    }

    /// Finds the key's own certificate among these, and sorts the others into its chain.
    pub(super) fn find(mut certificates: Vec<X509Certificate>, key: PrivateKey) -> Result<Self> {
        let own = certificates
            .iter()
            .position(|certificate| certificate.public_key() == key.public_key());
        let Some(own) = own else {
            let first = certificates.first().and_then(X509Certificate::common_name);
            let subject = first.map(str::to_owned);
            return Err(Error::KeyMismatch { subject });
        };
        let certificate = certificates.remove(own);
        let chain = sort_chain(&certificate, certificates);
        let subject = certificate.common_name().map(str::to_owned);
        Self::combine(certificate, chain, key, subject)
    }

    fn combine(
        certificate: X509Certificate,
        chain: Vec<X509Certificate>,
        key: PrivateKey,
        subject: Option<String>,
    ) -> Result<Self> {
        if certificate.public_key() != key.public_key() {
            return Err(Error::KeyMismatch { subject });
        }
        Ok(Self {
            certificate,
            chain,
            key,
        })
    }

    /// Returns the certificate.
    pub fn certificate(&self) -> &X509Certificate {
        &self.certificate
    }

    /// Returns the certificates of the CAs above the certificate, nearest first. Empty if they are not known.
    pub fn chain(&self) -> &[X509Certificate] {
        &self.chain
    }

    /// Returns the private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Takes the identity apart: the certificate, its chain, and the key.
    pub fn into_parts(self) -> (X509Certificate, Vec<X509Certificate>, PrivateKey) {
        (self.certificate, self.chain, self.key)
    }

    fn certificates(&self) -> impl Iterator<Item = &X509Certificate> {
        std::iter::once(&self.certificate).chain(&self.chain)
    }

    /// Returns certificate, chain and key in PEM, in this order, as nginx, curl, reqwest and most others read them.
    ///
    /// The text is wiped when it is dropped; wiping copies is up to the caller.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let chain: Vec<String> = self.certificates().map(X509Certificate::to_pem).collect();
        let key = self.key.to_pem();
        // Reserved as a whole, so that growing leaves no copy of the key behind.
        let length = chain.iter().map(String::len).sum::<usize>() + key.len();
        let mut text = Zeroizing::new(String::with_capacity(length));
        for certificate in &chain {
            text.push_str(certificate);
        }
        text.push_str(&key);
        text
    }

    /// Writes [`to_pem`](Self::to_pem) to a file that only its owner can read (mode 0600). Of a file that is there, owner,
    /// group and the group's right to read are kept. A symbolic link is followed, and what is no regular file is left
    /// alone.
    ///
    /// The file appears whole or not at all: it is written under a temporary name in the same folder, flushed to the
    /// disk and renamed. On Windows it gets the folder's access rights.
    ///
    /// This blocks for milliseconds. To write many files from async code, use threads for blocking work, such as
    /// tokio's `spawn_blocking`: the disk then flushes several at once.
    ///
    /// # Errors
    /// Returns [`Error::Write`] with the cause. What was in the file before is unchanged.
    pub fn write_pem(&self, path: impl AsRef<Path>) -> Result<()> {
        write_private(path.as_ref(), self.to_pem().as_bytes())
    }
}

#[cfg(feature = "rustls")]
mod tls {
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{ClientConfig, RootCertStore};
    use rustls_platform_verifier::Verifier;

    use super::{Identity, Result, invalid};

    impl Identity {
        /// Returns the certificate chain and the key in rustls' types.
        pub fn to_rustls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
            let chain = self.certificates();
            let chain = chain.map(|certificate| certificate.der().to_vec().into());
            let key = PrivatePkcs8KeyDer::from(self.key.pkcs8().to_vec());
            (chain.collect(), key.into())
        }

        /// Returns a TLS client configuration that presents this identity and trusts what the system trusts.
        ///
        /// It uses the ring provider, whatever the process-wide default provider is, and needs no default provider.
        ///
        /// # Errors
        /// Returns an error if the system's root certificates can't be used.
        pub fn rustls_client_config(&self) -> Result<ClientConfig> {
            self.rustls_client_config_with_extra_roots([])
        }

        /// Returns a TLS client configuration that presents this identity and trusts what the system trusts, and these
        /// roots.
        ///
        /// It uses the ring provider, whatever the process-wide default provider is, and needs no default provider.
        ///
        /// # Errors
        /// Returns an error if the system's root certificates, or these, can't be used.
        pub fn rustls_client_config_with_extra_roots(
            &self,
            roots: impl IntoIterator<Item = CertificateDer<'static>>,
        ) -> Result<ClientConfig> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = Verifier::new_with_extra_roots(roots, provider.clone())
                .map_err(|error| invalid(format!("the trusted roots can't be used ({error})")))?;
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| invalid(format!("it can't be used for TLS ({error})")))?
                // rustls calls every verifier but its own dangerous. This one is the system's.
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier));
            let (chain, key) = self.to_rustls();
            let config = builder.with_client_auth_cert(chain, key);
            Ok(config.map_err(|error| invalid(format!("it can't be used for TLS ({error})")))?)
        }

        /// Returns a TLS client configuration that presents this identity and trusts these roots alone.
        ///
        /// It uses the ring provider, whatever the process-wide default provider is, and needs no default provider.
        ///
        /// # Errors
        /// Returns an error if rustls can't use the key or the certificate.
        pub fn rustls_client_config_with_roots(
            &self,
            roots: impl Into<Arc<RootCertStore>>,
        ) -> Result<ClientConfig> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| invalid(format!("it can't be used for TLS ({error})")))?
                .with_root_certificates(roots);
            let (chain, key) = self.to_rustls();
            let config = builder.with_client_auth_cert(chain, key);
            Ok(config.map_err(|error| invalid(format!("it can't be used for TLS ({error})")))?)
        }
    }
}

/// Sorts the certificates above this one, nearest first. What is not above it follows, as it came.
fn sort_chain(
    certificate: &X509Certificate,
    mut others: Vec<X509Certificate>,
) -> Vec<X509Certificate> {
    let mut chain: Vec<X509Certificate> = Vec::with_capacity(others.len());
    loop {
        let last = chain.last().unwrap_or(certificate);
        let next = others.iter().position(|other| last.is_issued_by(other));
        match next {
            Some(next) => chain.push(others.remove(next)),
            None => break,
        }
    }
    chain.append(&mut others);
    chain
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("identity", problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pki::key::KeyAlgorithm;

    const KEY: &str = include_str!("../../tests/data/openssl-p256.key.pem");
    const CERTIFICATE: &str = include_str!("../../tests/data/openssl-p256.cert.pem");

    fn certificate(pem: Option<&str>) -> ClientCertificate {
        let record = json!({
            "id": "7bf7f70c-7600-42e1-81c4-e4c0da9aa515", "common_name": "sensor-001", "certificate": pem,
        });
        serde_json::from_value(record).expect("a record")
    }

    fn identity() -> Identity {
        let key = PrivateKey::from_pem(KEY).expect("a key");
        Identity::new(&certificate(Some(CERTIFICATE)), key).expect("they belong together")
    }

    fn other_key() -> PrivateKey {
        PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key")
    }

    #[test]
    fn what_does_not_make_an_identity_is_named() {
        let new = |pem, key| Identity::new(&certificate(pem), key);
        let key = || PrivateKey::from_pem(KEY).expect("a key");
        let refusals = [
            new(Some(CERTIFICATE), other_key()),
            new(None, key()),
            new(Some(""), key()),
            new(Some("nonsense"), key()),
            new(Some(&CERTIFICATE[..200]), key()),
            Identity::from_pem(KEY),
            Identity::from_pem(CERTIFICATE),
            Identity::from_pem(format!("{CERTIFICATE}{}", *other_key().to_pem())),
        ]
        .map(|refused| refused.expect_err("no identity").to_string());
        insta::assert_snapshot!(refusals.join("\n"), @"
        this private key does not belong to the certificate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 (sensor-001): their public keys differ; use the key that the CSR was made with
        certificate: the record of 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 has no PEM; get it again
        certificate: the record of 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 has no PEM; get it again
        certificate: it is not PEM; it must have a line `-----BEGIN CERTIFICATE-----` and a line `-----END CERTIFICATE-----`
        certificate: it is cut off: the line `-----END CERTIFICATE-----` is missing
        identity: the text holds a private key but no certificate; add the certificate
        private key: the text holds no private key, but CERTIFICATE
        this private key does not belong to the certificate sensor-001: their public keys differ; use the key that the CSR was made with
        ");
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        let written = identity();
        written.write_pem(&path).expect("writes");
        let text = std::fs::read_to_string(&path).expect("reads");
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"));
        let read = Identity::from_pem(&text).expect("the identity");
        assert_eq!(read.certificate(), written.certificate());
        let (certificate, chain, key) = read.into_parts();
        assert!(chain.is_empty());
        assert_eq!(certificate.public_key(), key.public_key());
    }

    #[test]
    fn a_chain_is_kept_in_its_order() {
        let ca = rcgen::generate_simple_self_signed(["ca".into()]).expect("a CA");
        let text = format!("{KEY}{CERTIFICATE}{}", ca.cert.pem());
        let identity = Identity::from_pem(&text).expect("an identity");
        assert_eq!(identity.chain().len(), 1);
        let again = Identity::from_pem(identity.to_pem().as_bytes()).expect("an identity");
        assert_eq!(again.chain(), identity.chain());
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", identity());
        for line in KEY.lines().filter(|line| !line.starts_with('-')) {
            assert!(!shown.contains(line), "{shown}");
        }
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn a_tls_configuration_needs_no_default_provider() {
        let identity = identity();
        let config = identity
            .rustls_client_config_with_roots(rustls::RootCertStore::empty())
            .expect("a configuration");
        assert!(config.client_auth_cert_resolver.has_certs());
        identity.rustls_client_config().expect("a configuration");
        let ca = rcgen::generate_simple_self_signed(["ca".into()]).expect("a CA");
        let roots = [ca.cert.der().clone()];
        identity
            .rustls_client_config_with_extra_roots(roots)
            .expect("a configuration");
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }
}
