//! An entry of a fleet's history as it is printed.

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::Entry;

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// Something that was done, or seen.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "history"))]
pub(crate) struct HistoryRow {
    /// When, in RFC 3339, by the service's clock.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    at: Timestamp,
    /// The device's name.
    device: Option<String>,
    /// The number of its generation.
    generation: Option<u32>,
    /// What was done, such as `issued`.
    act: &'static str,
    /// Why, or what was seen.
    detail: Option<String>,
}

impl From<Entry> for HistoryRow {
    fn from(entry: Entry) -> Self {
        Self {
            at: entry.at,
            device: entry.device.map(String::from),
            generation: entry.generation,
            act: entry.act.as_str(),
            detail: entry.detail,
        }
    }
}

impl Row for HistoryRow {
    const FIELDS: &'static [&'static str] = &["at", "device", "generation", "act", "detail"];
    const COLUMNS: &'static [Column] = &[
        Column::new("AT"),
        Column::new("DEVICE").shrink(2, 12),
        Column::new("GENERATION"),
        Column::new("ACT"),
        Column::new("DETAIL").shrink(1, 12),
    ];

    fn id(&self) -> &str {
        self.device.as_deref().unwrap_or(self.act)
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let at = time::to_seconds(self.at);
        let number = self.generation.map(|number| number.to_string());
        vec![
            Cell::new(at.to_string()),
            Cell::new(self.device.as_deref().unwrap_or_default()),
            Cell::new(number.unwrap_or_default()),
            Cell::new(self.act),
            Cell::new(self.detail.as_deref().unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<HistoryRow>("history");
    }
}
