//! `shieldcert-temporal reconcile`.

use std::time::{Duration, Instant};

use clap::Args;
use shieldcert_fleet::parse_duration;
use temporalio_client::{Client, WorkflowSignalOptions};

use super::status::zones;
use super::{Context, fleet_state, no_fleet};
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::names::Queue;
use crate::output::{print, row};
use crate::pollers::Pollers;

/// Compare the zones with the devices now, and not only at intervals
///
/// What is found for a CSR of a device, and is not its certificate, is revoked by the device's workflow.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Wait no longer than this until the zones are read
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
}

/// Parses how often the zones are compared with the devices.
pub(crate) fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    const MIN: Duration = Duration::from_secs(60);
    match parse_duration(text)? {
        interval if interval < MIN => {
            Err("write 1m or more, since each time every zone is listed".to_owned())
        }
        interval => Ok(interval),
    }
}

pub(crate) async fn run(context: &Context, client: &Client, args: ReconcileArgs) -> Result {
    let pollers = Pollers::new(client, &context.name);
    let fleet = fleet_state(&pollers).await?;
    let before = fleet.ok_or_else(|| no_fleet(&context.name))?.rounds;
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
        let fleet = fleet_state(&pollers).await?;
        let fleet = fleet.ok_or_else(|| no_fleet(&context.name))?;
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
            let mut message =
                "the zones are not read yet; `shieldcert-temporal status` shows when they are"
                    .to_owned();
            let mut pollers = Pollers::new(client, &context.name);
            pollers.set_members(&fleet);
            for budget in fleet.budgets() {
                let queue = Queue::Budget(budget.to_owned());
                if !pollers.is_polled(&queue).await? {
                    message = format!("the zones are not read yet: {}", pollers.hint(&queue));
                }
            }
            return Err(Failure::new(ExitCode::TimedOut, message));
        }
    }
}
