//! A client certificate as the service describes it, and its vocabulary: ids, statuses and filters.

pub(crate) mod envelope;
pub(crate) mod filter;
pub(crate) mod id;
pub(crate) mod status;
mod time;
pub(crate) mod unreadable;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shieldcert_api::types;

use self::id::CertificateId;
use self::status::Status;
use crate::error::input::InvalidInput;
use crate::pki::x509::X509Certificate;

/// A client certificate as the service describes it.
///
/// Any field can be missing, and empty fields count as missing; only the id is always there. `Serialize` and
/// [`to_json`](Self::to_json) give the whole record, members that this crate does not know included.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    id: CertificateId,
    status: Status,
    record: types::ClientCertificate,
}

impl ClientCertificate {
    /// Reads a record of the API. Fails only if it has no usable id.
    pub(crate) fn from_record(record: types::ClientCertificate) -> Result<Self, InvalidInput> {
        let id = record.id.as_deref().map_or("", String::as_str).parse()?;
        let status = Status::from(record.status.as_deref().unwrap_or_default());
        Ok(Self { id, status, record })
    }

    /// Returns the certificate's id.
    pub fn id(&self) -> &CertificateId {
        &self.id
    }

    /// Returns the status that the certificate had when the service responded.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Returns the certificate in PEM.
    pub fn pem(&self) -> Option<&str> {
        non_empty(&self.record.certificate)
    }

    /// Parses the certificate itself. If the record holds its chain too, in any order, that is left out.
    ///
    /// # Errors
    /// Returns an error if the record holds no certificate or a damaged one.
    pub fn x509(&self) -> Result<X509Certificate, InvalidInput> {
        let pem = self.pem().ok_or_else(|| {
            InvalidInput::new(
                "certificate",
                format!("the record of {} has no PEM; get it again", self.id),
            )
        })?;
        X509Certificate::leaf_from_pem(pem)
    }

    /// Returns the CSR that the certificate was issued for, in PEM.
    ///
    /// The service changes line ends, so compare CSRs by their DER.
    pub fn csr_pem(&self) -> Option<&str> {
        let csr = self.record.csr.as_deref().map(String::as_str);
        csr.filter(|csr| !csr.is_empty())
    }

    /// Returns the subject's common name. It is not unique.
    pub fn common_name(&self) -> Option<&str> {
        non_empty(&self.record.common_name)
    }

    /// Returns the subject's organization.
    pub fn organization(&self) -> Option<&str> {
        non_empty(&self.record.organization)
    }

    /// Returns the subject's organizational unit.
    pub fn organizational_unit(&self) -> Option<&str> {
        non_empty(&self.record.organizational_unit)
    }

    /// Returns the subject's country, two letters.
    pub fn country(&self) -> Option<&str> {
        non_empty(&self.record.country)
    }

    /// Returns the subject's state or province.
    pub fn state(&self) -> Option<&str> {
        non_empty(&self.record.state)
    }

    /// Returns the subject's locality, which the API calls `location`.
    pub fn locality(&self) -> Option<&str> {
        non_empty(&self.record.location)
    }

    /// Returns the start of the validity: the record's `issued_on`, or the certificate's own `notBefore` if that is
    /// missing or not a time.
    ///
    /// The CA may backdate it by minutes, so it can precede the request.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.issued_on().or_else(|| self.x509().ok()?.not_before())
    }

    /// Returns the end of the validity: the record's `expires_on`, or the certificate's own `notAfter` if that is
    /// missing or not a time.
    pub fn not_after(&self) -> Option<Timestamp> {
        let stated = non_empty(&self.record.expires_on).and_then(time::parse);
        stated.or_else(|| self.x509().ok()?.not_after())
    }

    /// Whether the certificate is expired at this time; `None` if its end is unknown.
    ///
    /// Take the time from [`Client::service_time`](crate::Client::service_time) rather than from the local clock.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: shieldcert::Client, certificate: shieldcert::ClientCertificate) {
    /// if let Some(now) = client.service_time() {
    ///     println!("expired: {:?}", certificate.is_expired_at(now));
    /// }
    /// # }
    /// ```
    pub fn is_expired_at(&self, time: Timestamp) -> Option<bool> {
        Some(time > self.not_after()?)
    }

    /// Whether the certificate expires within this duration after `at`, or is expired at `at`; `None` if its end is
    /// unknown.
    pub fn expires_within(&self, duration: Duration, at: Timestamp) -> Option<bool> {
        let end = self.not_after()?;
        // A duration that reaches beyond the largest timestamp reaches beyond every certificate.
        Some(at.checked_add(duration).map_or(true, |until| end <= until))
    }

    /// Returns the number of days that the certificate was requested for.
    pub fn validity_days(&self) -> Option<i64> {
        self.record.validity_days.as_ref().map(|days| days.0)
    }

    /// Returns the SHA-256 fingerprint of the certificate's DER, in hex as the service writes it.
    pub fn fingerprint_sha256(&self) -> Option<&str> {
        non_empty(&self.record.fingerprint_sha256)
    }

    /// Returns the serial number as the service writes it: in hex digits, or as a decimal number.
    pub fn serial_number(&self) -> Option<&str> {
        non_empty(&self.record.serial_number)
    }

    /// Whether `text` is the serial number, in any notation; see [`X509Certificate::has_serial_number`]. `None` if the
    /// record does not show it: it holds no readable certificate, and states another text.
    pub fn has_serial_number(&self, text: &str) -> Option<bool> {
        match self.x509() {
            Ok(x509) => Some(x509.has_serial_number(text)),
            Err(_) => is_stated(self.serial_number(), text),
        }
    }

    /// Whether `text` is the SHA-256 fingerprint, in any notation; see [`X509Certificate::has_fingerprint_sha256`].
    /// `None` if the record does not show it: it holds no readable certificate, and states another text.
    pub fn has_fingerprint_sha256(&self, text: &str) -> Option<bool> {
        match self.x509() {
            Ok(x509) => Some(x509.has_fingerprint_sha256(text)),
            Err(_) => is_stated(self.fingerprint_sha256(), text),
        }
    }

    /// Returns the subject key identifier, in hex.
    pub fn subject_key_identifier(&self) -> Option<&str> {
        non_empty(&self.record.ski)
    }

    /// Returns the algorithm of the CA's signature, such as `ECDSAWithSHA256`.
    pub fn signature(&self) -> Option<&str> {
        non_empty(&self.record.signature)
    }

    /// Returns the id of the CA that signed the certificate.
    pub fn certificate_authority_id(&self) -> Option<&str> {
        non_empty(&self.record.certificate_authority.as_ref()?.id)
    }

    /// Returns the name of the CA that signed the certificate.
    pub fn certificate_authority_name(&self) -> Option<&str> {
        non_empty(&self.record.certificate_authority.as_ref()?.name)
    }

    /// Returns the record as the service sent it, members that this crate does not know included.
    ///
    /// A known member of an unexpected scalar type is converted to its documented type where that loses nothing.
    pub fn to_json(&self) -> serde_json::Value {
        // Never fails: a record has only strings as keys.
        serde_json::to_value(&self.record).unwrap_or_default()
    }

    /// When the CA issued the certificate, as the record says it.
    pub(crate) fn issued_on(&self) -> Option<Timestamp> {
        time::parse(non_empty(&self.record.issued_on)?)
    }
}

/// Whether a text is what the record states. Another text may be the same number, written differently.
fn is_stated(stated: Option<&str>, text: &str) -> Option<bool> {
    stated?.eq_ignore_ascii_case(text.trim()).then_some(true)
}

/// The service sends an empty string for what it does not know.
fn non_empty(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

impl Serialize for ClientCertificate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientCertificate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = types::ClientCertificate::deserialize(deserializer)?;
        Self::from_record(record).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PEM: &str = include_str!("../../tests/data/openssl-p256.cert.pem");

    fn certificate(members: Value) -> ClientCertificate {
        let mut record = json!({ "id": "7bf7f70c-7600-42e1-81c4-e4c0da9aa515" });
        json_merge(&mut record, members);
        serde_json::from_value(record).expect("a record")
    }

    fn json_merge(record: &mut Value, members: Value) {
        if let (Value::Object(record), Value::Object(members)) = (record, members) {
            record.extend(members);
        }
    }

    #[test]
    fn empty_fields_are_missing_and_nothing_is_lost() {
        let json = json!({
            "id": "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
            "common_name": "sensor", "organization": "", "expires_on": "2033-02-20T23:18:00Z",
            "issued_on": "yesterday", "status": "archived",
            "brand_new": { "member": [1] },
            "certificate_authority": { "id": "ca", "brand_new": true },
        });
        let certificate: ClientCertificate = serde_json::from_value(json.clone()).expect("reads");
        assert_eq!(certificate.common_name(), Some("sensor"));
        assert_eq!(certificate.organization(), None);
        assert_eq!(certificate.country(), None);
        assert_eq!(certificate.not_before(), None);
        assert_eq!(
            certificate
                .not_after()
                .map(|time| time.to_string())
                .as_deref(),
            Some("2033-02-20T23:18:00Z")
        );
        assert_eq!(certificate.status(), &Status::Unknown("archived".into()));
        assert_eq!(certificate.to_json(), json);
    }

    #[test]
    fn a_record_without_an_id_is_refused() {
        assert!(ClientCertificate::from_record(types::ClientCertificate::default()).is_err());
    }

    #[test]
    fn the_certificate_itself_says_what_the_record_does_not() {
        let own = certificate(json!({ "certificate": PEM }));
        // From `openssl x509 -dates`.
        let (start, end) = ("2026-11-24T08:23:27Z", "2126-10-31T08:23:27Z");
        assert_eq!(
            own.not_before().map(|time| time.to_string()).as_deref(),
            Some(start)
        );
        assert_eq!(
            own.not_after().map(|time| time.to_string()).as_deref(),
            Some(end)
        );
        let odd = certificate(json!({ "certificate": PEM, "expires_on": "soon" }));
        assert_eq!(odd.not_after(), own.not_after());
        let stated =
            certificate(json!({ "certificate": PEM, "expires_on": "2033-02-20T23:18:00Z" }));
        assert_ne!(stated.not_after(), own.not_after());
    }

    #[test]
    fn expiry_is_judged_at_a_given_time() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let end = "2033-02-20T23:18:00Z";
        let known = certificate(json!({ "expires_on": end }));
        assert_eq!(known.is_expired_at(time(end)), Some(false));
        assert_eq!(
            known.is_expired_at(time("2033-02-20T23:18:01Z")),
            Some(true)
        );
        let day = Duration::from_secs(86_400);
        assert_eq!(
            known.expires_within(day, time("2033-02-19T23:18:00Z")),
            Some(true)
        );
        assert_eq!(
            known.expires_within(day, time("2033-02-19T23:17:59Z")),
            Some(false)
        );
        assert_eq!(
            known.expires_within(day, time("2040-01-01T00:00:00Z")),
            Some(true)
        );
        assert_eq!(known.expires_within(Duration::MAX, time(end)), Some(true));
        let unknown = certificate(json!({}));
        assert_eq!(unknown.is_expired_at(time(end)), None);
        assert_eq!(unknown.expires_within(day, time(end)), None);
    }

    #[test]
    fn numbers_are_those_of_the_certificate_and_unknown_without_it() {
        let whole = certificate(json!({ "certificate": PEM, "serial_number": "wrong" }));
        let x509 = whole.x509().expect("a certificate");
        let (serial, print) = (x509.serial_number(), x509.fingerprint_sha256());
        assert_eq!(whole.has_serial_number(&format!("0x{serial}")), Some(true));
        assert_eq!(whole.has_serial_number("wrong"), Some(false));
        assert_eq!(whole.has_fingerprint_sha256(&print), Some(true));
        assert_eq!(whole.has_fingerprint_sha256(&serial), Some(false));
        let stated = certificate(json!({ "serial_number": "1B58", "fingerprint_sha256": "AB" }));
        assert_eq!(stated.has_serial_number("1b58"), Some(true));
        assert_eq!(stated.has_serial_number("7000"), None);
        assert_eq!(stated.has_fingerprint_sha256("ab"), Some(true));
        assert_eq!(certificate(json!({})).has_serial_number("1b58"), None);
    }
}
