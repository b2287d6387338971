//! Certificate signing requests.

use std::borrow::Cow;
use std::fmt;

use ring::digest::{SHA256, digest};

use super::armor::{Block, read_blocks};
use super::der;
use super::name::Name;
use crate::error::input::InvalidInput;

/// A PKCS#10 certificate signing request whose signature has been verified.
///
/// Two requests are equal if their DER is: line ends and other variations of PEM do not count.
///
/// # Examples
///
/// ```
/// use shieldcert::Csr;
///
/// let pem = std::fs::read_to_string("tests/data/openssl-p256.csr.pem")?;
/// let csr = Csr::from_pem(&pem)?;
/// assert_eq!(csr, Csr::from_pem(&pem.replace('\n', "\r\n"))?);
/// assert_eq!(csr.common_name(), Some("sensor-001"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Csr {
    der: Vec<u8>,
    public_key: Vec<u8>,
    subject: Name,
    is_verified: bool,
}

impl Csr {
    /// The largest PEM or DER that is read, in bytes. A CSR with a 4,096-bit RSA key has 1.7 KiB.
    pub const MAX_LEN: usize = 64 << 10;

    /// Parses a CSR in PEM and verifies its signature.
    ///
    /// Any line ends, widths and encodings are read, literal `\n` in place of line ends, either label
    /// (`CERTIFICATE REQUEST`, `NEW CERTIFICATE REQUEST`), and text and other blocks around it.
    ///
    /// A kind of key or signature that the crypto library can't verify is left for the service to judge: see
    /// [`is_verified`](Self::is_verified).
    ///
    /// # Errors
    /// Returns an error that says what is wrong if the text does not hold one CSR, its signature does not match its
    /// key, or its key is too weak.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let text = text.as_ref();
        if text.len() > Self::MAX_LEN {
            return Err(invalid(format!(
                "it has {} bytes; one CSR in PEM has less than {}",
                text.len(),
                Self::MAX_LEN
            )));
        }
        let blocks = read_blocks(text).map_err(|problem| invalid(problem.describe(LABELS[0])))?;
        let mut requests = blocks.iter().filter(|block| is_request(block));
        match (requests.next(), requests.next()) {
            (Some(request), None) => Self::from_der(&request.der),
            (Some(_), Some(_)) => Err(invalid("the text holds several CSRs; give one at a time")),
            (None, _) => Err(invalid(describe_other(&blocks[0].label))),
        }
    }

    /// Parses a CSR in DER and verifies its signature, as [`from_pem`](Self::from_pem) does.
    ///
    /// # Errors
    /// Returns an error that says what is wrong if the bytes are not one CSR, or its signature does not match its key.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidInput> {
        if der.len() > Self::MAX_LEN {
            return Err(invalid(format!(
                "it has {} bytes; a CSR has less than {}",
                der.len(),
                Self::MAX_LEN
            )));
        }
        let request = parse(der)?;
        let strength =
            der::rsa_bits(&request.public_key).map_err(|error| invalid(der::describe(error)))?;
        if let Some(bits) = strength.filter(|bits| *bits < MIN_RSA_BITS) {
            return Err(invalid(format!(
                "its RSA key is too weak: it has {bits} bits; make one with 2,048 or more"
            )));
        }
        let is_valid = request
            .verify_signature()
            .map_err(|error| invalid(der::describe(error)))?;
        if is_valid == Some(false) {
            return Err(invalid(
                "its signature is broken: it was changed, or made with another key; make a new one",
            ));
        }
        Ok(Self::new(der, request, is_valid == Some(true)))
    }

    /// Reads the DER of a CSR as a record holds it: PEM in any dress, or bare base64. `None` if it is none.
    pub(crate) fn read_der(text: &str) -> Option<Vec<u8>> {
        let text = if text.contains("-----BEGIN") {
            Cow::Borrowed(text)
        } else {
            let label = LABELS[0];
            Cow::Owned(format!(
                "-----BEGIN {label}-----\n{text}\n-----END {label}-----"
            ))
        };
        let blocks = read_blocks(text.as_bytes()).ok()?;
        let [block] = &blocks[..] else {
            return None;
        };
        der::Request::parse(&block.der).ok()?;
        Some(block.der.to_vec())
    }

    /// Reads a CSR that this process has just signed, without verifying the signature.
    #[cfg(feature = "keys")]
    pub(super) fn from_own_der(der: &[u8]) -> Result<Self, InvalidInput> {
        Ok(Self::new(der, parse(der)?, true))
    }

    fn new(der: &[u8], request: der::Request, is_verified: bool) -> Self {
        Self {
            der: der.to_vec(),
            public_key: request.public_key,
            subject: request.subject,
            is_verified,
        }
    }

    /// Whether the signature was verified. The crypto library does not know every kind of key and signature, such as
    /// P-521 or RSA keys over 8,192 bits: of those, only the service can tell.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Returns the CSR in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the CSR in PEM, with LF line ends.
    pub fn to_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("CERTIFICATE REQUEST", self.der.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// Writes the CSR in PEM to a file, as [`Identity::write_pem`](crate::Identity::write_pem) does.
    ///
    /// Keep the CSR until its certificate is there: a CSR made again with the same ECDSA key is another CSR.
    ///
    /// # Errors
    /// Returns [`Error::Write`](crate::Error::Write) with the cause. What was in the file before is unchanged.
    #[cfg(feature = "keys")]
    pub fn write_pem(&self, path: impl AsRef<std::path::Path>) -> crate::Result<()> {
        super::file::write_private(path.as_ref(), self.to_pem().as_bytes())
    }

    /// Returns the SHA-256 of the DER in lower-case hex, which identifies this CSR.
    pub fn sha256(&self) -> String {
        hex::encode(digest(&SHA256, &self.der))
    }

    /// Returns the subject's first common name.
    pub fn common_name(&self) -> Option<&str> {
        self.subject.common_name()
    }

    /// Returns the subject, such as `C=DE,O=Temperature Testers\\, Inc.,CN=sensor-001`: RFC 4514, in the order of the CSR.
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// Returns the public key, as a SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr")
            .field("common_name", &self.common_name())
            .field("sha256", &self.sha256())
            .finish_non_exhaustive()
    }
}

/// What a CSR stands between in PEM. The other one is that of keytool and of Windows.
const LABELS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];

const MIN_RSA_BITS: usize = 2048;

fn is_request(block: &Block) -> bool {
    LABELS.contains(&block.label.as_str())
}

/// Says what a block is that is no CSR.
fn describe_other(label: &str) -> String {
    match label {
        "CERTIFICATE" => {
            "it is a certificate; give the request that was made with the private key".to_owned()
        }
        label if label.ends_with("PRIVATE KEY") => {
            "it is a private key, which is never sent; give the request that was made with it"
                .to_owned()
        }
        label => format!("it is a block `{label}`; give a `CERTIFICATE REQUEST`"),
    }
}

fn parse(der: &[u8]) -> Result<der::Request, InvalidInput> {
    der::Request::parse(der).map_err(|error| invalid(der::describe(error)))
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("CSR", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = include_str!("../../tests/data/openssl-p256.csr.pem");
    const RSA: &str = include_str!("../../tests/data/openssl-rsa2048.csr.pem");
    const CERTIFICATE: &str = include_str!("../../tests/data/openssl-p256.cert.pem");

    #[test]
    fn csrs_of_openssl_are_read_with_either_line_end() {
        for pem in [P256, RSA] {
            let csr = Csr::from_pem(pem).expect("a CSR");
            let crlf = Csr::from_pem(pem.replace('\n', "\r\n"));
            assert_eq!(crlf, Ok(csr.clone()));
            assert_eq!(Csr::from_pem(csr.to_pem()), Ok(csr.clone()));
            assert_eq!(csr.common_name(), Some("sensor-001"));
        }
    }

    #[test]
    fn what_the_crypto_library_cannot_judge_is_left_to_the_service() {
        let p521 = include_str!("../../tests/data/openssl-p521.csr.pem");
        assert!(!Csr::from_pem(p521).expect("a CSR").is_verified());
        assert!(Csr::from_pem(P256).expect("a CSR").is_verified());
    }

    #[test]
    fn a_weak_key_is_named_as_what_it_is() {
        let weak = include_str!("../../tests/data/openssl-rsa1024.csr.pem");
        let message = Csr::from_pem(weak).expect_err("is weak").to_string();
        insta::assert_snapshot!(message, @"CSR: its RSA key is too weak: it has 1024 bits; make one with 2,048 or more");
    }

    #[test]
    fn a_subject_with_repeated_and_joined_names_is_read() {
        let pem = include_str!("../../tests/data/openssl-subject.csr.pem");
        let csr = Csr::from_pem(pem).expect("a CSR");
        assert_eq!(csr.common_name(), Some("sensor-001"));
        assert_eq!(
            csr.subject(),
            r"C=DE,O=Prüfer\, Inc.,OU=One,OU=Two,DC=example,DC=com,serialNumber=7+CN=sensor-001"
        );
    }

    #[test]
    fn what_is_not_a_csr_is_named() {
        let der = Csr::from_pem(P256).expect("a CSR").der;
        let wrap = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let mut broken = der.clone();
        *broken.last_mut().expect("not empty") ^= 1;
        let longer = [der.as_slice(), &[0]].concat();
        let certificate = pem::parse(CERTIFICATE).expect("PEM");
        let refusals = [
            String::new(),
            "hello".into(),
            P256[..P256.len() / 2].into(),
            wrap("CERTIFICATE REQUEST", &der[..der.len() / 2]),
            wrap("CERTIFICATE REQUEST", b"\x30\x80"),
            wrap("CERTIFICATE REQUEST", &[]),
            wrap("CERTIFICATE REQUEST", &longer),
            wrap("CERTIFICATE REQUEST", &broken),
            wrap("CERTIFICATE REQUEST", certificate.contents()),
            CERTIFICATE.into(),
            wrap("EC PRIVATE KEY", &der),
            wrap("X509 CRL", &der),
            format!("{P256}{P256}"),
            "A".repeat(1 << 20),
        ]
        .map(|pem| Csr::from_pem(pem).expect_err("not a CSR").to_string());
        insta::assert_snapshot!(refusals.join("\n"), @"
        CSR: it is not PEM; it must have a line `-----BEGIN CERTIFICATE REQUEST-----` and a line `-----END CERTIFICATE REQUEST-----`
        CSR: it is not PEM; it must have a line `-----BEGIN CERTIFICATE REQUEST-----` and a line `-----END CERTIFICATE REQUEST-----`
        CSR: it is cut off: the line `-----END CERTIFICATE REQUEST-----` is missing
        CSR: it is damaged or cut off
        CSR: it is damaged or cut off
        CSR: it is damaged or cut off
        CSR: it has bytes after its end
        CSR: its signature is broken: it was changed, or made with another key; make a new one
        CSR: it is damaged or cut off
        CSR: it is a certificate; give the request that was made with the private key
        CSR: it is a private key, which is never sent; give the request that was made with it
        CSR: it is a block `X509 CRL`; give a `CERTIFICATE REQUEST`
        CSR: the text holds several CSRs; give one at a time
        CSR: it has 1048576 bytes; one CSR in PEM has less than 65536
        ");
        assert!(Csr::from_pem([0xff, 0xfe, 0x00]).is_err());
    }
}
