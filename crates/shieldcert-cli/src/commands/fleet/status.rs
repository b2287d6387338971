//! `shieldcert fleet status`.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use shieldcert_fleet::commands::{GenerationRow, counts};
use shieldcert_fleet::{DeviceName, Hold, Snapshot, Status as FleetStatus};

use super::{InFolder, failure, open, warn_if_restored};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::facts::Facts;
use crate::output::fleet::status::StatusRow;
use crate::output::format::Format;
use crate::output::time;

/// Show what is known of a fleet, or of a device
///
/// Reads the journal alone, also while another process works on the fleet. Nothing is sent. With a name it shows every
/// generation of the device; with selectors the newest generation of each device that they select.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors status
  shieldcert fleet --dir sensors status sensor-001 --output json
  shieldcert fleet --dir sensors status --hold failed --hold unclear --output wide")]
pub(crate) struct Status {
    /// The device
    #[arg(value_name = "NAME", value_parser = parse_name, conflicts_with_all = ["labels", "holds"])]
    name: Option<DeviceName>,

    /// Devices with this label in the manifest; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,

    /// Devices that wait for this: quota, permission, csr, unclear, failed, deploy-paused, key-lost,
    /// revoked-elsewhere, missing or watched; may be repeated
    #[arg(long = "hold", value_name = "HOLD", value_parser = parse_hold)]
    holds: Vec<Hold>,
}

pub(super) fn parse_name(text: &str) -> std::result::Result<DeviceName, String> {
    text.parse()
}

fn parse_hold(text: &str) -> std::result::Result<Hold, String> {
    text.parse()
        .map_err(|_| "write quota, permission, csr, unclear, failed, deploy-paused, key-lost, revoked-elsewhere, missing or watched".to_owned())
}

impl InFolder for Status {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        if let Some(name) = &self.name {
            let Some((ask, generations)) = fleet.journal()?.generations(name)? else {
                return Err(unknown(name));
            };
            let mut rows: Vec<_> = generations
                .iter()
                .map(|generation| GenerationRow::new(name, ask, Some(generation)))
                .collect();
            if rows.is_empty() {
                rows.push(GenerationRow::new(name, ask, None));
            }
            return print(context, rows);
        }
        if !self.labels.is_empty() || !self.holds.is_empty() {
            let mut rows = Vec::new();
            if self.holds.contains(&Hold::Csr) && self.holds.len() == 1 {
                context.messages().note(&format!(
                    "devices whose first CSR is missing have no generation; `{}` shows them",
                    context.fleet_command("plan")
                ));
            }
            fleet
                .devices(|snapshot| {
                    if let Some(row) = self.select(&snapshot) {
                        rows.push(row);
                    }
                })
                .map_err(|error| failure(context, error))?;
            return print(context, rows);
        }
        let status = fleet.status(|_| {})?;
        if context.has_chosen_output() {
            let mut printer = context.printer_or(Format::Table)?.single();
            printer.print(&StatusRow::from(&status), Timestamp::UNIX_EPOCH)?;
            printer.finish()?;
        } else {
            describe(&status).print(&context.output(Format::Table))?;
        }
        warn_if_restored(context, status.counts.is_restored);
        Ok(ExitCode::Done)
    }
}

impl Status {
    fn select(&self, snapshot: &Snapshot) -> Option<GenerationRow> {
        if !self.labels.is_empty() {
            let labels = &snapshot.device.as_ref()?.labels;
            self.labels.iter().find(|label| labels.contains(label))?;
        }
        let generation = match self.holds.is_empty() {
            true => snapshot.generations.last(),
            false => Some(snapshot.generations.iter().rev().find(|generation| {
                generation
                    .hold
                    .is_some_and(|hold| self.holds.contains(&hold))
            })?),
        };
        Some(GenerationRow::new(&snapshot.name, snapshot.ask, generation))
    }
}

pub(super) fn unknown(name: &DeviceName) -> Failure {
    Failure::new(
        ExitCode::NotFound,
        format!(
            "{name}: the journal does not know it; `shieldcert fleet status` reads what was applied"
        ),
    )
}

fn print(context: &Context, rows: Vec<GenerationRow>) -> Result {
    let mut printer = context.printer_or(Format::Table)?;
    for row in rows {
        printer.print(&row, Timestamp::UNIX_EPOCH)?;
    }
    printer.finish()?;
    Ok(ExitCode::Done)
}

fn describe(status: &FleetStatus) -> Facts {
    let counts_of = &status.counts;
    let mut facts = Facts::default();
    facts.add("devices", counts_of.devices.to_string());
    let mut states: Vec<(&str, &u64)> = (counts_of.states.iter())
        .map(|(state, count)| (state.as_str(), count))
        .collect();
    if counts_of.without_generation > 0 {
        states.push(("none", &counts_of.without_generation));
    }
    facts.add("states", counts(states));
    if !counts_of.holds.is_empty() {
        facts.add("waiting", counts(&counts_of.holds));
    }
    if !counts_of.asks.is_empty() {
        facts.add("asked for", counts(&counts_of.asks));
    }
    facts.count("surplus", counts_of.surplus);
    facts.count("looks owed", counts_of.looks_owed);
    for (name, at) in [
        ("next renewal", status.next_renewal),
        ("next revocation", counts_of.next_revocation),
        ("next retry", counts_of.next_retry),
        ("next look", counts_of.next_look),
        ("next expiry", status.next_expiry),
    ] {
        if let Some(at) = at {
            let now = status.service_time.unwrap_or_else(Timestamp::now);
            facts.add(
                name,
                format!("{} ({})", time::day(at), time::relative(at, now)),
            );
        }
    }
    let worker = match status.worker {
        None => "no process".to_owned(),
        Some(0) => "a process".to_owned(),
        Some(pid) => format!("process {pid}"),
    };
    facts.add("worked on by", worker);
    facts
}
