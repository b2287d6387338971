//! `shieldcert-temporal worker-lost`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use shieldcert_fleet::DeviceName;
use shieldcert_fleet::commands::counted;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::{Context, Seen, confirm, each, fleet_state, handle, list, no_fleet};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::names::{Queue, WorkerName};
use crate::output::{print_one, row};
use crate::pollers::Pollers;

/// What was said.
#[derive(Debug, Serialize)]
struct Lost<'a> {
    worker: &'a WorkerName,
    /// How many devices have keys there, or are pinned to it.
    devices: u64,
}

pub(crate) async fn run(
    context: &Context,
    client: &Client,
    worker: WorkerName,
    yes: bool,
) -> Result {
    let mut pollers = Pollers::new(client, &context.name);
    let seen = list(client, &context.name).await?;
    let text = worker.to_string();
    let devices = seen
        .iter()
        .filter(|seen| seen.worker.as_deref() == Some(&*text))
        .count() as u64;
    if devices == 0 {
        check_name(&pollers, &worker, &seen).await?;
    }
    let member = match fleet_state(&pollers).await {
        Ok(Some(mut fleet)) => {
            pollers.set_members(&fleet);
            fleet.members.remove(&worker)
        }
        _ => None,
    };
    let may_run = pollers.is_polled(&Queue::Alive(worker.clone())).await?;
    if !yes {
        confirm(&format!(
            "say that worker {worker} is lost, with the keys that are there; it has {}",
            counted(devices, "device")
        ))?;
    }
    let options = WorkflowSignalOptions::default;
    // First, so that it has stopped before its devices look for another worker.
    client
        .get_workflow_handle::<FleetWorkflow>(context.name.fleet_id())
        .signal(FleetWorkflow::worker_lost, worker.clone(), options())
        .await
        .map_err(|error| match error {
            WorkflowInteractionError::NotFound(_) => no_fleet(&context.name),
            other => Failure::server(&context.name, &other),
        })?;
    if may_run && let Some(member) = member {
        context.note(&format!(
            "worker {worker} has polled within the last minutes; waiting until it has stopped"
        ));
        if !has_stopped(context, client, &member.folder).await {
            context.warning(&format!(
                "worker {worker} has not said that it stopped; if its process still runs, end it"
            ));
        }
    }
    // All of them: an older generation may be there, and visibility lags. Who has nothing there ignores it.
    let all: Vec<DeviceName> = seen.into_iter().map(|seen| seen.device).collect();
    each(context, &all, |device| {
        let (handle, worker) = (handle(client, &context.name, device), worker.clone());
        async move {
            handle
                .signal(DeviceWorkflow::worker_lost, worker, options())
                .await
        }
    })
    .await?;
    context.note(&format!(
        "{} of worker {worker} told; what has keys there gets new ones elsewhere, and what a label pins to it waits for \
         another label, or for a worker {worker} with a new folder; `{}` shows how far it is",
        counted(devices, "device"),
        context.name.command("status")
    ));
    if context.output.is_some() {
        let lost = Lost {
            worker: &worker,
            devices,
        };
        let fields = ["worker", "devices"];
        print_one(context.output, &fields, &fields, row(&lost))?;
    }
    Ok(ExitCode::Done)
}

/// Waits until a lost worker says that it has stopped. Returns whether it did.
async fn has_stopped(context: &Context, client: &Client, folder: &str) -> bool {
    /// Longer than a worker takes to find out that it is lost.
    const PATIENCE: Duration = Duration::from_secs(20);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let pollers = Pollers::new(client, &context.name);
        if let Ok(Some(fleet)) = fleet_state(&pollers).await
            && fleet.has_stopped(folder)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    false
}

/// A name that neither a device nor a member of the fleet has is mistyped. Where no worker responds, the members are unknown.
async fn check_name(pollers: &Pollers<'_>, worker: &WorkerName, seen: &[Seen]) -> Result<()> {
    let fleet = match fleet_state(pollers).await {
        Ok(fleet) => fleet.ok_or_else(|| no_fleet(pollers.fleet))?,
        Err(failure) if failure.code == ExitCode::TimedOut => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if fleet.members.contains_key(worker) {
        return Ok(());
    }
    let members = fleet.members.keys().map(ToString::to_string);
    let known: BTreeSet<String> = seen
        .iter()
        .filter_map(|seen| seen.worker.clone())
        .chain(members)
        .collect();
    let known = match known.is_empty() {
        true => "none".to_owned(),
        false => Vec::from_iter(known).join(", "),
    };
    Err(Failure::new(
        ExitCode::NotFound,
        format!(
            "{worker}: fleet {} has no such worker; it has {known}",
            pollers.fleet
        ),
    ))
}
