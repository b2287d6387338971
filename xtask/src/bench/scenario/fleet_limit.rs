//! A fleet under the documented rate limit, in simulated time, and what a large one costs: its plan, a year of it, and
//! its journal.

use std::ffi::OsString;

use anyhow::ensure;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::measure::{self, Usage};
use super::super::outcome::{Metric, Outcome, Row, Sample, Target, run_in_turns};
use super::super::setup::Bench;
use super::common::sample;

const FLEET: &str = "shieldcert fleet";

/// Faults after which nothing but a look at the zone shows whether a certificate was issued.
const CHAOS: &str = "create: lose-response=1%, create: lose-request=1%, create: 502-after=0.5%";

/// As printed by `bench-fleet limit`.
#[derive(Default, Deserialize)]
struct LimitCost {
    devices: u64,
    simulated_seconds: f64,
    ideal_seconds: f64,
    requests: u64,
    pages: u64,
    scans: u64,
    refused: u64,
    faults: u64,
    unclear_windows: u64,
    unclear_pages: u64,
    active: u64,
    runs: u32,
}

/// As printed by `bench-fleet plan` and `bench-fleet forecast`.
#[derive(Deserialize)]
struct PlanCost {
    plan_seconds: f64,
    forecast_seconds: f64,
}

/// As printed by `bench-fleet journal`.
#[derive(Deserialize)]
struct JournalCost {
    devices: u64,
    memory_seconds: f64,
    journal_seconds: f64,
    disk_seconds: f64,
    steps: u64,
}

pub(super) fn simulate(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    Ok(vec![
        keep_to_limit(bench),
        survive_faults(bench),
        plan(bench),
        forecast(bench),
        record(bench),
    ])
}

fn run<T: DeserializeOwned>(bench: &Bench, task: &[OsString]) -> anyhow::Result<(T, Usage)> {
    let program = bench.programs.get("bench-fleet")?.into();
    let line = [&[program], task].concat();
    let (printed, usage) = measure::run(measure::command(&line)?)?;
    Ok((serde_json::from_str(&printed)?, usage))
}

fn outcome(title: String, floor: &'static str, rows: Vec<Row>) -> Outcome {
    Outcome {
        letter: 'j',
        title,
        floor,
        metrics: &[Metric::Wall, Metric::Memory],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    }
}

/// Runs a task of the fleet's in every round.
fn run_rounds(
    rounds: u32,
    title: &str,
    mut run: impl FnMut() -> anyhow::Result<Sample>,
) -> Vec<Row> {
    run_in_turns(rounds, title, [(FLEET, Ok(()))], |_, ()| run())
}

/// Simulated time is the same in every round, so that one is enough. None if it failed.
fn limit(bench: &Bench, title: &str, devices: u32, chaos: &str) -> (Vec<Row>, Option<LimitCost>) {
    let task = ["limit".into(), devices.to_string().into(), chaos.into()];
    let mut measured = None;
    let rows = run_rounds(1, title, || {
        let (cost, usage) = run::<LimitCost>(bench, &task)?;
        ensure!(
            cost.active == cost.devices,
            "wrong: {} certificates are active, not {}",
            cost.active,
            cost.devices
        );
        measured = Some(cost);
        Ok(sample(usage))
    });
    (rows, measured)
}

fn keep_to_limit(bench: &Bench) -> Outcome {
    let devices = bench.sizes.limited;
    let title = format!("issue {devices} devices under 1,200 requests in 300 s, simulated time");
    let (rows, cost) = limit(bench, &title, devices, "");
    let floor =
        "ideal: 1,200 devices at once, and as many after each 300 s. Wall time is this machine's";
    let mut outcome = outcome(title, floor, rows);
    if let Some(cost) = &cost {
        outcome.notes.push(format!(
            "simulated {:.1} s, ideal {:.0} s; {:.4} requests a device",
            cost.simulated_seconds,
            cost.ideal_seconds,
            cost.requests as f64 / cost.devices as f64
        ));
    }
    // So few that the limit allows them at once have no ideal time.
    let limited = cost.as_ref().filter(|cost| cost.ideal_seconds > 0.0);
    let quotient = limited.map(|cost| cost.simulated_seconds / cost.ideal_seconds);
    outcome.targets.push(Target {
        target: "at most 1.01 of the ideal time",
        measured: quotient.map_or("not measured".into(), |times| format!("{times:.4}")),
        is_met: quotient.map(|times| times <= 1.01),
    });
    outcome.targets.push(no_refusal(cost.as_ref()));
    outcome
}

fn no_refusal(cost: Option<&LimitCost>) -> Target {
    Target {
        target: "no 429",
        measured: cost.map_or("not measured".into(), |cost| cost.refused.to_string()),
        is_met: cost.map(|cost| cost.refused == 0),
    }
}

fn survive_faults(bench: &Bench) -> Outcome {
    let devices = bench.sizes.disturbed;
    let title = format!("issue {devices} devices under the limit, with faults, simulated time");
    let (rows, cost) = limit(bench, &title, devices, CHAOS);
    let floor = "faults: create: lose-response=1%, lose-request=1%, 502-after=0.5%. A settle window is 75 s";
    let mut outcome = outcome(title, floor, rows);
    let Some(cost) = cost else {
        return outcome;
    };
    let each = |requests: u64| requests as f64 / cost.devices as f64;
    outcome.notes.push(format!(
        "{} requests, {} faults; {} lists with {} pages in {} settle windows in which a send was unclear; simulated {:.0} s in \
         {} runs, the least without faults {:.0} s",
        cost.requests,
        cost.faults,
        cost.scans,
        cost.pages,
        cost.unclear_windows,
        cost.simulated_seconds,
        cost.runs,
        cost.ideal_seconds
    ));
    outcome.notes.push(format!(
        "requests a device minus the faults: {:.4} in all, {:.4} without pages of lists",
        each(cost.requests.saturating_sub(cost.faults)),
        each(cost.requests.saturating_sub(cost.faults + cost.pages))
    ));
    let beyond = each(
        cost.requests
            .saturating_sub(cost.faults + cost.unclear_pages),
    );
    outcome.targets.push(Target {
        target: "at most 1.05 requests a device, plus the faults and a list a settle window with an unclear send",
        measured: format!("{beyond:.4}"),
        is_met: Some(beyond <= 1.05),
    });
    outcome.targets.push(no_refusal(Some(&cost)));
    outcome
}

fn plan(bench: &Bench) -> Outcome {
    let devices = bench.sizes.planned;
    let title = format!("first plan of {devices} devices");
    let task = ["plan".into(), devices.to_string().into()];
    let rows = run_rounds(bench.rounds, &title, || {
        let (cost, usage) = run::<PlanCost>(bench, &task)?;
        let mut sample = sample(usage);
        sample.insert(Metric::Wall, cost.plan_seconds);
        Ok(sample)
    });
    let floor = "floor: none. The manifest is a CSV file in memory; there is no journal yet";
    let mut outcome = outcome(title, floor, rows);
    outcome.add_bound("in less than 20 s", (FLEET, Metric::Wall), "s", 20.0);
    outcome.add_bound(
        "in less than 200 MiB",
        (FLEET, Metric::Memory),
        "MiB",
        200.0,
    );
    outcome
}

fn forecast(bench: &Bench) -> Outcome {
    let devices = bench.sizes.planned;
    let title = format!("a year of {devices} devices in simulated time, three times");
    let task = ["forecast".into(), devices.to_string().into()];
    let rows = run_rounds(bench.rounds, &title, || {
        let (cost, usage) = run::<PlanCost>(bench, &task)?;
        let mut sample = sample(usage);
        sample.insert(Metric::Wall, cost.forecast_seconds);
        Ok(sample)
    });
    let floor =
        "floor: none. The year as planned, with an outage of two days, and with every key leaked";
    outcome(title, floor, rows)
}

fn record(bench: &Bench) -> Outcome {
    let devices = bench.sizes.recorded;
    let title = format!("the journal of {devices} devices on the disk");
    let task = [
        "journal".into(),
        devices.to_string().into(),
        bench.folder.clone().into(),
    ];
    let mut measured = None;
    let rows = run_rounds(1, &title, || {
        let (cost, usage) = run::<JournalCost>(bench, &task)?;
        measured = Some(cost);
        Ok(sample(usage))
    });
    let floor = "floor: the same fleet in memory. The service is in the process, without latency and limit; wall time is that \
                 of nine runs, of which three are with the journal on the disk, and three with all files there";
    let mut outcome = outcome(title, floor, rows);
    if let Some(cost) = measured {
        let devices = cost.devices as f64;
        let milliseconds = |seconds: f64| seconds * 1e3 / devices;
        let journal = milliseconds(cost.journal_seconds - cost.memory_seconds);
        let steps = cost.steps as f64 / devices;
        outcome.notes.push(format!(
            "a device takes {:.3} ms with everything in memory, {:.3} ms with the journal on the disk, {:.3} ms with keys and \
             certificates there as well",
            milliseconds(cost.memory_seconds),
            milliseconds(cost.journal_seconds),
            milliseconds(cost.disk_seconds)
        ));
        outcome.notes.push(format!(
            "the disk costs {journal:.3} ms of journal a device, which is {steps:.1} steps of {:.3} ms, beside a request of \
             250 ms under the limit, and of 30 ms in (i)",
            journal / steps
        ));
    }
    outcome
}
