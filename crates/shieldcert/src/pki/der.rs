//! What this crate reads from X.509 certificates and certificate signing requests in DER.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use yasna::tags::{
    TAG_GENERALIZEDTIME, TAG_IA5STRING, TAG_PRINTABLESTRING, TAG_UTCTIME, TAG_UTF8STRING,
};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

/// A parsed certificate signing request.
pub(super) struct Request {
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(super) public_key: Vec<u8>,
    pub(super) common_name: Option<String>,
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Request {
    /// Parses a request (RFC 2986).
    pub(super) fn parse(der: &[u8]) -> ASN1Result<Self> {
        let (signed, algorithm, signature) = yasna::parse_der(der, read_signed)?;
        let (common_name, public_key) = yasna::parse_der(&signed, |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                let common_name = read_common_name(reader.next())?;
                let public_key = reader.next().read_der()?;
                // The attributes.
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

    /// Whether the signature is the public key's. `None` if ring does not verify this kind of key or signature.
    pub(super) fn verify_signature(&self) -> ASN1Result<Option<bool>> {
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

/// A parsed certificate. Its signature is not verified: that is for those who trust the CA.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The public key, as a SubjectPublicKeyInfo in DER.
    pub(super) public_key: Vec<u8>,
    /// Big-endian.
    pub(super) serial_number: Vec<u8>,
    pub(super) common_name: Option<String>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
}

impl Certificate {
    /// Parses a certificate (RFC 5280).
    pub(super) fn parse(der: &[u8]) -> ASN1Result<Self> {
        let (signed, _, _) = yasna::parse_der(der, read_signed)?;
        yasna::parse_der(&signed, |reader| {
            reader.read_sequence(|reader| {
                // The version, which a version 1 certificate leaves out.
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(0), |reader| reader.read_u8())
                })?;
                let (serial_number, _) = reader.next().read_bigint_bytes()?;
                let _algorithm = reader.next().read_der()?;
                // The issuer is parsed to detect damage.
                let _issuer = read_common_name(reader.next())?;
                let (not_before, not_after) = reader.next().read_sequence(|reader| {
                    Ok((read_time(reader.next())?, read_time(reader.next())?))
                })?;
                let common_name = read_common_name(reader.next())?;
                let public_key = reader.next().read_der()?;
                // The unique ids, which no CA writes any more, and the extensions.
                for number in [1, 2] {
                    reader.read_optional(|reader| {
                        let tag = Tag::context(number);
                        reader.read_tagged_implicit(tag, |reader| reader.read_bitvec_bytes())
                    })?;
                }
                reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(3), |reader| reader.read_der())
                })?;
                Ok(Self {
                    public_key,
                    serial_number,
                    common_name,
                    not_before,
                    not_after,
                })
            })
        })
    }
}

/// The signed part, the algorithm and the signature: the frame of certificates and requests.
fn read_signed(reader: BERReader<'_, '_>) -> ASN1Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    reader.read_sequence(|reader| {
        let signed = reader.next().read_der()?;
        let algorithm = reader.next().read_tagged_der()?;
        let (signature, _) = reader.next().read_bitvec_bytes()?;
        Ok((signed, algorithm.value().to_vec(), signature))
    })
}

/// The first common name of a subject, if its string type is one that this crate reads.
fn read_common_name(reader: BERReader<'_, '_>) -> ASN1Result<Option<String>> {
    let names = reader.collect_sequence_of(|reader| {
        reader.collect_set_of(|reader| {
            reader.read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                let value = reader.next().read_tagged_der()?;
                let is_common_name = kind.components().as_slice() == [2, 5, 4, 3];
                let is_text =
                    [TAG_UTF8STRING, TAG_PRINTABLESTRING, TAG_IA5STRING].contains(&value.tag());
                let text = || String::from_utf8(value.value().to_vec()).ok();
                Ok(is_common_name.then(|| if is_text { text() } else { None }))
            })
        })
    })?;
    Ok(names.into_iter().flatten().flatten().next().flatten())
}

/// A time of the validity. `None` if it is not one that RFC 5280 allows.
fn read_time(reader: BERReader<'_, '_>) -> ASN1Result<Option<Timestamp>> {
    let value = reader.read_tagged_der()?;
    let text = std::str::from_utf8(value.value()).unwrap_or_default();
    Ok(match value.tag() {
        TAG_UTCTIME => {
            // RFC 5280: two digits from 50 on are of the twentieth century.
            let century = if text >= "50" { "19" } else { "20" };
            parse_time(&format!("{century}{text}"))
        }
        TAG_GENERALIZEDTIME => parse_time(text),
        _ => None,
    })
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// Says what is wrong with DER that does not parse.
pub(super) fn describe(error: ASN1Error) -> &'static str {
    match error.kind() {
        ASN1ErrorKind::Extra => "it has bytes after its end",
        _ => "it is damaged or cut off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_and_centuries_are_read() {
        let read = |tag: Tag, text: &str| {
            let der = yasna::construct_der(|writer| {
                writer.write_tagged_implicit(tag, |writer| writer.write_bytes(text.as_bytes()));
            });
            let time = yasna::parse_der(&der, read_time).expect("DER");
            time.map(|time| time.to_string())
        };
        for (tag, text, expected) in [
            (TAG_UTCTIME, "261124082327Z", Some("2026-11-24T08:23:27Z")),
            (TAG_UTCTIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (TAG_UTCTIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (
                TAG_GENERALIZEDTIME,
                "21261031082327Z",
                Some("2126-10-31T08:23:27Z"),
            ),
            (TAG_GENERALIZEDTIME, "99991231235959Z", None),
            (TAG_UTCTIME, "261324082327Z", None),
            (TAG_UTCTIME, "", None),
            (TAG_IA5STRING, "261124082327Z", None),
        ] {
            assert_eq!(read(tag, text).as_deref(), expected, "{text}");
        }
    }
}
