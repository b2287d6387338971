//! A certificate that was to be taken over, as it is printed.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::{AdoptOutcome, Adopted};

use super::word;
use crate::output::row::{Cell, Column, Row};

/// A certificate that was to be taken over.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "adopted"))]
pub(crate) struct AdoptedRow {
    /// The device's name.
    device: String,
    /// What came of it: `managed`, `watched` (its key is not here), `known` (the journal had it), `not-found`, `revoked` or
    /// `ambiguous`.
    outcome: String,
    /// The ids of the certificates that were found. Of several, none was taken.
    certificates: Vec<String>,
    /// Whether the manifest has a row for the device.
    in_manifest: bool,
}

impl AdoptedRow {
    pub(crate) fn new(adopted: &Adopted, in_manifest: bool) -> Self {
        Self {
            device: adopted.device.to_string(),
            outcome: word(&adopted.outcome),
            certificates: adopted
                .certificates
                .iter()
                .map(ToString::to_string)
                .collect(),
            in_manifest,
        }
    }
}

/// Whether the fleet has the certificate now.
pub(crate) fn is_taken(outcome: AdoptOutcome) -> bool {
    matches!(
        outcome,
        AdoptOutcome::Managed | AdoptOutcome::Watched | AdoptOutcome::Known
    )
}

impl Row for AdoptedRow {
    const FIELDS: &'static [&'static str] = &["device", "outcome", "certificates", "in_manifest"];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("OUTCOME"),
        Column::new("CERTIFICATES").shrink(2, 9),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let color = match self.outcome.as_str() {
            "managed" | "known" => AnsiColor::Green,
            "watched" => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        vec![
            Cell::new(&*self.device),
            Cell::new(&*self.outcome).style(Style::new().fg_color(Some(color.into()))),
            Cell::new(self.certificates.join(" ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<AdoptedRow>("adopted");
    }
}
