//! The workflow of a fleet: who has which share of the budgets, and when the zones are reconciled.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use shieldcert::ZoneId;
use temporalio_common::RetryPolicy;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ActivityOptions, CancellableFuture, ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext,
    WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::names::{FleetName, WorkerName};
use crate::requests::{Requests, Scan, ScanInput};

/// The zones of a fleet, and how often they are reconciled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// The zones, and the names of their budgets.
    pub zones: Vec<(ZoneId, String)>,
    /// How often they are reconciled.
    pub interval: Duration,
}

/// A worker, and the share of each budget that it uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The worker.
    pub worker: WorkerName,
    /// The share, from 0 to 1.
    pub share: f64,
}

/// What the workflow of a fleet knows. It is handed on when the workflow continues as new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetState {
    pub(crate) fleet: FleetName,
    pub(crate) zones: Zones,
    pub(crate) shares: BTreeMap<WorkerName, f64>,
    /// Whether reconciliation was asked for.
    asked: bool,
    /// How often the zones were reconciled.
    pub(crate) rounds: u64,
    /// What the last round found, by zone, or what went wrong.
    pub(crate) last: BTreeMap<ZoneId, Result<Scan, String>>,
}

impl FleetState {
    /// Creates the state of a fleet without workers.
    pub fn new(fleet: FleetName, zones: Zones) -> Self {
        Self {
            fleet,
            zones,
            shares: BTreeMap::new(),
            asked: false,
            rounds: 0,
            last: BTreeMap::new(),
        }
    }
}

/// The workflow of a fleet.
#[workflow]
pub struct FleetWorkflow {
    state: FleetState,
    /// How often the zones or the interval changed.
    changes: u64,
}

/// How many events a history may have.
const MAX_HISTORY: u32 = 500;

/// How long reading a zone may take: a million certificates at half the rate limit.
const SCAN: Duration = Duration::from_secs(6 * 3600);

/// How long a worker that reads a zone may be silent.
const SCAN_HEARTBEAT: Duration = Duration::from_secs(30);

#[workflow_methods]
impl FleetWorkflow {
    #[init]
    fn new(_context: &WorkflowContextView, state: FleetState) -> Self {
        Self { state, changes: 0 }
    }

    /// Reconciles the zones at intervals.
    ///
    /// # Errors
    /// Returns that it was cancelled, or is to continue as new. It has no other end.
    #[run(name = "fleet")]
    pub async fn run(context: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        loop {
            let (interval, seen) = context.state(|this| (this.state.zones.interval, this.changes));
            let mut timer = context.timer(interval);
            let mut came = context
                .wait_condition(|this| this.state.asked || this.changes != seen)
                .boxed_local()
                .fuse();
            let is_time = select! {
                _ = timer => true,
                _ = came => {
                    timer.cancel();
                    context.state(|this| this.state.asked)
                }
            };
            drop(came);
            if context.cancellation_token().is_cancelled() {
                return Err(WorkflowTermination::cancelled());
            }
            if is_time {
                context.state_mut(|this| this.state.asked = false);
                if !reconcile(context).await {
                    context.state_mut(|this| this.state.asked = true);
                }
            }
            if context.history_length() > MAX_HISTORY {
                let state = context.state(|this| this.state.clone());
                context.continue_as_new(state, ContinueAsNewOptions::default())?;
            }
        }
    }

    /// The zones or the interval are these from now on.
    #[signal(name = "zones")]
    pub(crate) fn zones(&mut self, _context: &mut SyncWorkflowContext<Self>, zones: Zones) {
        if self.state.zones != zones {
            self.state.zones = zones;
            self.changes += 1;
        }
    }

    /// The zones are to be reconciled now.
    #[signal(name = "reconcile")]
    pub(crate) fn reconcile_now(&mut self, _context: &mut SyncWorkflowContext<Self>) {
        self.state.asked = true;
    }

    /// A worker is lost. Its share is free.
    #[signal(name = "worker-lost")]
    pub(crate) fn worker_lost(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        worker: WorkerName,
    ) {
        self.state.shares.remove(&worker);
    }

    /// A worker begins to use its share. Returns what is left to others, or what the shares would add up to if that is more
    /// than there is.
    #[update(name = "join")]
    pub(crate) fn join(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        member: Member,
    ) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
        let others = self.state.shares.iter();
        let others: f64 = others
            .filter(|(worker, _)| **worker != member.worker)
            .map(|(_, share)| share)
            .sum();
        /// What adding up fractions costs.
        const ROUNDING: f64 = 0.001;
        let all = others + member.share;
        if !(0.0..=1.0).contains(&member.share) || all > 1.0 + ROUNDING {
            let list: Vec<_> = (self.state.shares.iter())
                .map(|(worker, share)| format!("{worker} has {share}"))
                .collect();
            return Err(format!(
                "a share of {} is too much, since {}; give another --share, restart others with less, or say that a \
                 worker is gone with worker-lost",
                member.share,
                list.join(", ")
            )
            .into());
        }
        self.state.shares.insert(member.worker, member.share);
        Ok((1.0 - all).max(0.0))
    }

    /// What is known of the fleet.
    #[query(name = "state")]
    pub(crate) fn state(&self, _context: &WorkflowContextView) -> FleetState {
        self.state.clone()
    }
}

/// Reads the zones. Returns `false` if they changed meanwhile, and are to be read again: nobody may work on the queue of a
/// budget that was renamed.
async fn reconcile(context: &WorkflowContext<FleetWorkflow>) -> bool {
    let (fleet, zones, seen) = context.state(|this| {
        let zones = this.state.zones.zones.clone();
        (this.state.fleet.clone(), zones, this.changes)
    });
    for (zone, budget) in zones {
        let retry = RetryPolicy::builder()
            .initial_interval(Duration::from_secs(5))
            .maximum_interval(Duration::from_secs(300))
            .maximum_attempts(5)
            .build();
        let options = ActivityOptions::with_start_to_close_timeout(SCAN)
            .task_queue(fleet.budget(&budget))
            .heartbeat_timeout(SCAN_HEARTBEAT)
            .retry_policy(retry)
            .do_not_eagerly_execute(true)
            .build();
        let input = ScanInput {
            fleet: fleet.clone(),
            zone: zone.clone(),
        };
        let mut scanning = context.execute_activity(Requests::scan, input, options);
        let mut changed = context
            .wait_condition(|this| this.changes != seen)
            .boxed_local()
            .fuse();
        let scanned = select! {
            scanned = scanning => scanned,
            _ = changed => {
                scanning.cancel();
                return false;
            }
        };
        let scanned = scanned.unwrap_or_else(|error| Err(error.to_string()));
        context.state_mut(|this| this.state.last.insert(zone, scanned));
    }
    context.state_mut(|this| {
        let zones: Vec<_> = this
            .state
            .zones
            .zones
            .iter()
            .map(|(zone, _)| zone.clone())
            .collect();
        this.state.last.retain(|zone, _| zones.contains(zone));
        this.state.rounds += 1;
    });
    true
}
