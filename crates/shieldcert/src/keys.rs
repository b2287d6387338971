//! Private keys, and the certificate signing requests made with them.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use zeroize::{Zeroize, Zeroizing};

use crate::csr::Csr;
use crate::error::{Error, Result};

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on P-256. The right choice for devices: small, fast, taken everywhere.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519. Whether the service signs CSRs with it is not documented; try it first.
    Ed25519,
    /// RSA of 2048 to 4096 bits: can be read and used, but not generated.
    Rsa,
}

/// A private key, wiped from memory when it is dropped.
///
/// Its `Debug` form names only the algorithm. The key is kept in PKCS#8; what the cryptography
/// library makes of it to sign lives only while it signs.
///
/// ```
/// use shieldcert::{KeyAlgorithm, PrivateKey, Subject};
///
/// let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
/// let csr = key.csr(&Subject::common_name("sensor-001").organization("Temperature Testers, Inc."))?;
/// assert_eq!(csr.common_name().as_deref(), Some("sensor-001"));
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
    const LARGEST: usize = 64 << 10;

    /// Makes a new key from the operating system's randomness.
    ///
    /// Fails with [`Error::Input`] for [`KeyAlgorithm::Rsa`]: the cryptography library reads and
    /// uses RSA keys, but makes none.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self> {
        let signature = match algorithm {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::Rsa => {
                return Err(refused(
                    "RSA keys can't be generated here; make one with \
                     `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` and read it",
                ));
            }
        };
        let mut pair = KeyPair::generate_for(signature)
            .map_err(|error| refused(format!("the operating system gave no key ({error})")))?;
        let key = Self::from_pair(algorithm, &pair);
        pair.zeroize();
        Ok(key)
    }

    /// Reads an unencrypted PKCS#8 key in PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// Other PEM blocks may stand around it, as in a file that holds the certificate too.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > Self::LARGEST {
            return Err(refused(format!("{} bytes are too many", text.len())));
        }
        let blocks = pem::parse_many(text).map_err(|_| refused("this is damaged PEM"))?;
        let mut problem = "this is not PEM, or was cut off; it must run from `-----BEGIN PRIVATE KEY-----` \
                           to `-----END PRIVATE KEY-----`";
        for block in blocks {
            let tag = block.tag().to_owned();
            let der = Zeroizing::new(block.into_contents());
            match tag.as_str() {
                "PRIVATE KEY" => return Self::from_pkcs8(&der),
                "ENCRYPTED PRIVATE KEY" => {
                    problem = "the key is encrypted; `openssl pkcs8 -in KEY -out NEW` takes the encryption off";
                }
                "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
                    problem = "the key is in an older format; `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW` converts it";
                }
                _ => problem = "there is no private key among the PEM blocks",
            }
        }
        Err(refused(problem))
    }

    /// Reads an unencrypted PKCS#8 key in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let mut pair = KeyPair::try_from(der).map_err(|_| {
            refused(
                "it is damaged or of a kind that can't be used; ECDSA P-256 and P-384, Ed25519, \
                 and RSA from 2048 to 4096 bits can",
            )
        })?;
        let signature = pair.algorithm();
        let algorithm = if signature == &rcgen::PKCS_ECDSA_P256_SHA256 {
            KeyAlgorithm::EcdsaP256
        } else if signature == &rcgen::PKCS_ECDSA_P384_SHA384 {
            KeyAlgorithm::EcdsaP384
        } else if signature == &rcgen::PKCS_ED25519 {
            KeyAlgorithm::Ed25519
        } else {
            KeyAlgorithm::Rsa
        };
        let key = Self::from_pair(algorithm, &pair);
        pair.zeroize();
        Ok(key)
    }

    fn from_pair(algorithm: KeyAlgorithm, pair: &KeyPair) -> Self {
        Self {
            algorithm,
            pkcs8: Zeroizing::new(pair.serialized_der().to_vec()),
            public_key: pair.subject_public_key_info(),
        }
    }

    /// What kind of key it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Makes a certificate signing request for `subject`, signed with this key.
    ///
    /// Fails with [`Error::Input`] where a part of the subject is not what X.520 allows.
    pub fn csr(&self, subject: &Subject) -> Result<Csr> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = subject.checked()?;
        let mut pair = KeyPair::try_from(self.pkcs8.as_slice())
            .map_err(|error| refused(format!("it can't be used any more ({error})")))?;
        let request = parameters.serialize_request(&pair);
        pair.zeroize();
        let request =
            request.map_err(|error| Error::input("CSR", format!("it can't be made ({error})")))?;
        Csr::own(request.der())
    }

    /// The key in PKCS#8 PEM. The text is wiped when it is dropped; copies of it are yours to wipe.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut block = pem::Pem::new("PRIVATE KEY", self.pkcs8.as_slice());
        let text = pem::encode_config(
            &block,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        );
        // `Pem` has no other way to its bytes than giving them up.
        std::mem::replace(&mut block, pem::Pem::new("", Vec::new()))
            .into_contents()
            .zeroize();
        Zeroizing::new(text)
    }

    /// The key in PKCS#8 DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::input("private key", problem)
}

/// Whom a certificate is for.
///
/// ```
/// use shieldcert::Subject;
///
/// let subject = Subject::common_name("sensor-001")
///     .organization("Temperature Testers, Inc.")
///     .organizational_unit("Field Sensors")
///     .locality("Hamburg")
///     .state("HH")
///     .country("DE");
/// # let _ = subject;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    parts: Vec<(Part, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    CommonName,
    Organization,
    OrganizationalUnit,
    Locality,
    State,
    Country,
}

impl Part {
    /// What it is called, and the most characters that X.520 allows it.
    fn bound(self) -> (&'static str, usize) {
        match self {
            Self::CommonName => ("common name", 64),
            Self::Organization => ("organization", 64),
            Self::OrganizationalUnit => ("organizational unit", 64),
            Self::Locality => ("locality", 128),
            Self::State => ("state", 128),
            Self::Country => ("country", 2),
        }
    }

    fn kind(self) -> DnType {
        match self {
            Self::CommonName => DnType::CommonName,
            Self::Organization => DnType::OrganizationName,
            Self::OrganizationalUnit => DnType::OrganizationalUnitName,
            Self::Locality => DnType::LocalityName,
            Self::State => DnType::StateOrProvinceName,
            Self::Country => DnType::CountryName,
        }
    }
}

impl Subject {
    /// A subject with this common name: the device, service or app.
    pub fn common_name(name: impl Into<String>) -> Self {
        Self { parts: Vec::new() }.with(Part::CommonName, name)
    }

    /// Sets the organization.
    pub fn organization(self, name: impl Into<String>) -> Self {
        self.with(Part::Organization, name)
    }

    /// Sets the organizational unit.
    pub fn organizational_unit(self, name: impl Into<String>) -> Self {
        self.with(Part::OrganizationalUnit, name)
    }

    /// Sets the locality, a city for instance.
    pub fn locality(self, name: impl Into<String>) -> Self {
        self.with(Part::Locality, name)
    }

    /// Sets the state or province.
    pub fn state(self, name: impl Into<String>) -> Self {
        self.with(Part::State, name)
    }

    /// Sets the country, by its two letters of ISO 3166.
    pub fn country(self, code: impl Into<String>) -> Self {
        self.with(Part::Country, code)
    }

    fn with(mut self, part: Part, value: impl Into<String>) -> Self {
        self.parts.retain(|(other, _)| *other != part);
        self.parts.push((part, value.into()));
        self
    }

    fn checked(&self) -> Result<DistinguishedName> {
        let mut name = DistinguishedName::new();
        for (part, value) in &self.parts {
            let (called, longest) = part.bound();
            let length = value.chars().count();
            let problem = if value.trim().is_empty() {
                "is empty".to_owned()
            } else if let Some(odd) = value.chars().find(|c| c.is_control()) {
                format!("holds {odd:?}, a control character")
            } else if length > longest {
                format!("has {length} characters; at most {longest} are allowed")
            } else if *part == Part::Country
                && !(length == 2 && value.chars().all(|c| c.is_ascii_uppercase()))
            {
                format!("is {value:?}; it must be two capital letters, as in \"DE\"")
            } else {
                name.push(part.kind(), value.as_str());
                continue;
            };
            return Err(Error::input("subject", format!("the {called} {problem}")));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../tests/data/openssl-rsa2048.key.pem");

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
            assert_eq!(csr.public_key(), key.public_key(), "{algorithm:?}");
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("the key");
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.public_key(), key.public_key());
        }
    }

    #[test]
    fn keys_of_openssl_are_read() {
        for (pem, algorithm) in [
            (RSA, KeyAlgorithm::Rsa),
            (
                include_str!("../tests/data/openssl-p256.key.pem"),
                KeyAlgorithm::EcdsaP256,
            ),
            (
                include_str!("../tests/data/openssl-ed25519.key.pem"),
                KeyAlgorithm::Ed25519,
            ),
        ] {
            let key = PrivateKey::from_pem(pem).expect("a key");
            assert_eq!(key.algorithm(), algorithm);
            let csr = key.csr(&Subject::common_name("sensor-001")).expect("a CSR");
            assert_eq!(csr.public_key(), key.public_key());
        }
    }

    #[test]
    fn a_key_beside_its_certificate_is_found() {
        let pem = format!(
            "{}{}",
            include_str!("../tests/data/openssl-p256.cert.pem"),
            include_str!("../tests/data/openssl-p256.key.pem")
        );
        PrivateKey::from_pem(pem).expect("a key");
    }

    #[test]
    fn what_is_no_usable_key_is_named_and_not_shown() {
        let pkcs1 = include_str!("../tests/data/openssl-rsa2048.pkcs1.key.pem");
        let cut = &RSA[..400];
        for (pem, expected) in [
            (pkcs1, "older format"),
            (
                include_str!("../tests/data/openssl-p256.sec1.key.pem"),
                "older format",
            ),
            (
                include_str!("../tests/data/openssl-p256.encrypted.key.pem"),
                "encrypted",
            ),
            (
                include_str!("../tests/data/openssl-p256.cert.pem"),
                "no private key among",
            ),
            (cut, "cut off"),
            ("", "not PEM"),
        ] {
            let error = PrivateKey::from_pem(pem).expect_err(expected);
            let message = format!("{error} {error:?}");
            assert!(message.contains(expected), "{expected}: {message}");
            for line in pem.lines().filter(|line| line.len() == 64) {
                assert!(!message.contains(line), "{message}");
            }
        }
        let nonsense = pem::encode(&pem::Pem::new("PRIVATE KEY", b"nonsense".as_slice()));
        let message = PrivateKey::from_pem(nonsense)
            .expect_err("nonsense")
            .to_string();
        assert!(message.contains("damaged or of a kind"), "{message}");
        assert!(PrivateKey::from_pem("x".repeat(1 << 20)).is_err());
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
    fn subjects_name_what_is_wrong() {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let name = || Subject::common_name("sensor");
        for (subject, expected) in [
            (Subject::common_name(""), "the common name is empty"),
            (
                Subject::common_name("a".repeat(65)),
                "the common name has 65 characters",
            ),
            (name().organization("a\nb"), "the organization holds '\\n'"),
            (name().country("Germany"), "the country has 7 characters"),
            (name().country("de"), "two capital letters"),
        ] {
            let message = key.csr(&subject).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
        key.csr(&name().organization("Zürich ⚙ 计量").country("CH"))
            .expect("UTF-8 is fine");
    }
}
