//! What is known of a fleet, as it is printed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::Status;

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// What is known of a fleet without asking the service.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "fleet_status"))]
pub(crate) struct StatusRow {
    /// How many devices the journal knows.
    devices: u64,
    /// How many of them have no generation yet.
    without_generation: u64,
    /// How many devices there are for each state of the newest generation.
    states: BTreeMap<String, u64>,
    /// How many devices wait for what.
    holds: BTreeMap<String, u64>,
    /// How many devices there are for which an operator asked for something that is not done yet, or that lasts.
    asks: BTreeMap<String, u64>,
    /// How many certificates that nothing uses are known and not revoked yet.
    surplus: u64,
    /// How many looks after unclear requests are owed.
    looks_owed: u64,
    /// When the next of these looks is due, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next_look: Option<Timestamp>,
    /// When the next certificate is to be renewed, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next_renewal: Option<Timestamp>,
    /// When the next certificate that was replaced is revoked, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next_revocation: Option<Timestamp>,
    /// When the next step that failed is tried again, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next_retry: Option<Timestamp>,
    /// When the first of the certificates in use expires, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next_expiry: Option<Timestamp>,
    /// Whether the journal was opened from a backup, and revokes only certificates of leaked keys until
    /// that is confirmed.
    is_restored: bool,
    /// The process that works on the fleet. 0 if it has not said which it is.
    worker: Option<u32>,
}

impl From<&Status> for StatusRow {
    fn from(status: &Status) -> Self {
        let counts = &status.counts;
        let words = |word: &dyn std::fmt::Display, count: &u64| (word.to_string(), *count);
        Self {
            devices: counts.devices,
            without_generation: counts.without_generation,
            states: (counts.states.iter())
                .map(|(state, count)| words(state, count))
                .collect(),
            holds: (counts.holds.iter())
                .map(|(hold, count)| words(hold, count))
                .collect(),
            asks: (counts.asks.iter())
                .map(|(ask, count)| words(ask, count))
                .collect(),
            surplus: counts.surplus,
            looks_owed: counts.looks_owed,
            next_look: counts.next_look,
            next_renewal: status.next_renewal.map(time::to_seconds),
            next_revocation: counts.next_revocation,
            next_retry: counts.next_retry,
            next_expiry: status.next_expiry,
            is_restored: counts.is_restored,
            worker: status.worker,
        }
    }
}

impl Row for StatusRow {
    const FIELDS: &'static [&'static str] = &[
        "devices",
        "without_generation",
        "states",
        "holds",
        "asks",
        "surplus",
        "looks_owed",
        "next_look",
        "next_renewal",
        "next_revocation",
        "next_retry",
        "next_expiry",
        "is_restored",
        "worker",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICES"),
        Column::new("WAITING"),
        Column::new("SURPLUS"),
        Column::new("NEXT RENEWAL"),
        Column::new("WORKER"),
    ];

    fn id(&self) -> &str {
        "fleet"
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let renewal = self.next_renewal.map(time::day);
        let worker = self.worker.map(|pid| pid.to_string());
        vec![
            Cell::new(self.devices.to_string()),
            Cell::new(self.holds.values().sum::<u64>().to_string()),
            Cell::new(self.surplus.to_string()),
            Cell::new(renewal.unwrap_or_default()),
            Cell::new(worker.unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<StatusRow>("fleet_status");
    }
}
