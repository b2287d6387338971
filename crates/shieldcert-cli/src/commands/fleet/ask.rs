//! `shieldcert fleet rotate` and `shieldcert fleet revoke`: what operators ask for now.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use shieldcert_fleet::commands::{counted, under_limit};
use shieldcert_fleet::{
    ApplyOptions, Ask, DeviceName, DeviceState, Error, Fleet, Generation, Snapshot,
};

use super::apply::{attempt, failed_file, say_who_works};
use super::{InFolder, failure, open};
use crate::args::selector::Pattern;
use crate::commands::confirm;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::fleet::device::DeviceRow;
use crate::output::format::Format;
use crate::output::time;

/// Give devices new keys and certificates
///
/// The old certificate of each is revoked after the grace period of fleet.toml, once the new one is verified. With --now,
/// for keys that have leaked, it is revoked first, before everything else.
///
/// If another process works on the fleet, it does this; otherwise it is done at once, as `apply` does it. It can be killed:
/// what was asked for is done by the next run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors rotate --label ground-floor --dry-run
  shieldcert fleet --dir sensors rotate --name sensor-001 --now")]
pub(crate) struct Rotate {
    #[command(flatten)]
    args: AskArgs,
}

/// Revoke the certificates of devices
///
/// They get no others until `fleet rotate` asks for them. To retire a device, write `absent` into its row of the manifest
/// instead. With --now, for keys that have leaked, they come before everything else.
///
/// If another process works on the fleet, it does this; otherwise it is done at once, as `apply` does it. It can be killed:
/// what was asked for is done by the next run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors revoke --name 'gateway-*' --dry-run
  shieldcert fleet --dir sensors revoke --name sensor-001 --now --yes")]
pub(crate) struct Revoke {
    #[command(flatten)]
    args: AskArgs,
}

#[derive(Debug, Args)]
struct AskArgs {
    /// Devices with this label in the manifest; of one that is repeated, any
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,

    /// Devices whose name matches, such as 'sensor-*'; with --label, both must match
    #[arg(long = "name", value_name = "GLOB")]
    names: Vec<Pattern>,

    /// All devices
    #[arg(long, conflicts_with_all = ["labels", "names"])]
    all: bool,

    /// The keys have leaked: there is no grace period
    #[arg(long)]
    now: bool,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl InFolder for Rotate {
    const IS_PARALLEL: bool = true;

    async fn run(self, context: &Context, folder: &Path) -> Result {
        self.args.run(context, folder, Verb::Rotate).await
    }
}

impl InFolder for Revoke {
    const IS_PARALLEL: bool = true;

    async fn run(self, context: &Context, folder: &Path) -> Result {
        self.args.run(context, folder, Verb::Revoke).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Rotate,
    Revoke,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
        }
    }

    fn ask(self, is_leak: bool) -> Ask {
        match (self, is_leak) {
            (Self::Rotate, false) => Ask::Rotate,
            (Self::Rotate, true) => Ask::RotateNow,
            (Self::Revoke, false) => Ask::Revoke,
            (Self::Revoke, true) => Ask::RevokeNow,
        }
    }
}

/// What was selected.
#[derive(Default)]
struct Selected {
    devices: Vec<DeviceName>,
    /// Certificates of these that may be active.
    certificates: u64,
    /// The rows, for a rehearsal.
    rows: Vec<DeviceRow>,
    /// Devices that the journal does not know yet.
    unknown: u64,
    /// Devices that the manifest says are absent, or does not have.
    unwanted: u64,
}

impl AskArgs {
    async fn run(self, context: &Context, folder: &Path, verb: Verb) -> Result {
        if self.labels.is_empty() && self.names.is_empty() && !self.all {
            return Err(Failure::usage(format!(
                "no device to {} was named; give --label, --name or --all",
                verb.as_str()
            )));
        }
        let fleet = open(context, folder).await?;
        let mut selected = Selected::default();
        fleet
            .devices(|snapshot| {
                if self.selects(&snapshot) {
                    selected.add(&snapshot, verb, self.dry_run);
                }
            })
            .map_err(|error| failure(context, error))?;
        let messages = context.messages();
        if selected.unknown > 0 {
            messages.note(&format!(
                "{} left out, because nothing was applied to them yet",
                counted(selected.unknown, "device")
            ));
        }
        if selected.unwanted > 0 {
            messages.note(&format!(
                "{} left out, which the manifest says are absent, or does not have",
                counted(selected.unwanted, "device")
            ));
        }
        let plan = self.describe(&fleet, &selected, verb);
        if self.dry_run {
            let mut printer = context.printer_or(Format::Table)?;
            for row in &selected.rows {
                printer.print(row, Timestamp::UNIX_EPOCH)?;
            }
            printer.finish()?;
            messages.note(&format!("would {plan}"));
            return Ok(ExitCode::Done);
        }
        if selected.devices.is_empty() {
            messages.note("no device was selected");
            return Ok(ExitCode::NotFound);
        }
        messages.note(&plan);
        self.confirm(&selected, verb)?;
        fleet.ask(verb.ask(self.now), &selected.devices)?;
        // Who works on the fleet does it. The lock says so again if somebody has just begun.
        let mut worker = fleet.worker();
        if worker.is_none() {
            let failed = failed_file(&fleet);
            match attempt(context, &fleet, &ApplyOptions::default(), &failed).await? {
                Ok(code) => return Ok(code),
                Err(Error::Locked { pid, .. }) => worker = pid,
                Err(error) => return Err(failure(context, error)),
            }
        }
        say_who_works(context, worker);
        Ok(ExitCode::Done)
    }

    fn selects(&self, snapshot: &Snapshot) -> bool {
        let labels = snapshot.device.as_ref().map(|device| &device.labels);
        let has_label = self.labels.is_empty()
            || labels.is_some_and(|own| self.labels.iter().any(|label| own.contains(label)));
        let has_name = self.names.is_empty()
            || self
                .names
                .iter()
                .any(|glob| glob.matches(Some(snapshot.name.as_str())));
        has_label && has_name
    }

    fn describe(&self, fleet: &Fleet, selected: &Selected, verb: Verb) -> String {
        let count = selected.devices.len() as u64;
        let requests = match (verb, self.now) {
            (Verb::Rotate, false) => count,
            (Verb::Rotate, true) => count + selected.certificates,
            (Verb::Revoke, _) => selected.certificates,
        };
        let mut text = format!(
            "{} {}: {}, {}",
            verb.as_str(),
            counted(count, "device"),
            counted(requests, "request"),
            under_limit(fleet.time_for(requests))
        );
        match (verb, self.now) {
            (Verb::Rotate, false) => text.push_str(&format!(
                "; {} after that the old certificates are revoked",
                time::short(fleet.config().renew.grace)
            )),
            (Verb::Rotate, true) => text.push_str("; the old certificates are revoked first"),
            (Verb::Revoke, _) => text.push_str("; they get no others until they are rotated"),
        }
        text
    }

    fn confirm(&self, selected: &Selected, verb: Verb) -> Result<()> {
        let count = selected.devices.len() as u64;
        // One device, by its name.
        let is_obvious = count == 1 && self.labels.is_empty() && !self.all;
        if self.yes || is_obvious {
            return Ok(());
        }
        if !confirm::can_ask() {
            return Err(Failure::usage(format!(
                "{} to {}: that must be confirmed, and there is no terminal to ask at; give --yes, or see them with \
                 --dry-run",
                counted(count, "device"),
                verb.as_str()
            )));
        }
        confirm::ask(count, &format!("{} them", verb.as_str()))
    }
}

impl Selected {
    fn add(&mut self, snapshot: &Snapshot, verb: Verb, is_rehearsal: bool) {
        let is_wanted = snapshot
            .device
            .as_ref()
            .is_some_and(|device| device.state == DeviceState::Present);
        if verb == Verb::Rotate && !is_wanted {
            self.unwanted += 1;
            return;
        }
        if !snapshot.is_known() {
            self.unknown += 1;
            return;
        }
        let active = snapshot.generations.iter();
        self.certificates += active.filter(|one| Generation::may_be_active(one)).count() as u64;
        self.devices.push(snapshot.name.clone());
        if is_rehearsal {
            self.rows.push(DeviceRow::from(snapshot));
        }
    }
}
