//! A large zone: streamed, listed and reported.

use std::ffi::OsString;
use std::fs;

use anyhow::ensure;

use super::super::contender::SHIELDCERT;
use super::super::emulator::Emulator;
use super::super::measure;
use super::super::outcome::{Metric, Outcome, run_in_turns};
use super::super::setup::Bench;
use super::common::{make_folder, sample, strings};

const FLOOR: &str = "\
floor: none. shieldcert streams with the crate and keeps nothing; the others are the command line, whose output goes to a
file. The report in HTML holds every certificate";

const LIST: &str = "list --output jsonl";
const REPORT: &str = "report --output json";
const HTML: &str = "report --html";

pub(super) fn compare(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let sizes = bench.sizes.reported;
    sizes
        .iter()
        .map(|size| measure_zone(bench, *size))
        .collect()
}

fn measure_zone(bench: &Bench, size: u32) -> anyhow::Result<Outcome> {
    eprintln!("populating a zone with {size} certificates; a million take some minutes");
    let emulator = Emulator::start(bench, size, 0)?;
    let folder = make_folder(bench, "million")?;
    let output = folder.join("output");
    let program = || bench.programs.get("shieldcert").map(OsString::from);
    let to_file = |arguments: &str| {
        let mut command = strings(["sh", "-c", "exec \"$0\" \"$@\" > \"$OUTPUT\""]).to_vec();
        command.push(program()?);
        command.extend(arguments.split(' ').map(OsString::from));
        anyhow::Ok(command)
    };
    let html = OsString::from(folder.join("report.html"));
    let contenders = [
        (SHIELDCERT, {
            let program = bench.programs.get("bench-shieldcert")?;
            vec![program.into(), "stream".into()]
        }),
        (LIST, to_file(LIST)?),
        (REPORT, to_file(REPORT)?),
        (
            HTML,
            [
                &[program()?][..],
                &strings(["report", "--force", "--html"]),
                &[html],
            ]
            .concat(),
        ),
    ];
    let title = format!("a zone of {size} certificates, no latency");
    // They take long, and differ little.
    let rounds = bench.rounds.min(3);
    let contenders = contenders.map(|(name, command)| (name, Ok(command)));
    let rows = run_in_turns(rounds, &title, contenders, |name, command| {
        let mut measured = measure::command(command)?;
        emulator.configure(&mut measured);
        measured.env("OUTPUT", &output);
        let (printed, usage) = measure::run(measured)?;
        let count = match name {
            SHIELDCERT => serde_json::from_str::<super::super::tally::Tally>(&printed)?.count,
            LIST => fs::read_to_string(&output)?.lines().count() as u64,
            // Their own tests say that they hold what the list holds.
            _ => u64::from(size),
        };
        ensure!(
            count == u64::from(size),
            "wrong: {count} certificates, not {size}"
        );
        Ok(sample(usage))
    });
    fs::remove_dir_all(&folder)?;
    let mut outcome = Outcome {
        letter: 'm',
        title,
        floor: FLOOR,
        metrics: &[Metric::Memory, Metric::Wall, Metric::Processor],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for (target, name, bound) in [
        ("a stream in less than 32 MiB", SHIELDCERT, 32.0),
        ("a list in less than 100 MiB", LIST, 100.0),
    ] {
        outcome.add_bound(target, (name, Metric::Memory), "MiB", bound);
    }
    Ok(outcome)
}
