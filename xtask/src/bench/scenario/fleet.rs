//! Issuing a fleet: keys and certificates are kept on the disk, and a run that is killed is started again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::super::contender::{self, PYTHON};
use super::super::emulator::{Emulator, ZONE};
use super::super::measure::{self, Killable, Usage};
use super::super::outcome::{Metric, Outcome, Sample, Target, run_in_turns};
use super::super::programs;
use super::super::setup::Bench;
use super::super::tally::Tally;
use super::common::{make_folder, sample, verify_files};

const FLEET: &str = "shieldcert fleet";
const LOOP: &str = "openssl, curl, jq";

/// Milliseconds.
const LATENCY: u32 = 30;

const FLOOR: &str = "\
floor: none. Each has its files on the disk. A second run, of fewer devices, is killed with SIGKILL when the zone holds
about half, and started again to its end: the certificates too many are those that are active beyond one a device. The
fleet's settle window is 2 s instead of 75 s, because the emulator delays nothing for longer";

/// A program that issues a fleet.
enum Contender {
    /// With the program.
    Fleet(PathBuf),
    /// With the script.
    Loop(PathBuf),
    /// With the interpreter and the script.
    Python(Vec<OsString>),
}

pub(super) fn issue(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.fleet;
    let title =
        format!("issue {size} devices and keep key and certificate of each, latency {LATENCY} ms");
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let rows = run_in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let mut sample = issue_once(bench, contender, size)?;
            let times = kills.entry(name).or_insert(0);
            if *times == bench.sizes.kills {
                return Ok(sample);
            }
            *times += 1;
            if let Some(surplus) = kill_once(bench, contender, bench.sizes.killed)? {
                sample.insert(Metric::Surplus, surplus);
            }
            Ok(sample)
        },
    );
    let mut outcome = Outcome {
        letter: 'i',
        title,
        floor: FLOOR,
        metrics: &[
            Metric::Wall,
            Metric::Processor,
            Metric::Requests,
            Metric::Surplus,
        ],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    let median = |name| outcome.median(name, Metric::Wall);
    let (own, other) = (median(FLEET), median(LOOP));
    outcome.add_quotient(
        "at least 5 times as fast as openssl, curl and jq in a loop",
        other,
        own,
        |times| times >= 5.0,
    );
    let surplus = outcome.summary(FLEET, Metric::Surplus);
    outcome.targets.push(Target {
        target: "no certificate too many after a kill",
        measured: surplus.map_or("not measured".into(), |surplus| {
            format!("at most {:.0}", surplus.most)
        }),
        is_met: surplus.map(|surplus| surplus.most == 0.0),
    });
    Ok(vec![outcome])
}

fn contenders(bench: &Bench) -> anyhow::Result<Vec<(&'static str, Result<Contender, String>)>> {
    let program = bench.programs.get("shieldcert")?.to_owned();
    let mut contenders = vec![(FLEET, Ok(Contender::Fleet(program)))];
    if bench.with_peers {
        let script = bench.root.join("tests/bench/commands/loop.sh");
        contenders.push((
            LOOP,
            programs::check_tools().map(|()| Contender::Loop(script)),
        ));
    }
    if let Some(python) = contender::python(bench) {
        contenders.push((PYTHON, python.command.map(Contender::Python)));
    }
    Ok(contenders)
}

impl Contender {
    /// Writes what a run needs to an empty folder.
    fn prepare(&self, folder: &Path, devices: u32) -> anyhow::Result<()> {
        if let Self::Fleet(_) = self {
            let policy = format!(
                "[zones.main]\nid = \"{ZONE}\"\n\n[budgets.default]\ntoken_env = \"CLOUDFLARE_API_TOKEN\"\n\
                 reserve_share = 0.0\n\n[devices]\ndays = 30\n\n[limits]\nsettle_window = \"2s\"\n"
            );
            fs::write(folder.join("fleet.toml"), policy)?;
            let names = (0..devices).map(|number| format!("device-{number:05}\n"));
            let manifest = format!("name\n{}", names.collect::<String>());
            fs::write(folder.join("devices.csv"), manifest)?;
        }
        Ok(())
    }

    /// Returns the command that issues what is missing in the folder.
    fn command(&self, emulator: &Emulator, folder: &Path, devices: u32) -> Vec<OsString> {
        let mut command: Vec<OsString> = Vec::new();
        match self {
            Self::Fleet(program) => {
                command.push(program.into());
                command.extend(["--base-url".into(), emulator.base_url.clone().into()]);
                command.extend(["fleet".into(), "--dir".into(), folder.into()]);
                command.extend(["apply".into(), "--yes".into()]);
                return command;
            }
            Self::Loop(script) => command.extend(["bash".into(), script.into()]),
            Self::Python(program) => {
                command.extend_from_slice(program);
                command.push("issue".into());
            }
        }
        command.extend([devices.to_string().into(), folder.into()]);
        command
    }

    /// Returns the files that together hold the certificate and the key of a device.
    fn files(&self, folder: &Path, device: u32) -> Vec<PathBuf> {
        match self {
            Self::Fleet(_) => {
                let current = folder.join(format!("devices/device-{device:05}/current"));
                vec![current.join("cert.pem"), current.join("key.pem")]
            }
            Self::Loop(_) => ["pem", "key"]
                .map(|kind| folder.join(format!("device-{device:05}.{kind}")))
                .to_vec(),
            Self::Python(_) => vec![folder.join(format!("{device:05}.pem"))],
        }
    }
}

/// Issues a fleet in a zone of its own. Returns what it took.
fn issue_once(bench: &Bench, contender: &Contender, devices: u32) -> anyhow::Result<Sample> {
    let emulator = Emulator::start(bench, 0, LATENCY)?;
    let folder = make_folder(bench, "fleet")?;
    contender.prepare(&folder, devices)?;
    let usage = run(&emulator, contender, &folder, devices)?;
    let contents = emulator.contents(None)?;
    ensure!(
        contents.active == u64::from(devices) && contents.count == contents.active,
        "wrong: {} certificates are in the zone, {} of them active, not {devices}",
        contents.count,
        contents.active
    );
    let expected = Tally {
        count: contents.count,
        checksum: contents.fingerprints,
    };
    ensure!(
        verify_files(bench, devices, |device| contender.files(&folder, device))? == expected,
        "wrong: the files hold other certificates than the zone"
    );
    fs::remove_dir_all(&folder)?;
    let mut sample = sample(usage);
    sample.insert(Metric::Requests, contents.requests as f64);
    Ok(sample)
}

/// Kills a run when about half of the fleet is issued, and starts it again. Returns how many certificates are active
/// beyond one a device, or None if the run ended before.
fn kill_once(bench: &Bench, contender: &Contender, devices: u32) -> anyhow::Result<Option<f64>> {
    let emulator = Emulator::start(bench, 0, LATENCY)?;
    let folder = make_folder(bench, "fleet")?;
    contender.prepare(&folder, devices)?;
    let line = contender.command(&emulator, &folder, devices);
    let (program, arguments) = line.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    emulator.configure(&mut command);
    let mut process = Killable::start(command)?;
    let mut half = Command::new(bench.programs.get("bench-floor")?);
    half.args(["wait-for", &(devices / 2).to_string()]);
    emulator.configure(&mut half);
    let mut half = Killable::start(half)?;
    let was_killed = loop {
        if process.status()?.is_some() {
            break false;
        }
        if let Some(status) = half.status()? {
            ensure!(status.success(), "the emulator's zone can't be read");
            break true;
        }
        sleep(Duration::from_millis(1));
    };
    drop(process);
    drop(half);
    run(&emulator, contender, &folder, devices)?;
    let files = verify_files(bench, devices, |device| contender.files(&folder, device))?;
    ensure!(
        files.count == u64::from(devices),
        "wrong: after a kill, {} of {devices} devices have a certificate",
        files.count
    );
    let contents = emulator.contents(None)?;
    ensure!(
        contents.active >= u64::from(devices),
        "wrong: after a kill, {} certificates are active, not {devices}",
        contents.active
    );
    fs::remove_dir_all(&folder)?;
    let surplus = contents.active - u64::from(devices);
    Ok(was_killed.then_some(surplus as f64))
}

/// Runs a contender to its end.
fn run(
    emulator: &Emulator,
    contender: &Contender,
    folder: &Path,
    devices: u32,
) -> anyhow::Result<Usage> {
    let mut measured = measure::command(&contender.command(emulator, folder, devices))?;
    emulator.configure(&mut measured);
    Ok(measure::run(measured)?.1)
}
