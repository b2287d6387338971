//! A device that was selected, as it is printed.

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::Snapshot;

use crate::output::row::{Cell, Column, Row};

/// A device that a command was about to act on.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "device"))]
pub(crate) struct DeviceRow {
    /// The device's name.
    device: String,
    /// Its labels in the manifest.
    labels: Vec<String>,
    /// The ids of its certificates that may be active.
    certificates: Vec<String>,
    /// Whether the manifest has it.
    managed: bool,
}

impl From<&Snapshot> for DeviceRow {
    fn from(snapshot: &Snapshot) -> Self {
        let active = snapshot
            .generations
            .iter()
            .filter(|generation| generation.may_be_active());
        let ids = active.filter_map(|generation| generation.certificate.as_ref());
        Self {
            device: snapshot.name.to_string(),
            labels: (snapshot.device.as_ref())
                .map(|device| device.labels.clone())
                .unwrap_or_default(),
            certificates: ids.map(ToString::to_string).collect(),
            managed: snapshot.device.is_some(),
        }
    }
}

impl Row for DeviceRow {
    const FIELDS: &'static [&'static str] = &["device", "labels", "certificates", "managed"];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("LABELS").shrink(2, 8),
        Column::new("CERTIFICATES").shrink(3, 9),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        vec![
            Cell::new(&*self.device),
            Cell::new(self.labels.join(" ")),
            Cell::new(self.certificates.join(" ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<DeviceRow>("device");
    }
}
