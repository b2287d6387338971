//! `shieldcert-temporal status`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};
use shieldcert::ZoneId;
use shieldcert_fleet::commands::{GenerationRow, counted, counts, time};
use shieldcert_fleet::{DeviceName, Generation, Hold};
use temporalio_client::{Client, WorkflowQueryOptions};

use super::{Context, list, state};
use crate::failure::{ExitCode, Failure, Result};
use crate::fleet::{FleetState, FleetWorkflow};
use crate::output::{facts, print, print_one, row};
use crate::requests::Scan;
use crate::state::DeviceState;

/// What a reconciliation found in a zone, or what went wrong.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ZoneFound {
    Read(Scan),
    Unread { problem: String },
}

/// What is known of a fleet.
#[derive(Debug, Serialize)]
struct Status {
    /// How many devices the server shows.
    devices: u64,
    /// How many devices there are for each state.
    states: BTreeMap<String, u64>,
    /// How many devices wait for what.
    holds: BTreeMap<String, u64>,
    /// How many devices there are at each worker.
    workers: BTreeMap<String, u64>,
    /// The share of each budget that each worker has.
    shares: BTreeMap<String, f64>,
    /// How often the zones were reconciled.
    reconciliations: Option<u64>,
    /// What the last one found in each zone. `None`: no worker responds.
    zones: Option<BTreeMap<ZoneId, ZoneFound>>,
    /// When the next certificate is to be renewed.
    next_renewal: Option<jiff::Timestamp>,
    /// When the first of the certificates in use expires.
    next_expiry: Option<jiff::Timestamp>,
}

pub(crate) async fn run(
    context: &Context,
    client: &Client,
    name: Option<DeviceName>,
    labels: Vec<String>,
    holds: Vec<Hold>,
) -> Result {
    if let Some(name) = name {
        let Some(state) = state(client, &context.name, &name).await? else {
            return Err(Failure::new(
                ExitCode::NotFound,
                format!(
                    "{name}: there is no workflow for it; `shieldcert-temporal apply` begins one"
                ),
            ));
        };
        let generations = state.snapshot.generations.iter();
        let mut rows: Vec<_> = generations
            .map(|generation| generation_row(&state, Some(generation)))
            .collect();
        if rows.is_empty() {
            rows.push(generation_row(&state, None));
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
        let mut rows = Vec::new();
        for seen in seen {
            let has_hold = |hold: &Hold| seen.hold.as_deref() == Some(hold.as_str());
            let is_labelled = labels.is_empty() || labelled.contains(seen.device.as_str());
            if is_labelled
                && (holds.is_empty() || holds.iter().any(has_hold))
                && let Some(state) = state(client, &context.name, &seen.device).await?
            {
                rows.push(generation_row(&state, state.snapshot.generations.last()));
            }
        }
        print_generations(context, &rows)?;
        return Ok(ExitCode::Done);
    }
    let mut status = Status {
        devices: seen.len() as u64,
        states: BTreeMap::new(),
        holds: BTreeMap::new(),
        workers: BTreeMap::new(),
        shares: BTreeMap::new(),
        reconciliations: None,
        zones: None,
        next_renewal: None,
        next_expiry: None,
    };
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
    match fleet_state(context, client).await {
        Some(fleet) => {
            let shares = fleet.shares.iter();
            status.shares = shares
                .map(|(worker, share)| (worker.to_string(), *share))
                .collect();
            status.reconciliations = Some(fleet.rounds);
            status.zones = Some(zones(&fleet));
        }
        None => context.note("no worker responds, so shares and reconciliation are unknown"),
    }
    show(context, &status)?;
    Ok(ExitCode::Done)
}

/// What the workflow of the fleet knows.
pub(crate) async fn fleet_state(context: &Context, client: &Client) -> Option<FleetState> {
    let handle = client.get_workflow_handle::<FleetWorkflow>(context.name.fleet_id());
    let asked = handle.query(FleetWorkflow::state, (), WorkflowQueryOptions::default());
    let asked = tokio::time::timeout(super::QUERY, asked).await;
    asked.ok()?.ok()
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
    row(&GenerationRow::new(
        &snapshot.name,
        snapshot.ask,
        generation,
    ))
}

fn print_generations(context: &Context, rows: &[Map<String, Value>]) -> Result<()> {
    let columns = [
        "device",
        "generation",
        "state",
        "not_after",
        "hold",
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
            "shares",
            "reconciliations",
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
    if let Some(rounds) = status.reconciliations {
        lines.push(("reconciled", counted(rounds, "time")));
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
