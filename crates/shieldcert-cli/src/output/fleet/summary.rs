//! What a run of a fleet has done, as it is printed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::Summary;

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// What a run has done, and what is left.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "apply"))]
pub(crate) struct SummaryRow {
    /// Whether everything that was due is done.
    complete: bool,
    /// Whether it was interrupted.
    interrupted: bool,
    /// How many devices are as they should be.
    settled: u64,
    /// How many certificates were issued.
    issued: u64,
    /// How many of these were found after a lost response.
    recovered: u64,
    /// How many certificates were brought into use.
    deployed: u64,
    /// How many certificates were revoked.
    revoked: u64,
    /// How many steps failed.
    failures: u64,
    /// How many requests were sent.
    requests: u64,
    /// The least number of requests for what was done.
    least_requests: u64,
    /// How many devices wait for what.
    waiting: BTreeMap<String, u64>,
    /// How many looks after unclear requests are owed, which later runs make.
    looks_owed: u64,
    /// How many surplus certificates are known and not revoked yet.
    surplus: u64,
    /// When something is due next, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next: Option<Timestamp>,
}

impl From<&Summary> for SummaryRow {
    fn from(summary: &Summary) -> Self {
        let done = &summary.progress;
        Self {
            complete: summary.is_complete(),
            interrupted: summary.is_stopped,
            settled: summary.settled,
            issued: done.issued,
            recovered: done.recovered,
            deployed: done.deployed,
            revoked: done.revoked,
            failures: done.failures,
            requests: done.requests,
            least_requests: done.least_requests,
            waiting: (summary.waiting.iter())
                .map(|(hold, count)| (hold.to_string(), *count))
                .collect(),
            looks_owed: summary.looks_owed,
            surplus: summary.surplus,
            next: summary.next.map(time::to_seconds),
        }
    }
}

impl Row for SummaryRow {
    const FIELDS: &'static [&'static str] = &[
        "complete",
        "interrupted",
        "settled",
        "issued",
        "recovered",
        "deployed",
        "revoked",
        "failures",
        "requests",
        "least_requests",
        "waiting",
        "looks_owed",
        "surplus",
        "next",
    ];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<SummaryRow>("apply");
    }
}
