//! What this crate reads from X.509 certificates and certificate signing requests in DER.

#[cfg(feature = "keys")]
use der::asn1::OctetStringRef;
use der::asn1::{AnyRef, BitStringRef, IntRef, ObjectIdentifier, UintRef};
use der::{Decode, ErrorKind, Reader, SliceReader, Tag, TagNumber, Tagged};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
#[cfg(feature = "keys")]
use zeroize::Zeroizing;

use super::name::Name;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The largest RSA key that ring verifies signatures of, in bits.
const MAX_RSA_BITS: usize = 8192;

/// A parsed certificate signing request.
pub(super) struct Request {
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(super) public_key: Vec<u8>,
    pub(super) subject: Name,
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Request {
    /// Parses a request (RFC 2986). Some tools leave out the attributes.
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let Signed {
            signed,
            algorithm,
            signature,
        } = Signed::parse(der)?;
        let (subject, public_key) = AnyRef::from_der(signed)?.sequence(|reader| {
            let _version = u8::decode(reader)?;
            let subject = Name::read(reader)?;
            let public_key = reader.tlv_bytes()?;
            read_optional(reader, 0)?;
            der::Result::Ok((subject, public_key))
        })?;
        Ok(Self {
            public_key: public_key.to_vec(),
            subject,
            signed: signed.to_vec(),
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    /// Whether the signature is the public key's. `None` if ring does not verify this kind of key or signature.
    pub(super) fn verify_signature(&self) -> der::Result<Option<bool>> {
        if rsa_bits(&self.public_key)? > Some(MAX_RSA_BITS) {
            return Ok(None);
        }
        let PublicKey { kind, key } = PublicKey::parse(&self.public_key)?;
        let ring = rustls::crypto::ring::default_provider();
        let known = ring.signature_verification_algorithms.all.iter();
        let outcome = known
            .filter(|known| *known.public_key_alg_id() == *kind)
            .find(|known| *known.signature_alg_id() == *self.algorithm)
            .map(|known| known.verify_signature(key, &self.signed, &self.signature));
        Ok(outcome.map(|verified| verified.is_ok()))
    }
}

/// Returns the length of the RSA key in a SubjectPublicKeyInfo, in bits. `None` for other keys.
pub(super) fn rsa_bits(public_key: &[u8]) -> der::Result<Option<usize>> {
    let PublicKey { kind, key } = PublicKey::parse(public_key)?;
    let mut reader = SliceReader::new(kind)?;
    if ObjectIdentifier::decode(&mut reader)? != RSA {
        return Ok(None);
    }
    AnyRef::from_der(key)?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        let _exponent = UintRef::decode(reader)?;
        let bytes = modulus.as_bytes();
        let unused = bytes
            .first()
            .map_or(0, |byte| byte.leading_zeros() as usize);
        Ok(Some(8 * bytes.len() - unused))
    })
}

/// A parsed SubjectPublicKeyInfo.
struct PublicKey<'a> {
    /// The algorithm and its parameters, without the frame.
    kind: &'a [u8],
    key: &'a [u8],
}

impl<'a> PublicKey<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            let kind = read_sequence(reader)?;
            let key = BitStringRef::decode(reader)?.raw_bytes();
            Ok(Self { kind, key })
        })
    }
}

/// A parsed certificate. Its signature is not verified: that is for those who trust the CA.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(super) public_key: Vec<u8>,
    /// Big-endian.
    pub(super) serial_number: Vec<u8>,
    pub(super) subject: Name,
    pub(super) issuer: Name,
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
}

impl Certificate {
    /// Parses a certificate (RFC 5280).
    pub(super) fn parse(der: &[u8]) -> der::Result<Self> {
        let signed = Signed::parse(der)?.signed;
        AnyRef::from_der(signed)?.sequence(|reader| {
            // The version, which a version 1 certificate leaves out.
            read_optional(reader, 0)?;
            let serial_number = IntRef::decode(reader)?;
            let _algorithm = read_sequence(reader)?;
            let issuer = Name::read(reader)?;
            let (not_before, not_after) = AnyRef::decode(reader)?
                .sequence(|reader| der::Result::Ok((read_time(reader)?, read_time(reader)?)))?;
            let subject = Name::read(reader)?;
            let public_key = reader.tlv_bytes()?;
            // The unique ids, which no CA writes any more, and the extensions.
            for number in [1, 2, 3] {
                read_optional(reader, number)?;
            }
            Ok(Self {
                public_key: public_key.to_vec(),
                serial_number: serial_number.as_bytes().to_vec(),
                subject,
                issuer,
                not_before,
                not_after,
            })
        })
    }
}

/// The frame of certificates and requests.
struct Signed<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(der)?.sequence(|reader| {
            Ok(Self {
                signed: reader.tlv_bytes()?,
                algorithm: read_sequence(reader)?,
                signature: BitStringRef::decode(reader)?.raw_bytes(),
            })
        })
    }
}

/// Reads a sequence and returns what is in it.
fn read_sequence<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let value = AnyRef::decode(reader)?;
    value.tag().assert_eq(Tag::Sequence)?;
    Ok(value.value())
}

/// Reads the value with this context-specific tag, if it is next.
fn read_optional<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<AnyRef<'a>>> {
    let is_next = !reader.is_finished()
        && matches!(Tag::peek(reader)?, Tag::ContextSpecific { number: next, .. } if next == TagNumber(number));
    is_next.then(|| AnyRef::decode(reader)).transpose()
}

/// A time of the validity. `None` if it is not one that RFC 5280 allows.
fn read_time(reader: &mut SliceReader<'_>) -> der::Result<Option<Timestamp>> {
    let value = AnyRef::decode(reader)?;
    let text = std::str::from_utf8(value.value()).unwrap_or_default();
    Ok(match value.tag() {
        Tag::UtcTime => {
            // RFC 5280: two digits from 50 on are of the twentieth century.
            let century = if text >= "50" { "19" } else { "20" };
            parse_time(&format!("{century}{text}"))
        }
        Tag::GeneralizedTime => parse_time(text),
        _ => None,
    })
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// A parsed SEC1 key (RFC 5915).
#[cfg(feature = "keys")]
pub(super) struct Sec1<'a> {
    /// With its frame.
    #[cfg(feature = "pkcs12")]
    pub(super) secret: &'a [u8],
    /// The curve's object identifier, with its frame. `None` if the key names no curve.
    pub(super) curve: Option<&'a [u8]>,
    pub(super) has_public_key: bool,
}

#[cfg(feature = "keys")]
impl<'a> Sec1<'a> {
    pub(super) fn parse(key: &'a [u8]) -> der::Result<Self> {
        AnyRef::from_der(key)?.sequence(|reader| {
            let _version = u8::decode(reader)?;
            let _secret = reader.tlv_bytes()?;
            Ok(Self {
                #[cfg(feature = "pkcs12")]
                secret: _secret,
                curve: read_optional(reader, 0)?.map(|curve| curve.value()),
                has_public_key: read_optional(reader, 1)?.is_some(),
            })
        })
    }
}

/// Returns the public key in the algorithm's own format, out of a SubjectPublicKeyInfo.
#[cfg(feature = "pkcs12")]
pub(super) fn parse_public_key(der: &[u8]) -> der::Result<&[u8]> {
    Ok(PublicKey::parse(der)?.key)
}

/// Returns the algorithm of a PKCS#8 key (RFC 5958) and the key in the algorithm's own format.
#[cfg(feature = "keys")]
pub(super) fn parse_pkcs8(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    AnyRef::from_der(der)?.sequence(|reader| {
        let _version = u8::decode(reader)?;
        let algorithm = reader.tlv_bytes()?;
        let key = <&OctetStringRef>::decode(reader)?.as_bytes();
        // Attributes, and the public key.
        for number in [0, 1] {
            read_optional(reader, number)?;
        }
        Ok((algorithm, key))
    })
}

#[cfg(feature = "keys")]
pub(super) const SEQUENCE: u8 = 0x30;
#[cfg(feature = "keys")]
pub(super) const OCTET_STRING: u8 = 0x04;
#[cfg(feature = "pkcs12")]
pub(super) const BIT_STRING: u8 = 0x03;

/// Returns a value of these parts, with its tag and length before it. It is wiped when dropped: it may be a key.
#[cfg(feature = "keys")]
pub(super) fn frame(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0);
    let significant = &bytes[first.unwrap_or(bytes.len() - 1)..];
    // Reserved as a whole, so that growing leaves no copy of a key behind.
    let mut framed = Zeroizing::new(Vec::with_capacity(2 + bytes.len() + length));
    framed.push(tag);
    if length > 0x7f {
        framed.push(0x80 | significant.len() as u8);
    }
    framed.extend_from_slice(significant);
    for part in parts {
        framed.extend_from_slice(part);
    }
    framed
}

/// Says what is wrong with DER that does not parse.
pub(super) fn describe(error: der::Error) -> &'static str {
    match error.kind() {
        ErrorKind::TrailingData { .. } => "it has bytes after its end",
        _ => "it is damaged or cut off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_and_centuries_are_read() {
        let read = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).expect("is short");
            let der = [&[tag, length], text.as_bytes()].concat();
            let mut reader = SliceReader::new(&der).expect("is short");
            let time = read_time(&mut reader).expect("DER");
            time.map(|time| time.to_string())
        };
        const UTC: u8 = 0x17;
        const GENERALIZED: u8 = 0x18;
        const IA5: u8 = 0x16;
        for (tag, text, expected) in [
            (UTC, "261124082327Z", Some("2026-11-24T08:23:27Z")),
            (UTC, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (GENERALIZED, "21261031082327Z", Some("2126-10-31T08:23:27Z")),
            (GENERALIZED, "99991231235959Z", None),
            (UTC, "261324082327Z", None),
            (UTC, "", None),
            (IA5, "261124082327Z", None),
        ] {
            assert_eq!(read(tag, text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_length_beyond_every_memory_is_damage() {
        for length in [1, 4, 8, 9, 126] {
            let mut der = vec![0x30, 0x80 | length];
            der.extend(std::iter::repeat_n(0xff, length.into()));
            assert!(Request::parse(&der).is_err());
            assert!(Certificate::parse(&der).is_err());
        }
    }
}
