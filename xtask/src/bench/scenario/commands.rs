//! The command line beside what people use in its place: Cloudflare's own, and openssl, curl and jq.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::super::emulator::Emulator;
use super::super::measure;
use super::super::outcome::{Metric, Outcome, Sample, Target, run_in_turns};
use super::super::programs;
use super::super::setup::Bench;
use super::super::tally::Tally;
use super::common::{check, make_folder, sample, strings, verify_files};

const OWN: &str = "shieldcert";
const CF: &str = "cf";
const CURL: &str = "openssl, curl, jq";

/// Milliseconds, when issuing.
const LATENCY: u32 = 30;

const METRICS: &[Metric] = &[Metric::Wall, Metric::Processor, Metric::Memory];

const FLOOR: &str = "\
floor: none. cf reads one page with a command, and makes no keys: a loop in a script asks for page after page, and takes
openssl for each device";

/// A command line.
struct Contender {
    /// The program with its first arguments.
    command: Vec<OsString>,
    is_own: bool,
}

pub(super) fn compare(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    Ok(vec![
        start(bench)?,
        list(bench)?,
        get(bench)?,
        issue(bench)?,
    ])
}

fn contenders(bench: &Bench) -> anyhow::Result<Vec<(&'static str, Result<Contender, String>)>> {
    let scripts = bench.root.join("tests/bench/commands");
    let script = |name: &str| vec!["bash".into(), scripts.join(name).into()];
    let own = Contender {
        command: vec![bench.programs.get("shieldcert")?.into()],
        is_own: true,
    };
    let mut contenders = vec![(OWN, Ok(own))];
    let mut add = |name, command: Result<Vec<OsString>, String>| {
        let contender = command.map(|command| Contender {
            command,
            is_own: false,
        });
        contenders.push((name, contender));
    };
    if let Some(cf) = bench.peers.cf.clone() {
        add(CF, cf.map(|cf| [script("cf.sh"), vec![cf.into()]].concat()));
    }
    if bench.with_peers {
        add(CURL, programs::check_tools().map(|()| script("curl.sh")));
    }
    Ok(contenders)
}

impl Contender {
    /// Runs a task. Returns what it printed and what it took.
    fn run(
        &self,
        emulator: &Emulator,
        own: &[OsString],
        others: &[OsString],
    ) -> anyhow::Result<(String, Sample)> {
        let arguments = if self.is_own { own } else { others };
        let mut command = measure::command(&[&self.command[..], arguments].concat())?;
        emulator.configure(&mut command);
        let (printed, usage) = measure::run(command)?;
        Ok((printed, sample(usage)))
    }

    /// Returns the files that together hold the certificate and the key of a device.
    fn files(&self, folder: &Path, device: u32) -> Vec<PathBuf> {
        let kinds: &[&str] = if self.is_own {
            &["pem"]
        } else {
            &["pem", "key"]
        };
        let file = |kind| folder.join(format!("device-{device:05}.{kind}"));
        kinds.iter().map(file).collect()
    }
}

fn outcome(title: String, rows: Vec<super::super::outcome::Row>) -> Outcome {
    Outcome {
        letter: 'k',
        title,
        floor: FLOOR,
        metrics: METRICS,
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    }
}

/// Reads how many certificates were printed, and which.
fn tally(bench: &Bench, printed: &str) -> anyhow::Result<Tally> {
    let mut floor = Command::new(bench.programs.get("bench-floor")?)
        .arg("tally")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = floor.stdin.take().context("stdin is not a pipe")?;
    stdin.write_all(printed.as_bytes())?;
    drop(stdin);
    let output = floor.wait_with_output()?;
    ensure!(output.status.success(), "wrong: it printed something else");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn start(bench: &Bench) -> anyhow::Result<Outcome> {
    let emulator = Emulator::start(bench, 0, 0)?;
    let title = "start, and print the version".to_owned();
    let rows = run_in_turns(bench.rounds, &title, contenders(bench)?, |_, contender| {
        let (_, sample) = contender.run(&emulator, &strings(["--version"]), &strings(["start"]))?;
        Ok(sample)
    });
    let mut outcome = outcome(title, rows);
    let wall = outcome.median(OWN, Metric::Wall);
    outcome.targets.push(Target {
        target: "starts in less than 10 ms",
        measured: wall.map_or("not measured".into(), |wall| {
            format!("{:.1} ms", wall * 1e3)
        }),
        is_met: wall.map(|wall| wall < 0.01),
    });
    Ok(outcome)
}

/// The fields that the tally is made of.
const FIELDS: [&str; 4] = ["--output", "jsonl", "--fields", "id,fingerprint_sha256"];

fn list(bench: &Bench) -> anyhow::Result<Outcome> {
    let size = bench.sizes.listed / 2;
    let emulator = Emulator::start(bench, size, 0)?;
    let contents = emulator.contents(None)?;
    let title = format!("list {size} certificates, no latency");
    let own = [&strings(["list"])[..], &strings(FIELDS)].concat();
    let mut alone = None;
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (printed, sample) = contender.run(&emulator, &own, &strings(["list"]))?;
            check(name, tally(bench, &printed)?, contents.tally())?;
            if name == CF && alone.is_none() {
                let (page, sample) = contender.run(&emulator, &[], &strings(["page"]))?;
                alone = Some((tally(bench, &page)?.count, sample));
            }
            Ok(sample)
        },
    );
    let mut outcome = outcome(title, rows);
    if let Some((count, sample)) = alone {
        let figure = |metric| sample.get(&metric).copied().unwrap_or_default();
        outcome.notes.push(format!(
            "one `cf client-certificates list` returns {count} of the {size}, does not say that there are more, and \
             takes {:.2} s and {:.0} MiB",
            figure(Metric::Wall),
            figure(Metric::Memory)
        ));
    }
    Ok(outcome)
}

fn get(bench: &Bench) -> anyhow::Result<Outcome> {
    let emulator = Emulator::start(bench, 1, 0)?;
    let contents = emulator.contents(None)?;
    let id = contents.sample_id.clone().context("an empty zone")?;
    let title = "get one certificate".to_owned();
    let own = [&strings(["get", &id])[..], &strings(FIELDS)].concat();
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (printed, sample) = contender.run(&emulator, &own, &strings(["get", &id]))?;
            check(name, tally(bench, &printed)?, contents.tally())?;
            Ok(sample)
        },
    );
    Ok(outcome(title, rows))
}

fn issue(bench: &Bench) -> anyhow::Result<Outcome> {
    let count = bench.sizes.revoked / 5;
    let title = format!("issue {count} certificates with keys, latency {LATENCY} ms");
    let metrics = &[
        Metric::Wall,
        Metric::Processor,
        Metric::Memory,
        Metric::Requests,
    ];
    let rows = run_in_turns(bench.rounds, &title, contenders(bench)?, |_, contender| {
        let emulator = Emulator::start(bench, 0, LATENCY)?;
        let folder = make_folder(bench, "commands")?;
        let manifest = folder.join("devices.csv");
        let names = (0..count).map(|number| format!("device-{number:05}\n"));
        fs::write(&manifest, format!("name\n{}", names.collect::<String>()))?;
        let path = OsString::from(&folder);
        let own = [
            strings(["issue", "--from"]).to_vec(),
            vec![manifest.into(), "--out-dir".into(), path.clone()],
            strings(["--days", "30"]).to_vec(),
        ]
        .concat();
        let others = vec!["issue".into(), count.to_string().into(), path];
        let (_, mut sample) = contender.run(&emulator, &own, &others)?;
        let contents = emulator.contents(None)?;
        ensure!(
            contents.active == u64::from(count) && contents.count == contents.active,
            "wrong: {} certificates are in the zone, not {count}",
            contents.count
        );
        let files = verify_files(bench, count, |device| contender.files(&folder, device))?;
        ensure!(
            files.checksum == contents.fingerprints,
            "wrong: the files hold other certificates than the zone"
        );
        sample.insert(Metric::Requests, contents.requests as f64);
        fs::remove_dir_all(&folder)?;
        Ok(sample)
    });
    Ok(Outcome {
        metrics,
        ..outcome(title, rows)
    })
}
