//! `shieldcert-temporal pause`.

use clap::Args;
use shieldcert_fleet::commands::counted;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::ask::Selector;
use super::{Context, each, handle};
use crate::device::DeviceWorkflow;
use crate::failure::{ExitCode, Result};

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
    let devices = args.selector.select(context, client).await?;
    let options = WorkflowSignalOptions::default;
    each(&devices, |device| {
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
    context.note(&format!(
        "{} {done}",
        counted(devices.len() as u64, "device")
    ));
    Ok(ExitCode::Done)
}
