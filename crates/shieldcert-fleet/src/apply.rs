//! What a run of a fleet is asked to do, and what it has done.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shieldcert::ZoneId;

use crate::engine::Engine;
use crate::journal::Hold;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a run of a fleet is asked to do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// How many devices may be left without a verified certificate, where that is more than `max_revoke`.
    pub confirmed_revocations: u64,
    /// Whether a restored journal may revoke from now on.
    pub confirm_restored: bool,
    /// Compares the journal with the zones and the files first, which lists each zone once.
    pub refresh: bool,
    /// Ends without waiting for the looks that unclear requests are owed. The next run makes them.
    pub skip_reconciliation: bool,
}

/// What a run has done so far.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// How many devices were planned for this run.
    pub devices: u64,
    /// How many of them had their turn.
    pub devices_done: u64,
    /// How many certificates were issued.
    pub issued: u64,
    /// How many of them were found after a lost response.
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
    /// How long requests wait for the rate limit, where such a wait has just begun.
    #[serde(skip)]
    pub rate_limit_wait: Option<Duration>,
    /// How many requests without a response are being found out about, such as those of a run that was killed.
    #[serde(skip)]
    pub open_requests: u64,
    /// How long it takes until the service can have acted on all of them.
    #[serde(skip)]
    pub open_wait: Option<Duration>,
    /// How long until a look after an unclear request, where the run waits for it.
    #[serde(skip)]
    pub look_wait: Option<Duration>,
}

/// What a run has done, and what is left.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// What was done.
    #[serde(flatten)]
    pub progress: Progress,
    /// How many devices are as they should be.
    pub settled: u64,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
    /// How many devices wait for what.
    pub waiting: BTreeMap<Hold, u64>,
    /// How many looks after unclear requests are owed.
    pub looks_owed: u64,
    /// How many surplus certificates are known and not revoked yet.
    pub surplus: u64,
    /// When something is due next.
    pub next: Option<Timestamp>,
    /// The zones that could not be used when the run began, and why.
    pub unusable_zones: BTreeMap<ZoneId, String>,
}

impl Summary {
    /// Whether the service took the credentials, as far as something was asked of it.
    pub fn is_allowed(&self) -> bool {
        self.unusable_zones.is_empty() && !self.waiting.contains_key(&Hold::Permission)
    }

    /// Whether everything that was due is done.
    pub fn is_complete(&self) -> bool {
        let due = self.waiting.iter().filter(|(hold, _)| **hold != Hold::Csr);
        !self.is_stopped
            && self.surplus == 0
            && self.looks_owed == 0
            && due.map(|(_, count)| count).sum::<u64>() == 0
    }
}

impl Engine {
    /// What was done so far.
    pub(crate) fn progress(self: &Arc<Self>, devices: u64) -> Progress {
        let tally = &self.tally;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (issued, revoked) = (get(&tally.issued), get(&tally.revoked));
        let meter = self.budgets.meter();
        let (open_requests, open_wait) = self.open_requests();
        Progress {
            devices,
            devices_done: get(&tally.devices_done),
            issued,
            recovered: get(&tally.recovered),
            deployed: get(&tally.deployed),
            revoked,
            failures: get(&tally.failures),
            requests: meter.requests(),
            least_requests: issued + revoked,
            rate_limit_wait: meter.take_wait(),
            open_requests,
            open_wait,
            look_wait: None,
        }
    }
}
