//! The workflow of a fleet: who its workers are, which share of the budgets each has, and when the zones are reconciled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shieldcert::ZoneId;
use temporalio_common::RetryPolicy;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows::select;
use temporalio_sdk::{
    ActivityOptions, CancellableFuture, ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext,
    WorkflowContextView, WorkflowResult, WorkflowTermination,
};

use crate::names::{FleetName, Queue, WorkerName};
use crate::requests::{Requests, Scan, ScanInput};

/// The zones of a fleet, and how often they are reconciled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// The zones, and the names of their budgets.
    pub zones: Vec<(ZoneId, String)>,
    /// How often they are reconciled.
    pub interval: Duration,
}

/// A worker that is part of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The worker.
    pub worker: WorkerName,
    /// The id of the folder with its keys. No other folder can use the worker's name.
    pub folder: String,
    /// The share of each budget that it uses, from 0 to 1.
    pub share: f64,
    /// The budgets whose requests it sends.
    pub budgets: BTreeSet<String>,
    /// Whether it takes devices that no label pins to it.
    pub takes_devices: bool,
}

/// The folder of a worker that is lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LostFolder {
    id: String,
    /// Whether its worker still ran, and has said that it stopped.
    has_stopped: bool,
}

/// What the workflow of a fleet knows. It is handed on when the workflow continues as new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetState {
    pub(crate) fleet: FleetName,
    pub(crate) zones: Zones,
    pub(crate) members: BTreeMap<WorkerName, Member>,
    /// The folders of workers that are lost, the latest last.
    lost: Vec<LostFolder>,
    /// Whether reconciliation was asked for.
    asked: bool,
    /// How often the zones were reconciled.
    pub(crate) rounds: u64,
    /// When the last round ended.
    pub(crate) reconciled_at: Option<Timestamp>,
    /// What the last round found, by zone, or what went wrong.
    pub(crate) last: BTreeMap<ZoneId, Result<Scan, String>>,
}

/// How many folders of lost workers are remembered.
const MAX_LOST: usize = 100;

impl FleetState {
    /// Creates the state of a fleet without workers.
    pub fn new(fleet: FleetName, zones: Zones) -> Self {
        Self {
            fleet,
            zones,
            members: BTreeMap::new(),
            lost: Vec::new(),
            asked: false,
            rounds: 0,
            reconciled_at: None,
            last: BTreeMap::new(),
        }
    }

    /// The names of the budgets.
    pub(crate) fn budgets(&self) -> BTreeSet<&str> {
        let zones = self.zones.zones.iter();
        zones.map(|(_, budget)| budget.as_str()).collect()
    }

    /// Whether a folder's worker was declared lost.
    pub(crate) fn is_lost(&self, folder: &str) -> bool {
        self.lost.iter().any(|lost| lost.id == folder)
    }

    /// Whether a lost worker has said that it stopped.
    pub(crate) fn has_stopped(&self, folder: &str) -> bool {
        let mut lost = self.lost.iter();
        lost.any(|lost| lost.id == folder && lost.has_stopped)
    }

    fn lose(&mut self, worker: &WorkerName) {
        if let Some(member) = self.members.remove(worker) {
            self.lost.push(LostFolder {
                id: member.folder,
                has_stopped: false,
            });
            let excess = self.lost.len().saturating_sub(MAX_LOST);
            self.lost.drain(..excess);
        }
    }

    /// Takes a worker. Returns what is left of each budget for others, or why it is refused.
    fn join(&mut self, member: Member) -> Result<f64, String> {
        let Member { worker, .. } = &member;
        if self.is_lost(&member.folder) {
            return Err(format!(
                "this folder's worker was declared lost, so its devices have new keys elsewhere; move the folder away, \
                 and start {worker} with a new one"
            ));
        }
        let known = self.members.get(worker);
        if known.is_some_and(|known| known.folder != member.folder) {
            return Err(format!(
                "worker {worker} has another folder, where its keys are; start it there, give this one another --name, \
                 or say `{}` if that folder is gone",
                self.fleet.command(&format!("worker-lost {worker}"))
            ));
        }
        let others: f64 = (self.members.values())
            .filter(|other| other.worker != *worker)
            .map(|other| other.share)
            .sum();
        /// What adding up fractions costs.
        const ROUNDING: f64 = 0.001;
        let all = others + member.share;
        if !(0.0..=1.0).contains(&member.share) || all > 1.0 + ROUNDING {
            let list: Vec<_> = (self.members.values())
                .map(|other| format!("{} has {}", other.worker, other.share))
                .collect();
            return Err(format!(
                "a share of {} is too much, since {}; give another --share, restart others with less, or say that a \
                 worker is gone with worker-lost",
                member.share,
                list.join(", ")
            ));
        }
        self.members.insert(worker.clone(), member);
        Ok((1.0 - all).max(0.0))
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

    /// A worker is lost. Its share is free, and it stops if it still runs.
    #[signal(name = "worker-lost")]
    pub(crate) fn worker_lost(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        worker: WorkerName,
    ) {
        self.state.lose(&worker);
    }

    /// A lost worker, which still ran, has stopped.
    #[signal(name = "stopped")]
    pub(crate) fn stopped(&mut self, _context: &mut SyncWorkflowContext<Self>, folder: String) {
        let mut lost = self.state.lost.iter_mut();
        if let Some(lost) = lost.find(|lost| lost.id == folder) {
            lost.has_stopped = true;
        }
    }

    /// A worker begins to work. Returns what is left of each budget for others, or why it is refused.
    #[update(name = "join")]
    pub(crate) fn join(
        &mut self,
        _context: &mut SyncWorkflowContext<Self>,
        member: Member,
    ) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.state.join(member)?)
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
            .task_queue(fleet.queue(&Queue::Budget(budget)))
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
    let at = context
        .workflow_time()
        .and_then(|time| Timestamp::try_from(time).ok());
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
        this.state.reconciled_at = at;
    });
    true
}
