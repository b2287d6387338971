//! `shieldcert renew`: a thin form of the fleet engine. Each file is a device of a fleet in the user's state folder, whose
//! manifest is written anew for each run.

mod files;
mod state;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use shieldcert::{StatusFilter, X509Certificate, ZoneId};
use shieldcert_fleet::commands::{counted, under_limit};
use shieldcert_fleet::{
    AdoptBy, AdoptOutcome, Adopted, Adoptee, ApplyOptions, Ask, Config, DeviceName, Fleet,
    Generation, Hold, MaxRevoke, Snapshot, State as GenerationState, Summary, parse_duration,
};

pub(super) use self::files::lifetime;
use self::files::{Given, Spec};
use self::state::{MANIFEST, State};
use super::Run;
use super::fleet::{apply, failure};
use super::issue::parse_days;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::fleet::renewed::{RenewOutcome, RenewedRow};
use crate::output::format::Format;
use crate::output::shell::this_command;
use crate::output::time;

/// Renew certificates, with new keys for the same subjects
///
/// Each FILE holds a certificate and its private key, in PEM, as `issue` writes them. It is replaced in one step by a new key
/// and a new certificate, with permissions and owner as they were. With --if-within only what expires soon is renewed, so
/// that the command can run every day.
///
/// The old certificate stays active, unless --revoke-old-after says when it is to be revoked: by the first run after that
/// time, whatever its files are. What is to be revoked is kept in your state folder, with copies of the keys until then.
///
/// It can be killed at any instant: the same command goes on, and issues nothing twice.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert renew sensor-001.pem
  shieldcert renew ids/*.pem --if-within 30d --exec 'systemctl reload nginx' --revoke-old-after 24h
  shieldcert renew ids/*.pem --if-within 30d --exec-each './push.sh \"$SHIELDCERT_OUTPUT_FILE\"'
  shieldcert renew ids/*.pem --if-within 30d --dry-run --detailed-exit-code

Exit codes: 0 done, 7 done in part, 8 the outcome of a request is unknown, which the same command finds out.")]
pub(crate) struct Renew {
    /// Files with a certificate and its private key, in PEM
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Renew only what expires within this time, such as 30d, or has expired
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    if_within: Option<Duration>,

    /// How many days the new certificates are valid [default: as long as the old ones]
    #[arg(long, value_name = "N", value_parser = parse_days, allow_hyphen_values = true)]
    days: Option<u32>,

    /// Run this shell command once, after all files were replaced
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Run this shell command for each file that was replaced; SHIELDCERT_OUTPUT_FILE is its path
    #[arg(long, value_name = "CMD")]
    exec_each: Option<String>,

    /// Revoke the old certificate, so long after the new one is in use, such as 24h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    revoke_old_after: Option<Duration>,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// End with 10 if nothing was due
    #[arg(long)]
    detailed_exit_code: bool,
}

/// What the journal knows.
#[derive(Default)]
struct Known {
    snapshots: Vec<Snapshot>,
    by_name: HashMap<DeviceName, usize>,
    /// Of certificates that may be active.
    by_fingerprint: HashMap<String, usize>,
}

/// A file, and what is to be done about it.
struct Job {
    given: Given,
    device: DeviceName,
    /// Whether the journal has its certificate.
    is_known: bool,
    /// The fingerprint of the certificate that is, or was, to be replaced.
    before: String,
    work: Work,
    spec: Spec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Due,
    NotDue,
    /// An earlier run of the same command has renewed it, and did not get to its end.
    Done,
}

/// A file in the order in which they were named.
enum Entry {
    Job(Box<Job>),
    Failed(PathBuf, Option<String>, Failure),
}

impl Run for Renew {
    const IS_PARALLEL: bool = true;

    async fn run(self, context: &Context) -> Result {
        check_days(self.days, self.if_within)?;
        let zones = context.zone_ids()?;
        let [zone] = &zones[..] else {
            return Err(Failure::usage("--zone: give one zone"));
        };
        let (connector, base_url) = context.connector_with_credentials().await?;
        let given = self.read();
        let folder = state::folder(&base_url, zone)?;
        let mut state = match self.dry_run {
            true => None,
            false => Some(State::open(folder.clone())?),
        };
        let now = ask_time(context).await?;
        let config = self.config(&folder, zone)?;
        let base = std::env::current_dir().unwrap_or_else(|_| ".".into());
        let fleet = Fleet::with_config(&folder, base, config, connector);
        let known = Known::read(context, &fleet)?;
        let mut run = state.as_ref().map(|state| state.run(&places(&given), now));
        let before = run
            .as_ref()
            .map(|run| run.before.clone())
            .unwrap_or_default();
        let mut entries = self.prepare(given, &known, &before, now);
        self.warn(context, &entries);
        if self.dry_run {
            return self.rehearse(context, &fleet, entries, &known, now);
        }
        let rows = leftovers(&known, &entries, now);
        self.adopt(context, &fleet, &folder, &mut entries, &rows, zone)
            .await?;
        let rows = self.write_manifest(&folder, &entries, rows)?;
        if let (Some(state), Some(run)) = (&mut state, &mut run) {
            let due = jobs(&entries).filter(|job| job.work == Work::Due);
            let due: Vec<_> = due
                .map(|job| (job.device.clone(), job.before.clone()))
                .collect();
            if !due.is_empty() {
                run.before.extend(due.iter().cloned());
                state.keep(run)?;
                fleet.ask(Ask::Rotate, due.iter().map(|(device, _)| device))?;
            }
        }
        let mut summary = None;
        let is_due = jobs(&entries).any(|job| job.work == Work::Due)
            || is_revocation_due(&known, &rows, now)
            || is_owed(&fleet, now)?;
        if is_due {
            match apply::run_to_end(context, &fleet, &ApplyOptions::default()).await {
                None => return Ok(ExitCode::Interrupted),
                Some(Err(error)) => return Err(failure(context, error)),
                Some(Ok(done)) => summary = Some(done),
            }
        }
        if summary.is_some()
            && let Err(error) = fleet.remove_old_keys()
        {
            let problem = format!("keys that are not needed any more were not removed: {error}");
            context.messages().warning(&problem);
        }
        let after = Known::read(context, &fleet)?;
        let (code, is_finished) =
            self.report(context, entries, &known, &after, summary.as_ref())?;
        if let (Some(state), Some(run), true) = (&mut state, &run, is_finished) {
            state.forget(run)?;
        }
        Ok(code)
    }
}

/// Refuses new certificates that would be due at once.
pub(super) fn check_days(days: Option<u32>, if_within: Option<Duration>) -> Result<()> {
    match (days, if_within) {
        (Some(days), Some(within)) if Duration::from_secs(u64::from(days) * 86_400) <= within => {
            Err(Failure::usage(
                "--days, --if-within: the new certificates would be due at once; give more days, or a shorter time",
            ))
        }
        _ => Ok(()),
    }
}

impl Renew {
    /// Reads the files, each once.
    fn read(&self) -> Vec<(PathBuf, Result<Given>)> {
        let mut places = HashSet::new();
        let read = self
            .files
            .iter()
            .map(|path| (path.clone(), files::read(path)));
        read.filter(|(_, given)| match given {
            Ok(given) => places.insert(given.place.clone()),
            Err(_) => true,
        })
        .collect()
    }

    fn config(&self, folder: &Path, zone: &ZoneId) -> Result<Config> {
        let text = format!("[zones.main]\nid = \"{zone}\"\n");
        let mut config =
            Config::from_toml(&text).map_err(|error| Failure::failed(error.to_string()))?;
        config.devices.manifest = folder.join(MANIFEST);
        // What is due is asked for. Nothing is by its share of the lifetime.
        (config.renew.at, config.renew.jitter) = (1.0, 0.0);
        config.renew.grace = self.revoke_old_after.unwrap_or(Duration::MAX);
        config.deploy.command = self.exec_each.clone();
        config.deploy.command_once = self.exec.clone();
        config.limits.max_revoke = MaxRevoke::Count(0);
        for budget in config.budgets.values_mut() {
            budget.reserve_share = 0.0;
        }
        Ok(config)
    }

    /// Decides about each file.
    fn prepare(
        &self,
        given: Vec<(PathBuf, Result<Given>)>,
        known: &Known,
        before: &BTreeMap<DeviceName, String>,
        now: Timestamp,
    ) -> Vec<Entry> {
        let mut taken: HashMap<String, PathBuf> = HashMap::new();
        let entries = given.into_iter().map(|(path, given)| {
            let given = match given {
                Ok(given) => given,
                Err(failure) => return Entry::Failed(path, None, failure),
            };
            let name = Some(given.spec.subject.common_name.clone());
            let job = match self.job(given, known, before, now) {
                Ok(job) => job,
                Err(failure) => return Entry::Failed(path, name, failure),
            };
            let keys = [job.device.to_string(), job.given.fingerprint.clone()];
            match keys.iter().find_map(|key| taken.get(key)) {
                Some(other) => {
                    let problem = format!(
                        "{}: it holds the same certificate as {}; renew one of them, and copy it",
                        path.display(),
                        other.display()
                    );
                    Entry::Failed(path, name, Failure::failed(problem))
                }
                None => {
                    taken.extend(keys.map(|key| (key, path.clone())));
                    Entry::Job(Box::new(job))
                }
            }
        });
        entries.collect()
    }

    fn job(
        &self,
        given: Given,
        known: &Known,
        before: &BTreeMap<DeviceName, String>,
        now: Timestamp,
    ) -> Result<Job> {
        let snapshot = known.with_certificate(&given.fingerprint);
        let device = match snapshot {
            Some(snapshot) => snapshot.name.clone(),
            None => given.device(|name| known.device(name).is_some())?,
        };
        // What the journal has been asked for is as good as what the certificate shows, and stays the same.
        let asked_for = snapshot
            .and_then(|snapshot| snapshot.generations.iter().rev().find_map(live_spec))
            .unwrap_or_else(|| given.spec.clone());
        let verified = snapshot
            .and_then(verified)
            .and_then(|one| one.fingerprint.clone());
        let verified = verified.unwrap_or_else(|| given.fingerprint.clone());
        let recorded = before.get(&device);
        let is_open = snapshot.is_some_and(is_open);
        let is_soon = |end: Timestamp| match self.if_within {
            None => true,
            Some(within) => now.checked_add(within).is_ok_and(|until| end <= until),
        };
        let work = if recorded.is_some_and(|before| *before != verified) && !is_open {
            Work::Done
        } else if is_open || given.expires.is_none_or(is_soon) {
            Work::Due
        } else {
            Work::NotDue
        };
        let days = self.days.filter(|_| work == Work::Due);
        Ok(Job {
            device,
            is_known: snapshot.is_some(),
            before: recorded.cloned().unwrap_or(verified),
            work,
            spec: Spec {
                days: days.unwrap_or(asked_for.days),
                ..asked_for
            },
            given,
        })
    }

    fn warn(&self, context: &Context, entries: &[Entry]) {
        for job in jobs(entries).filter(|job| job.work == Work::Due && job.given.chain > 0) {
            context.messages().warning(&format!(
                "{}: it holds {} of its chain, which the new file does not have; `shieldcert export --add-chain` adds them",
                job.given.path.display(),
                counted(job.given.chain as u64, "certificate")
            ));
        }
    }

    fn rehearse(
        &self,
        context: &Context,
        fleet: &Fleet,
        entries: Vec<Entry>,
        known: &Known,
        now: Timestamp,
    ) -> Result {
        let due = jobs(&entries).filter(|job| job.work == Work::Due).count() as u64;
        let is_unknown = jobs(&entries).any(|job| job.work == Work::Due && !job.is_known);
        let mut codes = Vec::new();
        let mut printer = context.printer_or(Format::Table)?;
        for entry in entries {
            let row = match entry {
                Entry::Failed(path, name, failure) => {
                    codes.push(failure.code);
                    failed_row(context, &path, name, &failure)
                }
                Entry::Job(job) => {
                    let outcome = match job.work {
                        Work::Due => RenewOutcome::WouldRenew,
                        Work::NotDue | Work::Done => RenewOutcome::NotDue,
                    };
                    row(&job, known.device(&job.device), outcome, now)
                }
            };
            printer.print(&row, now)?;
        }
        printer.finish()?;
        let messages = context.messages();
        messages.note(&format!(
            "would renew {}: {}, {}",
            counted(due, "certificate"),
            counted(due, "request"),
            under_limit(fleet.time_for(due))
        ));
        if is_unknown {
            messages
                .note("not checked: whether the zone has them, which takes reading its list once");
        }
        Ok(match (codes.is_empty(), due) {
            (true, 0) if self.detailed_exit_code => ExitCode::NothingDue,
            _ => ExitCode::of_many(usize::from(due > 0), &codes),
        })
    }

    /// Takes over what the journal does not know. What the zone does not have fails.
    async fn adopt(
        &self,
        context: &Context,
        fleet: &Fleet,
        folder: &Path,
        entries: &mut [Entry],
        rows: &Rows,
        zone: &ZoneId,
    ) -> Result<()> {
        // As it is, so that its first renewal is for the reason that it is due.
        let mut all = rows.clone();
        let mut adoptees = Vec::new();
        for entry in &*entries {
            let Entry::Job(job) = entry else { continue };
            if job.is_known {
                continue;
            }
            all.insert(
                job.device.clone(),
                (job.given.spec.clone(), Some(job.given.place.clone())),
            );
            let key = job.given.key.to_pem();
            let key = shieldcert::PrivateKey::from_pem(key.as_bytes())?;
            let by =
                AdoptBy::Certificate(Box::new(job.given.certificate.clone()), Some(Box::new(key)));
            adoptees.push(Adoptee::new(job.device.clone(), by));
        }
        state::write_manifest(folder, &all)?;
        if adoptees.is_empty() {
            return Ok(());
        }
        let adopted = fleet
            .adopt(adoptees)
            .await
            .map_err(|error| failure(context, error))?;
        let adopted: HashMap<DeviceName, Adopted> = adopted
            .into_iter()
            .map(|adopted| (adopted.device.clone(), adopted))
            .collect();
        for entry in entries {
            let Entry::Job(job) = entry else { continue };
            let Some(adopted) = adopted.get(&job.device) else {
                continue;
            };
            if let Some(failure) = refused(adopted, &job.given.path, zone) {
                let name = job.given.spec.subject.common_name.clone();
                *entry = Entry::Failed(job.given.path.clone(), Some(name), failure);
            }
        }
        Ok(())
    }

    /// Writes what this run is about, and returns it.
    fn write_manifest(&self, folder: &Path, entries: &[Entry], mut rows: Rows) -> Result<Rows> {
        for job in jobs(entries) {
            let output = Some(job.given.place.clone());
            rows.insert(job.device.clone(), (job.spec.clone(), output));
        }
        state::write_manifest(folder, &rows)?;
        Ok(rows)
    }

    /// Says what came of it. Returns also whether nothing is left to do of what was due.
    fn report(
        &self,
        context: &Context,
        entries: Vec<Entry>,
        known: &Known,
        after: &Known,
        summary: Option<&Summary>,
    ) -> Result<(ExitCode, bool)> {
        // Later than the new certificates begin.
        let now = context.now();
        let mut printer = context.printer_or(Format::Table)?;
        let (mut renewed, mut not_due, mut codes) = (0_u64, 0_u64, Vec::new());
        let (mut is_finished, mut problems) = (true, Vec::new());
        for entry in entries {
            let row = match entry {
                Entry::Failed(path, name, failure) => {
                    codes.push(failure.code);
                    failed_row(context, &path, name, &failure)
                }
                Entry::Job(job) => {
                    let snapshot = after.device(&job.device);
                    let present = snapshot
                        .and_then(verified)
                        .and_then(|one| one.fingerprint.as_deref());
                    let is_renewed = present.is_some_and(|present| present != job.before)
                        && !snapshot.is_some_and(is_open);
                    match job.work {
                        Work::NotDue => {
                            not_due += 1;
                            row(&job, snapshot, RenewOutcome::NotDue, now)
                        }
                        Work::Done => {
                            renewed += 1;
                            row(&job, snapshot, RenewOutcome::Renewed, now)
                        }
                        Work::Due if is_renewed => {
                            renewed += 1;
                            let old = known.device(&job.device).and_then(verified);
                            let mut row = row(&job, snapshot, RenewOutcome::Renewed, now);
                            row.old_certificate = row.old_certificate.or_else(|| id(old));
                            row
                        }
                        Work::Due => {
                            is_finished = false;
                            let failure = held(&job.given, snapshot);
                            codes.push(failure.code);
                            let mut row = row(&job, snapshot, RenewOutcome::Failed, now);
                            row.problem = Some(failure.message.clone());
                            problems.push(failure);
                            row
                        }
                    }
                }
            };
            printer.print(&row, now)?;
        }
        printer.finish()?;
        let messages = context.messages();
        for failure in &problems {
            messages.error(failure);
        }
        let revoked = summary.map_or(0, |summary| summary.progress.revoked);
        let mut parts = vec![format!("{renewed} renewed")];
        for (count, what) in [
            (not_due, "not due"),
            (codes.len() as u64, "failed"),
            (revoked, "old ones revoked"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        messages.note(&parts.join(", "));
        if let Some((count, first)) = still_to_revoke(after, now) {
            let verb = if count == 1 { "is" } else { "are" };
            messages.note(&format!(
                "{} {verb} still to be revoked, by a run of this command after {}",
                counted(count, "old certificate"),
                time::to_seconds(first)
            ));
        }
        if let Some(owed) = summary
            .map(|summary| summary.looks_owed + summary.surplus)
            .filter(|owed| *owed > 0)
        {
            messages.note(&format!(
                "{} left after unclear requests, for the next run of this command",
                counted(owed, "look")
            ));
        }
        if !is_finished {
            messages.note(&format!("to go on, which is safe: {}", this_command()));
        }
        let is_stopped = summary.is_some_and(|summary| summary.is_stopped);
        let code = if is_stopped {
            ExitCode::Interrupted
        } else if codes.is_empty() && renewed == 0 && revoked == 0 && self.detailed_exit_code {
            ExitCode::NothingDue
        } else {
            ExitCode::of_many((renewed + not_due) as usize, &codes)
        };
        Ok((code, is_finished && !is_stopped))
    }
}

/// The rows of the manifest, and where the new certificates go.
type Rows = BTreeMap<DeviceName, (Spec, Option<PathBuf>)>;

fn jobs(entries: &[Entry]) -> impl Iterator<Item = &Job> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Job(job) => Some(&**job),
        Entry::Failed(..) => None,
    })
}

/// The files that were given, which make two runs the same.
fn places(given: &[(PathBuf, Result<Given>)]) -> Vec<PathBuf> {
    let mut places: Vec<_> = given
        .iter()
        .map(|(path, given)| {
            given
                .as_ref()
                .map_or_else(|_| path.clone(), |given| given.place.clone())
        })
        .collect();
    places.sort_unstable();
    places
}

/// Makes one request, which tells the service's time, and whether the credentials are good for anything.
async fn ask_time(context: &Context) -> Result<Timestamp> {
    let zone = context.zone().await?;
    zone.list()
        .status(StatusFilter::Active)
        .pages()
        .try_next()
        .await?;
    if context.client().await?.service_time().is_none() {
        context.messages().warning(
            "the service did not say its time: this machine's decides what is due, and revokes nothing that was replaced",
        );
    }
    Ok(context.now())
}

impl Known {
    /// Reads it. Before the first run there is nothing.
    fn read(context: &Context, fleet: &Fleet) -> Result<Self> {
        let mut known = Self::default();
        if !has_journal(fleet) {
            return Ok(known);
        }
        fleet
            .devices(|snapshot| known.add(snapshot))
            .map_err(|error| failure(context, error))?;
        Ok(known)
    }

    fn add(&mut self, snapshot: Snapshot) {
        let place = self.snapshots.len();
        self.by_name.insert(snapshot.name.clone(), place);
        let active = snapshot
            .generations
            .iter()
            .filter(|one| one.may_be_active());
        let fingerprints = active.filter_map(|one| one.fingerprint.clone());
        self.by_fingerprint
            .extend(fingerprints.map(|fingerprint| (fingerprint, place)));
        self.snapshots.push(snapshot);
    }

    fn device(&self, name: &DeviceName) -> Option<&Snapshot> {
        self.snapshots.get(*self.by_name.get(name)?)
    }

    fn with_certificate(&self, fingerprint: &str) -> Option<&Snapshot> {
        self.snapshots.get(*self.by_fingerprint.get(fingerprint)?)
    }
}

fn has_journal(fleet: &Fleet) -> bool {
    let folder = fleet.folder();
    folder.join(MANIFEST).exists() && folder.join("journal.db").exists()
}

/// Whether a look after an unclear request, or a revocation of what it has led to, is due.
fn is_owed(fleet: &Fleet, now: Timestamp) -> Result<bool> {
    if !has_journal(fleet) {
        return Ok(false);
    }
    let counts = fleet.status(|_| {})?.counts;
    Ok(counts.surplus > 0 || counts.next_look.is_some_and(|at| at <= now))
}

/// The generation in use.
fn verified(snapshot: &Snapshot) -> Option<&Generation> {
    let mut newest_first = snapshot.generations.iter().rev();
    newest_first.find(|one| one.state == GenerationState::Verified)
}

/// Whether a renewal was begun, or asked for, and is not at its end.
fn is_open(snapshot: &Snapshot) -> bool {
    let newest = snapshot.generations.last();
    let is_at_end = newest.is_none_or(|newest| {
        matches!(
            newest.state,
            GenerationState::Verified | GenerationState::Revoked | GenerationState::Abandoned
        )
    });
    !is_at_end || snapshot.ask.is_some()
}

fn live_spec(generation: &Generation) -> Option<Spec> {
    let is_over = matches!(
        generation.state,
        GenerationState::Revoked | GenerationState::Abandoned
    );
    let (subject, key, days) = generation.asked_for().filter(|_| !is_over)?;
    Some(Spec { subject, key, days })
}

fn id(generation: Option<&Generation>) -> Option<String> {
    generation?.certificate.as_ref().map(ToString::to_string)
}

/// When what was replaced is to be revoked. `None`: never.
fn revoke_at(generation: &Generation, now: Timestamp) -> Option<Timestamp> {
    const LONG: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);
    let at = generation
        .revoke_at
        .filter(|_| generation.may_be_active())?;
    (at.duration_since(now) < LONG).then_some(at)
}

/// The devices of earlier runs whose old certificates are to be revoked. Nothing else is done for them: what has expired
/// would be renewed, and what is open would be deployed with this run's command.
fn leftovers(known: &Known, entries: &[Entry], now: Timestamp) -> Rows {
    let given: HashSet<_> = jobs(entries).map(|job| &job.device).collect();
    let mut rows = Rows::new();
    for snapshot in &known.snapshots {
        let has_old = (snapshot.generations.iter()).any(|old| revoke_at(old, now).is_some());
        let Some(current) = verified(snapshot) else {
            continue;
        };
        let is_expired = current.not_after.is_none_or(|end| end <= now);
        if given.contains(&snapshot.name) || !has_old || is_expired || is_open(snapshot) {
            continue;
        }
        if let Some(spec) = live_spec(current) {
            rows.insert(snapshot.name.clone(), (spec, None));
        }
    }
    rows
}

/// Whether an old certificate of these devices is to be revoked by now.
fn is_revocation_due(known: &Known, rows: &Rows, now: Timestamp) -> bool {
    let snapshots = rows.keys().filter_map(|device| known.device(device));
    let mut times = snapshots
        .flat_map(|snapshot| &snapshot.generations)
        .filter_map(|old| revoke_at(old, now));
    times.any(|at| at <= now)
}

/// How many old certificates are still to be revoked, and when the first is.
fn still_to_revoke(known: &Known, now: Timestamp) -> Option<(u64, Timestamp)> {
    let times = (known.snapshots.iter())
        .flat_map(|snapshot| &snapshot.generations)
        .filter_map(|old| revoke_at(old, now));
    times.fold(None, |all, at| match all {
        None => Some((1, at)),
        Some((count, first)) => Some((count + 1, at.min(first))),
    })
}

/// Why a certificate can't be taken over.
fn refused(adopted: &Adopted, path: &Path, zone: &ZoneId) -> Option<Failure> {
    let path = path.display();
    let ids = || {
        let ids: Vec<_> = adopted
            .certificates
            .iter()
            .map(ToString::to_string)
            .collect();
        ids.join(", ")
    };
    Some(match adopted.outcome {
        AdoptOutcome::Managed => return None,
        AdoptOutcome::Revoked => Failure::failed(format!(
            "{path}: its certificate {} is revoked; issue a new one with `shieldcert issue`, or take it back with \
             `shieldcert reactivate`",
            ids()
        )),
        AdoptOutcome::NotFound => Failure::new(
            ExitCode::NotFound,
            format!(
                "{path}: zone {zone} does not have its certificate; give the zone that has issued it with --zone"
            ),
        ),
        AdoptOutcome::Ambiguous => Failure::failed(format!(
            "{path}: zone {zone} has several records of its certificate, {}; revoke those that are not needed",
            ids()
        )),
        _ => Failure::failed(format!(
            "{path}: an earlier run has replaced its certificate {}; issue a new one with `shieldcert issue`",
            ids()
        )),
    })
}

fn failed_row(
    context: &Context,
    path: &Path,
    name: Option<String>,
    failure: &Failure,
) -> RenewedRow {
    context.messages().error(failure);
    RenewedRow {
        file: path.display().to_string(),
        common_name: name,
        outcome: RenewOutcome::Failed,
        problem: Some(failure.message.clone()),
        certificate: None,
        old_certificate: None,
        expires: None,
        revoke_old_at: None,
    }
}

/// The row of a file, whose certificate is the one in use.
fn row(
    job: &Job,
    snapshot: Option<&Snapshot>,
    outcome: RenewOutcome,
    now: Timestamp,
) -> RenewedRow {
    let current = snapshot.and_then(verified);
    let is_renewed = outcome == RenewOutcome::Renewed;
    let old = snapshot.filter(|_| is_renewed).and_then(|snapshot| {
        let mut generations = snapshot.generations.iter();
        generations.find(|one| one.fingerprint.as_deref() == Some(&job.before))
    });
    RenewedRow {
        file: job.given.path.display().to_string(),
        common_name: Some(job.given.spec.subject.common_name.clone()),
        outcome,
        problem: None,
        certificate: id(current),
        old_certificate: match outcome {
            RenewOutcome::Renewed => id(old),
            RenewOutcome::NotDue => None,
            RenewOutcome::Failed | RenewOutcome::WouldRenew => id(current),
        },
        expires: match is_renewed {
            true => current.and_then(|current| current.not_after),
            false => job.given.expires,
        },
        revoke_old_at: old.and_then(|old| revoke_at(old, now)),
    }
}

/// Why a renewal is not at its end.
fn held(given: &Given, snapshot: Option<&Snapshot>) -> Failure {
    let newest = snapshot.and_then(|snapshot| snapshot.generations.last());
    let hold = newest.and_then(|newest| newest.hold);
    let problem = newest.and_then(|newest| newest.problem.as_deref());
    let path = given.path.display();
    let is_written = fs::read(&given.place)
        .ok()
        .and_then(|text| X509Certificate::from_pem(text).ok())
        .is_some_and(|present| {
            newest.and_then(|newest| newest.fingerprint.clone())
                == Some(present.fingerprint_sha256())
        });
    let (code, what) = match hold {
        Some(Hold::Unclear) => (
            ExitCode::OutcomeUnknown,
            "the outcome of the request is unknown",
        ),
        Some(Hold::Quota) => (
            ExitCode::Limited,
            "the zone's quota is reached; revoke what is not needed, or ask for a higher quota",
        ),
        Some(Hold::Permission) => (
            ExitCode::NotAllowed,
            "the service refuses the token; `shieldcert doctor` checks it",
        ),
        Some(Hold::DeployPaused) => (
            ExitCode::Failed,
            "the new certificate is in the file, and the command was not run, because it fails everywhere",
        ),
        _ if is_written => (
            ExitCode::Failed,
            "the new certificate is in the file, and the old one stays active",
        ),
        _ => (ExitCode::Failed, "it is not renewed yet"),
    };
    let problem = problem
        .map(|problem| format!(": {problem}"))
        .unwrap_or_default();
    Failure::new(code, format!("{path}: {what}{problem}"))
}
