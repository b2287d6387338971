//! What this crate reads from X.509 certificates.

use ring::digest::{SHA256, digest};
use yasna::tags::{TAG_IA5STRING, TAG_PRINTABLESTRING, TAG_UTF8STRING};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

use crate::csr::hex;

/// What a certificate signing request says.
pub(crate) struct Request {
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) common_name: Option<String>,
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Request {
    /// Reads a request in DER (RFC 2986).
    pub(crate) fn from_der(der: &[u8]) -> ASN1Result<Self> {
        let (signed, algorithm, signature) = yasna::parse_der(der, read_signed)?;
        let (common_name, public_key) = yasna::parse_der(&signed, |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                let common_name = read_common_name(reader.next())?;
                let public_key = reader.next().read_der()?;
                // Attributes: what else is asked for.
                reader.next().read_tagged_der()?;
                Ok((common_name, public_key))
            })
        })?;
        Ok(Self {
            public_key,
            common_name,
            signed,
            algorithm,
            signature,
        })
    }

    /// Whether the key has signed it. Nothing where the kind of key or signature is not among those that ring
    /// verifies.
    pub(crate) fn is_signed(&self) -> ASN1Result<Option<bool>> {
        let (kind, key) = yasna::parse_der(&self.public_key, |reader| {
            reader.read_sequence(|reader| {
                let kind = reader.next().read_tagged_der()?;
                let (key, _) = reader.next().read_bitvec_bytes()?;
                Ok((kind.value().to_vec(), key))
            })
        })?;
        let ring = rustls::crypto::ring::default_provider();
        let known = ring.signature_verification_algorithms.all.iter();
        let outcome = known
            .filter(|known| *known.public_key_alg_id() == *kind)
            .find(|known| *known.signature_alg_id() == *self.algorithm)
            .map(|known| known.verify_signature(&key, &self.signed, &self.signature));
        Ok(outcome.map(|verified| verified.is_ok()))
    }
}

/// What is signed, how, and the signature: certificates and requests alike.
fn read_signed(reader: BERReader<'_, '_>) -> ASN1Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    reader.read_sequence(|reader| {
        let signed = reader.next().read_der()?;
        let algorithm = reader.next().read_tagged_der()?;
        let (signature, _) = reader.next().read_bitvec_bytes()?;
        Ok((signed, algorithm.value().to_vec(), signature))
    })
}

/// The first common name of a subject, where it is text that this crate can read.
fn read_common_name(reader: BERReader<'_, '_>) -> ASN1Result<Option<String>> {
    let names = reader.collect_sequence_of(|reader| {
        reader.collect_set_of(|reader| {
            reader.read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                let value = reader.next().read_tagged_der()?;
                let is_wanted = kind.components().as_slice() == [2, 5, 4, 3];
                let is_text =
                    [TAG_UTF8STRING, TAG_PRINTABLESTRING, TAG_IA5STRING].contains(&value.tag());
                let text = || String::from_utf8(value.value().to_vec()).ok();
                Ok(is_wanted.then(|| if is_text { text() } else { None }))
            })
        })
    })?;
    Ok(names.into_iter().flatten().flatten().next().flatten())
}

/// A certificate that parses. Whether its signature is right is for those who trust the CA to check.
pub(crate) struct Certificate {
    der: Vec<u8>,
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(crate) public_key: Vec<u8>,
    /// Big-endian.
    serial_number: Vec<u8>,
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
        Self::from_der(block.into_contents()).map_err(problem)
    }

    /// Reads a certificate in DER (RFC 5280).
    fn from_der(der: Vec<u8>) -> ASN1Result<Self> {
        let (signed, _, _) = yasna::parse_der(&der, read_signed)?;
        let (serial_number, public_key) = yasna::parse_der(&signed, |reader| {
            reader.read_sequence(|reader| {
                // The version. Without it, it is the first one.
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(0), |reader| reader.read_u8())
                })?;
                let (serial_number, _) = reader.next().read_bigint_bytes()?;
                let _algorithm = reader.next().read_der()?;
                // The names are read whole, so that a damaged one shows.
                let _issuer = read_common_name(reader.next())?;
                let _validity = reader.next().read_der()?;
                let _subject = read_common_name(reader.next())?;
                let public_key = reader.next().read_der()?;
                // Unique ids, which nobody writes, and extensions.
                for number in [1, 2] {
                    reader.read_optional(|reader| {
                        let tag = Tag::context(number);
                        reader.read_tagged_implicit(tag, |reader| reader.read_bitvec_bytes())
                    })?;
                }
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(3), |reader| reader.read_der())
                })?;
                Ok((serial_number, public_key))
            })
        })?;
        Ok(Self {
            der,
            public_key,
            serial_number,
        })
    }

    /// SHA-256 of the DER, in hex.
    pub(crate) fn sha256(&self) -> String {
        hex(digest(&SHA256, &self.der).as_ref())
    }

    /// Whether `text` is the serial number, in hex or as a decimal number: the service writes both.
    pub(crate) fn has_serial_number(&self, text: &str) -> bool {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        let digits = digits.trim_start_matches('0');
        let in_hex = hex(&self.serial_number);
        let in_hex = in_hex.trim_start_matches('0');
        in_hex.eq_ignore_ascii_case(digits) || decimal(&self.serial_number) == digits
    }

    #[cfg(feature = "keys")]
    pub(crate) fn into_der(self) -> Vec<u8> {
        self.der
    }
}

/// What is wrong with DER that does not parse.
pub(crate) fn problem(error: ASN1Error) -> String {
    match error.kind() {
        ASN1ErrorKind::Extra => "it has more bytes than it should".to_owned(),
        _ => format!("it is damaged or cut off ({error})"),
    }
}

/// A big-endian number in decimal digits. Longer than any integer type.
fn decimal(bytes: &[u8]) -> String {
    // Least significant first.
    let mut digits: Vec<u16> = Vec::new();
    for byte in bytes {
        let mut carry = u16::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            (*digit, carry) = (value % 10, value / 10);
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let digits = digits.iter().rev();
    digits.map(|digit| digit.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_match_in_hex_and_decimal() {
        let certificate =
            Certificate::from_pem(include_str!("../tests/data/openssl-p256.cert.pem"))
                .expect("a certificate");
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
            decimal,
        ] {
            assert!(certificate.has_serial_number(text), "{text}");
        }
        for text in ["", "0", "1", "xyz"] {
            assert!(!certificate.has_serial_number(text), "{text}");
        }
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for (bytes, expected) in [
            (&[][..], ""),
            (&[9], "9"),
            (&[10], "10"),
            (&[255], "255"),
            (&[1, 0], "256"),
            (&[255; 9], "4722366482869645213695"),
        ] {
            assert_eq!(decimal(bytes), expected);
        }
    }
}
