//! What a run of a fleet has done, as it is printed.

use jiff::Timestamp;
use shieldcert_fleet::commands::ApplyRow;

use crate::output::row::{Cell, Column, Row};

impl Row for ApplyRow {
    const FIELDS: &'static [&'static str] = ApplyRow::FIELDS;
    const COLUMNS: &'static [Column] = &[
        Column::new("ISSUED"),
        Column::new("DEPLOYED"),
        Column::new("REVOKED"),
        Column::new("FAILURES"),
        Column::new("SETTLED"),
        Column::new("WAITING"),
        Column::new("REQUESTS"),
        Column::new("AT LEAST"),
    ];

    fn id(&self) -> &str {
        match self.complete {
            true => "complete",
            false => "incomplete",
        }
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let numbers = [
            self.issued,
            self.deployed,
            self.revoked,
            self.failures,
            self.settled,
            self.waiting.values().sum(),
            self.requests,
            self.least_requests,
        ];
        numbers.map(|number| Cell::new(number.to_string())).into()
    }
}
