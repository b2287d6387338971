//! Signs certificates with any subject.
//!
//! rcgen makes certificates, but its names can't have an attribute twice, join attributes by `+`, or keep the bytes of a
//! string. So it makes one without a signature, the subject is put in as it came, and then the CA signs.

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::prelude::FromDer;

use crate::error::BoxError;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// A CA's key, which leaves the signature of rcgen's certificates empty.
pub(super) struct Signer(pub(super) KeyPair);

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Signer {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

impl Signer {
    /// Signs a certificate that was made with an empty signature. Its subject, in DER, replaces that of the certificate.
    pub(super) fn sign_with_subject(
        &self,
        unsigned: &[u8],
        subject: Option<&[u8]>,
    ) -> Result<Vec<u8>, BoxError> {
        let (_, certificate) = X509Certificate::from_der(unsigned)?;
        let tbs = certificate.tbs_certificate.as_ref();
        let (_, content) = Any::from_der(tbs)?;
        let old = certificate.tbs_certificate.subject.as_raw();
        let key = certificate.tbs_certificate.subject_pki.raw;
        // The subject stands right before the key.
        let place = content
            .data
            .windows(old.len() + key.len())
            .position(|window| window.starts_with(old) && window.ends_with(key))
            .ok_or("the certificate that was made has no subject")?;
        let (before, rest) = content.data.split_at(place);
        let (old, after) = rest.split_at(old.len());
        let tbs = encode(SEQUENCE, &[before, subject.unwrap_or(old), after]);
        let algorithm = algorithm(unsigned)?;
        let signature = SigningKey::sign(&self.0, &tbs)?;
        let signature = encode(BIT_STRING, &[&[0], &signature]);
        Ok(encode(SEQUENCE, &[&tbs, algorithm, &signature]))
    }
}

/// Returns the signature algorithm of a certificate, in DER.
fn algorithm(certificate: &[u8]) -> Result<&[u8], BoxError> {
    let (_, certificate) = Any::from_der(certificate)?;
    let (after_tbs, _) = Any::from_der(certificate.data)?;
    let (signature, _) = Any::from_der(after_tbs)?;
    Ok(&after_tbs[..after_tbs.len() - signature.len()])
}

/// Encodes a value whose content is these parts.
fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(length @ ..0x80) => der.push(length),
        _ => {
            let bytes = length.to_be_bytes();
            let leading = length.leading_zeros() as usize / 8;
            der.push(0x80 | (bytes.len() - leading) as u8);
            der.extend_from_slice(&bytes[leading..]);
        }
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_in_as_few_bytes_as_possible() {
        for (length, expected) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x81, 0x80]),
            (255, &[0x81, 0xff]),
            (256, &[0x82, 0x01, 0x00]),
            (65_536, &[0x83, 0x01, 0x00, 0x00]),
        ] {
            let der = encode(SEQUENCE, &[&vec![7; length]]);
            assert_eq!(der[1..der.len() - length], *expected, "{length}");
            assert_eq!(Any::from_der(&der).expect("is read").1.data.len(), length);
        }
    }
}
