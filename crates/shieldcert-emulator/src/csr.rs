//! Certificate signing requests: which are accepted, and what is taken from them.

use rcgen::{DistinguishedName, DnType, DnValue, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Name;

use crate::assumptions::MIN_RSA_BITS;

const LABEL: &str = "CERTIFICATE REQUEST";

/// A CSR whose signature is its own key's, and whose key is strong enough.
#[derive(Debug)]
pub(crate) struct Csr {
    pub(crate) subject: DistinguishedName,
    pub(crate) public_key: SubjectPublicKeyInfo,
    /// The CSR in PEM with CRLF line ends, as the service returns it whatever was sent.
    pub(crate) pem: String,
}

/// Why a CSR is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsrError {
    #[error("the CSR is not one PEM block from `-----BEGIN {LABEL}-----` to its end")]
    NotPem,
    #[error("the CSR is a PEM block of another kind, {0:?}: `{LABEL}` is needed")]
    OtherLabel(String),
    #[error("the CSR is not a PKCS#10 request: it is cut off, damaged, or has bytes after its end")]
    NotPkcs10,
    #[error(
        "the CSR's key is of {0} bits, too weak or too large: RSA of {MIN_RSA_BITS} to 8192 bits is needed"
    )]
    RsaSize(usize),
    #[error(
        "the CSR's key is of a kind that is not accepted: use RSA, ECDSA P-256 or P-384, or Ed25519"
    )]
    KeyKind,
    #[error("the CSR is signed in a way that is not accepted: use SHA-256 or SHA-384")]
    SignatureKind,
    #[error("the CSR's signature is not by its own key")]
    Signature,
    #[error("the CSR's subject can't be copied: {0}")]
    Subject(&'static str),
}

impl Csr {
    /// Reads a CSR in PEM, with LF or CRLF line ends, and verifies it.
    pub(crate) fn parse(text: &str) -> Result<Self, CsrError> {
        let block = only_block(text)?;
        if block.tag() != LABEL {
            return Err(CsrError::OtherLabel(block.tag().to_owned()));
        }
        let (rest, request) = X509CertificationRequest::from_der(block.contents())
            .map_err(|_| CsrError::NotPkcs10)?;
        if !rest.is_empty() {
            return Err(CsrError::NotPkcs10);
        }
        let info = &request.certification_request_info;
        // The key first: the verification would refuse a weak one too, but as a broken signature.
        if let Ok(PublicKey::RSA(key)) = info.subject_pki.parsed()
            && !(MIN_RSA_BITS..=8192).contains(&key.key_size())
        {
            return Err(CsrError::RsaSize(key.key_size()));
        }
        let public_key =
            SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| CsrError::KeyKind)?;
        let weak = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA];
        if weak.contains(&request.signature_algorithm.algorithm) {
            return Err(CsrError::SignatureKind);
        }
        request.verify_signature().map_err(|error| match error {
            X509Error::SignatureUnsupportedAlgorithm => CsrError::SignatureKind,
            _ => CsrError::Signature,
        })?;
        Ok(Self {
            subject: copied(&info.subject)?,
            public_key,
            // The encoder's default line end is CRLF.
            pem: pem::encode(&block),
        })
    }
}

/// The one block of `text`, with nothing but white space around it.
fn only_block(text: &str) -> Result<pem::Pem, CsrError> {
    let text = text.trim_ascii();
    let once = |marker| text.matches(marker).count() == 1;
    let last_line = text.lines().last().unwrap_or_default();
    let alone = text.starts_with("-----BEGIN ")
        && last_line.starts_with("-----END ")
        && last_line.trim_ascii_end().ends_with("-----")
        && once("-----BEGIN ")
        && once("-----END ");
    if !alone {
        return Err(CsrError::NotPem);
    }
    let block = pem::parse(text).map_err(|_| CsrError::NotPem)?;
    // Headers, as in an encrypted key, have no place in a request.
    if block.headers().iter().next().is_some() {
        return Err(CsrError::NotPem);
    }
    Ok(block)
}

/// The subject as the signer takes it, with each string's type kept where that is one of today's.
fn copied(subject: &X509Name<'_>) -> Result<DistinguishedName, CsrError> {
    let mut copy = DistinguishedName::new();
    for rdn in subject.iter() {
        let mut attributes = rdn.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err(CsrError::Subject("it joins several attributes by `+`"));
        };
        let oid: Vec<u64> = attribute
            .attr_type()
            .iter()
            .ok_or(CsrError::Subject(
                "an attribute's type is too large a number",
            ))?
            .collect();
        let kind = DnType::from_oid(&oid);
        if copy.get(&kind).is_some() {
            return Err(CsrError::Subject("it has the same attribute twice"));
        }
        let not_text = || CsrError::Subject("an attribute is not text in UTF-8 or ASCII");
        let text = attribute.as_str().map_err(|_| not_text())?;
        let value = match attribute.attr_value().tag() {
            Tag::PrintableString => {
                DnValue::PrintableString(text.try_into().map_err(|_| not_text())?)
            }
            Tag::Ia5String => DnValue::Ia5String(text.try_into().map_err(|_| not_text())?),
            _ => DnValue::Utf8String(text.to_owned()),
        };
        copy.push(kind, value);
    }
    Ok(copy)
}
