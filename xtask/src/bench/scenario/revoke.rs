//! Revoking certificates and waiting.

use anyhow::ensure;

use super::super::contender::{REQWEST, SHIELDCERT};
use super::super::emulator::Emulator;
use super::super::outcome::{Metric, Outcome, run_in_turns};
use super::super::setup::Bench;
use super::common::{check, contenders, sample};

pub(super) fn revoke(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.revoked;
    let title = format!("revoke {size} certificates and wait until all are, transition delay 2 s");
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let emulator = Emulator::start(bench, 0, 0)?;
            emulator.issue(size)?;
            let ids = bench.folder.join("ids");
            let first = emulator.contents(Some(&ids))?;
            // Twice, to know how many requests reading the zone takes.
            let before = emulator.contents(None)?;
            let (tally, usage) = contender.run(&emulator, &["revoke".into(), ids.into()])?;
            let after = emulator.contents(None)?;
            check(name, tally, before.tally())?;
            ensure!(
                after.revoked == u64::from(size),
                "wrong: {} are revoked, not {size}",
                after.revoked
            );
            let reading = before.requests - first.requests;
            let requests = (after.requests - before.requests - reading) as f64;
            let mut sample = sample(usage);
            sample.insert(Metric::Requests, requests);
            sample.insert(Metric::Waiting, requests - f64::from(size));
            Ok(sample)
        },
    );
    let mut outcome = Outcome {
        letter: 'e',
        title,
        floor: "floor: the revocations by raw reqwest, 16 at once, then after 2 s one poll for what is pending",
        metrics: &[Metric::Requests, Metric::Waiting, Metric::Wall],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    let waiting = |name| outcome.median(name, Metric::Waiting);
    let (own, polling) = (waiting(SHIELDCERT), waiting(REQWEST));
    outcome.add_quotient(
        "waiting takes a tenth of the requests of polling one by one",
        own,
        polling,
        |share| share <= 0.1,
    );
    Ok(vec![outcome])
}
