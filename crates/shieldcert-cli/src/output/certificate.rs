//! A certificate as it is printed.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use shieldcert::{ClientCertificate, Status, ZoneId};

use super::row::{Cell, Column, Row};
use super::time;

/// A certificate as it is printed.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "certificate"))]
pub(crate) struct CertificateRow {
    /// The id, unique in its zone.
    id: String,
    /// The zone that holds it.
    zone_id: String,
    /// `active`, `pending_revocation`, `revoked` or `pending_reactivation`. Others may appear one day.
    status: String,
    /// The subject's common name. Not unique.
    common_name: Option<String>,
    organization: Option<String>,
    organizational_unit: Option<String>,
    locality: Option<String>,
    state: Option<String>,
    country: Option<String>,
    /// The start of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_before: Option<Timestamp>,
    /// The end of the validity, in RFC 3339. `null` if it is not known.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_after: Option<Timestamp>,
    /// Whether it was expired when it was listed, by the service's clock. `null` if its end is not known.
    expired: Option<bool>,
    /// How many days it was requested for.
    validity_days: Option<i64>,
    /// The serial number, in lower-case hex digits.
    serial_number: Option<String>,
    /// The SHA-256 fingerprint, in lower-case hex digits.
    fingerprint_sha256: Option<String>,
    subject_key_identifier: Option<String>,
    certificate_authority_id: Option<String>,
    certificate_authority_name: Option<String>,
    /// The certificate, in PEM.
    certificate: Option<String>,
    /// The CSR that it was issued for, in PEM.
    csr: Option<String>,
}

impl CertificateRow {
    /// `now` is the service's time, if it is known.
    pub(crate) fn new(zone: &ZoneId, certificate: &ClientCertificate, now: Timestamp) -> Self {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let x509 = certificate.x509().ok();
        let not_after = certificate.not_after();
        Self {
            id: certificate.id().to_string(),
            zone_id: zone.to_string(),
            status: certificate.status().to_string(),
            common_name: text(certificate.common_name()),
            organization: text(certificate.organization()),
            organizational_unit: text(certificate.organizational_unit()),
            locality: text(certificate.locality()),
            state: text(certificate.state()),
            country: text(certificate.country()),
            not_before: certificate.not_before(),
            not_after,
            expired: not_after.map(|end| now > end),
            validity_days: certificate.validity_days(),
            serial_number: match &x509 {
                Some(x509) => Some(x509.serial_number()),
                None => text(certificate.serial_number()),
            },
            fingerprint_sha256: match &x509 {
                Some(x509) => Some(x509.fingerprint_sha256()),
                None => text(certificate.fingerprint_sha256()),
            },
            subject_key_identifier: text(certificate.subject_key_identifier()),
            certificate_authority_id: text(certificate.certificate_authority_id()),
            certificate_authority_name: text(certificate.certificate_authority_name()),
            certificate: text(certificate.pem()),
            csr: text(certificate.csr_pem()),
        }
    }
}

impl Row for CertificateRow {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "zone_id",
        "status",
        "common_name",
        "organization",
        "organizational_unit",
        "locality",
        "state",
        "country",
        "not_before",
        "not_after",
        "expired",
        "validity_days",
        "serial_number",
        "fingerprint_sha256",
        "subject_key_identifier",
        "certificate_authority_id",
        "certificate_authority_name",
        "certificate",
        "csr",
    ];
    const LONG_FIELDS: &'static [&'static str] = &["certificate", "csr"];
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shrink(1, 12),
        Column::new("ID").shrink(3, 9),
        Column::new("STATUS"),
        Column::new("EXPIRES"),
        Column::new("LEFT"),
        Column::new("ORGANIZATION").wide().shrink(1, 12),
        Column::new("ISSUED").wide(),
        Column::new("SERIAL").wide().shrink(2, 9),
        Column::new("ZONE").wide().shrink(2, 9),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn cells(&self, now: Timestamp) -> Vec<Cell<'_>> {
        let day = |time: Option<Timestamp>| time.map_or("unknown".to_owned(), time::day);
        let left = match self.not_after {
            Some(end) => time::relative(end, now),
            None => "unknown".to_owned(),
        };
        let left = match self.expired {
            Some(true) => Cell::new(left).style(color(AnsiColor::Red)),
            _ => Cell::new(left),
        };
        let text = |text: &'_ Option<String>| Cell::new(text.clone().unwrap_or_default());
        vec![
            text(&self.common_name),
            Cell::new(&*self.id),
            status_cell(&self.status),
            Cell::new(day(self.not_after)),
            left,
            text(&self.organization),
            Cell::new(day(self.not_before)),
            text(&self.serial_number),
            Cell::new(&*self.zone_id),
        ]
    }
}

/// A status in its color.
pub(crate) fn status_cell(status: &str) -> Cell<'_> {
    let style = match Status::from(status) {
        Status::Active => color(AnsiColor::Green),
        Status::Revoked => color(AnsiColor::Red),
        known if known.is_pending() => color(AnsiColor::Yellow),
        _ => Style::new(),
    };
    Cell::new(Cow::Borrowed(status)).style(style)
}

fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<CertificateRow>("certificate");
    }
}
