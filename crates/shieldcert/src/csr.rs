//! Certificate signing requests, from here or from elsewhere, checked before they are sent.

use std::fmt;

use ring::digest::{SHA256, digest};

use crate::error::{Error, Result};
use crate::x509;

/// A PKCS#10 certificate signing request whose signature has been verified.
///
/// Two are equal when their DER is: line ends and other freedoms of PEM don't count.
///
/// ```
/// use shieldcert::Csr;
///
/// let pem = std::fs::read_to_string("tests/data/openssl-p256.csr.pem").unwrap();
/// let csr = Csr::from_pem(&pem)?;
/// assert_eq!(csr, Csr::from_pem(&pem.replace('\n', "\r\n"))?);
/// assert_eq!(csr.common_name().as_deref(), Some("sensor-001"));
/// # Ok::<_, shieldcert::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Csr {
    der: Vec<u8>,
    // Read from it.
    public_key: Vec<u8>,
    common_name: Option<String>,
}

impl Csr {
    /// The largest PEM that is read, in bytes. A CSR with a 4096 bit RSA key has 1.7 KiB.
    pub const LARGEST: usize = 64 << 10;

    /// Reads a CSR in PEM, with LF or CRLF line ends.
    ///
    /// Fails with [`Error::Input`] where it is anything else, and where its signature does not prove
    /// that whoever made it holds the private key.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > Self::LARGEST {
            return Err(refused(format!(
                "{} bytes are too many; one CSR in PEM has less than {}",
                text.len(),
                Self::LARGEST
            )));
        }
        let mut blocks = pem::parse_many(text)
            .map_err(|error| refused(format!("this is damaged PEM ({error})")))?
            .into_iter();
        let (block, more) = (blocks.next(), blocks.next());
        let Some(block) = block else {
            return Err(refused(
                "this is not PEM, or was cut off; it must run from `-----BEGIN CERTIFICATE REQUEST-----` \
                 to `-----END CERTIFICATE REQUEST-----`",
            ));
        };
        if more.is_some() {
            return Err(refused(
                "there are several PEM blocks; give one CSR at a time",
            ));
        }
        match block.tag() {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::from_der(block.contents()),
            "CERTIFICATE" => Err(refused(
                "this is a certificate; give the request that is made with the private key",
            )),
            tag if tag.ends_with("PRIVATE KEY") => Err(refused(
                "this is a private key, which is never sent; give the request that is made with it",
            )),
            tag => Err(refused(format!(
                "this is a {tag}, not a CERTIFICATE REQUEST"
            ))),
        }
    }

    /// Reads a CSR in DER. Fails as [`from_pem`](Self::from_pem) does.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        if der.len() > Self::LARGEST {
            return Err(refused(format!("{} bytes are too many", der.len())));
        }
        let request = x509::Request::from_der(der);
        let request = request.map_err(|error| refused(x509::problem(error)))?;
        let is_signed = request.is_signed();
        // What can't be verified here is for the service to judge.
        if is_signed.map_err(|error| refused(x509::problem(error)))? == Some(false) {
            return Err(refused(
                "its signature is broken: it was changed, or made with another key; make it anew",
            ));
        }
        Ok(Self::new(der, request))
    }

    /// One that was made here, a moment ago: that its signature is right need not be found out.
    #[cfg(feature = "keys")]
    pub(crate) fn own(der: &[u8]) -> Result<Self> {
        let request = x509::Request::from_der(der);
        let request = request.map_err(|error| refused(x509::problem(error)))?;
        Ok(Self::new(der, request))
    }

    fn new(der: &[u8], request: x509::Request) -> Self {
        Self {
            der: der.to_vec(),
            public_key: request.public_key,
            common_name: request.common_name,
        }
    }

    /// The CSR in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The CSR in PEM, with LF line ends.
    pub fn to_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("CERTIFICATE REQUEST", self.der.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// SHA-256 of the DER, in hex: a name for this very CSR.
    pub fn sha256(&self) -> String {
        hex(digest(&SHA256, &self.der).as_ref())
    }

    /// The subject's common name.
    pub fn common_name(&self) -> Option<String> {
        self.common_name.clone()
    }

    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(crate) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr")
            .field("common_name", &self.common_name())
            .field("sha256", &self.sha256())
            .finish()
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::input("CSR", problem)
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = include_str!("../tests/data/openssl-p256.csr.pem");
    const RSA: &str = include_str!("../tests/data/openssl-rsa2048.csr.pem");
    const CERTIFICATE: &str = include_str!("../tests/data/openssl-p256.cert.pem");

    fn refusal(pem: impl AsRef<[u8]>) -> String {
        Csr::from_pem(pem).expect_err("must be refused").to_string()
    }

    #[test]
    fn csrs_of_openssl_are_read_with_either_line_end() {
        for pem in [P256, RSA] {
            let csr = Csr::from_pem(pem).expect("a CSR");
            assert_eq!(
                Csr::from_pem(pem.replace('\n', "\r\n")).expect("a CSR"),
                csr
            );
            assert_eq!(Csr::from_pem(csr.to_pem()).expect("a CSR"), csr);
            assert_eq!(csr.common_name().as_deref(), Some("sensor-001"));
        }
    }

    #[test]
    fn what_is_not_a_csr_is_named() {
        let der = Csr::from_pem(P256).expect("a CSR").der().to_vec();
        let wrapped = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let mut broken = der.clone();
        *broken.last_mut().expect("not empty") ^= 1;
        let mut longer = der.clone();
        longer.push(0);
        for (pem, expected) in [
            (String::new(), "not PEM"),
            ("hello".into(), "not PEM"),
            (P256[..P256.len() / 2].into(), "cut off"),
            (
                wrapped("CERTIFICATE REQUEST", &der[..der.len() / 2]),
                "damaged or cut off",
            ),
            (
                wrapped("CERTIFICATE REQUEST", b"\x30\x80"),
                "damaged or cut off",
            ),
            (wrapped("CERTIFICATE REQUEST", &[]), "damaged or cut off"),
            (
                wrapped("CERTIFICATE REQUEST", &longer),
                "more bytes than it should",
            ),
            (
                wrapped("CERTIFICATE REQUEST", &broken),
                "signature is broken",
            ),
            (CERTIFICATE.into(), "this is a certificate"),
            (
                wrapped(
                    "CERTIFICATE REQUEST",
                    pem::parse(CERTIFICATE).expect("PEM").contents(),
                ),
                "damaged",
            ),
            (
                wrapped("EC PRIVATE KEY", &der),
                "private key, which is never sent",
            ),
            (wrapped("X509 CRL", &der), "this is a X509 CRL"),
            (format!("{P256}{P256}"), "several PEM blocks"),
            ("A".repeat(1 << 20), "1048576 bytes are too many"),
        ] {
            let message = refusal(&pem);
            assert!(message.starts_with("CSR: "), "{message}");
            assert!(message.contains(expected), "{expected}: {message}");
        }
        refusal([0xff, 0xfe, 0x00]);
    }
}
