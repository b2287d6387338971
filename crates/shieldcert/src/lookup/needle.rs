//! What a look-up seeks, and what a record proves about it.
//!
//! A record is the certificate sought if its CSR is, byte for byte in DER. A record without a readable CSR is compared by
//! the public key of its certificate. Everything else needs a proof, because a wrong conclusion issues twice or returns
//! a foreign certificate:
//!
//! | what the record shows | conclusion |
//! | --- | --- |
//! | it was known before the request | another one |
//! | another CSR; or no readable CSR and another public key | another one |
//! | every time that it states is more than an hour before the request | another one |
//! | the CSR, and the validity that was asked for | it is the one |
//! | the CSR or the key, which was made for the request, whatever the validity | it is the one |
//! | no readable CSR, but the key and the common name, made after the request, and the validity | it is the one |
//! | the CSR or the key otherwise | unclear: it may be the one |
//! | neither a CSR nor a certificate that can be read | incomparable |
//!
//! The hour is an allowance for CAs that backdate: a certificate's times may precede the request. So they prove "after"
//! as they stand, and "before" only beyond the allowance. Times are compared with the service's `Date` only. A
//! record from the future shows that it is not the CA's clock, and then nothing is "after". Assumed: it is less than the
//! allowance ahead of the CA's clock.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::unclear::UnclearRecord;
use crate::certificate::ClientCertificate;
use crate::list::dedup::key;
use crate::list::unreadable::Keys;
use crate::pki::csr::Csr;
use crate::pki::x509::X509Certificate;
use crate::transport::clock::ServiceClock;

/// How far a CA may backdate a certificate.
const BACKDATING: SignedDuration = SignedDuration::from_hours(1);

/// How far a granted validity may be from the one that was asked for, by rounding.
const ROUNDING: SignedDuration = SignedDuration::from_hours(24);

/// The certificate of one request.
pub(crate) struct Needle {
    pub(crate) csr: Csr,
    pub(crate) validity_days: u32,
    pub(crate) sent: FirstSend,
    pub(crate) clock: Arc<ServiceClock>,
    /// The key was made for this request, so no other certificate has it.
    pub(crate) key_is_new: bool,
    /// Certificates that were known before the request, or that a person has found to be others: the keys of their ids,
    /// which are the same in every notation.
    pub(crate) known: HashSet<u128>,
    /// The records without an id of a list that ended before the request was sent.
    pub(crate) unreadable: Arc<Keys>,
}

/// When the request was sent first.
pub(crate) enum FirstSend {
    /// By this process, at this instant. What that is in the service's time may be known only after a look-up has
    /// begun, so it is asked each time.
    At(Instant),
    /// By another process, after and before these times of the service.
    Between(Option<Timestamp>, Option<Timestamp>),
}

/// What a record is to a needle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Provably another certificate.
    Other,
    /// The one that is sought.
    Match,
    /// It matches in part. No other match counts beside it.
    Unclear(String),
    /// It can't be compared, so the one that is sought can't be shown to be absent.
    Incomparable,
}

/// What identifies the request of a record.
pub(crate) enum Origin {
    /// The CSR in DER.
    Csr(Vec<u8>),
    /// The record's certificate, and perhaps its chain.
    Certificates(Vec<X509Certificate>),
    Unreadable,
}

impl Origin {
    pub(crate) fn of(record: &ClientCertificate) -> Self {
        if let Some(der) = record.csr_pem().and_then(Csr::read_der) {
            return Self::Csr(der);
        }
        let certificates = record.pem().map(X509Certificate::all_from_pem);
        match certificates {
            Some(Ok(certificates)) if !certificates.is_empty() => Self::Certificates(certificates),
            _ => Self::Unreadable,
        }
    }

    /// Returns the CSR in DER.
    pub(crate) fn csr(&self) -> Option<&[u8]> {
        match self {
            Self::Csr(der) => Some(der),
            _ => None,
        }
    }

    /// Returns the public keys of the certificates, where there is no CSR that can be read.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let certificates = match self {
            Self::Certificates(certificates) => certificates.as_slice(),
            _ => &[],
        };
        certificates.iter().map(X509Certificate::public_key)
    }
}

impl Needle {
    /// The time from which the certificate may have been issued, by its own account. `None`: nothing is provably
    /// earlier.
    pub(crate) fn issued_from(&self) -> Option<Timestamp> {
        let sent_after = match &self.sent {
            FirstSend::At(instant) => self.clock.earliest_at(*instant),
            FirstSend::Between(after, _) => *after,
        };
        sent_after?.checked_sub(BACKDATING).ok()
    }

    /// The time at which the request had been sent, by the clock of the CA. `None`: nothing is provably later.
    fn sent_by(&self) -> Option<Timestamp> {
        if self.clock.is_behind() {
            return None;
        }
        match &self.sent {
            FirstSend::At(instant) => self.clock.latest_at(*instant),
            FirstSend::Between(_, before) => *before,
        }
    }

    /// Judges a record whose origin was read.
    pub(crate) fn judge(&self, record: &ClientCertificate, origin: &Origin) -> Verdict {
        let is_csr = match origin {
            Origin::Csr(der) if der == self.csr.der() => true,
            Origin::Csr(_) => return Verdict::Other,
            Origin::Certificates(_) if origin.keys().any(|key| key == self.csr.public_key()) => {
                false
            }
            Origin::Certificates(_) => return Verdict::Other,
            Origin::Unreadable if self.is_known_or_earlier(record) => return Verdict::Other,
            Origin::Unreadable => return Verdict::Incomparable,
        };
        if self.is_known_or_earlier(record) {
            return Verdict::Other;
        }
        if is_csr && has_other_key(record, &self.csr) {
            return Verdict::Unclear(
                "it has the CSR, but its certificate has another key".to_owned(),
            );
        }
        if !is_csr && !self.key_is_new && !self.is_after(record) {
            return Verdict::Unclear(
                "it has the key of the CSR but no readable CSR, and may be from before the request"
                    .to_owned(),
            );
        }
        if !is_csr && !self.key_is_new && self.has_other_name(record) {
            return Verdict::Unclear(
                "it has the key of the CSR but no readable CSR, and another common name".to_owned(),
            );
        }
        let certificate = certificate_with_key(record, self.csr.public_key());
        match validity(record, certificate.as_ref()) {
            Some(validity) if validity.cmp_days(self.validity_days).is_eq() => Verdict::Match,
            // No other request can have led to it. That it is not what was asked for is said where it is returned.
            Some(_) if self.key_is_new => Verdict::Match,
            Some(validity) => Verdict::Unclear(format!(
                "it is valid for {} days, and {} were asked for",
                validity.days(),
                self.validity_days
            )),
            None => Verdict::Unclear("it does not say how long it is valid".to_owned()),
        }
    }

    /// Whether the record has another common name than the CSR. A key may be used for several.
    fn has_other_name(&self, record: &ClientCertificate) -> bool {
        let (found, sought) = (record.common_name(), self.csr.common_name());
        found.is_some() && sought.is_some() && found != sought
    }

    fn is_known_or_earlier(&self, record: &ClientCertificate) -> bool {
        self.known.contains(&key(record.id()))
            || self.issued_from().is_some_and(|from| {
                let mut times = self.times(record).peekable();
                times.peek().is_some() && times.all(|time| time < from)
            })
    }

    /// Whether the certificate was certainly made after the request was sent.
    pub(crate) fn is_after(&self, record: &ClientCertificate) -> bool {
        self.sent_by().is_some_and(|by| {
            let mut times = self.times(record).peekable();
            times.peek().is_some() && times.all(|time| time >= by)
        })
    }

    /// The times at which the record says that the certificate was made: its own, and the certificate's.
    fn times(&self, record: &ClientCertificate) -> impl Iterator<Item = Timestamp> + use<> {
        let certificate = certificate_with_key(record, self.csr.public_key());
        let own = certificate.and_then(|certificate| certificate.not_before());
        record.issued_on().into_iter().chain(own)
    }
}

/// Whether a record with this CSR holds certificates, none of which can have been issued for it.
pub(crate) fn has_other_key(record: &ClientCertificate, csr: &Csr) -> bool {
    let certificates = record.pem().map(X509Certificate::all_from_pem);
    certificates
        .and_then(Result::ok)
        .is_some_and(|certificates| {
            let mut keys = certificates.iter().map(X509Certificate::public_key);
            !certificates.is_empty() && keys.all(|key| key != csr.public_key())
        })
}

/// Returns the certificate of a record that has this public key. The record may hold its chain too, in any order.
pub(crate) fn certificate_with_key(
    record: &ClientCertificate,
    public_key: &[u8],
) -> Option<X509Certificate> {
    let certificates = X509Certificate::all_from_pem(record.pem()?).ok()?;
    let mut certificates = certificates.into_iter();
    certificates.find(|certificate| certificate.public_key() == public_key)
}

/// How long a certificate is valid: by itself, or by its record if it can't be read.
pub(crate) fn validity(
    record: &ClientCertificate,
    certificate: Option<&X509Certificate>,
) -> Option<Validity> {
    let (from, to) = match certificate {
        Some(certificate) => (certificate.not_before()?, certificate.not_after()?),
        None => (record.not_before()?, record.not_after()?),
    };
    Some(Validity(to.duration_since(from)))
}

/// How long a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) struct Validity(SignedDuration);

impl Validity {
    /// Compares it with what was asked for. A day more or less is rounding.
    pub(crate) fn cmp_days(self, days: u32) -> Ordering {
        let excess = self.0 - SignedDuration::from_hours(24 * i64::from(days));
        if excess.abs() <= ROUNDING {
            Ordering::Equal
        } else {
            excess.cmp(&SignedDuration::ZERO)
        }
    }

    /// Returns it in days, rounded to the nearest.
    pub(crate) fn days(self) -> i64 {
        (self.0.as_hours() + 12).div_euclid(24)
    }
}

/// What a look-up has found for a needle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Oldest first.
    pub(crate) matches: Vec<ClientCertificate>,
    /// Records that match in part. No match counts beside them.
    pub(crate) unclear: Vec<UnclearRecord>,
    /// Records that can't be compared.
    pub(crate) incomparable: Vec<UnclearRecord>,
    /// Why not everything was read. `None` if it was.
    pub(crate) unread: Option<Unread>,
}

/// Why a look-up has not read everything.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) problem: String,
    /// Whether another look-up may.
    pub(crate) can_retry: bool,
}

impl Unread {
    /// Nothing but another request of the caller changes this.
    pub(crate) fn for_good(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            can_retry: false,
        }
    }
}

/// What a look-up concludes.
#[derive(Clone, Debug)]
pub(crate) enum Conclusion {
    /// The matches, oldest first. Never empty.
    Found(Vec<ClientCertificate>),
    /// There was none when the look-up began.
    Absent,
    /// Nothing can be concluded, because of these records, and of what was not read.
    Unknown(Vec<UnclearRecord>, Option<Unread>),
}

impl Findings {
    pub(crate) fn conclude(self) -> Conclusion {
        let is_clear = self.unclear.is_empty();
        match self.matches.is_empty() {
            false if is_clear => Conclusion::Found(self.matches),
            true if is_clear && self.incomparable.is_empty() && self.unread.is_none() => {
                Conclusion::Absent
            }
            _ => {
                let records = self.unclear.into_iter().chain(self.incomparable);
                Conclusion::Unknown(records.collect(), self.unread)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CSR: &str = include_str!("../../tests/data/openssl-p256.csr.pem");
    const OTHER_CSR: &str = include_str!("../../tests/data/openssl-rsa2048.csr.pem");
    /// With the key of the CSR, from 2026-11-24T08:23:27Z on, for 36,500 days.
    const CERTIFICATE: &str = include_str!("../../tests/data/openssl-p256.cert.pem");

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn needle(validity_days: u32, sent_after: &str, sent_by: &str) -> Needle {
        Needle {
            csr: Csr::from_pem(CSR).expect("a CSR"),
            validity_days,
            sent: FirstSend::Between(Some(time(sent_after)), Some(time(sent_by))),
            clock: Arc::default(),
            key_is_new: false,
            known: HashSet::new(),
            unreadable: Arc::default(),
        }
    }

    fn record(mut members: Value) -> ClientCertificate {
        members["id"] = "7bf7".into();
        serde_json::from_value(members).expect("a record")
    }

    fn judge(needle: &Needle, members: Value) -> &'static str {
        let record = record(members);
        match needle.judge(&record, &Origin::of(&record)) {
            Verdict::Other => "other",
            Verdict::Match => "match",
            Verdict::Unclear(_) => "unclear",
            Verdict::Incomparable => "incomparable",
        }
    }

    #[test]
    fn a_record_with_the_csr_is_the_one_unless_it_is_earlier_or_of_another_validity() {
        let needle = needle(365, "2026-11-25T15:00:00Z", "2026-11-25T15:00:30Z");
        for (csr, issued, expires, expected) in [
            (CSR, "2026-11-25T15:00:10Z", "2027-11-25T15:00:10Z", "match"),
            // The allowance for backdating is an hour, to the second.
            (CSR, "2026-11-25T14:00:00Z", "2027-11-25T14:00:00Z", "match"),
            (CSR, "2026-11-25T13:59:59Z", "2027-11-25T13:59:59Z", "other"),
            // So is that for rounding a day.
            (CSR, "2026-11-25T15:00:00Z", "2027-11-26T15:00:00Z", "match"),
            (CSR, "2026-11-25T15:00:00Z", "2027-11-24T15:00:00Z", "match"),
            (
                CSR,
                "2026-11-25T15:00:00Z",
                "2027-11-26T15:00:01Z",
                "unclear",
            ),
            (
                CSR,
                "2026-11-25T15:00:00Z",
                "2027-11-24T14:59:59Z",
                "unclear",
            ),
            (CSR, "", "2027-11-25T15:00:00Z", "unclear"),
            (
                OTHER_CSR,
                "2026-11-25T15:00:10Z",
                "2027-11-25T15:00:10Z",
                "other",
            ),
            (
                "",
                "2026-11-25T14:00:00Z",
                "2027-11-25T14:00:00Z",
                "incomparable",
            ),
            ("", "2026-11-25T13:59:59Z", "2027-11-25T13:59:59Z", "other"),
            ("", "", "", "incomparable"),
        ] {
            let record = json!({ "csr": csr, "issued_on": issued, "expires_on": expires });
            assert_eq!(judge(&needle, record.clone()), expected, "{record}");
        }
        for unreadable in ["soon", CSR, &CERTIFICATE.replace("MII", "SOON")] {
            let record = json!({ "certificate": unreadable });
            assert_eq!(judge(&needle, record), "incomparable", "{unreadable}");
        }
        // A CSR beside the certificate of another key was put there by mistake.
        let other = Needle {
            csr: Csr::from_pem(OTHER_CSR).expect("a CSR"),
            ..super::tests::needle(365, "2026-11-25T15:00:00Z", "2026-11-25T15:00:30Z")
        };
        let mixed_up = json!({
            "csr": OTHER_CSR,
            "certificate": CERTIFICATE,
            "issued_on": "2026-11-25T15:00:10Z",
            "expires_on": "2027-11-25T15:00:10Z",
        });
        assert_eq!(judge(&other, mixed_up), "unclear");
        let known = Needle {
            known: HashSet::from([key(&"7bf7".parse().expect("an id"))]),
            ..needle
        };
        assert_eq!(judge(&known, json!({ "csr": CSR })), "other");
        assert_eq!(judge(&known, json!({})), "other");
    }

    #[test]
    fn a_record_with_the_key_alone_is_the_one_only_if_it_was_made_later() {
        let own = "2026-11-24T08:23:27Z";
        let second_later = "2026-11-24T08:23:28Z";
        let hour_later = "2026-11-24T09:23:27Z";
        let two_hours_later = "2026-11-24T10:23:27Z";
        for (sent_after, sent_by, issued_on, expected) in [
            (own, own, None, "match"),
            (own, own, Some(own), "match"),
            (own, second_later, None, "unclear"),
            // Every time that the record states has to be later, or earlier.
            (own, second_later, Some(hour_later), "unclear"),
            (hour_later, hour_later, None, "unclear"),
            (two_hours_later, two_hours_later, None, "other"),
            (two_hours_later, two_hours_later, Some(own), "other"),
            (
                two_hours_later,
                two_hours_later,
                Some(hour_later),
                "unclear",
            ),
        ] {
            let mut needle = needle(36_500, sent_after, sent_by);
            let record = json!({ "certificate": CERTIFICATE, "issued_on": issued_on });
            assert_eq!(
                judge(&needle, record.clone()),
                expected,
                "{sent_after} {sent_by} {issued_on:?}"
            );
            // A key that was made for the request needs no later time.
            needle.key_is_new = true;
            let expected = expected.replace("unclear", "match");
            assert_eq!(judge(&needle, record.clone()), expected, "{sent_after}");
            // No other request has led to it, so it is the one, though not what was asked for.
            needle.validity_days = 365;
            assert_eq!(judge(&needle, record.clone()), expected, "{sent_after}");
            needle.key_is_new = false;
            let expected = expected.replace("match", "unclear");
            assert_eq!(judge(&needle, record), expected, "{sent_after}");
        }
    }

    #[test]
    fn a_record_with_the_key_alone_and_another_name_is_not_the_one() {
        let own = "2026-11-24T08:23:27Z";
        let mut needle = needle(36_500, own, own);
        let name = needle.csr.common_name().expect("a name").to_owned();
        let named = |name: &str| json!({ "certificate": CERTIFICATE, "common_name": name });
        assert_eq!(judge(&needle, named(&name)), "match");
        assert_eq!(judge(&needle, named("another")), "unclear");
        let with_csr = json!({ "csr": CSR, "certificate": CERTIFICATE, "common_name": "another" });
        assert_eq!(judge(&needle, with_csr), "match");
        needle.key_is_new = true;
        assert_eq!(judge(&needle, named("another")), "match");
    }

    #[test]
    fn without_the_services_time_nothing_is_earlier_or_later() {
        let mut needle = needle(36_500, "2040-01-01T00:00:00Z", "2000-01-01T00:00:00Z");
        needle.sent = FirstSend::Between(None, None);
        let with_key = json!({ "certificate": CERTIFICATE });
        assert_eq!(judge(&needle, with_key.clone()), "unclear");
        assert!(!needle.is_after(&record(with_key)));
        let with_csr = json!({ "csr": CSR, "certificate": CERTIFICATE });
        assert_eq!(judge(&needle, with_csr), "match");
    }

    #[test]
    fn a_validity_is_given_in_days_rounded_to_the_nearest() {
        for (hours, expected) in [(24, 1), (35, 1), (36, 2), (60, 3), (-13, -1), (8760, 365)] {
            let validity = Validity(SignedDuration::from_hours(hours));
            assert_eq!(validity.days(), expected, "{hours} h");
        }
    }
}
