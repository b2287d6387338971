//! `shieldcert-temporal worker`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use shieldcert::ZoneId;
use shieldcert_fleet::steps::Steps;
use shieldcert_fleet::{Config, Fleet};
use temporalio_client::errors::WorkflowUpdateError;
use temporalio_client::{
    Client, WorkflowExecuteUpdateOptions, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowQueryOptions, WorkflowSignalOptions, WorkflowStartOptions,
};
use temporalio_common::telemetry::{
    PrometheusExporterOptions, TelemetryOptions, start_prometheus_metric_exporter,
};
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::runtime::{PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result, deepest};
use crate::fleet::{FleetState, FleetWorkflow, Member, Zones};
use crate::folder_id::folder_id;
use crate::keys::{Keys, Turns};
use crate::names::{FleetName, Queue, WorkerName};
use crate::requests::Requests;

/// What a worker is started with.
pub(crate) struct Options {
    pub(crate) fleet: FleetName,
    pub(crate) worker: WorkerName,
    pub(crate) share: f64,
    /// Whether it takes devices that are pinned to no worker.
    pub(crate) takes_devices: bool,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) interval: Duration,
}

/// How long the steps in flight are given when it is stopped.
const STOPPING: Duration = Duration::from_secs(30);

/// How many workflow tasks a worker asks for at once.
const WORKFLOW_POLLERS: usize = 16;

/// How many requests may be open beside those in flight: each waits until the service has acted on it.
const MAX_OPEN: usize = 256;

/// How many steps that touch keys a worker has at once, for each of their queues.
const MAX_KEYS: usize = 16;

/// So many activities at once. Others wait at the server.
fn slots(activities: usize) -> TunerHolder {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
}

/// The zones of a configuration, and their budgets.
pub(crate) fn zones(config: &Config, interval: Duration) -> Zones {
    let zones = config.zones.values();
    Zones {
        zones: zones
            .map(|zone| (zone.id.clone(), zone.budget.clone()))
            .collect(),
        interval,
    }
}

/// Starts the workflow of the fleet, unless it is there.
pub(crate) async fn start_fleet(client: &Client, fleet: &FleetName, zones: Zones) -> Result<()> {
    let options = WorkflowStartOptions::new(fleet.queue(&Queue::Workflows), fleet.fleet_id())
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .build();
    client
        .start_workflow(
            FleetWorkflow::run,
            FleetState::new(fleet.clone(), zones),
            options,
        )
        .await
        .map(drop)
        .map_err(|error| Failure::server(format!("fleet {fleet}"), &error))
}

/// Works until it is stopped.
pub(crate) async fn run(client: Client, fleet: &Fleet, options: Options) -> Result<()> {
    let steps = Arc::new(fleet.steps(options.share)?);
    let folder = folder_id(fleet.folder())?;
    let runtime = runtime(options.metrics)?;
    let name = &options.fleet;
    start_fleet(&client, name, zones(fleet.config(), options.interval)).await?;
    let config = fleet.config();

    let mut workers = vec![worker(
        &runtime,
        &client,
        WorkerOptions::new(name.queue(&Queue::Workflows))
            .register_workflow::<DeviceWorkflow>()
            .and_then(|options| options.register_workflow::<FleetWorkflow>())
            .map_err(|error| Failure::failed(error.to_string()))?
            .client_identity_override(identity(&options))
            .max_cached_workflows(1_000)
            // After a start, and after another worker was killed, tasks come from the queue that is not sticky.
            .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(WORKFLOW_POLLERS))
            .nonsticky_to_sticky_poll_ratio(0.5)
            .graceful_shutdown_period(STOPPING)
            .build(),
    )?];
    let mut queues = vec![Queue::Worker(options.worker.clone())];
    if options.takes_devices {
        queues.push(Queue::Keys);
    }
    queues.push(Queue::Alive(options.worker.clone()));
    let turns = Arc::new(Turns::default());
    for queue in queues {
        let keys = Keys::new(steps.clone(), options.worker.clone(), turns.clone());
        let built = WorkerOptions::new(name.queue(&queue))
            .client_identity_override(identity(&options))
            .tuner(slots(MAX_KEYS))
            .register_activities(keys)
            .build();
        workers.push(worker(&runtime, &client, built)?);
    }

    let mut budgets = BTreeSet::new();
    if options.share > 0.0 {
        budgets.extend(config.zones.values().map(|zone| zone.budget.clone()));
    }
    let member = Member {
        worker: options.worker.clone(),
        folder: folder.clone(),
        share: options.share,
        budgets: budgets.clone(),
        takes_devices: options.takes_devices,
    };
    let mut running = Running::start(workers);
    // The workflow of the fleet runs here, too.
    let joined = tokio::select! {
        joined = join(&client, name, member) => joined,
        ended = running.next() => ended.and(Err(Failure::failed("the worker has ended"))),
        () = interrupted() => Ok(()),
    };
    if let Err(failure) = joined {
        running.stop();
        let _ = running.wait().await;
        return Err(failure);
    }
    for budget in &budgets {
        let built = WorkerOptions::new(name.queue(&Queue::Budget(budget.clone())))
            .client_identity_override(identity(&options))
            .register_activities(Requests::new(steps.clone(), config.limits.concurrency))
            .tuner(slots(config.limits.concurrency + MAX_OPEN))
            .build();
        running.add(worker(&runtime, &client, built)?);
    }
    tracing::info!(fleet = %name, worker = %options.worker, share = options.share, "working");
    let zones: Vec<ZoneId> = match options.share > 0.0 {
        true => config.zones.values().map(|zone| zone.id.clone()).collect(),
        false => Vec::new(),
    };
    let checked = steps.clone();
    tokio::spawn(async move { check_zones(&checked, zones).await });
    let mut outcome = Ok(());
    tokio::select! {
        ended = running.next() => ended?,
        () = interrupted() => {}
        () = removed(&client, name, &folder, &budgets) => {
            outcome = Err(Failure::failed(format!(
                "worker {} was declared lost; its devices get new keys elsewhere",
                options.worker
            )));
        }
    }
    tracing::info!("finishing what is in flight; Ctrl-C or SIGTERM again stops at once");
    running.stop();
    tokio::select! {
        ended = running.wait() => ended?,
        () = interrupted() => {
            return Err(Failure::new(
                ExitCode::Interrupted,
                "stopped at once; what was in flight goes on after its heartbeat timeout",
            ));
        }
    }
    tracing::info!(requests = steps.requests(), "stopped");
    if outcome.is_err() {
        let fleet = client.get_workflow_handle::<FleetWorkflow>(name.fleet_id());
        // Without it `worker-lost` warns that the worker may still run.
        let _ = fleet
            .signal(
                FleetWorkflow::stopped,
                folder,
                WorkflowSignalOptions::default(),
            )
            .await;
    }
    outcome
}

/// Says which zones this worker can't use, as with a token that is not right. One request tells the service's time.
async fn check_zones(steps: &Steps, zones: Vec<ZoneId>) {
    for zone in zones {
        if let Err(refusal) = steps.ask_time(&zone).await {
            let problem = refusal.problem;
            tracing::warn!(%zone, problem, "this worker can't use the zone");
        }
    }
}

/// Waits until the worker is declared lost. Says meanwhile which budgets of the fleet it sends no requests of.
async fn removed(client: &Client, fleet: &FleetName, folder: &str, budgets: &BTreeSet<String>) {
    /// How often the fleet is asked.
    const PERIOD: Duration = Duration::from_secs(5);
    let handle = client.get_workflow_handle::<FleetWorkflow>(fleet.fleet_id());
    let mut said = BTreeSet::new();
    loop {
        // Without the server, or while all workers are busy, nothing changes.
        let asked = handle.query(FleetWorkflow::state, (), WorkflowQueryOptions::default());
        if let Ok(Ok(state)) = tokio::time::timeout(PERIOD, asked).await {
            if state.is_lost(folder) {
                return;
            }
            for budget in state.budgets() {
                let is_known = budgets.is_empty() || budgets.contains(budget);
                if !is_known && said.insert(budget.to_owned()) {
                    tracing::warn!(
                        budget,
                        "fleet.toml here has no such budget, so this worker sends none of its requests"
                    );
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// What the workers for each queue have in common.
fn identity(options: &Options) -> String {
    format!("shieldcert worker {}", options.worker)
}

fn runtime(metrics: Option<SocketAddr>) -> Result<Runtime> {
    let mut telemetry = TelemetryOptions::default();
    if let Some(address) = metrics {
        let exporter = PrometheusExporterOptions::builder()
            .socket_addr(address)
            .counters_total_suffix(true)
            .unit_suffix(true)
            .use_seconds_for_durations(true)
            .build();
        let server = start_prometheus_metric_exporter(exporter).map_err(|error| {
            Failure::failed(format!(
                "--metrics {address}: {error}; give another address"
            ))
        })?;
        telemetry.metrics = Some(server.meter);
    }
    let options = RuntimeOptions::builder()
        .telemetry_options(telemetry)
        .build();
    let options = options.map_err(Failure::failed)?;
    Runtime::from_current_tokio(options).map_err(|error| Failure::failed(error.to_string()))
}

fn worker(runtime: &Runtime, client: &Client, options: WorkerOptions) -> Result<Worker> {
    Worker::new(runtime, client.clone(), options)
        .map_err(|error| Failure::failed(format!("the worker can't be made: {error}")))
}

/// Takes the worker's share of the budgets.
async fn join(client: &Client, fleet: &FleetName, member: Member) -> Result<()> {
    let handle = client.get_workflow_handle::<FleetWorkflow>(fleet.fleet_id());
    let joined = handle
        .execute_update(
            FleetWorkflow::join,
            member,
            WorkflowExecuteUpdateOptions::default(),
        )
        .await;
    match joined {
        Ok(left) => {
            tracing::info!(
                left = format!("{left:.3}"),
                "the share of each budget that no worker has"
            );
            Ok(())
        }
        Err(WorkflowUpdateError::Failed(refused)) => Err(Failure::usage(format!(
            "fleet {fleet}: {}",
            refused.message
        ))),
        Err(error) => Err(Failure::server(format!("fleet {fleet}"), &error)),
    }
}

/// Workers of one process, one for each queue.
struct Running {
    running: FuturesUnordered<LocalBoxFuture<'static, Result<()>>>,
    stops: Vec<Box<dyn Fn()>>,
}

impl Running {
    fn start(workers: Vec<Worker>) -> Self {
        let mut running = Self {
            running: FuturesUnordered::new(),
            stops: Vec::new(),
        };
        for worker in workers {
            running.add(worker);
        }
        running
    }

    fn add(&mut self, mut worker: Worker) {
        self.stops.push(Box::new(worker.shutdown_handle()));
        self.running.push(
            async move {
                let queue = worker.task_queue().to_owned();
                worker.run().await.map_err(|error| {
                    Failure::failed(format!("task queue {queue}: {}", deepest(&error)))
                })
            }
            .boxed_local(),
        );
    }

    fn stop(&self) {
        self.stops.iter().for_each(|stop| stop());
    }

    /// Runs them until one ends.
    async fn next(&mut self) -> Result<()> {
        self.running.next().await.unwrap_or(Ok(()))
    }

    /// Runs them until all have ended.
    async fn wait(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.next().await {
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
