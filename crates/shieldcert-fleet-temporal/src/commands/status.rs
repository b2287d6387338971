//! `shieldcert-temporal status`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use shieldcert::ZoneId;
use shieldcert_fleet::commands::{GenerationRow, counted, counts, time};
use shieldcert_fleet::{DeviceName, Generation, Hold};
use temporalio_client::Client;

use super::{Context, Ended, fleet_state, list, list_ended, no_fleet, state};
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::FleetState;
use crate::names::Queue;
use crate::output::{facts, print, print_one, row};
use crate::pollers::Pollers;
use crate::requests::Scan;
use crate::state::{DeviceState, WORKING};

/// What a reconciliation found in a zone, or what went wrong.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ZoneFound {
    Read(Scan),
    Unread { problem: String },
}

/// What is known of a fleet.
#[derive(Debug, Default, Serialize)]
struct Status {
    /// How many devices the server shows.
    devices: u64,
    /// How many devices there are for each state.
    states: BTreeMap<String, u64>,
    /// How many devices wait for what.
    holds: BTreeMap<String, u64>,
    /// How many devices there are at each worker.
    workers: BTreeMap<String, u64>,
    /// How many devices have a workflow that somebody has ended.
    ended: u64,
    /// The share of each budget that each worker has.
    shares: BTreeMap<String, f64>,
    /// The task queues that no worker polls, and how many devices wait for that.
    unpolled: BTreeMap<String, u64>,
    /// How often the zones were reconciled.
    reconciliations: Option<u64>,
    /// When they were the last time.
    reconciled_at: Option<Timestamp>,
    /// What the last one found in each zone. `None`: no worker responds.
    zones: Option<BTreeMap<ZoneId, ZoneFound>>,
    /// When the next certificate is to be renewed.
    next_renewal: Option<Timestamp>,
    /// When the first of the certificates in use expires.
    next_expiry: Option<Timestamp>,
}

pub(crate) async fn run(
    context: &Context,
    client: &Client,
    name: Option<DeviceName>,
    labels: Vec<String>,
    holds: Vec<Hold>,
) -> Result {
    let mut pollers = Pollers::new(client, &context.name);
    if let Some(name) = name {
        let pollers = super::pollers(context, client).await?;
        let Some(state) = state(&pollers, &name).await? else {
            return Err(Failure::new(
                ExitCode::NotFound,
                format!(
                    "{name}: there is no workflow for it; `{}` begins one",
                    context.name.command("apply")
                ),
            ));
        };
        let described = pollers.describe(&name).await?;
        if described
            .as_ref()
            .is_some_and(|described| !described.is_running)
        {
            context.warning(&format!("{name}: {}", Ended::default().problem()));
        }
        let waits = described.and_then(|described| described.waits);
        let generations = state.snapshot.generations.iter();
        let mut rows: Vec<_> = generations
            .map(|generation| generation_row(&state, Some(generation)))
            .collect();
        if rows.is_empty() {
            rows.push(generation_row(&state, None));
        }
        if let (Some(queue), Some(newest)) = (waits, rows.last_mut()) {
            waits_for_worker(newest, &pollers, &queue);
        }
        print_generations(context, &rows)?;
        return Ok(ExitCode::Done);
    }
    let seen = list(client, &context.name).await?;
    if !labels.is_empty() || !holds.is_empty() {
        let mut labelled = BTreeSet::new();
        if !labels.is_empty() {
            context.fleet.read_manifest(|device, _| {
                if device.labels.iter().any(|label| labels.contains(label)) {
                    labelled.insert(device.name.to_string());
                }
            })?;
        }
        let pollers = super::pollers(context, client).await?;
        let working = seen.iter().filter(|seen| seen.state == WORKING);
        let waiting = pollers.waiting(working.map(|seen| &seen.device)).await?;
        let mut rows = Vec::new();
        for seen in seen {
            let queue = waiting.get(&seen.device);
            let has_hold = |hold: &Hold| match hold {
                Hold::Worker => queue.is_some(),
                Hold::Paused => seen.state == "paused",
                hold => seen.hold.as_deref() == Some(hold.as_str()),
            };
            let is_labelled = labels.is_empty() || labelled.contains(seen.device.as_str());
            if is_labelled
                && (holds.is_empty() || holds.iter().any(has_hold))
                && let Some(state) = state(&pollers, &seen.device).await?
            {
                let mut row = generation_row(&state, state.snapshot.generations.last());
                if let Some(queue) = queue {
                    waits_for_worker(&mut row, &pollers, queue);
                }
                rows.push(row);
            }
        }
        print_generations(context, &rows)?;
        return Ok(ExitCode::Done);
    }
    let ended = list_ended(client, &context.name, &seen).await?;
    let mut status = Status {
        devices: seen.len() as u64,
        ended: ended.len() as u64,
        ..Status::default()
    };
    let working: Vec<DeviceName> = (seen.iter())
        .filter(|seen| seen.state == WORKING)
        .map(|seen| seen.device.clone())
        .collect();
    for seen in seen {
        *status.states.entry(seen.state).or_default() += 1;
        if let Some(hold) = seen.hold {
            *status.holds.entry(hold).or_default() += 1;
        }
        if let Some(worker) = seen.worker {
            *status.workers.entry(worker).or_default() += 1;
        }
        status.next_renewal = status.next_renewal.into_iter().chain(seen.due).min();
        status.next_expiry = status.next_expiry.into_iter().chain(seen.expires).min();
    }
    status.next_renewal = status.next_renewal.map(time::to_seconds);
    let fleet = match fleet_state(&pollers).await {
        Ok(Some(fleet)) => Some(fleet),
        Ok(None) if status.devices == 0 => return Err(no_fleet(&context.name)),
        Ok(None) => None,
        Err(failure) if failure.code == ExitCode::TimedOut => {
            context.note(&format!("{}; the shares are unknown", failure.message));
            None
        }
        Err(failure) => return Err(failure),
    };
    if let Some(fleet) = &fleet {
        pollers.set_members(fleet);
        let members = fleet.members.values();
        status.shares = members
            .map(|member| (member.worker.to_string(), member.share))
            .collect();
        status.reconciliations = Some(fleet.rounds);
        status.reconciled_at = fleet.reconciled_at.map(time::to_seconds);
        status.zones = Some(zones(fleet));
    }
    let waiting = pollers.waiting(working.iter()).await?;
    if !waiting.is_empty() {
        let hold = Hold::Worker.as_str().to_owned();
        status.holds.insert(hold, waiting.len() as u64);
    }
    let mut hints = Vec::new();
    let mut queues = queues(context, fleet.as_ref(), &status);
    queues.extend(waiting.values().cloned());
    for queue in queues {
        if !pollers.is_polled(&queue).await? {
            hints.push(pollers.hint(&queue));
            let devices = waiting.values().filter(|waits| **waits == queue).count();
            let name = context.name.queue(&queue);
            status.unpolled.insert(name, devices as u64);
        }
    }
    show(context, &status)?;
    for hint in hints {
        context.warning(&hint);
    }
    Ok(ExitCode::Done)
}

fn waits_for_worker(row: &mut Map<String, Value>, pollers: &Pollers<'_>, queue: &Queue) {
    row.insert("hold".to_owned(), Hold::Worker.as_str().into());
    row.insert("problem".to_owned(), pollers.hint(queue).into());
}

/// The task queues that workers are to poll, as far as they are known.
fn queues(context: &Context, fleet: Option<&FleetState>, status: &Status) -> BTreeSet<Queue> {
    // Those that are lost poll nothing, and nothing is to wait for them.
    let members = status.shares.keys();
    let workers = members.filter_map(|worker| worker.parse().ok());
    let mut queues: BTreeSet<Queue> = workers.map(Queue::Worker).collect();
    queues.extend([Queue::Workflows, Queue::Keys]);
    let own = context.fleet.config().zones.values();
    let budgets: BTreeSet<&str> = match fleet {
        Some(fleet) => fleet.budgets(),
        None => own.map(|zone| zone.budget.as_str()).collect(),
    };
    let budgets = budgets.into_iter().map(str::to_owned);
    queues.extend(budgets.map(Queue::Budget));
    queues
}

/// What the last reconciliation found.
pub(crate) fn zones(fleet: &FleetState) -> BTreeMap<ZoneId, ZoneFound> {
    let zones = fleet.last.iter().map(|(zone, scan)| {
        let found = match scan.clone() {
            Ok(scan) => ZoneFound::Read(scan),
            Err(problem) => ZoneFound::Unread { problem },
        };
        (zone.clone(), found)
    });
    zones.collect()
}

fn generation_row(state: &DeviceState, generation: Option<&Generation>) -> Map<String, Value> {
    let snapshot = &state.snapshot;
    let mut row = row(&GenerationRow::new(
        &snapshot.name,
        snapshot.ask,
        generation,
    ));
    // What the device waits for beside what its generations say, such as an operator who has paused it.
    let newest = snapshot.generations.last().map(|newest| newest.number);
    if generation.map(|generation| generation.number) == newest
        && let Some(held) = state.held(Timestamp::now())
        && held.generation.is_none()
    {
        row.insert("hold".to_owned(), held.hold.as_str().into());
    }
    if let Some(at) = generation.and_then(|generation| generation.retry_at) {
        row.insert(
            "retry_at".to_owned(),
            time::to_seconds(at).to_string().into(),
        );
    }
    row
}

fn print_generations(context: &Context, rows: &[Map<String, Value>]) -> Result<()> {
    let columns = [
        "device",
        "generation",
        "state",
        "not_after",
        "hold",
        "retry_at",
        "problem",
    ];
    print(context.output, GenerationRow::FIELDS, &columns, rows)
}

fn show(context: &Context, status: &Status) -> Result<()> {
    if context.output.is_some() {
        let fields = [
            "devices",
            "states",
            "holds",
            "workers",
            "ended",
            "shares",
            "unpolled",
            "reconciliations",
            "reconciled_at",
            "zones",
            "next_renewal",
            "next_expiry",
        ];
        return print_one(context.output, &fields, &["devices", "states"], row(status));
    }
    let mut lines = vec![
        ("devices", status.devices.to_string()),
        ("states", counts(&status.states)),
    ];
    if !status.holds.is_empty() {
        lines.push(("waiting", counts(&status.holds)));
    }
    if !status.workers.is_empty() {
        lines.push(("at workers", counts(&status.workers)));
    }
    if !status.shares.is_empty() {
        let shares: Vec<_> = (status.shares.iter())
            .map(|(worker, share)| format!("{worker} {share}"))
            .collect();
        lines.push(("shares", shares.join(", ")));
    }
    if status.ended > 0 {
        let devices = counted(status.ended, "device");
        lines.push(("ended", format!("the workflows of {devices}")));
    }
    if !status.unpolled.is_empty() {
        let unpolled: Vec<_> = (status.unpolled.iter())
            .map(|(queue, devices)| format!("{queue} ({} waiting)", counted(*devices, "device")))
            .collect();
        lines.push(("without worker", unpolled.join(", ")));
    }
    if let Some(rounds) = status.reconciliations {
        let at = status.reconciled_at;
        let at = at.map_or_else(String::new, |at| format!(", last at {at}"));
        lines.push(("reconciled", format!("{}{at}", counted(rounds, "time"))));
    }
    for (zone, found) in status.zones.iter().flatten() {
        let found = match found {
            ZoneFound::Read(scan) => format!(
                "{} active, {} suspects, {} foreign",
                scan.active, scan.suspects, scan.foreign
            ),
            ZoneFound::Unread { problem } => problem.clone(),
        };
        lines.push(("zone", format!("{zone}: {found}")));
    }
    if let Some(next) = status.next_renewal {
        lines.push(("next renewal", next.to_string()));
    }
    if let Some(next) = status.next_expiry {
        lines.push(("next expiry", next.to_string()));
    }
    facts(&lines)
}
