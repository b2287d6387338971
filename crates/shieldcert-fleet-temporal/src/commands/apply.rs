//! `shieldcert-temporal apply`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use shieldcert_fleet::commands::{
    ApplyRow, ExitCode, FAILED_FILE, FailedRow, apply_facts, counted, failed_csv,
};
use shieldcert_fleet::steps::Policy;
use shieldcert_fleet::{
    Device, DeviceName, DeviceState as Wanted, Hold, MaxRevoke, Summary, parse_duration,
};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{
    Client, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowSignalOptions,
    WorkflowStartOptions,
};

use super::{Context, IN_FLIGHT, Seen, confirm, each, handle, list, state};
use crate::attributes::{initial, register};
use crate::device::DeviceWorkflow;
use crate::failure::{Failure, Result};
use crate::fleet::FleetWorkflow;
use crate::output::{facts, print_one, row};
use crate::state::{DeviceState, Done, Row};
use crate::worker::{start_fleet, zones};

/// Make the fleet what the manifest says
///
/// Begins a workflow for each new device, and tells those whose row or policy has changed. Workers do the rest. It can be
/// killed at any instant, and run again.
///
/// Devices whose row is gone are left alone. Only the state `absent` revokes. Devices that failed, or wait for something, are
/// in failed.csv in the fleet's folder afterwards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert-temporal --dir sensors apply
  shieldcert-temporal --dir sensors apply --no-wait
  shieldcert-temporal --dir sensors apply --yes --confirm-revoke 500 --output json

Exit codes: 0 everything that was due is done, 6 not within --timeout, 7 in part, 8 the outcome of a request is unknown")]
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

    /// How often the zones are compared with the devices
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
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
    /// How many are paused.
    paused: u64,
    /// How many devices are not in the manifest any more. They are left alone.
    unmanaged: u64,
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
        self.summary.is_complete() && self.working + self.paused == 0
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
    let mut rows = Vec::new();
    context
        .fleet
        .read_manifest(|device, csr| rows.push((device, csr)))?;
    register(client.connection(), &client.options().namespace)
        .await
        .map_err(Failure::failed)?;
    let seen = list(client, &context.name).await?;
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
    each(to_tell, |device| {
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
        tell(context, client, row, device, known)
    });
    let calls: Vec<_> = calls.collect();
    let mut calls = stream::iter(calls).buffer_unordered(IN_FLIGHT);
    while let Some(told) = calls.next().await {
        match told? {
            Told::Begun => applied.begun += 1,
            Told::Changed => applied.changed += 1,
            Told::Same => {}
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
    let fleet = Managed {
        digests,
        before: seen
            .into_values()
            .map(|seen| (seen.device, seen.done))
            .collect(),
    };
    let timed_out = match args.no_wait {
        true => {
            fleet.report(&mut applied, &list(client, &context.name).await?);
            false
        }
        false => wait(context, client, &args, &fleet, &mut applied).await?,
    };
    show(context, &applied)?;
    if let Err(failure) = write_failures(context, client, &fleet).await {
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

enum Told {
    Begun,
    Changed,
    Same,
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
    if seen.is_none() {
        let state = DeviceState::new(
            name.clone(),
            device.clone(),
            row.policy.clone(),
            row.csr.clone(),
        );
        let attributes = state.shown.as_ref().map(|shown| initial(name, shown));
        let options = WorkflowStartOptions::new(name.workflows(), name.device_id(&device.name))
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
        Err(WorkflowInteractionError::NotFound(_)) => Err(Failure::failed(format!(
            "{}: its workflow was ended by somebody; remove its row from the manifest, give the device another name, or \
             wait until the namespace's retention period is over, and apply again",
            device.name
        ))),
        Err(error) => Err(Failure::server(&device.name, &error)),
    }
}

/// The devices of the manifest.
struct Managed {
    /// What their workflows were told.
    digests: HashMap<DeviceName, String>,
    /// What was done for each before.
    before: HashMap<DeviceName, Done>,
}

impl Managed {
    /// Counts what the search attributes show.
    fn report(&self, applied: &mut Applied, seen: &[Seen]) {
        let mut summary = Summary::default();
        let done = &mut summary.progress;
        (applied.working, applied.paused) = (0, 0);
        let mut known = 0;
        for seen in seen {
            let Some(digest) = self.digests.get(&seen.device) else {
                continue;
            };
            known += 1;
            let hold = seen
                .hold
                .as_deref()
                .and_then(|hold| hold.parse::<Hold>().ok());
            match (seen.state.as_str(), hold) {
                _ if seen.row != *digest => applied.working += 1,
                ("verified" | "none", _) => summary.settled += 1,
                ("paused", _) => applied.paused += 1,
                ("waiting", Some(hold)) => *summary.waiting.entry(hold).or_default() += 1,
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
        applied.working += (self.digests.len() as u64).saturating_sub(known);
        applied.summary = summary;
    }
}

/// Waits until nothing is worked on. Returns whether the time was over before.
async fn wait(
    context: &Context,
    client: &Client,
    args: &ApplyArgs,
    fleet: &Managed,
    applied: &mut Applied,
) -> Result<bool> {
    let began = Instant::now();
    let mut said = Instant::now();
    loop {
        let polled = Instant::now();
        fleet.report(applied, &list(client, &context.name).await?);
        if applied.working == 0 {
            return Ok(false);
        }
        if args
            .timeout
            .is_some_and(|timeout| began.elapsed() > timeout)
        {
            return Ok(true);
        }
        const SAY: Duration = Duration::from_secs(5);
        if said.elapsed() > SAY {
            said = Instant::now();
            context.note(&format!(
                "{} of {} in order",
                applied.summary.settled, applied.devices
            ));
        }
        // A large fleet is not listed all the time.
        tokio::time::sleep(POLL.max(polled.elapsed() * 4)).await;
    }
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
    let seen = list(client, &context.name).await?;
    let held = seen
        .into_iter()
        .filter(|seen| seen.hold.is_some() && fleet.digests.contains_key(&seen.device));
    let asked = held.map(|seen| async move { state(client, &context.name, &seen.device).await });
    let asked: Vec<_> = asked.collect();
    let mut asked = stream::iter(asked).buffered(IN_FLIGHT);
    let mut rows = Vec::new();
    let mut examples = BTreeMap::new();
    while let Some(state) = asked.next().await {
        let held = state?.and_then(|state| state.held(Timestamp::now()));
        if let Some(held) = held {
            let example = held.problem.as_ref();
            let example = example.map(|problem| format!("; {}: {problem}", held.device));
            let (count, first) = examples.entry(held.hold).or_insert((0, example.clone()));
            *count += 1;
            *first = first.take().or(example);
            rows.push(FailedRow::from(held));
        }
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
    context.note(&format!("see {}", path.display()));
    Ok(())
}
