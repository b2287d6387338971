//! An X.509 certificate.

use std::fmt;

use jiff::Timestamp;
use num_bigint::BigUint;
use ring::digest::{SHA256, digest};

use super::armor::read_blocks;
use super::der;
use super::name::Name;
use crate::error::input::InvalidInput;

const LABEL: &str = "CERTIFICATE";

/// An X.509 certificate that parses. Its signature is not verified: that is for those who trust the CA.
///
/// # Examples
///
/// ```
/// use shieldcert::X509Certificate;
///
/// let pem = std::fs::read_to_string("tests/data/openssl-p256.cert.pem")?;
/// let certificate = X509Certificate::from_pem(&pem)?;
/// assert_eq!(certificate.common_name(), Some("sensor-001"));
/// assert_eq!(certificate.serial_number(), "1b5842783c8262dbc4fc430d1c6c0a8db36c3ebf");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct X509Certificate {
    der: Vec<u8>,
    public_key: Vec<u8>,
    /// Big-endian.
    serial_number: Vec<u8>,
    subject: Name,
    issuer: Name,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

impl X509Certificate {
    /// Parses the first certificate of a text in PEM, which may hold other blocks too.
    ///
    /// # Errors
    /// Returns an error that says what is wrong if there is no certificate, or a damaged one.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let first = read_blocks(text.as_ref())
            .map_err(|problem| invalid(problem.describe(LABEL)))?
            .into_iter()
            .find(|block| block.label == LABEL);
        // The certificate itself stands before its chain.
        let block = first.ok_or_else(|| invalid("there is no certificate among the PEM blocks"))?;
        Self::from_der(block.der.as_slice())
    }

    /// Parses all certificates of a text in PEM, such as a chain, in the order of the text.
    ///
    /// # Errors
    /// Returns an error that says what is wrong if the text is damaged, or one of its certificates is.
    pub(crate) fn all_from_pem(text: impl AsRef<[u8]>) -> Result<Vec<Self>, InvalidInput> {
        let blocks =
            read_blocks(text.as_ref()).map_err(|problem| invalid(problem.describe(LABEL)))?;
        let certificates = blocks.iter().filter(|block| block.label == LABEL);
        certificates
            .map(|block| Self::from_der(block.der.as_slice()))
            .collect()
    }

    /// Parses the certificate of a text that may hold its chain too, in any order: the one that has issued no other.
    pub(crate) fn leaf_from_pem(text: impl AsRef<[u8]>) -> Result<Self, InvalidInput> {
        let mut certificates = Self::all_from_pem(text)?;
        let has_issued = |issuer: &Self| {
            let mut others = certificates.iter().filter(|other| other.der != issuer.der);
            others.any(|other| other.is_issued_by(issuer))
        };
        let place = certificates
            .iter()
            .position(|certificate| !has_issued(certificate))
            .unwrap_or(0);
        if certificates.is_empty() {
            return Err(invalid("there is no certificate among the PEM blocks"));
        }
        Ok(certificates.swap_remove(place))
    }

    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// Returns an error that says what is wrong if the certificate is damaged.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, InvalidInput> {
        let der = der.into();
        let parsed =
            der::Certificate::parse(&der).map_err(|error| invalid(der::describe(error)))?;
        Ok(Self {
            der,
            public_key: parsed.public_key,
            serial_number: parsed.serial_number,
            subject: parsed.subject,
            issuer: parsed.issuer,
            not_before: parsed.not_before,
            not_after: parsed.not_after,
        })
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the certificate in PEM, with LF line ends.
    pub fn to_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("CERTIFICATE", self.der.as_slice()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// Writes the certificate in PEM to a file, as [`Identity::write_pem`](crate::Identity::write_pem) does: whole or not
    /// at all, and readable by its owner alone.
    ///
    /// # Errors
    /// Returns [`Error::Write`](crate::Error::Write) with the cause. What was in the file before is unchanged.
    #[cfg(feature = "keys")]
    pub fn write_pem(&self, path: impl AsRef<std::path::Path>) -> crate::Result<()> {
        super::file::write_private(path.as_ref(), self.to_pem().as_bytes())
    }

    /// Returns the public key, as a SubjectPublicKeyInfo in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Returns the SHA-256 fingerprint of the DER, in lower-case hex.
    pub fn fingerprint_sha256(&self) -> String {
        hex::encode(digest(&SHA256, &self.der))
    }

    /// Returns the serial number in lower-case hex.
    pub fn serial_number(&self) -> String {
        hex::encode(&self.serial_number)
    }

    /// Whether `text` is the serial number: as a hex or decimal number in any notation, with or without `0x`, colons,
    /// blanks and leading zeros. The service writes both.
    pub fn has_serial_number(&self, text: &str) -> bool {
        is_number(text, &self.serial_number)
    }

    /// Whether `text` is the SHA-256 fingerprint, in the same notations and with or without `sha256:`.
    pub fn has_fingerprint_sha256(&self, text: &str) -> bool {
        let text = text.trim();
        let digits = match text.split_once([':', '=', ' ']) {
            Some((name, digits)) if is_sha256(name) => digits,
            _ => text,
        };
        is_number(digits, digest(&SHA256, &self.der).as_ref())
    }

    /// Returns the subject's first common name.
    pub fn common_name(&self) -> Option<&str> {
        self.subject.common_name()
    }

    /// Returns the subject, such as `C=DE,CN=sensor-001`: RFC 4514, in the order of the certificate.
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// Whether its issuer has this certificate's subject.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
    }

    /// Returns the start of the validity. `None` if it is not a time.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Returns the end of the validity. `None` if it is not a time.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }
}

impl fmt::Debug for X509Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Certificate")
            .field("common_name", &self.common_name())
            .field("serial_number", &self.serial_number())
            .finish_non_exhaustive()
    }
}

fn is_sha256(name: &str) -> bool {
    ["sha256", "sha-256"]
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known))
}

/// Whether `text` is a number, in hex or decimal.
fn is_number(text: &str, big_endian: &[u8]) -> bool {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, ':' | '-' | '_') && !c.is_whitespace())
        .collect();
    // A sign is part of no notation, and more digits than these of no number.
    if text.trim_start().starts_with(['-', '+']) || digits.len() > 128 {
        return false;
    }
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
        .unwrap_or(&digits);
    let number = BigUint::from_bytes_be(big_endian);
    [16, 10]
        .iter()
        .any(|radix| BigUint::parse_bytes(digits.as_bytes(), *radix).as_ref() == Some(&number))
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("certificate", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_match_in_hex_and_decimal() {
        let pem = include_str!("../../tests/data/openssl-p256.cert.pem");
        let certificate = X509Certificate::from_pem(pem).expect("a certificate");
        // From `openssl x509 -serial`, and the same in decimal.
        let (hex, decimal) = (
            "1B5842783C8262DBC4FC430D1C6C0A8DB36C3EBF",
            "156111006714900572106421577016324026246919634623",
        );
        for text in [
            hex,
            &hex.to_lowercase(),
            &format!("00{hex}"),
            &format!("{}:{}", &hex[..2], &hex[2..]),
            &format!("0x{hex}"),
            &format!(" {} {} ", &hex[..8], &hex[8..]),
            decimal,
        ] {
            assert!(certificate.has_serial_number(text), "{text}");
        }
        for text in ["", "0", "1", "xyz", "-1", "+1"] {
            assert!(!certificate.has_serial_number(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_certificate_is_named() {
        let pem = include_str!("../../tests/data/openssl-p256.cert.pem");
        let der = X509Certificate::from_pem(pem).expect("a certificate").der;
        let longer = [der.as_slice(), &[0]].concat();
        let refusals = [
            X509Certificate::from_pem(""),
            X509Certificate::from_pem(&pem[..200]),
            X509Certificate::from_pem(include_str!("../../tests/data/openssl-p256.csr.pem")),
            X509Certificate::from_der(&der[..100]),
            X509Certificate::from_der(longer),
        ]
        .map(|refused| refused.expect_err("not a certificate").to_string());
        insta::assert_snapshot!(refusals.join("\n"), @"
        certificate: it is not PEM; it must have a line `-----BEGIN CERTIFICATE-----` and a line `-----END CERTIFICATE-----`
        certificate: it is cut off: the line `-----END CERTIFICATE-----` is missing
        certificate: there is no certificate among the PEM blocks
        certificate: it is damaged or cut off
        certificate: it has bytes after its end
        ");
    }
}
