//! A file that was to be renewed, as it is printed.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// A file that was to be renewed.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "renewed"))]
pub(crate) struct RenewedRow {
    /// The file, as it was named.
    pub(crate) file: String,
    /// The common name of the certificate. `null` if it could not be read.
    pub(crate) common_name: Option<String>,
    pub(crate) outcome: RenewOutcome,
    /// What went wrong.
    pub(crate) problem: Option<String>,
    /// The id of the certificate that is in the file now, where it is known.
    pub(crate) certificate: Option<String>,
    /// The id of the certificate that it has replaced, or was to replace.
    pub(crate) old_certificate: Option<String>,
    /// When the certificate in the file expires, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub(crate) expires: Option<Timestamp>,
    /// When the old certificate is to be revoked, by a run after that, in RFC 3339. `null`: it is not, or is revoked.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub(crate) revoke_old_at: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum RenewOutcome {
    /// The file has a new key and certificate.
    Renewed,
    /// It is not due, and the file is as it was.
    NotDue,
    /// It failed. The old certificate is still active.
    Failed,
    /// It would be renewed, without `--dry-run`.
    WouldRenew,
}

impl RenewOutcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::NotDue => "not due",
            Self::Failed => "failed",
            Self::WouldRenew => "would renew",
        }
    }
}

impl Row for RenewedRow {
    const FIELDS: &'static [&'static str] = &[
        "file",
        "common_name",
        "outcome",
        "problem",
        "certificate",
        "old_certificate",
        "expires",
        "revoke_old_at",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("FILE").shrink(2, 12),
        Column::new("NAME").shrink(1, 8),
        Column::new("OUTCOME"),
        Column::new("EXPIRES"),
        Column::new("LEFT"),
        Column::new("CERTIFICATE").wide(),
        Column::new("OLD CERTIFICATE").wide(),
        Column::new("REVOKED AT").wide(),
    ];

    fn id(&self) -> &str {
        &self.file
    }

    fn cells(&self, now: Timestamp) -> Vec<Cell<'_>> {
        let color = match self.outcome {
            RenewOutcome::Renewed | RenewOutcome::WouldRenew => Some(AnsiColor::Green),
            RenewOutcome::NotDue => None,
            RenewOutcome::Failed => Some(AnsiColor::Red),
        };
        let style = Style::new().fg_color(color.map(Into::into));
        let text = |text: &Option<String>| Cell::new(text.clone().unwrap_or_default());
        let left = self.expires.map(|end| time::relative(end, now));
        vec![
            Cell::new(&*self.file),
            text(&self.common_name),
            Cell::new(self.outcome.as_str()).style(style),
            Cell::new(self.expires.map(time::day).unwrap_or_default()),
            Cell::new(left.unwrap_or_default()),
            text(&self.certificate),
            text(&self.old_certificate),
            Cell::new(
                self.revoke_old_at
                    .map(|at| at.to_string())
                    .unwrap_or_default(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<RenewedRow>("renewed");
    }
}
