//! `shieldcert fleet plan`.

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use shieldcert_fleet::commands::{PlanRow, PlanSummaryRow, counted, plan_facts};
use shieldcert_fleet::{Plan as FleetPlan, PlanEntry};

use super::{InFolder, failure, open, refresh, simulate, warn_if_restored};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::facts::Facts;
use crate::output::format::Format;
use crate::output::printer::Printer;

/// Show what is to be done in a fleet
///
/// Compares the manifest with the journal, and says what `apply` would do, in how many requests, and how long these take
/// under the rate limit. Nothing is changed. One request for each budget tells the service's time.
///
/// Without --output it prints the plan in numbers, and the first devices that change. With --output or --fields it prints
/// a row for each device, or with --summary the numbers.
///
/// With --refresh it also compares the journal with what the zones hold, and with the files. With --simulate it runs a
/// year of the fleet in simulated time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors plan
  shieldcert fleet plan --output csv --fields device,action,reason,due
  shieldcert fleet plan --output json --summary | jq .renewals
  shieldcert fleet plan --refresh
  shieldcert fleet plan --refresh --findings --output csv > findings.csv
  shieldcert fleet plan --simulate --devices 1000000
  shieldcert fleet plan --quiet --detailed-exit-code > plan.txt; [ $? -eq 10 ] || mail -s 'fleet' ops < plan.txt")]
pub(crate) struct Plan {
    /// Print the numbers, and no devices
    #[arg(long)]
    summary: bool,

    /// End with 10 if nothing is due
    #[arg(long)]
    detailed_exit_code: bool,

    #[command(flatten)]
    refresh: refresh::RefreshArgs,

    #[command(flatten)]
    simulate: simulate::SimulateArgs,
}

/// How many devices are shown beside the numbers.
const MAX_SHOWN: usize = 20;

impl InFolder for Plan {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        if self.simulate.is_given() {
            return self.simulate.run(context, &fleet);
        }
        if self.refresh.wants_findings() {
            return refresh::print_findings(context, &fleet).await;
        }
        if let Ok(journal) = fleet.journal() {
            warn_if_restored(context, journal.is_restored()?);
        }
        let prints_rows = context.has_chosen_output() && !self.summary;
        // With --summary, --fields are those of the numbers.
        let mut printer: Option<Printer<PlanRow>> = match self.summary {
            true => None,
            false => Some(context.printer_or(Format::Table)?),
        };
        let mut printed = Ok(());
        let mut shown = Vec::new();
        let plan = fleet
            .plan(|entry: PlanEntry| {
                if let Some(printer) = printer.as_mut().filter(|_| prints_rows) {
                    if printed.is_ok() {
                        printed = printer.print(&PlanRow::from(&entry), Timestamp::UNIX_EPOCH);
                    }
                } else if entry.action.is_change() && shown.len() < MAX_SHOWN {
                    shown.push(PlanRow::from(&entry));
                }
            })
            .await
            .map_err(|error| failure(context, error))?;
        printed?;
        match printer {
            Some(mut printer) if prints_rows => printer.finish()?,
            None if context.has_chosen_output() => print_summary(context, &plan)?,
            printer => {
                describe(&plan).print(&context.output(Format::Table))?;
                if let Some(printer) = printer.filter(|_| !shown.is_empty()) {
                    print_devices(printer, &shown, plan.changes())?;
                }
            }
        }
        warn(context, &plan);
        if self.refresh.is_given() {
            refresh::describe(context, &fleet).await?;
        }
        Ok(match self.detailed_exit_code && plan.changes() == 0 {
            true => ExitCode::NothingDue,
            false => ExitCode::Done,
        })
    }
}

fn print_summary(context: &Context, plan: &FleetPlan) -> Result<()> {
    let mut printer = context.printer_or(Format::Table)?.single();
    printer.print(&PlanSummaryRow::from(plan), plan.at)?;
    printer.finish()
}

fn print_devices(mut printer: Printer<PlanRow>, shown: &[PlanRow], changes: u64) -> Result<()> {
    line("")?;
    for row in shown {
        printer.print(row, Timestamp::UNIX_EPOCH)?;
    }
    printer.finish()?;
    let more = changes.saturating_sub(shown.len() as u64);
    match more {
        0 => Ok(()),
        more => line(&format!("and {more} more, which --output table shows")),
    }
}

pub(super) fn line(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::output(&error))
}

/// The plan in numbers, for people.
pub(crate) fn describe(plan: &FleetPlan) -> Facts {
    plan_facts(plan).into()
}

/// Warns of what keeps the plan from being done.
pub(crate) fn warn(context: &Context, plan: &FleetPlan) {
    let messages = context.messages();
    for (id, zone) in &plan.zones {
        if let Some(problem) = &zone.problem {
            messages.warning(&format!("zone {id} can't be used: {problem}"));
        }
        if zone.blocked > 0 {
            messages.warning(&format!(
                "zone {id} has no place for {} in its quota of {}; they wait; revoke what is not needed, raise quota in \
                 fleet.toml if the zone has more, or add a zone",
                counted(zone.blocked, "new device"),
                zone.quota.unwrap_or_default()
            ));
        }
        let after = (zone.active + zone.issue).saturating_sub(zone.revoke);
        if let Some(quota) = zone.quota
            && after > quota
        {
            messages.warning(&format!(
                "zone {id} would have {} over its quota of {quota} by renewals, which the service may refuse; revoke what \
                 is not needed, raise quota in fleet.toml if the zone has more, or add a zone",
                counted(after - quota, "certificate")
            ));
        }
    }
    if plan.devices == 0 {
        messages.warning("the manifest has no device; nothing is revoked for that");
    }
    if !plan.is_service_time {
        messages.warning(
            "the service did not say its time: this machine's decides what is due, and revokes nothing that was replaced",
        );
    }
    if plan.left_without > plan.max_revoke {
        messages.warning(&format!(
            "apply must be told so: {}",
            context.fleet_command(&format!("apply --confirm-revoke {}", plan.left_without))
        ));
    }
}
