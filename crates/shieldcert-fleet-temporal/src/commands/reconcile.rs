//! `shieldcert-temporal reconcile`.

use std::time::{Duration, Instant};

use clap::Args;
use shieldcert_fleet::parse_duration;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::Context;
use super::status::{fleet_state, zones};
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::output::{print, row};

/// Compare the zones with the devices now, and not only at intervals
///
/// What is found for a CSR of a device, and is not its certificate, is revoked by the device's workflow.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Wait no longer than this until the zones are read
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
}

pub(crate) async fn run(context: &Context, client: &Client, args: ReconcileArgs) -> Result {
    let no_worker = || {
        Failure::new(
            ExitCode::TimedOut,
            "no worker responds; start one with `shieldcert-temporal worker`",
        )
    };
    let before = fleet_state(context, client)
        .await
        .ok_or_else(no_worker)?
        .rounds;
    client
        .get_workflow_handle::<FleetWorkflow>(context.name.fleet_id())
        .signal(
            FleetWorkflow::reconcile_now,
            (),
            WorkflowSignalOptions::default(),
        )
        .await
        .map_err(|error| Failure::server(&context.name, &error))?;
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Some(fleet) = fleet_state(context, client).await else {
            return Err(no_worker());
        };
        if fleet.rounds > before {
            let zones = zones(&fleet).into_iter();
            let rows: Vec<_> = zones
                .map(|(zone, found)| {
                    let mut found = row(&found);
                    found.insert("zone_id".to_owned(), zone.as_str().into());
                    found
                })
                .collect();
            let fields = ["zone_id", "active", "suspects", "foreign", "problem"];
            print(context.output, &fields, &fields, &rows)?;
            let is_complete = fleet.last.values().all(std::result::Result::is_ok);
            return Ok(match is_complete {
                true => ExitCode::Done,
                false => ExitCode::Partial,
            });
        }
        if began.elapsed() > args.timeout {
            return Err(Failure::new(
                ExitCode::TimedOut,
                "the zones are not read yet; `shieldcert-temporal status` shows when they are",
            ));
        }
    }
}
