//! Issuing certificates.

use std::fs;
use std::process::Command;

use anyhow::ensure;

use super::super::contender::{Contender, FLOOR, PYTHON, SHIELDCERT};
use super::super::emulator::Emulator;
use super::super::outcome::{Metric, Outcome, Sample, run_in_turns};
use super::super::setup::Bench;
use super::super::tally::Tally;
use super::common::{check, contenders, sample};

pub(super) fn issue(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for latency in [30, 0] {
        let size = bench.sizes.issued;
        let title = format!("issue {size} certificates, latency {latency} ms");
        let rows = run_in_turns(
            bench.rounds,
            &title,
            contenders(bench)?,
            |name, contender| issue_once(bench, latency, name, contender),
        );
        let mut outcome = Outcome {
            letter: 'd',
            title,
            floor: "floor: the same requests by raw reqwest, 16 at once, all with one CSR made before; responses \
                    discarded, nothing checked or written",
            metrics: &[Metric::Wall, Metric::Processor],
            rows,
            targets: Vec::new(),
            notes: Vec::new(),
        };
        let python = outcome.median(PYTHON, Metric::Wall);
        let own = outcome.median(SHIELDCERT, Metric::Wall);
        if latency > 0 {
            outcome.add_quotient(
                "at least 8 times as fast as the Python SDK with `cryptography`",
                python,
                own,
                |times| times >= 8.0,
            );
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn issue_once(
    bench: &Bench,
    latency: u32,
    name: &str,
    contender: &Contender,
) -> anyhow::Result<Sample> {
    // A zone of its own for each, so that all start with an empty one.
    let emulator = Emulator::start(bench, 0, latency)?;
    let folder = bench.folder.join("issued");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let count = bench.sizes.issued;
    let task = [
        "issue".into(),
        count.to_string().into(),
        folder.clone().into(),
    ];
    let (tally, usage) = contender.run(&emulator, &task)?;
    let contents = emulator.contents(None)?;
    ensure!(
        contents.count == u64::from(count),
        "wrong: {} certificates are in the zone, not {count}",
        contents.count
    );
    check(name, tally, contents.tally())?;
    if name != FLOOR {
        let floor = bench.programs.get("bench-floor")?;
        let verified = Command::new(floor).arg("verify").arg(&folder).output()?;
        ensure!(
            verified.status.success(),
            "wrong files: {}",
            String::from_utf8_lossy(&verified.stderr)
        );
        let files: Tally = serde_json::from_slice(&verified.stdout)?;
        let expected = Tally {
            count: contents.count,
            checksum: contents.fingerprints,
        };
        ensure!(
            files == expected,
            "wrong: the files hold other certificates than the zone"
        );
    }
    fs::remove_dir_all(&folder)?;
    Ok(sample(usage))
}
