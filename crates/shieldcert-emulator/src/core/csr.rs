//! Certificate signing requests: which are accepted, and what is read from them.

use x509_parser::der_parser::asn1_rs::{Any, BitString, Class, Tag};
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use crate::assumptions::MIN_RSA_BITS;

const LABEL: &str = "CERTIFICATE REQUEST";
/// What keytool and certreq write.
const OTHER_LABEL: &str = "NEW CERTIFICATE REQUEST";

/// A CSR that is signed by its own key, which is strong enough.
#[derive(Debug)]
pub(crate) struct Csr {
    /// In DER, as it came.
    pub(crate) subject: Vec<u8>,
    pub(crate) public_key: rcgen::SubjectPublicKeyInfo,
    /// PEM with CRLF line ends, as the service returns every CSR.
    pub(crate) pem: String,
}

/// Why a CSR is refused. The text is part of the response.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsrError {
    #[error(
        "the CSR is not one PEM block; send it from `-----BEGIN {LABEL}-----` to `-----END {LABEL}-----`"
    )]
    NotPem,
    #[error("the CSR is a PEM block of another kind, {0:?}; send a `{LABEL}`")]
    OtherLabel(String),
    #[error(
        "the CSR is not a PKCS#10 request: it is truncated, damaged, or followed by more bytes"
    )]
    NotPkcs10,
    #[error("the CSR's RSA key has {0} bits; use {MIN_RSA_BITS} to 8192")]
    RsaSize(usize),
    #[error("the CSR's key type is not accepted; use RSA, ECDSA P-256 or P-384, or Ed25519")]
    KeyType,
    #[error("the CSR's signature algorithm is not accepted; use SHA-256 or SHA-384")]
    SignatureAlgorithm,
    #[error("the CSR's signature does not belong to its key")]
    Signature,
}

impl Csr {
    /// Reads a CSR in PEM, with LF or CRLF line ends and perhaps text around it, and verifies it.
    pub(crate) fn parse(text: &str) -> Result<Self, CsrError> {
        let block = parse_single_block(text)?;
        if ![LABEL, OTHER_LABEL].contains(&block.tag()) {
            return Err(CsrError::OtherLabel(block.tag().to_owned()));
        }
        let request = Request::parse(block.contents()).ok_or(CsrError::NotPkcs10)?;
        // The key before the signature: verification would report a weak key as an invalid signature.
        if let Ok(PublicKey::RSA(key)) = request.public_key.parsed()
            && !(MIN_RSA_BITS..=8192).contains(&key.key_size())
        {
            return Err(CsrError::RsaSize(key.key_size()));
        }
        let public_key = rcgen::SubjectPublicKeyInfo::from_der(request.public_key.raw)
            .map_err(|_| CsrError::KeyType)?;
        let weak = [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA];
        if weak.contains(&request.algorithm.algorithm) {
            return Err(CsrError::SignatureAlgorithm);
        }
        let verified = verify_signature(
            &request.public_key,
            &request.algorithm,
            &request.signature,
            request.signed,
        );
        verified.map_err(|error| match error {
            X509Error::SignatureUnsupportedAlgorithm => CsrError::SignatureAlgorithm,
            _ => CsrError::Signature,
        })?;
        Ok(Self {
            subject: request.subject.as_raw().to_vec(),
            public_key,
            // The encoder's default line end is CRLF.
            pem: pem::encode(&block),
        })
    }
}

/// A PKCS#10 request. Its attributes don't matter, and some tools leave even their empty list out.
struct Request<'a> {
    /// What the signature is over.
    signed: &'a [u8],
    subject: X509Name<'a>,
    public_key: SubjectPublicKeyInfo<'a>,
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
}

impl<'a> Request<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let content = sequence(der)?;
        let (rest, _) = Any::from_der(content).ok()?;
        let signed = &content[..content.len() - rest.len()];
        let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
        let (rest, signature) = BitString::from_der(rest).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (rest, version) = Any::from_der(sequence(signed)?).ok()?;
        let (rest, subject) = X509Name::from_der(rest).ok()?;
        let (rest, public_key) = SubjectPublicKeyInfo::from_der(rest).ok()?;
        let is_end = match rest {
            [] => true,
            attributes => Any::from_der(attributes).is_ok_and(|(rest, attributes)| {
                rest.is_empty() && attributes.class() == Class::ContextSpecific
            }),
        };
        (version.tag() == Tag::Integer && is_end).then_some(Self {
            signed,
            subject,
            public_key,
            algorithm,
            signature,
        })
    }
}

/// Returns the content of a sequence with nothing behind it.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (rest, value) = Any::from_der(der).ok()?;
    (rest.is_empty() && value.tag() == Tag::Sequence).then_some(value.data)
}

/// Parses text that holds one PEM block.
fn parse_single_block(text: &str) -> Result<pem::Pem, CsrError> {
    let once = |marker| text.matches(marker).count() == 1;
    if !once("-----BEGIN ") || !once("-----END ") {
        return Err(CsrError::NotPem);
    }
    let block = pem::parse(text).map_err(|_| CsrError::NotPem)?;
    // Encrypted keys have headers. Requests don't.
    if block.headers().iter().next().is_some() {
        return Err(CsrError::NotPem);
    }
    Ok(block)
}
