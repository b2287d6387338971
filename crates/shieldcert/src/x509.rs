//! What this crate reads from X.509 certificates.

use ring::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::csr::hex;

/// A certificate that parses. Whether its signature is right is for those who trust the CA to check.
pub(crate) struct Certificate {
    der: Vec<u8>,
}

impl Certificate {
    /// Reads one certificate in PEM, or says what is wrong.
    pub(crate) fn from_pem(text: &str) -> Result<Self, String> {
        let blocks =
            pem::parse_many(text).map_err(|error| format!("it is damaged PEM ({error})"))?;
        // An answer may carry the chain; the certificate itself stands first.
        let Some(block) = blocks
            .into_iter()
            .find(|block| block.tag() == "CERTIFICATE")
        else {
            return Err("it is not a certificate in PEM, or was cut off".to_owned());
        };
        let der = block.into_contents();
        match X509Certificate::from_der(&der) {
            Ok(([], _)) => Ok(Self { der }),
            Ok(_) => Err("more bytes follow it".to_owned()),
            Err(error) => Err(format!("it is damaged or cut off ({error})")),
        }
    }

    fn parsed(&self) -> X509Certificate<'_> {
        let (_, certificate) =
            X509Certificate::from_der(&self.der).expect("parsed when it was made");
        certificate
    }

    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.parsed().tbs_certificate.subject_pki.raw.to_vec()
    }

    /// SHA-256 of the DER, in hex.
    pub(crate) fn sha256(&self) -> String {
        hex(digest(&SHA256, &self.der).as_ref())
    }

    /// Whether `text` is the serial number, in hex or as a decimal number: the service writes both.
    pub(crate) fn has_serial_number(&self, text: &str) -> bool {
        let serial = &self.parsed().tbs_certificate.serial;
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let digits = digits.trim_start_matches('0');
        serial.to_str_radix(10) == digits || serial.to_str_radix(16).eq_ignore_ascii_case(digits)
    }

    #[cfg(feature = "keys")]
    pub(crate) fn into_der(self) -> Vec<u8> {
        self.der
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_match_in_hex_and_decimal() {
        let certificate =
            Certificate::from_pem(include_str!("../tests/data/openssl-p256.cert.pem"))
                .expect("a certificate");
        let serial = certificate.parsed().tbs_certificate.serial.clone();
        for text in [
            serial.to_str_radix(16),
            serial.to_str_radix(16).to_uppercase(),
            format!("00{}", serial.to_str_radix(16)),
            serial.to_str_radix(10),
        ] {
            assert!(certificate.has_serial_number(&text), "{text}");
        }
        for text in ["", "0", "1", "xyz"] {
            assert!(!certificate.has_serial_number(text), "{text}");
        }
    }
}
