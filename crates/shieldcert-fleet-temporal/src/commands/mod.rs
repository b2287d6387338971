//! What the commands do: one file each, and what they have in common.

pub(crate) mod apply;
pub(crate) mod ask;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod status;
pub(crate) mod worker_lost;

use std::io::IsTerminal;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use shieldcert_fleet::commands::escape;
use shieldcert_fleet::{DeviceName, Fleet};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowQueryError};
use temporalio_client::{Client, WorkflowHandle, WorkflowListOptions, WorkflowQueryOptions};

use crate::attributes::{DUE, EXPIRES, HOLD, ROW, STATE, WORKER, read_done, read_time, read_word};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result, deepest};
use crate::names::FleetName;
use crate::output::Format;
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

/// How many calls of the server a command has in flight.
pub(crate) const IN_FLIGHT: usize = 32;

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
            // The namespace never had a fleet.
            Err(error) if deepest(&error).contains("invalid search attribute") => break,
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

pub(crate) fn handle(
    client: &Client,
    fleet: &FleetName,
    device: &DeviceName,
) -> WorkflowHandle<Client, DeviceWorkflow> {
    client.get_workflow_handle::<DeviceWorkflow>(fleet.device_id(device))
}

/// How long a worker may take to say what it knows of a device.
const QUERY: Duration = Duration::from_secs(20);

/// What the workflow of a device knows. `None`: there is no such workflow.
pub(crate) async fn state(
    client: &Client,
    fleet: &FleetName,
    device: &DeviceName,
) -> Result<Option<DeviceState>> {
    let handle = handle(client, fleet, device);
    let asked = handle.query(DeviceWorkflow::state, (), WorkflowQueryOptions::default());
    match tokio::time::timeout(QUERY, asked).await {
        Ok(Ok(state)) => Ok(Some(state)),
        Ok(Err(WorkflowQueryError::NotFound(_))) => Ok(None),
        Ok(Err(error)) => Err(Failure::server(device, &error)),
        Err(_) => Err(Failure::new(
            ExitCode::TimedOut,
            format!("{device}: no worker responds; start one with `shieldcert-temporal worker`"),
        )),
    }
}

/// Does something for each device, several at once. Returns how many workflows were not there.
pub(crate) async fn each<'a, F>(
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
    let mut missing = 0;
    while let Some((device, done)) = calls.next().await {
        match done {
            Ok(()) => {}
            Err(WorkflowInteractionError::NotFound(_)) => missing += 1,
            Err(error) => return Err(Failure::server(device, &error)),
        }
    }
    Ok(missing)
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
