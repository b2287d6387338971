//! `shieldcert-temporal apply`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, stream};
use globset::GlobMatcher;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use shieldcert_fleet::commands::{
    ApplyRow, ExitCode, FAILED_FILE, FailedRow, apply_facts, counted, failed_csv,
};
use shieldcert_fleet::steps::Policy;
use shieldcert_fleet::{
    Device, DeviceName, DeviceState as Wanted, Held, Hold, MaxRevoke, Summary, parse_duration,
};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{
    Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowSignalOptions,
    WorkflowStartOptions,
};

use super::ask::parse_glob;
use super::reconcile::parse_interval;
use super::{
    Context, Ended, ProgressNotes, Seen, confirm, each, handle, list, list_ended, pollers,
    read_manifest, state,
};
use crate::attributes::{initial, register};
use crate::device::DeviceWorkflow;
use crate::failure::{Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::names::Queue;
use crate::output::{facts, print_one, row};
use crate::pollers::{IN_FLIGHT, Pollers};
use crate::state::{DeviceState, Done, Row, WORKING};
use crate::worker::{start_fleet, zones};

/// Make the fleet what the manifest says
///
/// Begins a workflow for each new device, and tells those whose row or policy has changed. Workers do the rest. It can be
/// killed at any instant, and run again.
///
/// Devices whose row is gone are left alone. Only the state `absent` revokes. Devices that failed, or wait for something, such
/// as a worker that is not there, are in failed.csv in the fleet's folder afterwards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert-temporal --dir sensors apply
  shieldcert-temporal --dir sensors apply --no-wait
  shieldcert-temporal --dir sensors apply --yes --confirm-revoke 500 --output json
  shieldcert-temporal --dir sensors apply --retry-now --name 'gateway-*'

Exit codes: 0 everything that was due is done, 1 nothing was, 2 the manifest or an option is wrong, 6 not within --timeout, \
7 in part, 8 the outcome of a request is unknown")]
pub(crate) struct ApplyArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Revoke the certificates of this many absent devices, where that is more than max_revoke in fleet.toml
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    confirm_revoke: u64,

    /// End once the workflows know what to do, without waiting until they have done it
    #[arg(long)]
    no_wait: bool,

    /// Wait no longer than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Try steps that failed again at once, such as after a deploy command was mended
    #[arg(long)]
    retry_now: bool,

    /// With --retry-now, try only devices whose name matches at once, such as 'sensor-*'
    #[arg(long = "name", value_name = "GLOB", requires = "retry_now", value_parser = parse_glob)]
    names: Vec<GlobMatcher>,

    /// How often the zones are compared with the devices
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_interval)]
    reconcile_every: Duration,
}

/// What was done, and what is left.
#[derive(Debug, Default, Serialize)]
struct Applied {
    /// What `shieldcert fleet apply` says, too.
    #[serde(skip)]
    summary: Summary,
    /// How many devices the manifest has.
    devices: u64,
    /// How many workflows were begun.
    begun: u64,
    /// How many workflows were told of another row or policy.
    changed: u64,
    /// How many are worked on.
    working: u64,
    /// How many are paused, whether something is to be done for them or not.
    paused: u64,
    /// How many devices are not in the manifest any more. They are left alone.
    unmanaged: u64,
    /// How many devices are absent, and have no workflow.
    #[serde(skip)]
    nothing: u64,
}

/// What is printed beside the fields of `shieldcert fleet apply`.
const FIELDS: [&str; 6] = [
    "devices",
    "begun",
    "changed",
    "working",
    "paused",
    "unmanaged",
];

impl Applied {
    fn is_complete(&self) -> bool {
        self.summary.is_complete() && self.working == 0
    }

    fn row(&self) -> Map<String, Value> {
        let mut shown = row(&ApplyRow::from(&self.summary));
        shown.insert("complete".to_owned(), self.is_complete().into());
        shown.extend(row(self));
        shown
    }
}

/// How long between two looks at the search attributes.
const POLL: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: &Context, client: &Client, args: ApplyArgs) -> Result {
    let config = context.fleet.config();
    let policy = Policy::of(config);
    let rows = read_manifest(context)?;
    register(client.connection(), &client.options().namespace)
        .await
        .map_err(Failure::failed)?;
    let seen = list(client, &context.name).await?;
    let known_ended = list_ended(client, &context.name, &seen).await?;
    let mut ended = BTreeMap::new();
    let seen: HashMap<DeviceName, Seen> = seen
        .into_iter()
        .map(|seen| (seen.device.clone(), seen))
        .collect();
    check_revocations(context, &rows, &seen, &args)?;
    if rows.is_empty() {
        context.warning("the manifest has no device; nothing is revoked for that");
    }
    let wanted_zones = zones(config, args.reconcile_every);
    start_fleet(client, &context.name, wanted_zones.clone()).await?;
    client
        .get_workflow_handle::<FleetWorkflow>(context.name.fleet_id())
        .signal(
            FleetWorkflow::zones,
            wanted_zones,
            WorkflowSignalOptions::default(),
        )
        .await
        .map_err(|error| Failure::server(&context.name, &error))?;

    let mut applied = Applied {
        devices: rows.len() as u64,
        ..Applied::default()
    };
    let unmanaged: Vec<&DeviceName> = {
        let managed: BTreeSet<&str> = rows
            .iter()
            .map(|(device, _)| device.name.as_str())
            .collect();
        let gone = seen
            .values()
            .filter(|seen| !managed.contains(seen.device.as_str()));
        gone.map(|seen| &seen.device).collect()
    };
    let gone = Row {
        device: None,
        policy: policy.clone(),
        csr: None,
    };
    let gone_digest = gone.digest();
    let to_tell = unmanaged
        .iter()
        .copied()
        .filter(|device| seen[*device].row != gone_digest);
    let options = WorkflowSignalOptions::default;
    let to_tell: Vec<&DeviceName> = to_tell.collect();
    if !to_tell.is_empty() {
        context.warning(&format!(
            "{} of fleet {} not in this manifest any more: nothing is renewed for them, and nothing revoked",
            match to_tell.len() {
                1 => "1 device is".to_owned(),
                count => format!("{count} devices are"),
            },
            context.name
        ));
    }
    each(context, to_tell, |device| {
        let (handle, gone) = (handle(client, &context.name, device), gone.clone());
        async move { handle.signal(DeviceWorkflow::row, gone, options()).await }
    })
    .await?;
    applied.unmanaged = unmanaged.len() as u64;

    let mut digests = HashMap::new();
    let calls = rows.iter().map(|(device, csr)| {
        let row = Row {
            device: Some(device.clone()),
            policy: policy.clone(),
            csr: csr.clone(),
        };
        digests.insert(device.name.clone(), row.digest());
        let known = seen.get(&device.name);
        let told = tell(context, client, row, device, known);
        async move { (device, told.await) }
    });
    let calls: Vec<_> = calls.collect();
    let mut calls = stream::iter(calls).buffer_unordered(IN_FLIGHT);
    let mut progress = ProgressNotes::new();
    let mut told_count = 0;
    while let Some((device, told)) = calls.next().await {
        told_count += 1;
        progress.note(context, || {
            format!(
                "{told_count} of {} told",
                counted(applied.devices, "device")
            )
        });
        match told? {
            Told::Begun => applied.begun += 1,
            Told::Changed => applied.changed += 1,
            Told::Same => {}
            Told::Ended => {
                digests.remove(&device.name);
                let known = known_ended.get(&device.name).cloned().unwrap_or_default();
                // One that is absent has to have nothing.
                match device.state == Wanted::Absent && known.certificates.is_empty() {
                    true => applied.nothing += 1,
                    false => {
                        ended.insert(device.name.clone(), known);
                    }
                }
            }
        }
    }
    drop(calls);
    if applied.begun + applied.changed > 0 {
        context.note(&format!(
            "{} begun, {} changed",
            counted(applied.begun, "device"),
            applied.changed
        ));
    }
    let mut fleet = Managed {
        digests,
        ended,
        retries: retry(context, client, &args, &seen).await?,
        before: seen
            .into_values()
            .map(|seen| (seen.device, seen.done))
            .collect(),
        unpolled: BTreeMap::new(),
    };
    let timed_out = match args.no_wait {
        true => {
            fleet.report(&mut applied, &list(client, &context.name).await?);
            false
        }
        false => wait(context, client, &args, &mut fleet, &mut applied).await?,
    };
    show(context, &applied)?;
    if !args.no_wait
        && let Err(failure) = write_failures(context, client, &fleet).await
    {
        context.warning(&format!(
            "{FAILED_FILE} can't be written: {}",
            failure.message
        ));
    }
    Ok(match ExitCode::from(&applied.summary) {
        _ if args.no_wait => ExitCode::Done,
        _ if timed_out => ExitCode::TimedOut,
        ExitCode::Done if !applied.is_complete() => ExitCode::Partial,
        code => code,
    })
}

/// Stops where more devices would be left without a certificate than need no confirmation.
fn check_revocations(
    context: &Context,
    rows: &[(Device, Option<String>)],
    seen: &HashMap<DeviceName, Seen>,
    args: &ApplyArgs,
) -> Result<()> {
    let left_without = rows.iter().filter(|(device, _)| {
        let seen = seen.get(&device.name);
        device.state == Wanted::Absent && seen.is_some_and(|seen| seen.expires.is_some())
    });
    let left_without = left_without.count() as u64;
    let max = match context.fleet.config().limits.max_revoke {
        MaxRevoke::Count(count) => count,
        MaxRevoke::Share(share) => ((rows.len() as f64 * share) as u64).max(10),
        _ => 0,
    };
    if left_without > max.max(args.confirm_revoke) {
        return Err(Failure::usage(format!(
            "the plan revokes the last certificate of {left_without} devices, and {max} need no confirmation; check the \
             manifest, then give --confirm-revoke {left_without}, or set max_revoke in fleet.toml"
        )));
    }
    let can_ask = std::io::IsTerminal::is_terminal(&std::io::stdin());
    if left_without > 0 && !args.yes && can_ask {
        confirm(&format!(
            "revoke the certificates of {} that the manifest says are absent",
            counted(left_without, "device")
        ))?;
    }
    Ok(())
}

/// What came of telling a device's workflow.
enum Told {
    Begun,
    Changed,
    /// It knows already.
    Same,
    /// It is absent and has none, or somebody has ended it.
    Ended,
}

/// Begins the workflow of a device, or tells it what has changed.
async fn tell(
    context: &Context,
    client: &Client,
    row: Row,
    device: &Device,
    seen: Option<&Seen>,
) -> Result<Told> {
    let name = &context.name;
    let digest = row.digest();
    if seen.is_some_and(|seen| seen.row == digest) {
        return Ok(Told::Same);
    }
    let is_absent = device.state == Wanted::Absent;
    if seen.is_none() && !is_absent {
        let state = DeviceState::new(
            name.clone(),
            device.clone(),
            row.policy.clone(),
            row.csr.clone(),
        );
        let attributes = state.shown.as_ref().map(|shown| initial(name, shown));
        let options =
            WorkflowStartOptions::new(name.queue(&Queue::Workflows), name.device_id(&device.name))
                // One that has ended was ended by an operator. A second one would not know its keys.
                .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
                .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
                .maybe_search_attributes(attributes)
                .build();
        match client
            .start_workflow(DeviceWorkflow::run, state, options)
            .await
        {
            Ok(_) => return Ok(Told::Begun),
            // Visibility lags.
            Err(WorkflowStartError::AlreadyStarted { .. }) => {}
            Err(error) => return Err(Failure::server(&device.name, &error)),
        }
    }
    let told = handle(client, name, &device.name)
        .signal(DeviceWorkflow::row, row, WorkflowSignalOptions::default())
        .await;
    match told {
        Ok(()) => Ok(Told::Changed),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(Told::Ended),
        Err(error) => Err(Failure::server(&device.name, &error)),
    }
}

/// Has what failed tried again. Returns how often each device will have been told so.
async fn retry(
    context: &Context,
    client: &Client,
    args: &ApplyArgs,
    seen: &HashMap<DeviceName, Seen>,
) -> Result<HashMap<DeviceName, u64>> {
    if !args.retry_now {
        return Ok(HashMap::new());
    }
    let is_selected = |device: &DeviceName| {
        args.names.is_empty() || args.names.iter().any(|name| name.is_match(device.as_str()))
    };
    let waiting = seen
        .values()
        .filter(|seen| seen.hold.is_some() && is_selected(&seen.device));
    let retries: HashMap<DeviceName, u64> = waiting
        .map(|seen| (seen.device.clone(), seen.done.tally.retries + 1))
        .collect();
    each(context, retries.keys(), |device| {
        let handle = handle(client, &context.name, device);
        async move {
            handle
                .signal(DeviceWorkflow::retry, (), WorkflowSignalOptions::default())
                .await
        }
    })
    .await?;
    context.note(&match retries.len() as u64 {
        0 => "no device waits for the next try of a step that failed".to_owned(),
        count => format!("{} tried again at once", counted(count, "device")),
    });
    Ok(retries)
}

/// The devices of the manifest that have a workflow, or had one.
struct Managed {
    /// What their workflows were told.
    digests: HashMap<DeviceName, String>,
    /// Those whose workflows somebody has ended.
    ended: BTreeMap<DeviceName, Ended>,
    /// How often each will have been told to try again.
    retries: HashMap<DeviceName, u64>,
    /// What was done for each before.
    before: HashMap<DeviceName, Done>,
    /// The devices whose next step waits in a task queue that no worker polls.
    unpolled: BTreeMap<DeviceName, Queue>,
}

impl Managed {
    /// Counts what the search attributes show.
    fn report(&self, applied: &mut Applied, seen: &[Seen]) {
        let mut summary = Summary::default();
        summary.settled = applied.nothing;
        let done = &mut summary.progress;
        (applied.working, applied.paused) = (0, 0);
        let mut left: HashSet<&DeviceName> = self.digests.keys().collect();
        for seen in seen {
            let Some(digest) = self.digests.get(&seen.device) else {
                continue;
            };
            left.remove(&seen.device);
            let hold = (seen.hold.as_deref()).and_then(|hold| hold.parse::<Hold>().ok());
            let retries = self.retries.get(&seen.device).copied().unwrap_or_default();
            let is_told = seen.row == *digest && seen.done.tally.retries >= retries;
            applied.paused += u64::from(seen.state == "paused");
            match (seen.state.as_str(), hold) {
                _ if self.unpolled.contains_key(&seen.device) => {
                    *summary.waiting.entry(Hold::Worker).or_default() += 1;
                }
                _ if !is_told => applied.working += 1,
                ("verified" | "none", _) | ("paused", None) => summary.settled += 1,
                ("waiting" | "paused", Some(hold)) => {
                    *summary.waiting.entry(hold).or_default() += 1;
                }
                _ => applied.working += 1,
            }
            let before = self.before.get(&seen.device).copied().unwrap_or_default();
            let (now, before) = (seen.done.tally, before.tally);
            done.issued += now.issued.saturating_sub(before.issued);
            done.recovered += now.recovered.saturating_sub(before.recovered);
            done.deployed += now.deployed.saturating_sub(before.deployed);
            done.revoked += now.revoked.saturating_sub(before.revoked);
            done.failures += now.failures.saturating_sub(before.failures);
            done.requests += now.requests.saturating_sub(before.requests);
            summary.looks_owed += seen.done.looks;
            summary.surplus += seen.done.surplus;
            summary.next = summary.next.into_iter().chain(seen.due).min();
        }
        done.least_requests = done.issued + done.revoked;
        // What visibility does not show yet.
        for device in left {
            match self.unpolled.contains_key(device) {
                true => *summary.waiting.entry(Hold::Worker).or_default() += 1,
                false => applied.working += 1,
            }
        }
        if !self.ended.is_empty() {
            *summary.waiting.entry(Hold::Failed).or_default() += self.ended.len() as u64;
        }
        applied.summary = summary;
    }

    /// Finds the devices whose next step waits in a task queue that no worker polls.
    async fn find_unpolled(&mut self, pollers: &Pollers<'_>, seen: &[Seen]) -> Result<()> {
        let resting: HashSet<&DeviceName> = seen
            .iter()
            .filter(|seen| {
                seen.state != WORKING && self.digests.get(&seen.device) == Some(&seen.row)
            })
            .map(|seen| &seen.device)
            .collect();
        let working = self
            .digests
            .keys()
            .filter(|device| !resting.contains(device));
        self.unpolled = pollers.waiting(working).await?;
        Ok(())
    }
}

/// Waits until nothing is worked on. Returns whether the time was over before.
async fn wait(
    context: &Context,
    client: &Client,
    args: &ApplyArgs,
    fleet: &mut Managed,
    applied: &mut Applied,
) -> Result<bool> {
    /// After how long without progress it is asked whether workers are there.
    const PATIENCE: Duration = Duration::from_secs(20);
    let began = Instant::now();
    let mut progress = ProgressNotes::new();
    let mut warned = BTreeSet::new();
    let (mut last, mut changed) = (None, Instant::now());
    loop {
        let polled = Instant::now();
        let seen = list(client, &context.name).await?;
        let now = Some(digest(&seen));
        if last != now {
            (last, changed) = (now, Instant::now());
            fleet.unpolled.clear();
        }
        fleet.report(applied, &seen);
        let is_over = args
            .timeout
            .is_some_and(|timeout| began.elapsed() > timeout);
        if applied.working > 0 && (is_over || changed.elapsed() > PATIENCE) {
            changed = Instant::now();
            let pollers = pollers(context, client).await?;
            fleet.find_unpolled(&pollers, &seen).await?;
            fleet.report(applied, &seen);
            for queue in fleet.unpolled.values() {
                if warned.insert(queue.clone()) {
                    context.warning(&pollers.hint(queue));
                }
            }
        }
        if applied.working == 0 || is_over {
            return Ok(applied.working > 0);
        }
        progress.note(context, || {
            format!(
                "{} of {} in order",
                applied.summary.settled, applied.devices
            )
        });
        // A large fleet is not listed all the time.
        tokio::time::sleep(POLL.max(polled.elapsed() * 4)).await;
    }
}

/// What shows whether something goes on.
fn digest(seen: &[Seen]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for seen in seen {
        (&seen.device, &seen.state, &seen.hold, &seen.row).hash(&mut hasher);
        seen.done.tally.hash(&mut hasher);
    }
    hasher.finish()
}

fn show(context: &Context, applied: &Applied) -> Result<()> {
    if context.output.is_some() {
        let fields = [ApplyRow::FIELDS, &FIELDS].concat();
        return print_one(context.output, &fields, &fields, applied.row());
    }
    let mut lines = apply_facts(&applied.summary);
    for (name, count) in [("worked on", applied.working), ("paused", applied.paused)] {
        if count > 0 {
            lines.push((name, counted(count, "device")));
        }
    }
    if applied.unmanaged > 0 {
        lines.push((
            "unmanaged",
            format!("{}, not in the manifest: left alone", applied.unmanaged),
        ));
    }
    facts(&lines)
}

/// Writes `failed.csv`, or removes it. The workflows of the devices that wait are asked why.
async fn write_failures(context: &Context, client: &Client, fleet: &Managed) -> Result<()> {
    let path = context.fleet.folder().join(FAILED_FILE);
    let pollers = pollers(context, client).await?;
    let seen = list(client, &context.name).await?;
    let waiting = seen.into_iter().filter(|seen| {
        seen.hold.is_some()
            && fleet.digests.contains_key(&seen.device)
            && !fleet.unpolled.contains_key(&seen.device)
    });
    let asked = waiting.map(|seen| {
        let pollers = &pollers;
        async move {
            match state(pollers, &seen.device).await {
                Ok(state) => Ok(state.and_then(|state| state.held(Timestamp::now()))),
                // What the server shows is known without a worker.
                Err(failure) if failure.code == ExitCode::TimedOut => {
                    let hold = seen.hold.and_then(|hold| hold.parse().ok());
                    Ok(hold.map(|hold| Held::without_generation(seen.device, hold, None)))
                }
                Err(failure) => Err(failure),
            }
        }
    });
    let asked: Vec<_> = asked.collect();
    let mut asked = stream::iter(asked).buffered(IN_FLIGHT);
    let mut all = Vec::new();
    while let Some(held) = asked.next().await {
        all.extend(held?);
    }
    for (device, queue) in &fleet.unpolled {
        let problem = Some(pollers.hint(queue));
        all.push(Held::without_generation(
            device.clone(),
            Hold::Worker,
            problem,
        ));
    }
    for (device, ended) in &fleet.ended {
        let problem = Some(ended.problem());
        all.push(Held::without_generation(
            device.clone(),
            Hold::Failed,
            problem,
        ));
    }
    let mut rows = Vec::new();
    let mut examples = BTreeMap::new();
    for held in all {
        let example = match held.hold {
            Hold::Paused => Some(format!(
                "; `{}` goes on",
                context
                    .name
                    .command(&format!("pause --resume --name {}", held.device))
            )),
            Hold::Csr => Some(format!(
                "; {}: its CSR is not there, can't be read, or was used already",
                held.device
            )),
            _ => (held.problem.as_ref()).map(|problem| format!("; {}: {problem}", held.device)),
        };
        let (count, first) = examples.entry(held.hold).or_insert((0, example.clone()));
        *count += 1;
        *first = first.take().or(example);
        rows.push(FailedRow::from(held));
    }
    for (hold, (count, example)) in examples {
        let devices = counted(count, "device");
        context.warning(&format!("{devices}: {hold}{}", example.unwrap_or_default()));
    }
    let failed = |error: std::io::Error| Failure::failed(error.to_string());
    if rows.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    let text = failed_csv(rows).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(context.fleet.folder()).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    file.persist(&path)
        .map_err(|refused| failed(refused.error))?;
    context.note(&format!(
        "see {}; what failed is tried again by itself, and at once by `{}`",
        path.display(),
        context.name.command("apply --retry-now")
    ));
    Ok(())
}
