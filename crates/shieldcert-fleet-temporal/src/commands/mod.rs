//! What the commands do: one file each, and what they have in common.

pub(crate) mod apply;
pub(crate) mod ask;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod status;
pub(crate) mod worker_lost;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use shieldcert_fleet::commands::{counted, escape};
use shieldcert_fleet::{Device, DeviceName, Fleet};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowQueryError};
use temporalio_client::{Client, WorkflowHandle, WorkflowListOptions, WorkflowQueryOptions};

use crate::attributes::{
    CERTIFICATES, DUE, EXPIRES, HOLD, ROW, STATE, WORKER, read_done, read_time, read_word,
};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result, deepest};
use crate::fleet::{FleetState, FleetWorkflow};
use crate::names::{FleetName, Queue, check_pins};
use crate::output::Format;
use crate::pollers::{IN_FLIGHT, Pollers};
use crate::state::{DeviceState, Done};

/// What commands have in common.
pub(crate) struct Context {
    pub(crate) name: FleetName,
    pub(crate) fleet: Fleet,
    pub(crate) output: Option<Format>,
    pub(crate) quiet: bool,
}

impl Context {
    /// Says something to people.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{}", escape(text));
        }
    }

    pub(crate) fn warning(&self, text: &str) {
        eprintln!("warning: {}", escape(text));
    }
}

/// A device as its search attributes show it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) device: DeviceName,
    pub(crate) state: String,
    pub(crate) hold: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) row: String,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) due: Option<Timestamp>,
    pub(crate) done: Done,
}

/// The devices of the fleet that the server shows.
pub(crate) async fn list(client: &Client, fleet: &FleetName) -> Result<Vec<Seen>> {
    let query = format!(
        "WorkflowType = 'device' AND ExecutionStatus = 'Running' AND ShieldcertFleet = '{fleet}'"
    );
    let mut workflows = client.list_workflows(query, WorkflowListOptions::default());
    let mut devices = Vec::new();
    while let Some(workflow) = workflows.next().await {
        let workflow = match workflow {
            Ok(workflow) => workflow,
            Err(error) if is_unknown_attribute(&error) => break,
            Err(error) => return Err(Failure::server("the list of devices", &error)),
        };
        let Some(device) = fleet.device(workflow.id()) else {
            continue;
        };
        let shown = workflow.search_attributes();
        devices.push(Seen {
            device,
            state: shown.get(&STATE).unwrap_or_default(),
            hold: read_word(&shown, &HOLD),
            worker: read_word(&shown, &WORKER),
            row: shown.get(&ROW).unwrap_or_default(),
            expires: read_time(&shown, &EXPIRES),
            due: read_time(&shown, &DUE),
            done: read_done(&shown),
        });
    }
    devices.sort_by(|one, other| one.device.as_str().cmp(other.device.as_str()));
    Ok(devices)
}

/// The rows of the manifest.
pub(crate) fn read_manifest(context: &Context) -> Result<Vec<(Device, Option<String>)>> {
    let mut rows = Vec::new();
    context
        .fleet
        .read_manifest(|device, csr| rows.push((device, csr)))?;
    let problems = rows.iter().filter_map(|(device, _)| {
        let problem = check_pins(&device.labels).err()?;
        Some(format!("{}: {problem}", device.name))
    });
    let mut problems: Vec<String> = problems.collect();
    if !problems.is_empty() {
        problems.push("nothing was done".to_owned());
        return Err(Failure::usage(problems.join("\n")));
    }
    Ok(rows)
}

/// A device whose workflow somebody has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// Its certificates that may be active.
    pub(crate) certificates: Vec<String>,
}

impl Ended {
    /// What is wrong with it, and what to do.
    pub(crate) fn problem(&self) -> String {
        let begun = "its workflow was ended by somebody; ";
        let rest = "remove its row from the manifest, give the device another name, or wait until the namespace's \
                    retention period is over, and apply again";
        match &self.certificates[..] {
            [] => format!("{begun}{rest}"),
            ids => format!(
                "{begun}revoke what it has, if it is to have none (`shieldcert revoke {}`); then {rest}",
                ids.join(" ")
            ),
        }
    }
}

/// The devices whose workflow has ended, which somebody else did.
pub(crate) async fn list_ended(
    client: &Client,
    fleet: &FleetName,
    running: &[Seen],
) -> Result<BTreeMap<DeviceName, Ended>> {
    let query = format!(
        "WorkflowType = 'device' AND ExecutionStatus != 'Running' AND ExecutionStatus != 'ContinuedAsNew' AND \
         ShieldcertFleet = '{fleet}'"
    );
    let mut ended = BTreeMap::new();
    let mut workflows = client.list_workflows(query, WorkflowListOptions::default());
    while let Some(workflow) = workflows.next().await {
        let workflow = match workflow {
            Ok(workflow) => workflow,
            Err(error) if is_unknown_attribute(&error) => break,
            Err(error) => return Err(Failure::server("the list of devices", &error)),
        };
        if let Some(device) = fleet.device(workflow.id()) {
            let shown = workflow.search_attributes();
            let certificates = shown.get(&CERTIFICATES).unwrap_or_default();
            ended.insert(device, Ended { certificates });
        }
    }
    for seen in running {
        ended.remove(&seen.device);
    }
    Ok(ended)
}

/// Whether the namespace never had a fleet.
fn is_unknown_attribute(error: &(dyn std::error::Error + 'static)) -> bool {
    deepest(error).contains("invalid search attribute")
}

pub(crate) fn handle(
    client: &Client,
    fleet: &FleetName,
    device: &DeviceName,
) -> WorkflowHandle<Client, DeviceWorkflow> {
    client.get_workflow_handle::<DeviceWorkflow>(fleet.device_id(device))
}

/// What the workflow of a device knows. `None`: there is no such workflow.
pub(crate) async fn state(
    pollers: &Pollers<'_>,
    device: &DeviceName,
) -> Result<Option<DeviceState>> {
    let handle = handle(pollers.client, pollers.fleet, device);
    let asked = handle.query(DeviceWorkflow::state, (), WorkflowQueryOptions::default());
    known(pollers, device, asked).await
}

/// What the workflow of the fleet knows. `None`: there is no such fleet.
pub(crate) async fn fleet_state(pollers: &Pollers<'_>) -> Result<Option<FleetState>> {
    let id = pollers.fleet.fleet_id();
    let handle = pollers.client.get_workflow_handle::<FleetWorkflow>(id);
    let asked = handle.query(FleetWorkflow::state, (), WorkflowQueryOptions::default());
    known(pollers, pollers.fleet, asked).await
}

/// What a workflow says. Where it does not, says whether a worker is there.
async fn known<T>(
    pollers: &Pollers<'_>,
    what: &impl std::fmt::Display,
    asked: impl Future<Output = std::result::Result<T, WorkflowQueryError>>,
) -> Result<Option<T>> {
    let was_polled = pollers.last_poll(&Queue::Workflows).await?.is_some();
    // That there is no such workflow is said without a worker.
    let timeout = Duration::from_secs(if was_polled { 10 } else { 2 });
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(known)) => Ok(Some(known)),
        Ok(Err(WorkflowQueryError::NotFound(_))) => Ok(None),
        Ok(Err(error)) => Err(Failure::server(what, &error)),
        Err(_) => Err(Failure::new(
            ExitCode::TimedOut,
            match was_polled {
                true => format!(
                    "{what}: no worker responds; they are busy, or were stopped within the last minutes; start one, or \
                     try again later"
                ),
                false => pollers.hint(&Queue::Workflows),
            },
        )),
    }
}

/// Who polls the task queues, and who is to, as far as a worker says it.
pub(crate) async fn pollers<'a>(context: &'a Context, client: &'a Client) -> Result<Pollers<'a>> {
    let mut pollers = Pollers::new(client, &context.name);
    match fleet_state(&pollers).await {
        Ok(Some(fleet)) => pollers.set_members(&fleet),
        Ok(None) => {}
        Err(failure) if failure.code == ExitCode::TimedOut => {}
        Err(failure) => return Err(failure),
    }
    Ok(pollers)
}

/// Says that there is no fleet.
pub(crate) fn no_fleet(fleet: &FleetName) -> Failure {
    Failure::new(
        ExitCode::NotFound,
        format!(
            "there is no fleet {fleet} at the server; `{}` begins it",
            fleet.command("apply")
        ),
    )
}

/// Does something for each device, several at once, and says how far it is. Returns how many workflows were not there.
pub(crate) async fn each<'a, F>(
    context: &Context,
    devices: impl IntoIterator<Item = &'a DeviceName>,
    act: impl Fn(&'a DeviceName) -> F,
) -> Result<u64>
where
    F: Future<Output = std::result::Result<(), WorkflowInteractionError>>,
{
    let calls = devices.into_iter().map(|device| {
        let call = act(device);
        async move { (device, call.await) }
    });
    let mut calls = std::pin::pin!(stream::iter(calls).buffer_unordered(IN_FLIGHT));
    let (mut missing, mut told) = (0, 0);
    let mut progress = ProgressNotes::new();
    while let Some((device, done)) = calls.next().await {
        told += 1;
        progress.note(context, || format!("{} told", counted(told, "device")));
        match done {
            Ok(()) => {}
            Err(WorkflowInteractionError::NotFound(_)) => missing += 1,
            Err(error) => return Err(Failure::server(device, &error)),
        }
    }
    Ok(missing)
}

/// Says how far something is, every few seconds.
pub(crate) struct ProgressNotes(Instant);

impl ProgressNotes {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn note(&mut self, context: &Context, text: impl FnOnce() -> String) {
        const PERIOD: Duration = Duration::from_secs(5);
        if self.0.elapsed() > PERIOD {
            self.0 = Instant::now();
            context.note(&text());
        }
    }
}

/// Asks at a terminal. Without one, an option must say it.
pub(crate) fn confirm(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question}: there is no terminal to ask; give --yes"
        )));
    }
    eprint!("{question}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Failure::new(ExitCode::Interrupted, "nothing was done")),
    }
}
