//! `shieldcert-temporal worker-lost`.

use std::collections::BTreeSet;

use shieldcert_fleet::DeviceName;
use shieldcert_fleet::commands::counted;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::status::fleet_state;
use super::{Context, Seen, confirm, each, handle, list};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::names::WorkerName;

pub(crate) async fn run(
    context: &Context,
    client: &Client,
    worker: WorkerName,
    yes: bool,
) -> Result {
    let seen = list(client, &context.name).await?;
    let text = worker.to_string();
    let count = seen
        .iter()
        .filter(|seen| seen.worker.as_deref() == Some(&*text))
        .count();
    if count == 0 {
        check_name(context, client, &worker, &seen).await?;
    }
    if !yes {
        confirm(&format!(
            "say that worker {worker} is lost, with the keys of {}",
            counted(count as u64, "device")
        ))?;
    }
    // All of them: an older generation may be there, and visibility lags. Who has nothing there ignores it.
    let devices: Vec<DeviceName> = seen.into_iter().map(|seen| seen.device).collect();
    let options = WorkflowSignalOptions::default;
    each(&devices, |device| {
        let (handle, worker) = (handle(client, &context.name, device), worker.clone());
        async move {
            handle
                .signal(DeviceWorkflow::worker_lost, worker, options())
                .await
        }
    })
    .await?;
    client
        .get_workflow_handle::<FleetWorkflow>(context.name.fleet_id())
        .signal(FleetWorkflow::worker_lost, worker.clone(), options())
        .await
        .map_err(|error| match error {
            WorkflowInteractionError::NotFound(_) => no_fleet(context),
            other => Failure::server(&context.name, &other),
        })?;
    context.note(&format!(
        "{} had keys at {worker}, and get new ones elsewhere; `shieldcert-temporal status` shows how far it is",
        counted(count as u64, "device")
    ));
    Ok(ExitCode::Done)
}

/// A name that neither a device nor a share has is mistyped. Where no worker responds, the shares are unknown.
async fn check_name(
    context: &Context,
    client: &Client,
    worker: &WorkerName,
    seen: &[Seen],
) -> Result<()> {
    let Some(fleet) = fleet_state(context, client).await else {
        return Ok(());
    };
    if fleet.shares.contains_key(worker) {
        return Ok(());
    }
    let shares = fleet.shares.keys().map(ToString::to_string);
    let known: BTreeSet<String> = seen
        .iter()
        .filter_map(|seen| seen.worker.clone())
        .chain(shares)
        .collect();
    let known = Vec::from_iter(known).join(", ");
    Err(Failure::new(
        ExitCode::NotFound,
        format!(
            "{worker}: fleet {} has no such worker; it has {known}",
            context.name
        ),
    ))
}

fn no_fleet(context: &Context) -> Failure {
    Failure::new(
        ExitCode::NotFound,
        format!(
            "there is no fleet {} at the server; `shieldcert-temporal apply` begins it",
            context.name
        ),
    )
}
