//! Private keys, and the certificate signing requests made with them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::armor::{Block, read_blocks};
use super::csr::Csr;
#[cfg(feature = "pkcs12")]
use super::der::BIT_STRING;
use super::der::{self, OCTET_STRING, SEQUENCE, Sec1, frame};
#[cfg(feature = "encrypted-keys")]
use super::encrypted;
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
    /// RSA with 2,048 bits, written `rsa-2048`. Generated with the feature `rsa`, like the two that follow.
    Rsa2048,
    /// RSA with 3,072 bits, written `rsa-3072`.
    Rsa3072,
    /// RSA with 4,096 bits, written `rsa-4096`.
    Rsa4096,
}

impl KeyAlgorithm {
    const ALL: [Self; 6] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Returns the name of the algorithm.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Returns whether [`PrivateKey::generate`] makes such keys. RSA keys need the feature `rsa`.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::KeyAlgorithm;
    ///
    /// assert!(KeyAlgorithm::EcdsaP256.can_generate());
    /// ```
    pub fn can_generate(self) -> bool {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 | Self::Ed25519 => true,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => cfg!(feature = "rsa"),
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
            // ring reads these three lengths alone. A product of two primes may be a bit short.
            match der::rsa_bits(&pair.subject_public_key_info()) {
                Ok(Some(..=2048)) => Self::Rsa2048,
                Ok(Some(..=3072)) => Self::Rsa3072,
                _ => Self::Rsa4096,
            }
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
    /// An RSA key takes up to seconds of processor time. From async code, generate it on a thread for blocking work,
    /// such as tokio's `spawn_blocking`.
    ///
    /// # Errors
    /// Returns an error if the operating system has no randomness, and for RSA without the feature `rsa`.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, InvalidInput> {
        let signature = match algorithm {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                return generate_rsa(algorithm);
            }
        };
        let mut pair = KeyPair::generate_for(signature)
            .map_err(|error| invalid(format!("the operating system generated no key ({error})")))?;
        let key = Self::from_pair(&pair);
        pair.zeroize();
        key
    }

    /// Reads an unencrypted key in PEM: PKCS#8 (`PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// Other blocks may precede or follow it, as in a file that holds the certificate too. The PEM may come in any line
    /// ends, widths and encodings, as for [`Csr::from_pem`].
    ///
    /// # Errors
    /// Returns an error that says what the text is instead, and how to convert it.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let blocks = Self::read_blocks(text.as_ref())?;
        Self::from_blocks(&blocks)
    }

    /// Reads a key in PEM that is encrypted with a password: PKCS#8 (`ENCRYPTED PRIVATE KEY`).
    ///
    /// PBES2 is read, with PBKDF2 or scrypt, and with AES or triple DES: what `openssl` writes unless it is asked for
    /// something older. A key that is not encrypted is read as by [`from_pem`](Self::from_pem).
    ///
    /// Deriving the cipher's key from the password takes a second or less by design. From async code, do it on a thread
    /// for blocking work, such as tokio's `spawn_blocking`.
    ///
    /// # Errors
    /// Returns an error that says whether the password is wrong, the encryption is unsupported, or what the text is
    /// instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::{KeyAlgorithm, PrivateKey};
    ///
    /// let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    /// let pem = key.to_encrypted_pem("correct horse")?;
    /// let same = PrivateKey::from_encrypted_pem(&pem, "correct horse")?;
    /// assert_eq!(same.public_key(), key.public_key());
    /// # Ok::<_, shieldcert::Error>(())
    /// ```
    #[cfg(feature = "encrypted-keys")]
    pub fn from_encrypted_pem(
        text: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<Self, InvalidInput> {
        let blocks = Self::read_blocks(text.as_ref())?;
        let block = blocks.iter().find(is_key);
        match block.filter(|block| block.label == ENCRYPTED) {
            Some(block) => Self::from_pkcs8(&encrypted::decrypt(&block.der, password.as_ref())?),
            None => Self::from_blocks(&blocks),
        }
    }

    fn read_blocks(text: &[u8]) -> Result<Vec<Block>, InvalidInput> {
        if text.len() > Self::MAX_LEN {
            return Err(invalid(format!(
                "it has {} bytes; a key in PEM has less than {}",
                text.len(),
                Self::MAX_LEN
            )));
        }
        read_blocks(text).map_err(|problem| invalid(problem.describe("PRIVATE KEY")))
    }

    /// Reads the first key among these blocks.
    fn from_blocks(blocks: &[Block]) -> Result<Self, InvalidInput> {
        let Some(block) = blocks.iter().find(is_key) else {
            let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
            return Err(invalid(format!(
                "the text holds no private key, but {}",
                labels.join(", ")
            )));
        };
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der),
            "EC PRIVATE KEY" => Self::from_sec1(&block.der, blocks),
            "RSA PRIVATE KEY" => Self::from_pkcs8(&wrap(RSA_ENCRYPTION, &block.der)),
            ENCRYPTED => Err(invalid(
                "it is encrypted; decrypt it with `openssl pkey -in KEY -out NEW`, or give its password: \
                 `PrivateKey::from_encrypted_pem`, with the feature `encrypted-keys`",
            )),
            label if label.starts_with("ENCRYPTED ") => Err(invalid(
                "it is encrypted as OpenSSL did before PKCS#8 (`Proc-Type: 4,ENCRYPTED`), which is not read; convert \
                 it with `openssl pkey -in KEY -out NEW`",
            )),
            label => Err(invalid(format!(
                "it is a private key of an unsupported format, {label}; convert it with \
                 `openssl pkey -in KEY -out NEW`"
            ))),
        }
    }

    /// Reads a SEC1 key. Its curve is named in it or in a block of its own.
    fn from_sec1(der: &[u8], blocks: &[Block]) -> Result<Self, InvalidInput> {
        let parameters = blocks.iter().find(|block| block.label == "EC PARAMETERS");
        let key = Sec1::parse(der).map_err(|error| invalid(der::describe(error)))?;
        let curve = key.curve.or_else(|| Some(parameters?.der.as_slice()));
        let algorithm = match curve {
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
            let key = der::parse_pkcs8(der).and_then(|(_, key)| Sec1::parse(key));
            invalid(if key.is_ok_and(|key| !key.has_public_key) {
                "it lacks its public key, as Java leaves it out; convert it with `openssl pkey -in KEY -out NEW`"
            } else {
                "it is damaged or of an unsupported kind; give an ECDSA P-256 or P-384 key, an Ed25519 key, \
                 or an RSA key of 2,048, 3,072 or 4,096 bits"
            })
        })?;
        let key = Self::from_pair(&pair);
        pair.zeroize();
        key
    }

    /// Reads an ECDSA key that lacks its public key, which is in a certificate. `None` if it is not the one.
    #[cfg(feature = "pkcs12")]
    pub(super) fn from_pkcs8_and_public_key(der: &[u8], public_key: &[u8]) -> Option<Self> {
        const VERSION_1: &[u8] = b"\x02\x01\x01";
        const PUBLIC_KEY: u8 = 0xa1;
        let (algorithm, key) = der::parse_pkcs8(der).ok()?;
        let secret = Sec1::parse(key).ok()?.secret;
        let public_key = der::parse_public_key(public_key).ok()?;
        let public_key = frame(PUBLIC_KEY, &[&frame(BIT_STRING, &[b"\0", public_key])]);
        let key = frame(SEQUENCE, &[VERSION_1, secret, &public_key]);
        Self::from_pkcs8(&wrap(algorithm, &key)).ok()
    }

    fn from_pair(pair: &KeyPair) -> Result<Self, InvalidInput> {
        // OpenSSL 3.0 and Java can't read what version 2 of PKCS#8 adds.
        let (algorithm, key) = der::parse_pkcs8(pair.serialized_der())
            .map_err(|error| invalid(der::describe(error)))?;
        Ok(Self {
            algorithm: KeyAlgorithm::of(pair),
            pkcs8: wrap(algorithm, key),
            public_key: pair.subject_public_key_info(),
        })
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

    /// Encrypts the key with a password and returns it in PKCS#8 PEM (`ENCRYPTED PRIVATE KEY`).
    ///
    /// PBES2 with PBKDF2 (SHA-256, 600,000 iterations) and AES-256, which OpenSSL 1.1 and later, Java and others read.
    /// Takes as long as [`from_encrypted_pem`](Self::from_encrypted_pem).
    ///
    /// # Errors
    /// Returns an error if the password is empty, or the operating system has no randomness.
    #[cfg(feature = "encrypted-keys")]
    pub fn to_encrypted_pem(&self, password: impl AsRef<[u8]>) -> Result<String, InvalidInput> {
        let encrypted = encrypted::encrypt(&self.pkcs8, password.as_ref())?;
        Ok(pem::encode_config(
            &pem::Pem::new(ENCRYPTED, encrypted),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        ))
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
    #[cfg(any(feature = "rustls", feature = "pkcs12"))]
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

/// What stands in the first line of an encrypted key.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

fn is_key(block: &&Block) -> bool {
    block.label.ends_with("PRIVATE KEY")
}

/// Generates an RSA key with aws-lc-rs: ring reads and uses them, but makes none.
#[cfg(feature = "rsa")]
fn generate_rsa(algorithm: KeyAlgorithm) -> Result<PrivateKey, InvalidInput> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    let size = match algorithm {
        KeyAlgorithm::Rsa2048 => KeySize::Rsa2048,
        KeyAlgorithm::Rsa3072 => KeySize::Rsa3072,
        _ => KeySize::Rsa4096,
    };
    let der: Pkcs8V1Der<'_> = KeyPair::generate(size)
        .and_then(|pair| pair.as_der())
        .map_err(|_| invalid("the RSA key was not generated; try again"))?;
    PrivateKey::from_pkcs8(der.as_ref())
}

#[cfg(not(feature = "rsa"))]
fn generate_rsa(algorithm: KeyAlgorithm) -> Result<PrivateKey, InvalidInput> {
    let bits = algorithm.as_str().trim_start_matches("rsa-");
    Err(invalid(format!(
        "RSA keys are generated with the feature `rsa` of shieldcert alone; enable it, or run \
         `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits}` and read its output"
    )))
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
    let key = frame(OCTET_STRING, &[key]);
    frame(SEQUENCE, &[VERSION_0, algorithm, &key])
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
            (RSA, KeyAlgorithm::Rsa2048),
            (P256, KeyAlgorithm::EcdsaP256),
            (ED25519, KeyAlgorithm::Ed25519),
            (PKCS1, KeyAlgorithm::Rsa2048),
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
            &SEC1.replacen(
                '\n',
                "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
                1,
            ),
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
        private key: it is encrypted; decrypt it with `openssl pkey -in KEY -out NEW`, or give its password: `PrivateKey::from_encrypted_pem`, with the feature `encrypted-keys`
        private key: it is encrypted as OpenSSL did before PKCS#8 (`Proc-Type: 4,ENCRYPTED`), which is not read; convert it with `openssl pkey -in KEY -out NEW`
        private key: the text holds no private key, but CERTIFICATE
        private key: it is cut off: the line `-----END PRIVATE KEY-----` is missing
        private key: it is not PEM; it must have a line `-----BEGIN PRIVATE KEY-----` and a line `-----END PRIVATE KEY-----`
        private key: it is damaged or of an unsupported kind; give an ECDSA P-256 or P-384 key, an Ed25519 key, or an RSA key of 2,048, 3,072 or 4,096 bits
        private key: it has 1048576 bytes; a key in PEM has less than 65536
        ");
    }

    #[test]
    fn what_can_not_be_generated_is_said_before() {
        for algorithm in KeyAlgorithm::ALL {
            let generated = PrivateKey::generate(algorithm);
            assert_eq!(generated.is_ok(), algorithm.can_generate(), "{algorithm}");
        }
    }

    #[cfg(not(feature = "rsa"))]
    #[test]
    fn without_the_feature_rsa_is_not_generated_and_the_message_says_how_to() {
        let error = PrivateKey::generate(KeyAlgorithm::Rsa3072).expect_err("RSA");
        insta::assert_snapshot!(error, @"private key: RSA keys are generated with the feature `rsa` of shieldcert alone; enable it, or run `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072` and read its output");
    }

    #[cfg(feature = "rsa")]
    #[test]
    fn rsa_keys_have_the_size_asked_for_and_sign() {
        for algorithm in [
            KeyAlgorithm::Rsa2048,
            KeyAlgorithm::Rsa3072,
            KeyAlgorithm::Rsa4096,
        ] {
            let key = PrivateKey::generate(algorithm).expect("a key");
            assert_eq!(key.algorithm(), algorithm);
            let csr = key.csr(&Subject::common_name("sensor-001")).expect("a CSR");
            let verified = Csr::from_der(csr.der()).expect("a valid signature");
            assert_eq!(verified.public_key(), key.public_key());
        }
    }

    /// OpenSSL 3.0 and Java read version 1 alone.
    #[test]
    fn keys_are_written_as_version_1_of_pkcs8() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
            let pem = PrivateKey::generate(algorithm).expect("a key").to_pem();
            let der = pem::parse(pem.as_bytes()).expect("PEM").into_contents();
            let (kind, key) = der::parse_pkcs8(&der).expect("PKCS#8");
            assert_eq!(*wrap(kind, key), der, "{algorithm}");
        }
    }

    #[cfg(feature = "encrypted-keys")]
    mod encrypted {
        use super::*;

        const ENCRYPTED_P256: &str =
            include_str!("../../tests/data/openssl-p256.encrypted.key.pem");

        #[test]
        fn what_was_encrypted_is_read_with_its_password_alone() {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
            let pem = key.to_encrypted_pem("correct").expect("is encrypted");
            let read = PrivateKey::from_encrypted_pem(&pem, "correct").expect("a key");
            assert_eq!(read.to_pem(), key.to_pem());
            let plain = PrivateKey::from_encrypted_pem(key.to_pem().as_bytes(), "correct");
            assert_eq!(plain.expect("a key").to_pem(), key.to_pem());
            assert!(key.to_encrypted_pem("").is_err());
        }

        /// One in 256 leaves a valid padding.
        #[test]
        fn every_wrong_password_is_named_as_such() {
            for number in 0..600 {
                let refused = PrivateKey::from_encrypted_pem(ENCRYPTED_P256, number.to_string());
                let message = refused.expect_err("is wrong").to_string();
                assert_eq!(
                    message,
                    "private key: the password is wrong; give the one that the key was encrypted with"
                );
            }
        }

        #[test]
        fn what_cannot_be_decrypted_is_named() {
            let block = pem::parse(ENCRYPTED_P256).expect("PEM").into_contents();
            let change = |from: &[u8], to: &[u8]| {
                let place = block
                    .windows(from.len())
                    .position(|window| window == from)
                    .expect("is there");
                let mut changed = block.clone();
                changed[place..place + to.len()].copy_from_slice(to);
                changed
            };
            let pbes2 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
            let pbkdf2 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
            let aes256 = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
            let refusals = [
                block[..block.len() / 2].to_vec(),
                change(pbes2, b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x03"),
                change(pbkdf2, b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x63"),
                change(aes256, b"\x60\x86\x48\x01\x65\x03\x04\x01\x63"),
            ]
            .map(|der| {
                let text = pem::encode(&pem::Pem::new(ENCRYPTED, der));
                let refused = PrivateKey::from_encrypted_pem(text, "secret");
                refused.expect_err("is refused").to_string()
            });
            insta::assert_snapshot!(refusals.join("\n"), @"
            private key: it is damaged or cut off
            private key: it is encrypted in an unsupported way; convert it with `openssl pkey -in KEY -out NEW -aes256`
            private key: it is encrypted in an unsupported way; convert it with `openssl pkey -in KEY -out NEW -aes256`
            private key: it is encrypted in an unsupported way; convert it with `openssl pkey -in KEY -out NEW -aes256`
            ");
        }
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
            "key algorithm: \"p256\" is unknown; give one of ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096"
        );
    }
}
