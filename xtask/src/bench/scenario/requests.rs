//! How many requests each operation takes, on a well-behaved service and on one that is not, and what is then wrong.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::super::contender::{Contender, FLOOR, GENERATED, SHIELDCERT};
use super::super::emulator::{Contents, Emulator};
use super::super::outcome::{Outcome, Target};
use super::super::report::format_table;
use super::super::setup::Bench;
use super::common::{contenders, make_folder, strings};

const TITLE: &str = "requests, on a well-behaved and on a hostile service";

const NOTES: &str = "\
least: the fewest requests that the task needs. \"short\" are certificates that a list left out, or devices without one;
\"twice\" are certificates that a list returned again; \"too many\" are active certificates beyond one a device; \"failed\"
ends in an error that says so. One run each: the faults are drawn by chance";

/// What is asked of a contender.
#[derive(Clone, Copy)]
enum Operation {
    List,
    Issue,
    Revoke,
    Get,
}

/// How the service differs from a well-behaved one.
#[derive(Clone, Copy)]
enum Service {
    WellBehaved,
    /// It has this quirk.
    Quirk(&'static str),
    /// It injects these faults.
    Chaos(&'static str),
    /// Somebody else issues all the time.
    Growing,
}

struct Case {
    operation: Operation,
    service: Service,
    /// What is said of the service.
    name: &'static str,
}

const CASES: &[Case] = &[
    case(Operation::List, Service::WellBehaved, "well-behaved"),
    case(Operation::List, Service::Growing, "others issue"),
    case(
        Operation::List,
        Service::Quirk("cap=25"),
        "25 records a page",
    ),
    case(
        Operation::List,
        Service::Quirk("cut=30@20%"),
        "cuts one page of five",
    ),
    case(
        Operation::List,
        Service::Quirk("total=page"),
        "counts the page alone",
    ),
    case(Operation::Issue, Service::WellBehaved, "well-behaved"),
    case(
        Operation::Issue,
        Service::Chaos("create: reset-after=5%, create: 502-after=5%"),
        "10 % of the responses are lost",
    ),
    case(
        Operation::Issue,
        Service::Chaos("create: reset=5%, create: 502-before=5%"),
        "10 % of the requests are lost",
    ),
    case(Operation::Revoke, Service::WellBehaved, "well-behaved"),
    case(
        Operation::Revoke,
        Service::Chaos("delete: reset-after=5%, delete: 502-after=5%"),
        "10 % of the responses are lost",
    ),
    case(Operation::Get, Service::WellBehaved, "well-behaved"),
    case(
        Operation::Get,
        Service::Chaos("get: 502-before=5%, get: html=5%"),
        "10 % are gateway pages",
    ),
];

const fn case(operation: Operation, service: Service, name: &'static str) -> Case {
    Case {
        operation,
        service,
        name,
    }
}

/// Drawn from the same seed for each contender.
const SEED: &str = "1";

/// Milliseconds. Without it a list would be read before others have issued much.
const LATENCY: u32 = 5;

/// What a contender's run led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Result {
    requests: u64,
    has_failed: bool,
    short: u64,
    twice: u64,
    too_many: u64,
}

impl Result {
    fn is_right(&self) -> bool {
        !self.has_failed && (self.short, self.twice, self.too_many) == (0, 0, 0)
    }
}

pub(super) fn compare(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let contenders: Vec<_> = contenders(bench)?
        .filter(|(name, _)| ![FLOOR, GENERATED].contains(name))
        .collect();
    let mut header = vec![
        "operation".to_owned(),
        "service".to_owned(),
        "least".to_owned(),
    ];
    header.extend(contenders.iter().map(|(name, _)| (*name).to_owned()));
    let mut lines = vec![header];
    let mut own = Vec::new();
    for case in CASES {
        let (operation, least) = case.describe(bench);
        let mut line = vec![operation, case.name.to_owned(), least.to_string()];
        for (name, contender) in &contenders {
            let Ok(contender) = contender else {
                line.push("missing".into());
                continue;
            };
            eprintln!("{TITLE}: {}, {}: {name}", line[0], case.name);
            let result = case.run(bench, contender)?;
            if *name == SHIELDCERT {
                own.push((format!("{}, {}", line[0], case.name), result.clone()));
            }
            line.push(result.to_string());
        }
        lines.push(line);
    }
    let wrong: Vec<_> = own
        .iter()
        .filter(|(_, result)| !result.is_right())
        .collect();
    let target = Target {
        target: "Shieldcert is right each time",
        measured: match wrong.first() {
            None => format!("{} of {}", own.len(), own.len()),
            Some((case, result)) => format!("{} wrong, such as {case}: {result}", wrong.len()),
        },
        is_met: Some(wrong.is_empty()),
    };
    Ok(vec![Outcome {
        letter: 'l',
        title: TITLE.into(),
        floor: NOTES,
        metrics: &[],
        rows: Vec::new(),
        targets: vec![target],
        notes: vec![format_table(&lines)],
    }])
}

impl std::fmt::Display for Result {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.requests)?;
        if self.has_failed {
            f.write_str(", failed")?;
        }
        for (count, what) in [
            (self.short, "short"),
            (self.twice, "twice"),
            (self.too_many, "too many"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Case {
    fn size(&self, bench: &Bench) -> u32 {
        match self.operation {
            Operation::List => bench.sizes.listed / 10,
            _ => bench.sizes.revoked / 5,
        }
    }

    /// Says what is done, and the fewest requests for it.
    fn describe(&self, bench: &Bench) -> (String, u32) {
        let size = self.size(bench);
        match self.operation {
            Operation::List => {
                let page_size = if matches!(self.service, Service::Quirk("cap=25")) {
                    25
                } else {
                    50
                };
                (format!("list {size}"), size.div_ceil(page_size))
            }
            Operation::Issue => (format!("issue {size}"), size),
            Operation::Revoke => (format!("revoke {size} and wait"), size + 1),
            Operation::Get => (format!("get {size} times"), size),
        }
    }

    fn run(&self, bench: &Bench, contender: &Contender) -> anyhow::Result<Result> {
        let size = self.size(bench);
        let populated = match self.operation {
            Operation::List => size,
            Operation::Get => 1,
            Operation::Issue | Operation::Revoke => 0,
        };
        let mut options = vec!["--control"];
        if let Service::Chaos(faults) = self.service {
            options.extend(["--chaos", faults, "--chaos-seed", SEED]);
        }
        let emulator = Emulator::start_with(bench, populated, LATENCY, &options)?;
        let folder = make_folder(bench, "requests")?;
        let ids = folder.join("ids");
        let result = match self.operation {
            Operation::List => self.list(&emulator, contender, &folder)?,
            Operation::Issue => {
                let path = folder.to_string_lossy();
                let task = strings(["issue", &size.to_string(), &path]);
                let (requests, tally) = count(&emulator, || contender.run(&emulator, &task))?;
                let issued = fs::read_dir(&folder)?.count() as u64;
                let active = emulator.contents(None)?.active;
                Result {
                    requests,
                    has_failed: tally.is_err(),
                    short: u64::from(size) - issued,
                    too_many: active.saturating_sub(issued),
                    ..Result::default()
                }
            }
            Operation::Revoke => {
                // The faults are for deletes alone.
                emulator.issue(size)?;
                emulator.contents(Some(&ids))?;
                let task = strings(["revoke", &ids.to_string_lossy()]);
                let (requests, tally) = count(&emulator, || contender.run(&emulator, &task))?;
                Result {
                    requests,
                    has_failed: tally.is_err(),
                    short: u64::from(size) - emulator.contents(None)?.revoked,
                    ..Result::default()
                }
            }
            Operation::Get => {
                let id = emulator
                    .contents(None)?
                    .sample_id
                    .context("an empty zone")?;
                let task = strings(["get", &id, &size.to_string()]);
                let (requests, tally) = count(&emulator, || contender.run(&emulator, &task))?;
                let got = tally.as_ref().map_or(0, |(tally, _)| tally.count);
                Result {
                    requests,
                    has_failed: tally.is_err(),
                    short: u64::from(size) - got,
                    ..Result::default()
                }
            }
        };
        fs::remove_dir_all(&folder)?;
        Ok(result)
    }

    fn list(
        &self,
        emulator: &Emulator,
        contender: &Contender,
        folder: &Path,
    ) -> anyhow::Result<Result> {
        let (before, found) = (folder.join("before"), folder.join("found"));
        let Contents { count: size, .. } = emulator.contents(Some(&before))?;
        if let Service::Quirk(quirk) = self.service {
            emulator.set_quirks(quirk)?;
        }
        let growing = match self.service {
            Service::Growing => Some(Growth::start(emulator, folder)?),
            _ => None,
        };
        let task = strings(["ids", &found.to_string_lossy()]);
        let (requests, tally) = count(emulator, || {
            let outcome = contender.run(emulator, &task);
            (outcome, growing.map(Growth::stop))
        })?;
        let (tally, others) = tally;
        let others = others.transpose()?.unwrap_or_default();
        let mut times: HashMap<String, u64> = HashMap::new();
        for id in fs::read_to_string(&found).unwrap_or_default().lines() {
            *times.entry(id.to_owned()).or_default() += 1;
        }
        let before = fs::read_to_string(&before)?;
        let kept = before.lines().filter(|id| times.contains_key(*id)).count() as u64;
        let has_failed = tally.is_err();
        Ok(Result {
            requests: requests - others,
            has_failed,
            // What was returned before an error is not kept.
            short: if has_failed { 0 } else { size - kept },
            twice: times.values().map(|times| times - 1).sum(),
            ..Result::default()
        })
    }
}

/// Counts the requests of what is done meanwhile.
fn count<T>(emulator: &Emulator, run: impl FnOnce() -> T) -> anyhow::Result<(u64, T)> {
    let before = emulator.count_requests()?;
    let outcome = run();
    let after = emulator.count_requests()?;
    Ok((after - before - 1, outcome))
}

/// Somebody who issues one certificate after another.
struct Growth {
    process: std::process::Child,
    file: std::path::PathBuf,
}

impl Growth {
    fn start(emulator: &Emulator, folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("growing");
        fs::write(&file, "")?;
        let mut command = Command::new(emulator.floor());
        command.arg("grow").arg(&file).stdout(Stdio::piped());
        emulator.configure(&mut command);
        Ok(Self {
            process: command.spawn()?,
            file,
        })
    }

    /// Ends it. Returns how many requests it sent.
    fn stop(self) -> anyhow::Result<u64> {
        fs::remove_file(&self.file)?;
        let output = self.process.wait_with_output()?;
        ensure!(output.status.success(), "the zone did not grow");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
