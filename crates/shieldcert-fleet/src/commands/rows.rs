//! The rows that commands print, in JSON and CSV. Programs rely on their fields, which JSON Schemas describe.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::apply::Summary;
use crate::journal::{Ask, Generation};
use crate::name::DeviceName;
use crate::plan::{Plan, PlanEntry};
use crate::status::Held;

/// What a run has done, and what is left.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "apply"))]
#[non_exhaustive]
pub struct ApplyRow {
    /// Whether everything that was due is done.
    pub complete: bool,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// How many devices are as they should be.
    pub settled: u64,
    /// How many certificates were issued.
    pub issued: u64,
    /// How many of these were found after a lost response.
    pub recovered: u64,
    /// How many certificates were brought into use.
    pub deployed: u64,
    /// How many certificates were revoked.
    pub revoked: u64,
    /// How many steps failed.
    pub failures: u64,
    /// How many requests were sent.
    pub requests: u64,
    /// The least number of requests for what was done.
    pub least_requests: u64,
    /// How many devices wait for what.
    pub waiting: BTreeMap<String, u64>,
    /// How many looks after unclear requests are owed, which later runs make.
    pub looks_owed: u64,
    /// How many surplus certificates are known and not revoked yet.
    pub surplus: u64,
    /// When something is due next, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub next: Option<Timestamp>,
}

impl ApplyRow {
    /// The members, in the order of CSV.
    pub const FIELDS: &'static [&'static str] = &[
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
}

impl From<&Summary> for ApplyRow {
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
            next: summary.next.map(to_seconds),
        }
    }
}

/// A device that failed, or waits for something.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "failed"))]
#[non_exhaustive]
pub struct FailedRow {
    /// The device's name.
    pub name: String,
    /// The number of its generation. `null` if none was begun.
    pub generation: Option<u32>,
    /// How far the generation is.
    pub state: Option<&'static str>,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed`, `deploy-paused`, `key-lost`,
    /// `revoked-elsewhere`, `missing` or `watched`; on several machines also `paused` or `worker`.
    pub hold: &'static str,
    /// What went wrong.
    pub problem: Option<String>,
    /// When it is tried again, in RFC 3339. `null`: in the next run.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub retry_at: Option<Timestamp>,
}

impl FailedRow {
    /// The members, in the order of CSV.
    pub const FIELDS: &'static [&'static str] =
        &["name", "generation", "state", "hold", "problem", "retry_at"];
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

/// The n-th key and certificate of a device. Of a device that has none, everything about them is `null`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "generation"))]
#[non_exhaustive]
pub struct GenerationRow {
    /// The device's name.
    pub device: String,
    /// Its number, from 1.
    pub generation: Option<u32>,
    /// How far it is: `planned`, `keyed`, `sending`, `issued`, `written`, `deployed`, `verified`, `revoked` or `abandoned`.
    pub state: Option<&'static str>,
    /// Why it was made.
    pub reason: Option<&'static str>,
    /// The zone that holds its certificate.
    pub zone_id: Option<String>,
    /// The certificate's id.
    pub certificate: Option<String>,
    /// The start of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub not_before: Option<Timestamp>,
    /// The end of the validity, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub not_after: Option<Timestamp>,
    /// When it was verified, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub verified_at: Option<Timestamp>,
    /// When it is to be revoked, since a later one took its place, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub revoke_at: Option<Timestamp>,
    /// Whether its key has leaked.
    pub leaked: bool,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed`, `deploy-paused`, `key-lost`,
    /// `revoked-elsewhere`, `missing` or `watched`; on several machines also `paused` or `worker`.
    pub hold: Option<&'static str>,
    /// What went wrong the last time.
    pub problem: Option<String>,
    /// How often in a row it failed.
    pub failures: u32,
    /// When it is tried again, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub retry_at: Option<Timestamp>,
    /// What an operator asked for: `rotate`, `rotate-now`, `revoke` or `revoke-now`.
    pub asked: Option<&'static str>,
}

impl GenerationRow {
    /// The members, in the order of CSV.
    pub const FIELDS: &'static [&'static str] = &[
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

    /// Creates the row of a generation, or of a device that has none.
    pub fn new(device: &DeviceName, ask: Option<Ask>, generation: Option<&Generation>) -> Self {
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

/// What is to be done for a device.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "plan"))]
#[non_exhaustive]
pub struct PlanRow {
    /// The device's name.
    pub device: String,
    /// What is to be done: `issue`, `renew`, `continue` (what was begun), `revoke`, `wait`, `leave`, or `unmanaged`, which
    /// is in the journal alone.
    pub action: String,
    /// Why. `null` where nothing is to be done.
    pub reason: Option<&'static str>,
    /// What it waits for: `quota`, `permission`, `csr`, `unclear`, `failed`, `deploy-paused`, `key-lost`,
    /// `revoked-elsewhere`, `missing` or `watched`; on several machines also `paused` or `worker`.
    pub hold: Option<&'static str>,
    /// When something is due, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub due: Option<Timestamp>,
    /// When its certificate expires, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub expires: Option<Timestamp>,
    /// The zone of the certificate that is made or revoked.
    pub zone_id: Option<String>,
}

impl PlanRow {
    /// The members, in the order of CSV.
    pub const FIELDS: &'static [&'static str] = &[
        "device", "action", "reason", "hold", "due", "expires", "zone_id",
    ];
}

impl From<&PlanEntry> for PlanRow {
    fn from(entry: &PlanEntry) -> Self {
        Self {
            device: entry.device.to_string(),
            action: word(&entry.action),
            reason: entry.reason,
            hold: entry.hold.map(|hold| hold.as_str()),
            due: entry.due.map(to_seconds),
            expires: entry.expires,
            zone_id: entry.zone.as_ref().map(ToString::to_string),
        }
    }
}

/// A plan in numbers.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "plan_summary"))]
#[non_exhaustive]
pub struct PlanSummaryRow {
    /// When it was made, in RFC 3339.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Whether that is the service's time. Otherwise it is this machine's, and nothing is revoked by it.
    pub is_service_time: bool,
    /// How many devices the manifest has.
    pub devices: u64,
    /// How many devices have something to do.
    pub changes: u64,
    /// How many devices there are for each action.
    pub actions: BTreeMap<String, u64>,
    /// How many renewals there are for each reason.
    pub reasons: BTreeMap<String, u64>,
    /// How many devices wait for what.
    pub holds: BTreeMap<String, u64>,
    /// How many devices would be left without a certificate because the manifest says that they are absent.
    pub left_without: u64,
    /// How many of these need no confirmation.
    pub max_revoke: u64,
    /// The least number of requests that it takes.
    pub requests: u64,
    /// How long these take under the rate limit, in seconds.
    pub seconds: u64,
    /// The zones, by id.
    pub zones: BTreeMap<String, ZoneRow>,
    /// How many renewals are due in each of the next twelve months, by the month as in `2026-01`, UTC.
    pub renewals: BTreeMap<String, u64>,
    /// When something is due next, in RFC 3339.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub next: Option<Timestamp>,
}

/// What is to be done in a zone.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Zone"))]
#[non_exhaustive]
pub struct ZoneRow {
    /// How many certificates of this fleet may be active.
    pub active: u64,
    /// How many are to be issued.
    pub issue: u64,
    /// How many are to be revoked.
    pub revoke: u64,
    /// How many may be active, if fleet.toml says so.
    pub quota: Option<u64>,
    /// How many of these places are kept for renewals.
    pub kept: u64,
    /// How many new devices wait, because there is no place for them.
    pub blocked: u64,
    /// Why the zone can't be used at present.
    pub problem: Option<String>,
}

impl PlanSummaryRow {
    /// The members, in the order of CSV.
    pub const FIELDS: &'static [&'static str] = &[
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
}

impl From<&Plan> for PlanSummaryRow {
    fn from(plan: &Plan) -> Self {
        let zones = plan.zones.iter().map(|(id, zone)| {
            let zone = ZoneRow {
                active: zone.active,
                issue: zone.issue,
                revoke: zone.revoke,
                quota: zone.quota,
                kept: zone.kept,
                blocked: zone.blocked,
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
            next: plan.next.map(to_seconds),
        }
    }
}

/// The word that stands for a value in every format.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A time without what is below a second.
fn to_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
