//! A generation of a device as it is printed.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::{Ask, DeviceName, Generation};

use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// The n-th key and certificate of a device. Of a device that has none, everything about them is `null`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "generation"))]
pub(crate) struct GenerationRow {
    /// The device's name.
    device: String,
    /// Its number, from 1.
    generation: Option<u32>,
    /// How far it is: `planned`, `keyed`, `sending`, `issued`, `written`, `deployed`, `verified`, `revoked` or `abandoned`.
    state: Option<&'static str>,
    /// Why it was made.
    reason: Option<&'static str>,
    /// The zone that holds its certificate.
    zone_id: Option<String>,
    /// The certificate's id.
    certificate: Option<String>,
    /// The start of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_before: Option<Timestamp>,
    /// The end of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    not_after: Option<Timestamp>,
    /// When it was verified, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    verified_at: Option<Timestamp>,
    /// When it is to be revoked, since a later one took its place, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    revoke_at: Option<Timestamp>,
    /// Whether its key has leaked.
    leaked: bool,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed` or `deploy-paused`.
    hold: Option<&'static str>,
    /// What went wrong the last time.
    problem: Option<String>,
    /// How often in a row it failed.
    failures: u32,
    /// When it is tried again, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    retry_at: Option<Timestamp>,
    /// What an operator asked for: `rotate`, `rotate-now`, `revoke` or `revoke-now`.
    asked: Option<&'static str>,
}

impl GenerationRow {
    pub(crate) fn new(
        device: &DeviceName,
        ask: Option<Ask>,
        generation: Option<&Generation>,
    ) -> Self {
        Self {
            device: device.to_string(),
            generation: generation.map(|generation| generation.number),
            state: generation.map(|generation| generation.state.as_str()),
            reason: generation.map(|generation| generation.reason.as_str()),
            zone_id: generation.map(|generation| generation.zone.to_string()),
            certificate: generation
                .and_then(|generation| generation.certificate.as_ref())
                .map(ToString::to_string),
            not_before: generation.and_then(|generation| generation.not_before),
            not_after: generation.and_then(|generation| generation.not_after),
            verified_at: generation.and_then(|generation| generation.verified_at),
            revoke_at: generation.and_then(|generation| generation.revoke_at),
            leaked: generation.is_some_and(|generation| generation.leaked),
            hold: generation
                .and_then(|generation| generation.hold)
                .map(|hold| hold.as_str()),
            problem: generation.and_then(|generation| generation.problem.clone()),
            failures: generation.map_or(0, |generation| generation.failures),
            retry_at: generation.and_then(|generation| generation.retry_at),
            asked: ask.map(|ask| ask.as_str()),
        }
    }
}

impl Row for GenerationRow {
    const FIELDS: &'static [&'static str] = &[
        "device",
        "generation",
        "state",
        "reason",
        "zone_id",
        "certificate",
        "not_before",
        "not_after",
        "verified_at",
        "revoke_at",
        "leaked",
        "hold",
        "problem",
        "failures",
        "retry_at",
        "asked",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("GENERATION"),
        Column::new("STATE"),
        Column::new("EXPIRES"),
        Column::new("HOLD"),
        Column::new("PROBLEM").shrink(2, 12),
        Column::new("CERTIFICATE").wide(),
        Column::new("REASON").wide(),
        Column::new("REVOKED AT").wide(),
        Column::new("RETRY AT").wide(),
        Column::new("ASKED").wide(),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let day = |time: Option<Timestamp>| Cell::new(time.map(time::day).unwrap_or_default());
        let moment = |time: Option<Timestamp>| {
            Cell::new(time.map(|time| time.to_string()).unwrap_or_default())
        };
        let color = match (self.state, self.hold) {
            (_, Some(_)) => Some(AnsiColor::Yellow),
            (Some("verified"), _) => Some(AnsiColor::Green),
            (Some("revoked"), _) => Some(AnsiColor::Red),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        let number = self.generation.map(|number| number.to_string());
        let text = |text: &Option<String>| Cell::new(text.clone().unwrap_or_default());
        vec![
            Cell::new(&*self.device),
            Cell::new(number.unwrap_or_default()),
            Cell::new(self.state.unwrap_or("none")).style(style),
            day(self.not_after),
            Cell::new(self.hold.unwrap_or_default()),
            text(&self.problem),
            text(&self.certificate),
            Cell::new(self.reason.unwrap_or_default()),
            moment(self.revoke_at),
            moment(self.retry_at),
            Cell::new(self.asked.unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<GenerationRow>("generation");
    }
}
