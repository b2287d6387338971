//! Reading a zone: as a list, and as a stream.

use anyhow::ensure;

use super::super::contender::{FLOOR, PYTHON, SHIELDCERT, TYPESCRIPT};
use super::super::emulator::Emulator;
use super::super::outcome::{Metric, Outcome, run_in_turns};
use super::super::setup::Bench;
use super::common::{check, contenders, sample, strings};

const PAGES_FLOOR: &str =
    "floor: the same pages by raw reqwest, 8 at once as Shieldcert fetches them, discarded unread";

fn reading(
    bench: &Bench,
    (letter, title): (char, String),
    task: &str,
    (certificates, latency): (u32, u32),
    metrics: &'static [Metric],
) -> anyhow::Result<Outcome> {
    let emulator = Emulator::start(bench, certificates, latency)?;
    let contents = emulator.contents(None)?;
    ensure!(
        contents.count == u64::from(certificates),
        "the emulator's zone has another size than asked for"
    );
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (tally, usage) = contender.run(&emulator, &strings([task]))?;
            check(name, tally, contents.tally())?;
            Ok(sample(usage))
        },
    );
    Ok(Outcome {
        letter,
        title,
        floor: PAGES_FLOOR,
        metrics,
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    })
}

pub(super) fn list_with_latency(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.listed;
    let title = format!("list {size} certificates, latency 30 ms");
    let metrics = &[Metric::Wall];
    let mut outcome = reading(bench, ('a', title), "list", (size, 30), metrics)?;
    let median = |name| outcome.median(name, Metric::Wall);
    let (own, floor, sdk) = (
        median(SHIELDCERT),
        median(FLOOR),
        outcome.best([PYTHON, TYPESCRIPT], Metric::Wall),
    );
    outcome.add_quotient(
        "at least 8 times as fast as the faster official SDK",
        sdk,
        own,
        |times| times >= 8.0,
    );
    outcome.add_quotient("within 1.3 of the floor", own, floor, |times| times <= 1.3);
    Ok(vec![outcome])
}

pub(super) fn list_without_latency(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.listed;
    let title = format!("list {size} certificates, latency 0 ms");
    let metrics = &[Metric::Processor, Metric::Wall];
    let mut outcome = reading(bench, ('b', title), "list", (size, 0), metrics)?;
    let own = outcome.median(SHIELDCERT, Metric::Processor);
    let sdk = outcome.best([PYTHON, TYPESCRIPT], Metric::Processor);
    outcome.add_quotient(
        "at least 15 times less processor time than either official SDK",
        sdk,
        own,
        |times| times >= 15.0,
    );
    Ok(vec![outcome])
}

pub(super) fn stream(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.streamed;
    let title = format!("stream {size} certificates");
    let metrics = &[Metric::Memory, Metric::Wall, Metric::Processor];
    let mut outcome = reading(bench, ('c', title), "stream", (size, 0), metrics)?;
    outcome.add_bound(
        "in less than 32 MiB",
        (SHIELDCERT, Metric::Memory),
        "MiB",
        32.0,
    );
    Ok(vec![outcome])
}
