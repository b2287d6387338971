//! A plan as it is printed: device by device, and in numbers.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::{Action, Plan, PlanEntry};

use super::word;
use crate::output::row::{Cell, Column, Row};
use crate::output::time;

/// What is to be done for a device.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "plan"))]
pub(crate) struct PlanRow {
    /// The device's name.
    device: String,
    /// What is to be done: `issue`, `renew`, `continue` (what was begun), `revoke`, `wait`, `leave`, or `unmanaged`, which
    /// is in the journal alone.
    action: String,
    /// Why. `null` where nothing is to be done.
    reason: Option<&'static str>,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed` or `deploy-paused`.
    hold: Option<&'static str>,
    /// When something is due, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    due: Option<Timestamp>,
    /// When its certificate expires, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    expires: Option<Timestamp>,
    /// The zone of the certificate that is made or revoked.
    zone_id: Option<String>,
}

impl From<&PlanEntry> for PlanRow {
    fn from(entry: &PlanEntry) -> Self {
        Self {
            device: entry.device.to_string(),
            action: word(&entry.action),
            reason: entry.reason,
            hold: entry.hold.map(|hold| hold.as_str()),
            due: entry.due.map(time::to_seconds),
            expires: entry.expires,
            zone_id: entry.zone.as_ref().map(ToString::to_string),
        }
    }
}

/// Whether something is done for the device.
pub(crate) fn changes(action: Action) -> bool {
    matches!(
        action,
        Action::Issue | Action::Renew | Action::Continue | Action::Revoke
    )
}

impl Row for PlanRow {
    const FIELDS: &'static [&'static str] = &[
        "device", "action", "reason", "hold", "due", "expires", "zone_id",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICE").shrink(1, 12),
        Column::new("ACTION"),
        Column::new("WHY").shrink(2, 12),
        Column::new("DUE"),
        Column::new("EXPIRES"),
        Column::new("ZONE").wide(),
    ];

    fn id(&self) -> &str {
        &self.device
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let day = |time: Option<Timestamp>| Cell::new(time.map(time::day).unwrap_or_default());
        let color = match self.action.as_str() {
            "issue" | "renew" => Some(AnsiColor::Green),
            "revoke" => Some(AnsiColor::Red),
            "wait" => Some(AnsiColor::Yellow),
            _ => None,
        };
        let style = Style::new().fg_color(color.map(Into::into));
        vec![
            Cell::new(&*self.device),
            Cell::new(&*self.action).style(style),
            Cell::new(self.reason.or(self.hold).unwrap_or_default()),
            day(self.due),
            day(self.expires),
            Cell::new(self.zone_id.clone().unwrap_or_default()),
        ]
    }
}

/// A plan in numbers.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "plan_summary"))]
pub(crate) struct PlanSummaryRow {
    /// When it was made, in RFC 3339.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    at: Timestamp,
    /// Whether that is the service's time. Otherwise it is this machine's, and nothing is revoked by it.
    is_service_time: bool,
    /// How many devices the manifest has.
    devices: u64,
    /// How many devices have something to do.
    changes: u64,
    /// How many devices there are for each action.
    actions: BTreeMap<String, u64>,
    /// How many renewals there are for each reason.
    reasons: BTreeMap<String, u64>,
    /// How many devices wait for what.
    holds: BTreeMap<String, u64>,
    /// How many devices would be left without a certificate because the manifest says that they are absent.
    left_without: u64,
    /// How many of these need no confirmation.
    max_revoke: u64,
    /// The least number of requests that it takes.
    requests: u64,
    /// How long these take under the rate limit, in seconds.
    seconds: u64,
    /// The zones, by id.
    zones: BTreeMap<String, Zone>,
    /// How many renewals are due in each of the next twelve months, by the month as in `2026-01`, UTC.
    renewals: BTreeMap<String, u64>,
    /// When something is due next, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    next: Option<Timestamp>,
}

/// What is to be done in a zone.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Zone {
    /// How many certificates of this fleet may be active.
    active: u64,
    /// How many are to be issued.
    issue: u64,
    /// How many are to be revoked.
    revoke: u64,
    /// How many may be active, if fleet.toml says so.
    quota: Option<u64>,
    /// Why the zone can't be used at present.
    problem: Option<String>,
}

impl From<&Plan> for PlanSummaryRow {
    fn from(plan: &Plan) -> Self {
        let zones = plan.zones.iter().map(|(id, zone)| {
            let zone = Zone {
                active: zone.active,
                issue: zone.issue,
                revoke: zone.revoke,
                quota: zone.quota,
                problem: zone.problem.clone(),
            };
            (id.to_string(), zone)
        });
        Self {
            at: plan.at,
            is_service_time: plan.is_service_time,
            devices: plan.devices,
            changes: plan.changes(),
            actions: (plan.actions.iter())
                .map(|(action, count)| (word(action), *count))
                .collect(),
            reasons: (plan.reasons.iter())
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            holds: (plan.holds.iter())
                .map(|(hold, count)| (hold.to_string(), *count))
                .collect(),
            left_without: plan.left_without,
            max_revoke: plan.max_revoke,
            requests: plan.requests,
            seconds: plan.seconds,
            zones: zones.collect(),
            renewals: plan.renewals.clone(),
            next: plan.next.map(time::to_seconds),
        }
    }
}

impl Row for PlanSummaryRow {
    const FIELDS: &'static [&'static str] = &[
        "at",
        "is_service_time",
        "devices",
        "changes",
        "actions",
        "reasons",
        "holds",
        "left_without",
        "max_revoke",
        "requests",
        "seconds",
        "zones",
        "renewals",
        "next",
    ];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICES"),
        Column::new("CHANGES"),
        Column::new("REQUESTS"),
        Column::new("SECONDS"),
    ];

    fn id(&self) -> &str {
        "plan"
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        [self.devices, self.changes, self.requests, self.seconds]
            .map(|number| Cell::new(number.to_string()))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_those_of_the_output() {
        crate::output::schemas::check::<PlanRow>("plan");
        crate::output::schemas::check::<PlanSummaryRow>("plan_summary");
    }
}
