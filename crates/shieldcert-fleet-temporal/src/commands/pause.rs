//! `shieldcert-temporal pause`.

use clap::Args;
use serde_json::Map;
use shieldcert_fleet::DeviceName;
use shieldcert_fleet::commands::counted;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::ask::Selector;
use super::{Context, each, handle};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Result};
use crate::output::print_one;

/// Begin nothing for devices, until they are resumed
///
/// A step that has begun is finished. What an operator revokes is revoked.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    selector: Selector,

    /// Go on with devices that were paused
    #[arg(long)]
    resume: bool,
}

pub(crate) async fn run(context: &Context, client: &Client, args: PauseArgs) -> Result {
    let selected = args.selector.select(context, client).await?;
    // Visibility lags: who is told twice ignores it, and is not counted.
    let changed = selected
        .iter()
        .filter(|seen| (seen.state == "paused") == args.resume)
        .count() as u64;
    if selected.is_empty() {
        context.note("no device was selected");
        return Ok(ExitCode::NotFound);
    }
    let devices: Vec<DeviceName> = selected.into_iter().map(|seen| seen.device).collect();
    let options = WorkflowSignalOptions::default;
    each(context, &devices, |device| {
        let handle = handle(client, &context.name, device);
        async move {
            handle
                .signal(DeviceWorkflow::pause, !args.resume, options())
                .await
        }
    })
    .await?;
    let done = match args.resume {
        true => "resumed",
        false => "paused",
    };
    context.note(&format!("{} {done}", counted(changed, "device")));
    if context.output.is_some() {
        let row = Map::from_iter([(done.to_owned(), changed.into())]);
        print_one(context.output, &[done], &[done], row)?;
    }
    Ok(ExitCode::Done)
}
