//! Certificate signing requests.

use std::fmt;

use ring::digest::{SHA256, digest};

use super::der;
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
    common_name: Option<String>,
}

impl Csr {
    /// The largest PEM or DER that is read, in bytes. A CSR with a 4,096-bit RSA key has 1.7 KiB.
    pub const MAX_LEN: usize = 64 << 10;

    /// Parses a CSR in PEM, with LF or CRLF line ends, and verifies its signature.
    ///
    /// A kind of key or signature that the crypto library can't verify is left for the service to judge.
    ///
    /// # Errors
    /// Returns an error that says what is wrong if the text is not one CSR, or its signature does not match its key.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let text = text.as_ref();
        if text.len() > Self::MAX_LEN {
            return Err(invalid(format!(
                "it has {} bytes; one CSR in PEM has less than {}",
                text.len(),
                Self::MAX_LEN
            )));
        }
        let mut blocks = pem::parse_many(text)
            .map_err(|error| invalid(format!("it is damaged PEM ({error})")))?
            .into_iter();
        let (block, more) = (blocks.next(), blocks.next());
        let Some(block) = block else {
            return Err(invalid(
                "it is not PEM, or it is cut off; it must start with `-----BEGIN CERTIFICATE REQUEST-----` \
                 and end with `-----END CERTIFICATE REQUEST-----`",
            ));
        };
        if more.is_some() {
            return Err(invalid("it has several PEM blocks; give one CSR at a time"));
        }
        match block.tag() {
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::from_der(block.contents()),
            "CERTIFICATE" => Err(invalid(
                "it is a certificate; give the request that was made with the private key",
            )),
            tag if tag.ends_with("PRIVATE KEY") => Err(invalid(
                "it is a private key, which is never sent; give the request that was made with it",
            )),
            tag => Err(invalid(format!(
                "it is a {tag}; give a CERTIFICATE REQUEST"
            ))),
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
        let is_valid = request
            .verify_signature()
            .map_err(|error| invalid(der::describe(error)))?;
        if is_valid == Some(false) {
            return Err(invalid(
                "its signature is broken: it was changed, or made with another key; make a new one",
            ));
        }
        Ok(Self::new(der, request))
    }

    /// Reads the DER of a CSR as a record holds it: PEM, with literal `\n` or not, or bare base64. `None` if it is none.
    pub(crate) fn read_der(text: &str) -> Option<Vec<u8>> {
        let mut text = text.trim().replace("\\r", "").replace("\\n", "\n");
        if !text.contains("-----BEGIN") {
            text = format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----"
            );
        }
        let der = pem::parse(text).ok()?.into_contents();
        der::Request::parse(&der).ok().map(|_| der)
    }

    /// Reads a CSR that this process has just signed, without verifying the signature.
    #[cfg(feature = "keys")]
    pub(super) fn from_own_der(der: &[u8]) -> Result<Self, InvalidInput> {
        Ok(Self::new(der, parse(der)?))
    }

    fn new(der: &[u8], request: der::Request) -> Self {
        Self {
            der: der.to_vec(),
            public_key: request.public_key,
            common_name: request.common_name,
        }
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

    /// Returns the subject's common name.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Returns the public key, as a SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Csr")
            .field("common_name", &self.common_name)
            .field("sha256", &self.sha256())
            .finish_non_exhaustive()
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
        CSR: it is not PEM, or it is cut off; it must start with `-----BEGIN CERTIFICATE REQUEST-----` and end with `-----END CERTIFICATE REQUEST-----`
        CSR: it is not PEM, or it is cut off; it must start with `-----BEGIN CERTIFICATE REQUEST-----` and end with `-----END CERTIFICATE REQUEST-----`
        CSR: it is not PEM, or it is cut off; it must start with `-----BEGIN CERTIFICATE REQUEST-----` and end with `-----END CERTIFICATE REQUEST-----`
        CSR: it is damaged or cut off
        CSR: it is damaged or cut off
        CSR: it is damaged or cut off
        CSR: it has bytes after its end
        CSR: its signature is broken: it was changed, or made with another key; make a new one
        CSR: it is damaged or cut off
        CSR: it is a certificate; give the request that was made with the private key
        CSR: it is a private key, which is never sent; give the request that was made with it
        CSR: it is a X509 CRL; give a CERTIFICATE REQUEST
        CSR: it has several PEM blocks; give one CSR at a time
        CSR: it has 1048576 bytes; one CSR in PEM has less than 65536
        ");
        assert!(Csr::from_pem([0xff, 0xfe, 0x00]).is_err());
    }
}
