//! Getting a certificate.

use std::process::Command;

use anyhow::ensure;

use super::super::contender::{GENERATED, REQWEST, SHIELDCERT};
use super::super::emulator::Emulator;
use super::super::outcome::{Metric, Outcome, run_in_turns};
use super::super::setup::Bench;
use super::super::tally::Tally;
use super::common::{check, contenders, sample, strings};

pub(super) fn get(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let times = bench.sizes.gets;
    let title = format!("get a certificate {times} times, one after another");
    let emulator = Emulator::start(bench, 1, 0)?;
    let contents = emulator.contents(None)?;
    let id = contents.sample_id.clone().unwrap_or_default();
    let expected = Tally {
        count: times.into(),
        checksum: (u128::from(contents.checksum) * u128::from(times) % (1 << 48)) as u64,
    };
    let task = strings(["get", &id, &times.to_string()]);
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (tally, usage) = contender.run(&emulator, &task)?;
            check(name, tally, expected)?;
            let mut sample = sample(usage);
            if let Some(counted) = count_allocations(bench, &emulator, name, &id)? {
                sample.insert(Metric::Allocations, counted);
            }
            Ok(sample)
        },
    );
    let mut outcome = Outcome {
        letter: 'f',
        title,
        floor: "floor: the same requests by raw reqwest, responses discarded unread",
        metrics: &[Metric::Processor, Metric::Allocations, Metric::Wall],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for (target, metric) in [
        (
            "less than 10 % more processor time than reqwest + serde",
            Metric::Processor,
        ),
        (
            "less than 10 % more allocations than reqwest + serde",
            Metric::Allocations,
        ),
    ] {
        let (own, bare) = (
            outcome.median(SHIELDCERT, metric),
            outcome.median(REQWEST, metric),
        );
        outcome.add_quotient(target, own, bare, |times| times < 1.1);
    }
    Ok(vec![outcome])
}

/// Counts the allocations of a call in a separate run, because counting takes time.
fn count_allocations(
    bench: &Bench,
    emulator: &Emulator,
    name: &str,
    id: &str,
) -> anyhow::Result<Option<f64>> {
    let name = match name {
        SHIELDCERT => "shieldcert",
        REQWEST => "reqwest",
        GENERATED => "generated",
        _ => return Ok(None),
    };
    let mut command = Command::new(bench.programs.get("bench-allocations")?);
    command.args([name, id, "200"]);
    emulator.configure(&mut command);
    let output = command.output()?;
    ensure!(output.status.success(), "the allocations can't be counted");
    let counted: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(counted["allocations"].as_f64())
}
