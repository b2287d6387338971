//! Private keys, and the certificate signing requests made with them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::armor::{Block, read_blocks};
use super::csr::Csr;
use super::der::{self, OCTET_STRING, SEQUENCE};
use super::file::write_private;
use super::subject::Subject;
use crate::error::Result;
use crate::error::input::{InvalidInput, quote};

/// The algorithm of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, written `ecdsa-p256`. The right choice for devices: small, fast and accepted everywhere.
    EcdsaP256,
    /// ECDSA on P-384, written `ecdsa-p384`.
    EcdsaP384,
    /// Ed25519, written `ed25519`. Whether the service signs CSRs with it is not documented; try it first.
    Ed25519,
    /// RSA with 2,048 to 4,096 bits, written `rsa`. Keys can be read and used, but not generated.
    Rsa,
}

impl KeyAlgorithm {
    const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa];

    /// Returns the name of the algorithm.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa => "rsa",
        }
    }

    fn of(pair: &KeyPair) -> Self {
        let algorithm = pair.algorithm();
        if algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
            Self::EcdsaP256
        } else if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
            Self::EcdsaP384
        } else if algorithm == &rcgen::PKCS_ED25519 {
            Self::Ed25519
        } else {
            Self::Rsa
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            InvalidInput::new(
                "key algorithm",
                format!(
                    "{} is unknown; give one of {}",
                    quote(text),
                    Self::ALL.map(Self::as_str).join(", ")
                ),
            )
        })
    }
}

impl TryFrom<&str> for KeyAlgorithm {
    type Error = InvalidInput;

    fn try_from(text: &str) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl TryFrom<String> for KeyAlgorithm {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<KeyAlgorithm> for &'static str {
    fn from(algorithm: KeyAlgorithm) -> Self {
        algorithm.as_str()
    }
}

impl AsRef<str> for KeyAlgorithm {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private key, which is wiped from memory when it is dropped.
///
/// The `Debug` form shows only the algorithm. The key is kept as PKCS#8. The copy that the crypto library makes lives
/// only while it signs, and this crate can't wipe it.
///
/// # Examples
///
/// ```
/// use shieldcert::{KeyAlgorithm, PrivateKey, Subject};
///
/// let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
/// let csr = key.csr(&Subject::common_name("sensor-001").organization("Temperature Testers, Inc."))?;
/// assert_eq!(csr.common_name(), Some("sensor-001"));
///
/// let same = PrivateKey::from_pem(key.to_pem().as_bytes())?;
/// assert_eq!(same.algorithm(), KeyAlgorithm::EcdsaP256);
/// # Ok::<_, shieldcert::Error>(())
/// ```
pub struct PrivateKey {
    algorithm: KeyAlgorithm,
    pkcs8: Zeroizing<Vec<u8>>,
    public_key: Vec<u8>,
}

impl PrivateKey {
    /// The largest PEM that is read, in bytes.
    const MAX_LEN: usize = 64 << 10;

    /// Generates a key from the operating system's randomness.
    ///
    /// # Errors
    /// Returns an error for [`KeyAlgorithm::Rsa`], because the crypto library reads and uses RSA keys but generates
    /// none, and if the operating system has no randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, InvalidInput> {
        let signature = match algorithm {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::Rsa => {
                return Err(invalid(
                    "RSA keys can't be generated here; run \
                     `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` and read its output",
                ));
            }
        };
        let mut pair = KeyPair::generate_for(signature)
            .map_err(|error| invalid(format!("the operating system generated no key ({error})")))?;
        let key = Self::from_pair(&pair);
        pair.zeroize();
        Ok(key)
    }

    /// Reads an unencrypted key in PEM: PKCS#8 (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// Other blocks may precede or follow it, as in a file that holds the certificate too. The PEM may come in any line
    /// ends, widths and encodings, as for [`Csr::from_pem`].
    ///
    /// # Errors
    /// Returns an error that says what the text is instead, and how to convert it.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let text = text.as_ref();
        if text.len() > Self::MAX_LEN {
            return Err(invalid(format!(
                "it has {} bytes; a key in PEM has less than {}",
                text.len(),
                Self::MAX_LEN
            )));
        }
        let blocks =
            read_blocks(text).map_err(|problem| invalid(problem.describe("PRIVATE KEY")))?;
        let is_key = |block: &&Block| block.label.ends_with("PRIVATE KEY");
        let Some(block) = blocks.iter().find(is_key) else {
            let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
            return Err(invalid(format!(
                "the text holds no private key, but {}",
                labels.join(", ")
            )));
        };
        if block.label.starts_with("ENCRYPTED ") {
            return Err(invalid(
                "it is an encrypted private key; decrypt it with `openssl pkey -in KEY -out NEW`",
            ));
        }
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der),
            "EC PRIVATE KEY" => Self::from_sec1(&block.der, &blocks),
            "RSA PRIVATE KEY" => Self::from_pkcs8(&wrap(RSA_ENCRYPTION, &block.der)),
            label => Err(invalid(format!(
                "it is a private key of an unsupported format, {label}; convert it with \
                 `openssl pkey -in KEY -out NEW`"
            ))),
        }
    }

    /// Reads a SEC1 key. Its curve is named in it or in a block of its own.
    fn from_sec1(der: &[u8], blocks: &[Block]) -> Result<Self, InvalidInput> {
        let parameters = blocks.iter().find(|block| block.label == "EC PARAMETERS");
        let curve = der::curve_of_sec1(der)
            .map_err(|error| invalid(der::describe(error)))?
            .or_else(|| Some(parameters?.der.to_vec()));
        let algorithm = match curve.as_deref() {
            Some(P256) => EC_P256,
            Some(P384) => EC_P384,
            Some(_) => {
                return Err(invalid(
                    "it is of an unsupported curve; give a key on P-256 or P-384",
                ));
            }
            None => {
                return Err(invalid(
                    "it names no curve; convert it with `openssl pkey -in KEY -out NEW`",
                ));
            }
        };
        Self::from_pkcs8(&wrap(algorithm, der))
    }

    /// Reads an unencrypted PKCS#8 key in DER.
    ///
    /// # Errors
    /// Returns an error if the key is damaged or of an unsupported kind.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidInput> {
        let mut pair = KeyPair::try_from(der).map_err(|_| {
            invalid(
                "it is damaged or of an unsupported kind; give an ECDSA P-256 or P-384 key, an Ed25519 key, \
                 or an RSA key with 2,048 to 4,096 bits",
            )
        })?;
        let key = Self::from_pair(&pair);
        pair.zeroize();
        Ok(key)
    }

    fn from_pair(pair: &KeyPair) -> Self {
        Self {
            algorithm: KeyAlgorithm::of(pair),
            pkcs8: Zeroizing::new(pair.serialized_der().to_vec()),
            public_key: pair.subject_public_key_info(),
        }
    }

    /// Returns the algorithm of the key.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Makes a certificate signing request for `subject`, signed with this key.
    ///
    /// # Errors
    /// Returns an error if an attribute of the subject is not what X.520 allows.
    pub fn csr(&self, subject: &Subject) -> Result<Csr, InvalidInput> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = subject.to_distinguished_name()?;
        let mut pair = KeyPair::try_from(self.pkcs8.as_slice())
            .map_err(|error| invalid(format!("it can't be used ({error})")))?;
        let request = parameters.serialize_request(&pair);
        pair.zeroize();
        let request = request
            .map_err(|error| InvalidInput::new("CSR", format!("it can't be made ({error})")))?;
        Csr::from_own_der(request.der())
    }

    /// Returns the key in PKCS#8 PEM. The text is wiped when it is dropped; wiping copies is up to the caller.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut block = pem::Pem::new("PRIVATE KEY", self.pkcs8.as_slice());
        let text = pem::encode_config(
            &block,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        );
        // `Pem` gives access to its bytes only by giving them up.
        std::mem::replace(&mut block, pem::Pem::new("", Vec::new()))
            .into_contents()
            .zeroize();
        Zeroizing::new(text)
    }

    /// Writes the key in PKCS#8 PEM to a file, as [`Identity::write_pem`](crate::Identity::write_pem) does.
    ///
    /// # Errors
    /// Returns [`Error::Write`](crate::Error::Write) with the cause. What was in the file before is unchanged.
    pub fn write_pem(&self, path: impl AsRef<Path>) -> Result<()> {
        write_private(path.as_ref(), self.to_pem().as_bytes())
    }

    /// Returns the public key, as a SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The key in PKCS#8 DER.
    #[cfg(feature = "rustls")]
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

// In DER: object identifiers, and the algorithms of PKCS#8 that they are part of.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const EC_P256: &[u8] =
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const EC_P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// Returns a key in the format of its algorithm as PKCS#8 (RFC 5208).
fn wrap(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION_0: &[u8] = b"\x02\x01\x00";
    // Reserved as a whole, so that growing leaves no copy of the key behind.
    let mut body = Zeroizing::new(Vec::with_capacity(key.len() + algorithm.len() + 16));
    body.extend_from_slice(VERSION_0);
    body.extend_from_slice(algorithm);
    body.extend_from_slice(&der::header(OCTET_STRING, key.len()));
    body.extend_from_slice(key);
    let mut whole = Zeroizing::new(Vec::with_capacity(body.len() + 8));
    whole.extend_from_slice(&der::header(SEQUENCE, body.len()));
    whole.extend_from_slice(&body);
    whole
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("private key", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../../tests/data/openssl-rsa2048.key.pem");
    const P256: &str = include_str!("../../tests/data/openssl-p256.key.pem");
    const PKCS1: &str = include_str!("../../tests/data/openssl-rsa2048.pkcs1.key.pem");
    const SEC1: &str = include_str!("../../tests/data/openssl-p256.sec1.key.pem");
    const ED25519: &str = include_str!("../../tests/data/openssl-ed25519.key.pem");
    const CERTIFICATE: &str = include_str!("../../tests/data/openssl-p256.cert.pem");

    #[test]
    fn every_algorithm_signs_a_csr_that_verifies() {
        let subject = Subject::common_name("sensor-001");
        for algorithm in [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::Ed25519,
        ] {
            let key = PrivateKey::generate(algorithm).expect("a key");
            let csr = key.csr(&subject).expect("a CSR");
            let verified = Csr::from_der(csr.der()).expect("a valid signature");
            assert_eq!(verified.public_key(), key.public_key(), "{algorithm}");
            let same = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("the key");
            assert_eq!(same.algorithm(), algorithm);
            assert_eq!(same.public_key(), key.public_key());
        }
    }

    #[test]
    fn keys_of_openssl_are_read() {
        for (pem, algorithm) in [
            (RSA, KeyAlgorithm::Rsa),
            (P256, KeyAlgorithm::EcdsaP256),
            (ED25519, KeyAlgorithm::Ed25519),
            (PKCS1, KeyAlgorithm::Rsa),
            (SEC1, KeyAlgorithm::EcdsaP256),
        ] {
            let key = PrivateKey::from_pem(pem).expect("a key");
            assert_eq!(key.algorithm(), algorithm);
            let csr = key.csr(&Subject::common_name("sensor-001")).expect("a CSR");
            assert_eq!(csr.public_key(), key.public_key());
        }
    }

    #[test]
    fn a_key_behind_its_certificate_is_found() {
        PrivateKey::from_pem(format!("{CERTIFICATE}{P256}")).expect("a key");
    }

    #[test]
    fn what_is_not_a_usable_key_is_named_and_not_shown() {
        let nonsense = pem::encode(&pem::Pem::new("PRIVATE KEY", b"nonsense".as_slice()));
        let refusals = [
            include_str!("../../tests/data/openssl-p256.encrypted.key.pem"),
            CERTIFICATE,
            &RSA[..400],
            "",
            &nonsense,
            &"x".repeat(1 << 20),
        ]
        .map(|pem| {
            let error = PrivateKey::from_pem(pem).expect_err("not a usable key");
            let shown = format!("{error} {error:?}");
            for line in pem.lines().filter(|line| line.len() == 64) {
                assert!(!shown.contains(line), "{shown}");
            }
            error.to_string()
        });
        insta::assert_snapshot!(refusals.join("\n"), @"
        private key: it is an encrypted private key; decrypt it with `openssl pkey -in KEY -out NEW`
        private key: the text holds no private key, but CERTIFICATE
        private key: it is cut off: the line `-----END PRIVATE KEY-----` is missing
        private key: it is not PEM; it must have a line `-----BEGIN PRIVATE KEY-----` and a line `-----END PRIVATE KEY-----`
        private key: it is damaged or of an unsupported kind; give an ECDSA P-256 or P-384 key, an Ed25519 key, or an RSA key with 2,048 to 4,096 bits
        private key: it has 1048576 bytes; a key in PEM has less than 65536
        ");
    }

    #[test]
    fn rsa_is_not_generated_and_the_message_says_how_to() {
        let message = PrivateKey::generate(KeyAlgorithm::Rsa)
            .expect_err("RSA")
            .to_string();
        assert!(message.contains("openssl genpkey"), "{message}");
    }

    #[test]
    fn debug_shows_no_key() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        assert_eq!(
            format!("{key:?}"),
            "PrivateKey { algorithm: EcdsaP256, .. }"
        );
    }

    #[test]
    fn algorithms_read_as_they_are_written() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            let json = serde_json::to_string(&algorithm).expect("JSON");
            let read: KeyAlgorithm = serde_json::from_str(&json).expect("JSON");
            assert_eq!(read, algorithm);
        }
        assert_eq!(
            "p256"
                .parse::<KeyAlgorithm>()
                .expect_err("unknown")
                .to_string(),
            "key algorithm: \"p256\" is unknown; give one of ecdsa-p256, ecdsa-p384, ed25519, rsa"
        );
    }
}
