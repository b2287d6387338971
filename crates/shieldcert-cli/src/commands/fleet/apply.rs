//! `shieldcert fleet apply`, and what others that act at once have in common with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use shieldcert_fleet::commands::{
    ApplyRow, FAILED_FILE, FailedRow, apply_facts, counted, failed_csv, under_limit,
};
use shieldcert_fleet::{ApplyOptions, Error, Fleet, Hold, Plan, Progress as Done, Summary};
use tokio::sync::watch;

use super::{InFolder, failure, open, warn_if_restored};
use crate::args::selector::Pattern;
use crate::commands::confirm;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::interrupts::Interrupts;
use crate::output::facts::Facts;
use crate::output::file::{self, Existing};
use crate::output::format::Format;
use crate::output::messages::Messages;
use crate::output::progress::Progress;
use crate::output::shell::this_command;

/// Do what is due in a fleet
///
/// Issues, renews, deploys and revokes until the fleet is what the manifest says, as far as that is possible now. It can be
/// killed at any instant: the same command goes on, and issues nothing twice. One process works on a fleet at a time.
///
/// At a terminal it shows the plan, and asks before it revokes. Devices that failed, or wait for something, are in
/// failed.csv in the fleet's folder afterwards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors apply
  shieldcert fleet --dir sensors apply --yes --output json
  shieldcert fleet --dir sensors apply --confirm-revoke 500
  shieldcert fleet --dir sensors apply --retry-now --name 'gateway-*'

Exit codes: 0 everything that was due is done, 7 in part, 8 the outcome of a request is unknown, which the same command \
finds out.")]
pub(crate) struct Apply {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Revoke the certificates of this many absent devices, where that is more than max_revoke in fleet.toml
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    confirm_revoke: u64,

    /// Let a journal that was opened from a backup revoke from now on
    #[arg(long)]
    confirm_restored: bool,

    /// Compare the journal with the zones and the files first, which lists each zone once
    #[arg(long)]
    refresh: bool,

    /// Try steps that failed again at once, such as after a deploy command was mended
    #[arg(long)]
    retry_now: bool,

    /// With --retry-now, try only devices whose name matches at once, such as 'sensor-*'
    #[arg(long = "name", value_name = "GLOB", requires = "retry_now")]
    names: Vec<Pattern>,

    /// End without waiting for the looks after unclear requests, which the next run makes
    #[arg(long)]
    no_wait: bool,
}

impl InFolder for Apply {
    const IS_PARALLEL: bool = true;

    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        if self.retry_now && self.retry(context, &fleet)? {
            return Ok(ExitCode::Done);
        }
        let mut options = ApplyOptions::default();
        options.confirmed_revocations = self.confirm_revoke;
        options.confirm_restored = self.confirm_restored;
        options.skip_reconciliation = self.no_wait;
        options.refresh = self.refresh;
        if !self.yes && confirm::can_ask() {
            let plan = fleet
                .plan(|_| {})
                .await
                .map_err(|error| failure(context, error))?;
            let is_restored = fleet.journal().and_then(|journal| journal.is_restored());
            // What a comparison finds is not in the plan.
            let is_whole = !self.refresh && !is_restored.unwrap_or_default();
            let confirmed = agree(context, &plan, is_whole)?;
            options.confirmed_revocations = options.confirmed_revocations.max(confirmed);
        }
        apply(context, &fleet, &options, &failed_file(&fleet)).await
    }
}

impl Apply {
    /// Has what failed tried again. Returns whether another process works on the fleet, and does it.
    fn retry(&self, context: &Context, fleet: &Fleet) -> Result<bool> {
        let count = fleet.retry_now(|name| {
            let name = Some(name.as_str());
            self.names.is_empty() || self.names.iter().any(|glob| glob.matches(name))
        })?;
        context.messages().note(&match count {
            0 => "no device waits for the next try of a step that failed".to_owned(),
            count => format!("{} tried again at once", counted(count, "device")),
        });
        let worker = fleet.worker();
        if worker.is_some() {
            say_who_works(context, worker);
        }
        Ok(worker.is_some())
    }
}

/// Says that another process does what was asked for.
pub(super) fn say_who_works(context: &Context, worker: Option<u32>) {
    let process = match worker {
        Some(pid) if pid > 0 => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    context.messages().note(&format!(
        "{process} works on this fleet and does it, or else the next run does; `{}` shows how far it is",
        context.fleet_command("status")
    ));
}

/// The file that has the devices that failed or wait.
pub(super) fn failed_file(fleet: &Fleet) -> PathBuf {
    fleet.folder().join(FAILED_FILE)
}

/// Shows the plan. Asks where it revokes. Returns how many devices may be left without a certificate.
fn agree(context: &Context, plan: &Plan, is_whole: bool) -> Result<u64> {
    let messages = context.messages();
    let revocations: u64 = plan.zones.values().map(|zone| zone.revoke).sum();
    let issued: u64 = plan.zones.values().map(|zone| zone.issue).sum();
    let mut parts = Vec::new();
    if issued > 0 {
        parts.push(format!("issue {}", counted(issued, "certificate")));
    }
    if revocations > 0 {
        parts.push(format!("revoke {revocations}"));
    }
    if parts.is_empty() {
        match plan.changes() {
            0 if is_whole => messages.note("nothing is due"),
            0 => {}
            _ => messages.note("finish what was begun"),
        }
        return Ok(0);
    }
    messages.note(&format!(
        "{}: {}, {}",
        parts.join(", "),
        counted(plan.requests, "request"),
        under_limit(plan.duration())
    ));
    if revocations == 0 {
        return Ok(0);
    }
    if plan.left_without > 0 {
        messages.note(&format!(
            "this leaves {} that the manifest says are absent without a certificate",
            counted(plan.left_without, "device")
        ));
    }
    confirm::ask(revocations, "revoke them")?;
    Ok(plan.left_without)
}

/// Applies, and says what was done. Devices that failed or wait are written to the file `failed`.
pub(crate) async fn apply(
    context: &Context,
    fleet: &Fleet,
    options: &ApplyOptions,
    failed: &Path,
) -> Result {
    let ran = attempt(context, fleet, options, failed).await?;
    match ran {
        Ok(code) => Ok(code),
        Err(error) => Err(failure(context, error)),
    }
}

/// Like [`apply`], but an error of the fleet is the caller's to handle.
pub(super) async fn attempt(
    context: &Context,
    fleet: &Fleet,
    options: &ApplyOptions,
    failed: &Path,
) -> Result<std::result::Result<ExitCode, Error>> {
    let Some(ran) = run_to_end(context, fleet, options).await else {
        return Ok(Ok(ExitCode::Interrupted));
    };
    let summary = match ran {
        Ok(summary) => summary,
        Err(error) => return Ok(Err(error)),
    };
    print(context, &summary)?;
    let examples = match write_failures(fleet, &summary, failed) {
        Ok(examples) => examples,
        Err(failure) => {
            context.messages().error(&failure);
            BTreeMap::new()
        }
    };
    advise(context, failed, &summary, &examples);
    if let Ok(journal) = fleet.journal()
        && let Ok(is_restored) = journal.is_restored()
    {
        warn_if_restored(context, is_restored);
    }
    Ok(Ok(ExitCode::from(&summary)))
}

/// Applies, and shows how far it is. `None`: it was interrupted twice.
pub(crate) async fn run_to_end(
    context: &Context,
    fleet: &Fleet,
    options: &ApplyOptions,
) -> Option<std::result::Result<Summary, Error>> {
    let messages = context.messages();
    let (stop, stopped) = watch::channel(false);
    let mut interrupts = Interrupts::listen();
    let mut report = Report::new(messages);
    let applied = {
        let mut applying = pin!(fleet.apply(options, stopped, |done| report.show(done)));
        loop {
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    if *stop.borrow() {
                        messages.note(&format!("to go on, which is safe: {}", go_on(&this_command())));
                        return None;
                    }
                    stop.send_replace(true);
                    messages.note("finishing what is in flight; Ctrl-C again stops at once");
                }
                applied = &mut applying => break applied,
            }
        }
    };
    drop(report);
    Some(applied)
}

fn print(context: &Context, summary: &Summary) -> Result<()> {
    if context.has_chosen_output() {
        let mut printer = context.printer_or(Format::Table)?.single();
        printer.print(&ApplyRow::from(summary), summary.next.unwrap_or_default())?;
        return printer.finish();
    }
    Facts::from(apply_facts(summary)).print(&context.output(Format::Table))
}

/// Writes `failed.csv`, or removes it. Returns a problem for each kind of wait.
fn write_failures(fleet: &Fleet, summary: &Summary, path: &Path) -> Result<BTreeMap<Hold, String>> {
    let mut examples = BTreeMap::new();
    let mut rows = Vec::new();
    if !summary.waiting.is_empty() {
        fleet.held(|held| {
            if let Some(problem) = &held.problem {
                examples
                    .entry(held.hold)
                    .or_insert_with(|| format!("{}: {problem}", held.device));
            }
            rows.push(FailedRow::from(held));
        })?;
    }
    if rows.is_empty() {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file(path, &error))
            }
            _ => Ok(examples),
        };
    }
    let text = failed_csv(rows).map_err(|error| Failure::file(path, &error))?;
    file::write(path, &text, Existing::Replace)?;
    Ok(examples)
}

/// Says what is left, and what to do about it.
fn advise(context: &Context, failed: &Path, summary: &Summary, examples: &BTreeMap<Hold, String>) {
    let messages = context.messages();
    for (zone, problem) in &summary.unusable_zones {
        messages.warning(&format!("zone {zone} can't be used: {problem}"));
    }
    for (hold, count) in &summary.waiting {
        let devices = counted(*count, "device");
        let example = examples.get(hold);
        let text = match hold {
            // It says what to do.
            Hold::Quota if example.is_some_and(|problem| problem.contains("fleet.toml")) => {
                format!("{devices}: the zone's quota is reached")
            }
            Hold::Quota => format!(
                "{devices}: the zone's quota is reached; revoke what is not needed, ask for a higher quota, or add a zone \
                 to fleet.toml"
            ),
            Hold::Permission => format!(
                "{devices}: the service refuses the token, or there is none; `shieldcert doctor` checks it"
            ),
            Hold::Csr => format!("{devices}: the device's CSR is not there, or was used already"),
            Hold::Unclear => format!("{devices}: the outcome of the request is unknown"),
            Hold::DeployPaused => {
                format!(
                    "{devices}: deployment is paused, because the deploy command fails everywhere"
                )
            }
            Hold::Failed if context.is_about_fleet() => format!(
                "{devices}: a step failed, and is tried again later, or at once by `{}`",
                context.fleet_command("apply --retry-now")
            ),
            _ => format!("{devices}: a step failed, and is tried again later"),
        };
        let example = example.map(|problem| format!("; {problem}"));
        messages.warning(&format!("{text}{}", example.unwrap_or_default()));
    }
    if !summary.waiting.is_empty() {
        let shown = failed.strip_prefix(".").unwrap_or(failed);
        messages.note(&format!("see {}", shown.display()));
    }
    if summary.is_stopped || !summary.is_complete() {
        messages.note(&format!(
            "to go on, which is safe: {}",
            go_on(&this_command())
        ));
    }
}

/// The command that goes on. What was asked for is recorded, and asking again would make another certificate.
fn go_on(command: &str) -> String {
    let asked = [" rotate", " revoke"].iter().find_map(|asked| {
        let (fleet, rest) = command.split_once(" fleet")?;
        let (options, _) = rest.split_once(asked)?;
        Some(format!("{fleet} fleet{options} apply"))
    });
    asked.unwrap_or_else(|| command.to_owned())
}

/// Shows how far a run is.
struct Report {
    messages: Messages,
    progress: Progress,
    /// Since when there are open requests, and whether that was said.
    open: Option<(Instant, bool)>,
}

/// After this time an open request was not found by the first look.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Report {
    fn new(messages: &Messages) -> Self {
        Self {
            messages: messages.clone(),
            progress: Progress::start_detailed(messages, "done"),
            open: None,
        }
    }

    fn show(&mut self, done: &Done) {
        if let Some(wait) = done.rate_limit_wait {
            let seconds = wait.as_secs_f64().ceil();
            self.messages
                .note(&format!("waiting {seconds} s for the rate limit"));
        }
        if let Some(wait) = done.look_wait {
            let seconds = wait.as_secs_f64().ceil();
            self.messages.note(&format!(
                "looking again in {seconds} s for late certificates; Ctrl-C leaves that to the next run"
            ));
        }
        let mut detail = format!(
            "{} of at least {} requests used",
            done.requests, done.least_requests
        );
        if let Some(wait) = self.open_wait(done) {
            let open = counted(done.open_requests, "open request");
            let seconds = wait.as_secs_f64().ceil();
            detail = format!("{detail}, {open} can have settled in {seconds} s");
        }
        if done.failures > 0 {
            detail = format!("{} failed, {detail}", done.failures);
        }
        self.progress.set(done.devices_done, done.devices, &detail);
    }

    /// How long it takes until open requests can have settled. Says so once.
    fn open_wait(&mut self, done: &Done) -> Option<Duration> {
        let Some(wait) = done.open_wait.filter(|wait| !wait.is_zero()) else {
            self.open = None;
            return None;
        };
        let (since, is_said) = self.open.get_or_insert((Instant::now(), false));
        if !*is_said && since.elapsed() >= FIRST_LOOK {
            *is_said = true;
            let count = done.open_requests;
            let (verb, they) = if count == 1 {
                ("is", "it")
            } else {
                ("are", "they")
            };
            self.messages.note(&format!(
                "{} without a response {verb} open: waiting {} s until {they} can have settled",
                counted(count, "request"),
                wait.as_secs_f64().ceil()
            ));
        }
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_not_asked_for_again() {
        for (command, expected) in [
            (
                "shieldcert fleet apply --yes",
                "shieldcert fleet apply --yes",
            ),
            (
                "shieldcert --local fleet --dir demo rotate --label m --yes",
                "shieldcert --local fleet --dir demo apply",
            ),
            ("shieldcert fleet revoke --name a", "shieldcert fleet apply"),
            ("shieldcert renew a.pem", "shieldcert renew a.pem"),
        ] {
            assert_eq!(go_on(command), expected);
        }
    }
}
