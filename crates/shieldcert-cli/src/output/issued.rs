//! An issued certificate as it is printed.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use shieldcert::{ClientCertificate, X509Certificate, ZoneId};

use super::certificate::status_cell;
use super::row::{Cell, Column, Row};
use super::time;

/// An issued certificate, and where it is.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "issued"))]
pub(crate) struct IssuedRow {
    /// The id, unique in its zone.
    id: String,
    /// The zone that holds it.
    zone_id: String,
    /// The status, usually `active`.
    status: String,
    /// The subject, as RFC 4514 writes it, in the certificate's order.
    subject: String,
    /// The start of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_before: Option<Timestamp>,
    /// The end of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_after: Option<Timestamp>,
    /// The serial number, in lower-case hex digits.
    serial_number: String,
    /// The SHA-256 fingerprint, in lower-case hex digits.
    fingerprint_sha256: String,
    outcome: Outcome,
    /// The file that was written. `null` if it was standard output.
    file: Option<String>,
    /// The mode of the file, such as `0600`. `null` where files have none.
    file_mode: Option<String>,
}

/// How the certificate came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was issued.
    Issued,
    /// It was issued, but the response was lost; it was found.
    Recovered,
    /// An earlier run had finished. Nothing was issued.
    AlreadyIssued,
}

impl IssuedRow {
    pub(crate) fn new(
        zone: &ZoneId,
        certificate: &ClientCertificate,
        x509: &X509Certificate,
        outcome: Outcome,
        file: Option<&Path>,
    ) -> Self {
        Self {
            id: certificate.id().to_string(),
            zone_id: zone.to_string(),
            status: certificate.status().to_string(),
            subject: x509.subject(),
            not_before: x509.not_before(),
            not_after: x509.not_after(),
            serial_number: x509.serial_number(),
            fingerprint_sha256: x509.fingerprint_sha256(),
            outcome,
            file: file.map(|file| file.display().to_string()),
            file_mode: file.and_then(mode),
        }
    }
}

#[cfg(unix)]
fn mode(file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().ok()?.permissions().mode();
    Some(format!("{:04o}", mode & 0o7777))
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<String> {
    None
}

impl Row for IssuedRow {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "zone_id",
        "status",
        "subject",
        "not_before",
        "not_after",
        "serial_number",
        "fingerprint_sha256",
        "outcome",
        "file",
        "file_mode",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("SUBJECT").shrink(1, 12),
        Column::new("ID").shrink(2, 9),
        Column::new("STATUS"),
        Column::new("EXPIRES"),
        Column::new("FILE"),
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        vec![
            Cell::new(&*self.subject),
            Cell::new(&*self.id),
            status_cell(&self.status),
            Cell::new(self.not_after.map_or("unknown".to_owned(), time::day)),
            Cell::new(self.file.clone().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<IssuedRow>("issued");
    }
}
