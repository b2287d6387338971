//! Keys, CSRs and files, as made without Shieldcert.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use x509_parser::pem::Pem;

use crate::Tally;

/// A key with the CSR that it signed.
#[derive(Debug)]
pub struct Request {
    key: KeyPair,
    /// In PEM.
    pub csr: String,
}

impl Request {
    /// Generates an ECDSA P-256 key, and a CSR with the common name.
    pub fn new(common_name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Self { key, csr })
    }

    /// Checks that the certificate is for this key.
    pub fn check(&self, certificate: &str) -> anyhow::Result<()> {
        ensure!(
            public_key(certificate)? == self.key.der_bytes(),
            "the certificate is not for this key"
        );
        Ok(())
    }

    /// Writes certificate and key to a file that only its owner can read.
    pub fn write(&self, certificate: &str, file: &Path) -> anyhow::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(file)?;
        file.write_all(certificate.as_bytes())?;
        file.write_all(self.key.serialize_pem().as_bytes())?;
        Ok(())
    }
}

/// Returns the bits of a certificate's public key.
fn public_key(certificate: &str) -> anyhow::Result<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())?;
    let key = pem.parse_x509()?.tbs_certificate.subject_pki;
    Ok(key.subject_public_key.data.to_vec())
}

/// Checks that every file of a folder holds a certificate and its private key.
///
/// The checksum is over the fingerprints alone, because a file does not hold the id.
pub fn verify(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        let mut certificate = None;
        let mut key = None;
        for pem in Pem::iter_from_buffer(text.as_bytes()) {
            let pem = pem?;
            match pem.label.as_str() {
                "CERTIFICATE" => certificate = Some(pem),
                _ => key = Some(KeyPair::try_from(&pem.contents[..])?),
            }
        }
        let certificate = certificate.context("a file holds no certificate")?;
        let key = key.context("a file holds no key")?;
        let parsed = certificate.parse_x509()?;
        ensure!(
            parsed.tbs_certificate.subject_pki.subject_public_key.data == key.der_bytes(),
            "a file's key does not belong to its certificate"
        );
        let digest = ring::digest::digest(&ring::digest::SHA256, &certificate.contents);
        tally.add("", &hex::encode(digest));
    }
    Ok(tally)
}
