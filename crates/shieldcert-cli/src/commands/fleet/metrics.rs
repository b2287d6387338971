//! The metrics of `shieldcert fleet run`.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use shieldcert_fleet::{Fleet, Hold, State, Summary};

use crate::failure::Result;
use crate::output::metrics::{Exposition, seconds_left, time_to_expiry};

/// What was counted since the process began.
#[derive(Debug, Default)]
pub(super) struct Totals {
    last_success: Option<Timestamp>,
    runs: u64,
    failed_runs: u64,
    issued: u64,
    revoked: u64,
    requests: u64,
    failures: u64,
    /// In the last run that came to its end.
    unusable_zones: u64,
}

/// Counted even where there are none, so that no alert loses its series.
const STATES: [State; 9] = [
    State::Planned,
    State::Keyed,
    State::Sending,
    State::Issued,
    State::Written,
    State::Deployed,
    State::Verified,
    State::Revoked,
    State::Abandoned,
];
const HOLDS: [Hold; 6] = [
    Hold::Quota,
    Hold::Permission,
    Hold::Csr,
    Hold::Unclear,
    Hold::Failed,
    Hold::DeployPaused,
];

type Labels = [(&'static str, &'static str); 1];

impl Totals {
    /// A run has ended.
    pub(super) fn ended(&mut self, summary: &Summary) {
        let done = &summary.progress;
        self.runs += 1;
        self.issued += done.issued;
        self.revoked += done.revoked;
        self.requests += done.requests;
        self.failures += done.failures;
        self.unusable_zones = summary.unusable_zones.len() as u64;
        if !summary.is_stopped && summary.is_allowed() {
            self.last_success = Some(Timestamp::now());
        }
    }

    /// A run has failed.
    pub(super) fn failed(&mut self) {
        self.runs += 1;
        self.failed_runs += 1;
    }

    /// Writes them, beside what the journal holds.
    pub(super) fn encode(&self, fleet: &Fleet) -> Result<String> {
        let histogram = time_to_expiry();
        let mut expiries = Vec::new();
        let status = fleet.status(|expires| expiries.extend(expires))?;
        let now = status.service_time.unwrap_or_else(Timestamp::now);
        for expires in expiries {
            histogram.observe(seconds_left(expires, now));
        }
        let counts = &status.counts;
        let devices: Family<Labels, Gauge> = Family::default();
        let set = |family: &Family<Labels, Gauge>, label: Labels, count: u64| {
            family
                .get_or_create(&label)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&devices, [("state", "none")], counts.without_generation);
        for state in STATES {
            let count = counts.states.get(&state).copied().unwrap_or_default();
            set(&devices, [("state", state.as_str())], count);
        }
        let waiting: Family<Labels, Gauge> = Family::default();
        for hold in HOLDS {
            let count = counts.holds.get(&hold).copied().unwrap_or_default();
            set(&waiting, [("hold", hold.as_str())], count);
        }
        let mut exposition = Exposition::new("shieldcert_fleet");
        exposition.add(
            "devices",
            "Devices by the state of their newest generation",
            devices,
        );
        exposition.add("waiting", "Devices by what they wait for", waiting);
        exposition.add(
            "time_to_expiry_seconds",
            "Time until the certificates in use expire, 0 if they are expired",
            histogram,
        );
        exposition.gauge(
            "last_success_timestamp_seconds",
            "When a run last came to its end with a token that the service took, 0 if none did since the process began",
            self.last_success
                .map_or(0, |time| time.as_second().unsigned_abs()),
        );
        exposition.gauge(
            "unusable_zones",
            "Zones that could not be used in the last run, for example because the service refused the token",
            self.unusable_zones,
        );
        exposition.gauge(
            "surplus_certificates",
            "Certificates that nothing uses and that are not revoked yet",
            counts.surplus,
        );
        exposition.gauge(
            "looks_owed",
            "Looks after unclear requests that are owed",
            counts.looks_owed,
        );
        for (name, help, count) in [
            ("runs", "Runs since the process began", self.runs),
            (
                "failed_runs",
                "Runs that failed since the process began",
                self.failed_runs,
            ),
            ("issued", "Certificates that were issued", self.issued),
            ("revoked", "Certificates that were revoked", self.revoked),
            ("requests", "Requests that were sent", self.requests),
            ("failures", "Steps that failed", self.failures),
        ] {
            let counter: Counter = Counter::default();
            counter.inc_by(count);
            exposition.add(name, help, counter);
        }
        exposition.encode()
    }
}
