//! `shieldcert-temporal plan`.

use std::collections::{BTreeSet, HashMap};

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use shieldcert_fleet::commands::{PlanRow, PlanSummaryRow, plan_facts};
use shieldcert_fleet::steps::{Delivered, csr_sha256};
use shieldcert_fleet::{DeviceKey, DeviceName, DeviceState, Hold, Plan, PlanEntry, Snapshot};
use temporalio_client::Client;

use super::{Context, ProgressNotes, list, list_ended, pollers, read_manifest, state};
use crate::failure::{ExitCode, Failure, Result};
use crate::names::Queue;
use crate::output::{facts, print, print_one, row};
use crate::pollers::IN_FLIGHT;
use crate::state::WORKING;

/// Show what is to be done in a fleet
///
/// Compares the manifest with what the workflows of the devices know, and says what `apply` would do, in how many requests,
/// and how long these take under the rate limit. Nothing is changed. One request for each budget tells the service's time.
/// The workflows are asked, so a worker must be there.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Print the numbers, and no devices
    #[arg(long)]
    summary: bool,

    /// End with 10 if nothing is due
    #[arg(long)]
    detailed_exit_code: bool,
}

/// How many devices are shown beside the numbers.
const MAX_SHOWN: usize = 20;

pub(crate) async fn run(context: &Context, client: &Client, args: PlanArgs) -> Result {
    let rows = read_manifest(context)?;
    let (now, problems) = context.fleet.service_time().await?;
    for (zone, problem) in &problems {
        context.warning(&format!("zone {zone} can't be used: {problem}"));
    }
    if rows.is_empty() {
        context.warning("the manifest has no device; nothing is revoked for that");
    }
    let pollers = pollers(context, client).await?;
    let seen = list(client, &context.name).await?;
    let ended = list_ended(client, &context.name, &seen).await?;
    let asked = seen.iter().map(|seen| async {
        let state = state(&pollers, &seen.device).await?;
        Ok::<_, Failure>((seen.device.clone(), state))
    });
    let asked: Vec<_> = asked.collect();
    let mut asked = stream::iter(asked).buffer_unordered(IN_FLIGHT);
    let mut known: HashMap<DeviceName, (Snapshot, bool)> = HashMap::new();
    let mut progress = ProgressNotes::new();
    while let Some(asked) = asked.next().await {
        if let (device, Some(state)) = asked? {
            known.insert(device, (state.snapshot, state.paused));
        }
        progress.note(context, || {
            format!("{} of {} have said what they know", known.len(), seen.len())
        });
    }
    let mut survey = context.fleet.survey_at(now);
    let mut entries = Vec::new();
    for (device, csr) in rows {
        if let Some(ended) = ended.get(&device.name)
            && (device.state == DeviceState::Present || !ended.certificates.is_empty())
        {
            context.warning(&format!("{}: {}", device.name, ended.problem()));
            continue;
        }
        let delivered = match (&device.key, &csr) {
            (DeviceKey::Generated(_), _) => Delivered::NotNeeded,
            (_, Some(csr)) => csr_sha256(csr).map_or(Delivered::Missing, Delivered::Csr),
            _ => Delivered::Missing,
        };
        let (snapshot, is_paused) = match known.remove(&device.name) {
            Some((mut snapshot, is_paused)) => {
                snapshot.device = Some(device);
                (snapshot, is_paused)
            }
            None => (Snapshot::of(device), false),
        };
        entries.push(survey.add(&snapshot, &delivered, is_paused));
    }
    let mut left: Vec<Snapshot> = known.into_values().map(|(snapshot, _)| snapshot).collect();
    left.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    for mut snapshot in left {
        snapshot.device = None;
        entries.push(survey.add(&snapshot, &Delivered::NotNeeded, false));
    }
    let plan = survey.finish();
    let working = seen
        .iter()
        .filter(|seen| seen.state == WORKING)
        .map(|seen| &seen.device);
    let waiting = pollers.waiting(working).await?;
    let queues: BTreeSet<&Queue> = waiting.values().collect();
    for queue in queues {
        context.warning(&pollers.hint(queue));
    }
    for entry in &mut entries {
        if waiting.contains_key(&entry.device) {
            entry.hold = Some(Hold::Worker);
        }
    }
    show(context, &args, &plan, &entries)?;
    if plan.left_without > plan.max_revoke {
        context.warning(&format!(
            "apply must be told so: --confirm-revoke {}",
            plan.left_without
        ));
    }
    Ok(match args.detailed_exit_code && plan.changes() == 0 {
        true => ExitCode::NothingDue,
        false => ExitCode::Done,
    })
}

fn entry_row(entry: &PlanEntry) -> Map<String, Value> {
    row(&PlanRow::from(entry))
}

fn show(context: &Context, args: &PlanArgs, plan: &Plan, entries: &[PlanEntry]) -> Result<()> {
    if context.output.is_some() && !args.summary {
        let rows: Vec<_> = entries.iter().map(entry_row).collect();
        let columns = ["device", "action", "reason", "due", "expires"];
        return print(context.output, PlanRow::FIELDS, &columns, &rows);
    }
    if context.output.is_some() {
        let columns = ["devices", "changes", "requests", "seconds"];
        let row = row(&PlanSummaryRow::from(plan));
        return print_one(context.output, PlanSummaryRow::FIELDS, &columns, row);
    }
    facts(&plan_facts(plan))?;
    let changed: Vec<_> = entries
        .iter()
        .filter(|entry| entry.action.is_change())
        .take(MAX_SHOWN)
        .map(entry_row)
        .collect();
    match changed.is_empty() || args.summary {
        true => Ok(()),
        false => print(
            None,
            PlanRow::FIELDS,
            &["device", "action", "reason", "hold"],
            &changed,
        ),
    }
}
