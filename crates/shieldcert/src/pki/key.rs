//! Private keys, and the certificate signing requests made with them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::csr::Csr;
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

    /// Reads an unencrypted PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// Other PEM blocks may precede or follow it, as in a file that holds the certificate too.
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
        let blocks = pem::parse_many(text).map_err(|_| invalid("it is damaged PEM"))?;
        let mut problem = "it is not PEM, or it is cut off; it must start with `-----BEGIN PRIVATE KEY-----` \
                           and end with `-----END PRIVATE KEY-----`";
        for block in blocks {
            let tag = block.tag().to_owned();
            let der = Zeroizing::new(block.into_contents());
            match tag.as_str() {
                "PRIVATE KEY" => return Self::from_pkcs8(&der),
                "ENCRYPTED PRIVATE KEY" => {
                    problem = "it is encrypted; decrypt it with `openssl pkcs8 -in KEY -out NEW`";
                }
                "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
                    problem = "it is in an older format; convert it with \
                               `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`";
                }
                _ => problem = "there is no private key among the PEM blocks",
            }
        }
        Err(invalid(problem))
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

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("private key", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../../tests/data/openssl-rsa2048.key.pem");
    const P256: &str = include_str!("../../tests/data/openssl-p256.key.pem");
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
            include_str!("../../tests/data/openssl-rsa2048.pkcs1.key.pem"),
            include_str!("../../tests/data/openssl-p256.sec1.key.pem"),
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
        private key: it is in an older format; convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`
        private key: it is in an older format; convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW`
        private key: it is encrypted; decrypt it with `openssl pkcs8 -in KEY -out NEW`
        private key: there is no private key among the PEM blocks
        private key: it is not PEM, or it is cut off; it must start with `-----BEGIN PRIVATE KEY-----` and end with `-----END PRIVATE KEY-----`
        private key: it is not PEM, or it is cut off; it must start with `-----BEGIN PRIVATE KEY-----` and end with `-----END PRIVATE KEY-----`
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
