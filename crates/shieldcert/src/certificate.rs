//! The domain's types: zones, certificates, and the statuses between which they move.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shieldcert_api::types;

use crate::error::{Error, Result};

/// A zone's id: 32 hex digits, as the dashboard shows it under "API".
///
/// ```
/// use shieldcert::ZoneId;
///
/// let zone: ZoneId = "023e105f4ecef8ad9ca31a8372d0c353".parse()?;
/// assert_eq!(zone.as_str(), "023e105f4ecef8ad9ca31a8372d0c353");
/// assert!("example.com".parse::<ZoneId>().is_err());
/// # Ok::<_, shieldcert::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneId(String);

impl ZoneId {
    /// Reads `CLOUDFLARE_ZONE_ID`, as Cloudflare's own clients do.
    pub fn from_env() -> Result<Self> {
        match std::env::var("CLOUDFLARE_ZONE_ID") {
            Ok(value) => value.parse(),
            Err(_) => Err(Error::input(
                "zone id",
                "CLOUDFLARE_ZONE_ID is not set; set it to the id that the dashboard shows under \"API\"",
            )),
        }
    }

    /// The id, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let problem = if text.is_empty() {
            "is empty".to_owned()
        } else if let Some(odd) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            format!("{} holds {odd:?}, which is not a hex digit", quoted(text))
        } else if text.len() != 32 {
            format!("{} has {} characters", quoted(text), text.len())
        } else {
            return Ok(Self(text.to_ascii_lowercase()));
        };
        Err(Error::input(
            "zone id",
            format!(
                "{problem}; it must be the 32 hex digits that the dashboard shows under \"API\""
            ),
        ))
    }
}

impl fmt::Display for ZoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client certificate's id: a UUID, or 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CertificateId(String);

impl CertificateId {
    /// Longer than any id known, and short enough for any path.
    const LONGEST: usize = 64;

    /// The id as the service gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertificateId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Ids are opaque, and the service's to choose. What is refused is what would not stay
        // inside its segment of the path.
        let is_right = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let problem = if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > Self::LONGEST {
            format!("{} has {} characters", quoted(text), text.len())
        } else if text.bytes().all(|byte| is_right(byte.into())) {
            return Ok(Self(text.to_owned()));
        } else {
            let odd = text.chars().find(|c| !is_right(*c)).unwrap_or_default();
            format!("{} holds {odd:?}", quoted(text))
        };
        Err(Error::input(
            "certificate id",
            format!("{problem}; it must be an id as the list of certificates shows it"),
        ))
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was given, short enough for a message.
fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(64).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

/// Where a certificate stands.
///
/// ```text
/// active ──revoke──▶ pending_revocation ──(service)──▶ revoked
///    ▲                        │ reactivate                │ reactivate
///    └──(service)── pending_reactivation ◀────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted at the edge. Settled.
    Active,
    /// On its way to [`Active`](Self::Active).
    PendingReactivation,
    /// On its way to [`Revoked`](Self::Revoked).
    PendingRevocation,
    /// No longer accepted at the edge. Settled, and kept: it can be reactivated.
    Revoked,
    /// One that this crate does not know, as the service wrote it. Empty where the service named none.
    Unknown(String),
}

impl Status {
    /// Whether the certificate stays so until somebody asks for something else.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Active | Self::Revoked)
    }

    /// Whether the service is moving the certificate to another status.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::PendingReactivation | Self::PendingRevocation)
    }

    /// The statuses that may come next, by the service or on request. Empty for an unknown one.
    pub fn may_become(&self) -> &'static [Status] {
        match self {
            Self::Active => &[Self::PendingRevocation],
            Self::PendingRevocation => &[Self::Revoked, Self::PendingReactivation],
            Self::Revoked => &[Self::PendingReactivation],
            Self::PendingReactivation => &[Self::Active, Self::PendingRevocation],
            Self::Unknown(_) => &[],
        }
    }

    /// The API's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::PendingReactivation => "pending_reactivation",
            Self::PendingRevocation => "pending_revocation",
            Self::Revoked => "revoked",
            Self::Unknown(text) => text,
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "pending_reactivation" => Self::PendingReactivation,
            "pending_revocation" => Self::PendingRevocation,
            "revoked" => Self::Revoked,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.as_str() {
            "" => "unknown",
            known => known,
        })
    }
}

/// A client certificate as the service describes it.
///
/// Any field can be missing, and empty ones count as missing; only the id is always there. What the
/// service said, word for word, is in [`as_wire`](Self::as_wire), which is also what is serialized.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    id: CertificateId,
    status: Status,
    wire: types::ClientCertificate,
}

impl ClientCertificate {
    /// The certificate's id, which every operation on it takes.
    pub fn id(&self) -> &CertificateId {
        &self.id
    }

    /// Where the certificate stood when the service answered.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The certificate itself, in PEM.
    pub fn pem(&self) -> Option<&str> {
        filled(&self.wire.certificate)
    }

    /// The CSR that it was issued for, in PEM. Line ends differ from what was sent: compare by DER.
    pub fn csr_pem(&self) -> Option<&str> {
        self.wire
            .csr
            .as_deref()
            .map(String::as_str)
            .filter(|csr| !csr.is_empty())
    }

    /// The subject's common name. Not unique.
    pub fn common_name(&self) -> Option<&str> {
        filled(&self.wire.common_name)
    }

    /// The subject's organization.
    pub fn organization(&self) -> Option<&str> {
        filled(&self.wire.organization)
    }

    /// The subject's organizational unit.
    pub fn organizational_unit(&self) -> Option<&str> {
        filled(&self.wire.organizational_unit)
    }

    /// The subject's country, two letters.
    pub fn country(&self) -> Option<&str> {
        filled(&self.wire.country)
    }

    /// The subject's state or province.
    pub fn state(&self) -> Option<&str> {
        filled(&self.wire.state)
    }

    /// The subject's locality; the API calls it `location`.
    pub fn locality(&self) -> Option<&str> {
        filled(&self.wire.location)
    }

    /// When the CA issued it. Missing too where the service's text is not a time.
    pub fn issued_on(&self) -> Option<Timestamp> {
        filled(&self.wire.issued_on)?.parse().ok()
    }

    /// When it expires. Missing too where the service's text is not a time.
    pub fn expires_on(&self) -> Option<Timestamp> {
        filled(&self.wire.expires_on)?.parse().ok()
    }

    /// How many days it was asked to be valid.
    pub fn validity_days(&self) -> Option<i64> {
        self.wire.validity_days.as_ref().map(|days| days.0)
    }

    /// SHA-256 of its DER, in hex.
    pub fn fingerprint_sha256(&self) -> Option<&str> {
        filled(&self.wire.fingerprint_sha256)
    }

    /// Its serial number, as the service writes it: hex digits, or a decimal number.
    pub fn serial_number(&self) -> Option<&str> {
        filled(&self.wire.serial_number)
    }

    /// Its subject key identifier, in hex.
    pub fn subject_key_identifier(&self) -> Option<&str> {
        filled(&self.wire.ski)
    }

    /// The algorithm of the CA's signature, as in `ECDSAWithSHA256`.
    pub fn signature(&self) -> Option<&str> {
        filled(&self.wire.signature)
    }

    /// The id of the CA that signed it.
    pub fn certificate_authority_id(&self) -> Option<&str> {
        filled(&self.wire.certificate_authority.as_ref()?.id)
    }

    /// The name of the CA that signed it.
    pub fn certificate_authority_name(&self) -> Option<&str> {
        filled(&self.wire.certificate_authority.as_ref()?.name)
    }

    /// What the service said, as the generated type holds it.
    pub fn as_wire(&self) -> &types::ClientCertificate {
        &self.wire
    }
}

/// An empty field is the service's way to say that it knows nothing.
fn filled(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// Fails only where the record has no usable id.
impl TryFrom<types::ClientCertificate> for ClientCertificate {
    type Error = Error;

    fn try_from(wire: types::ClientCertificate) -> Result<Self> {
        let id = wire.id.as_deref().map_or("", String::as_str).parse()?;
        let status = Status::from(wire.status.as_deref().unwrap_or_default());
        Ok(Self { id, status, wire })
    }
}

impl Serialize for ClientCertificate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientCertificate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        types::ClientCertificate::deserialize(deserializer)?
            .try_into()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zone_ids_name_what_is_wrong() {
        for (text, expected) in [
            ("", "is empty"),
            ("023e105f4ecef8ad9ca31a8372d0c35", "has 31 characters"),
            ("023e105f4ecef8ad9ca31a8372d0c3533", "has 33 characters"),
            ("example.com", "holds 'x'"),
            ("023e105f4ecef8ad9ca31a8372d0c35\n", "holds '\\n'"),
            (&"ü".repeat(100_000), "…\" holds 'ü'"),
        ] {
            let message = text.parse::<ZoneId>().expect_err(text).to_string();
            assert!(message.starts_with("zone id: "), "{message}");
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("32 hex digits"), "{message}");
            assert!(message.len() < 400, "{message}");
        }
    }

    #[test]
    fn zone_ids_are_one_whatever_their_case() {
        let upper: ZoneId = "023E105F4ECEF8AD9CA31A8372D0C353".parse().expect("an id");
        assert_eq!(upper.as_str(), "023e105f4ecef8ad9ca31a8372d0c353");
    }

    #[test]
    fn certificate_ids_stay_in_their_path_segment() {
        for text in ["", ".", "..", "a/b", "a b", "a?b", "a%2e", &"a".repeat(65)] {
            assert!(text.parse::<CertificateId>().is_err(), "{text:?}");
        }
        for text in [
            "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
            "023e105f4ecef8ad9ca31a8372d0c353",
        ] {
            assert_eq!(text.parse::<CertificateId>().expect(text).as_str(), text);
        }
    }

    #[test]
    fn what_may_follow_a_status_leads_back_to_it() {
        for status in [
            Status::Active,
            Status::Revoked,
            Status::PendingRevocation,
            Status::PendingReactivation,
        ] {
            assert_ne!(status.is_settled(), status.is_pending());
            assert_eq!(Status::from(status.as_str()), status);
            for next in status.may_become() {
                assert!(!next.may_become().is_empty(), "{status} → {next}");
                assert!(
                    !(status.is_settled() && next.is_settled()),
                    "{status} → {next}"
                );
            }
        }
        let unknown = Status::from("archived");
        assert!(!unknown.is_settled() && !unknown.is_pending() && unknown.may_become().is_empty());
        assert_eq!(unknown.to_string(), "archived");
        assert_eq!(Status::from("").to_string(), "unknown");
    }

    #[test]
    fn empty_fields_are_missing_and_nothing_is_lost() {
        let json = json!({
            "id": "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
            "common_name": "sensor", "organization": "", "expires_on": "2033-02-20T23:18:00Z",
            "issued_on": "yesterday", "status": "archived",
        });
        let certificate: ClientCertificate = serde_json::from_value(json.clone()).expect("reads");
        assert_eq!(certificate.common_name(), Some("sensor"));
        assert_eq!(certificate.organization(), None);
        assert_eq!(certificate.country(), None);
        assert_eq!(certificate.issued_on(), None);
        assert_eq!(
            certificate.expires_on().map(|t| t.to_string()).as_deref(),
            Some("2033-02-20T23:18:00Z")
        );
        assert_eq!(certificate.status(), &Status::Unknown("archived".into()));
        assert_eq!(serde_json::to_value(&certificate).expect("writes"), json);
    }

    #[test]
    fn a_record_without_an_id_is_refused() {
        assert!(ClientCertificate::try_from(types::ClientCertificate::default()).is_err());
    }
}
