//! A device that failed or waits, as it is written to `failed.csv`.

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::Held;

use crate::output::row::{Cell, Column, Row};

/// A device that failed, or waits for something.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "failed"))]
pub(crate) struct FailedRow {
    /// The device's name.
    name: String,
    /// The number of its generation. `null` if none was begun.
    generation: Option<u32>,
    /// How far the generation is.
    state: Option<&'static str>,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed` or `deploy-paused`.
    hold: &'static str,
    /// What went wrong.
    problem: Option<String>,
    /// When it is tried again, in RFC 3339. `null`: in the next run.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    retry_at: Option<Timestamp>,
}

impl From<Held> for FailedRow {
    fn from(held: Held) -> Self {
        Self {
            name: held.device.into(),
            generation: held.generation,
            state: held.state.map(|state| state.as_str()),
            hold: held.hold.as_str(),
            problem: held.problem,
            retry_at: held.retry_at,
        }
    }
}

impl Row for FailedRow {
    const FIELDS: &'static [&'static str] =
        &["name", "generation", "state", "hold", "problem", "retry_at"];
    const COLUMNS: &'static [Column] = &[Column::new("NAME"), Column::new("HOLD")];

    fn id(&self) -> &str {
        &self.name
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        vec![Cell::new(&*self.name), Cell::new(self.hold)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<FailedRow>("failed");
    }
}
