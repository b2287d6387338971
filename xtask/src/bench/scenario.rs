//! What is measured: each scenario runs every contender in turns, and checks what they answer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use anyhow::ensure;
use serde::Serialize;

use super::contender::{
    self, Answer, Contender, FLOOR, GENERATED, PYTHON, REQWEST, SHIELDCERT, TYPESCRIPT,
};
use super::emulator::{Contents, Emulator};
use super::measure::Usage;
use super::statistics::Summary;
use super::{Bench, footprint, throughput};

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Seconds by the clock on the wall.
    Wall,
    /// Seconds of processors.
    Processor,
    /// MiB at once.
    Memory,
    /// Requests that the service counted.
    Requests,
    /// Requests beyond one for each certificate.
    Waiting,
    /// Allocations a call.
    Allocations,
    /// Requests a second.
    Rate,
    /// Crates that are built.
    Crates,
}

/// One run's figures.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// What came of one contender in one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) trouble: Option<Trouble>,
}

/// Why a contender has no figures.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is not installed.
    Missing(String),
    /// It does not do what was asked, or not rightly.
    Wrong(String),
}

/// What is to be reached.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    /// Nothing where whoever it is compared with did not take part.
    pub(crate) held: Option<bool>,
}

/// What came of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) letter: char,
    pub(crate) title: String,
    pub(crate) floor: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: Vec<Target>,
    /// Figures beside the table.
    pub(crate) notes: Vec<String>,
}

type Scenario = fn(&Bench) -> anyhow::Result<Vec<Outcome>>;

/// Every scenario, by its letter.
pub(crate) const ALL: &[(char, Scenario)] = &[
    ('a', list_at_a_distance),
    ('b', list_nearby),
    ('c', stream),
    ('d', issue),
    ('e', revoke),
    ('f', get),
    ('g', footprint::compare),
    ('h', throughput::compare),
];

const PAGES_FLOOR: &str = "floor: the same pages by raw reqwest, 8 at once as Shieldcert fetches them, thrown away unread";

impl Outcome {
    pub(crate) fn summary(&self, name: &str, metric: Metric) -> Option<Summary> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        row.summary(metric)
    }

    fn median(&self, name: &str, metric: Metric) -> Option<f64> {
        Some(self.summary(name, metric)?.median)
    }

    /// The better of the official SDKs.
    fn best_sdk(&self, metric: Metric) -> Option<f64> {
        let both = [PYTHON, TYPESCRIPT].map(|name| self.median(name, metric));
        both.into_iter().flatten().reduce(f64::min)
    }

    /// Adds a target: the quotient of two medians, and whether it is as it should be.
    pub(crate) fn quotient(
        &mut self,
        target: &'static str,
        of: Option<f64>,
        by: Option<f64>,
        is_held: impl Fn(f64) -> bool,
    ) {
        let quotient = of.zip(by).map(|(of, by)| of / by);
        self.targets.push(Target {
            target,
            measured: quotient.map_or("not measured".into(), |quotient| format!("{quotient:.2}")),
            held: quotient.map(is_held),
        });
    }
}

impl Row {
    pub(crate) fn summary(&self, metric: Metric) -> Option<Summary> {
        if self.trouble.is_some() {
            return None;
        }
        let figures: Vec<f64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.get(&metric).copied())
            .collect();
        Summary::of(&figures)
    }
}

/// Runs everyone in turns, so that whatever else the machine does meets all alike. Who fails once is out.
pub(crate) fn in_turns<'a, T: 'a>(
    rounds: u32,
    label: &str,
    contenders: impl IntoIterator<Item = (&'static str, Result<T, String>)>,
    mut run: impl FnMut(&'static str, &T) -> anyhow::Result<Sample>,
) -> Vec<Row> {
    let mut all: Vec<(Row, Option<T>)> = contenders
        .into_iter()
        .map(|(name, contender)| {
            let (contender, trouble) = match contender {
                Ok(contender) => (Some(contender), None),
                Err(why) => (None, Some(Trouble::Missing(why))),
            };
            let row = Row {
                name,
                samples: Vec::new(),
                trouble,
            };
            (row, contender)
        })
        .collect();
    for round in 1..=rounds {
        for (row, contender) in &mut all {
            let (None, Some(contender)) = (&row.trouble, contender) else {
                continue;
            };
            eprintln!("{label}, round {round} of {rounds}: {}", row.name);
            match run(row.name, contender) {
                Ok(sample) => row.samples.push(sample),
                Err(error) => row.trouble = Some(Trouble::Wrong(format!("{error:#}"))),
            }
        }
    }
    all.into_iter().map(|(row, _)| row).collect()
}

fn contenders(
    bench: &Bench,
) -> anyhow::Result<impl Iterator<Item = (&'static str, Result<Contender, String>)>> {
    let all = contender::all(bench)?.into_iter();
    Ok(all.map(|contender| match &contender.command {
        Ok(_) => (contender.name, Ok(contender)),
        Err(why) => (contender.name, Err(why.clone())),
    }))
}

fn sample(usage: Usage) -> Sample {
    Sample::from([
        (Metric::Wall, usage.wall),
        (Metric::Processor, usage.processor),
        (Metric::Memory, usage.peak_kib as f64 / 1024.0),
    ])
}

/// The answer is what is there. The floor does not look at what it gets, and so counts alone.
fn check(name: &str, answer: Answer, expected: Answer) -> anyhow::Result<()> {
    ensure!(
        answer.count == expected.count,
        "wrong: {} certificates, not {}",
        answer.count,
        expected.count
    );
    ensure!(
        name == FLOOR || answer.checksum == expected.checksum,
        "wrong: the certificates are not those that are there"
    );
    Ok(())
}

impl Contents {
    fn answer(&self) -> Answer {
        Answer {
            count: self.count,
            checksum: self.checksum,
        }
    }
}

fn strings<const N: usize>(words: [&str; N]) -> [OsString; N] {
    words.map(OsString::from)
}

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
        "the emulator was not filled as asked"
    );
    let rows = in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (answer, usage) = contender.run(&emulator, &strings([task]))?;
            check(name, answer, contents.answer())?;
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

fn list_at_a_distance(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.listed;
    let title = format!("list {size} certificates, 30 ms away");
    let metrics = &[Metric::Wall];
    let mut outcome = reading(bench, ('a', title), "list", (size, 30), metrics)?;
    let median = |name| outcome.median(name, Metric::Wall);
    let (own, floor, sdk) = (
        median(SHIELDCERT),
        median(FLOOR),
        outcome.best_sdk(Metric::Wall),
    );
    outcome.quotient(
        "at least 8 times as fast as the faster official SDK",
        sdk,
        own,
        |times| times >= 8.0,
    );
    outcome.quotient("within 1.3 of the floor", own, floor, |times| times <= 1.3);
    Ok(vec![outcome])
}

fn list_nearby(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.listed;
    let title = format!("list {size} certificates, no latency");
    let metrics = &[Metric::Processor, Metric::Wall];
    let mut outcome = reading(bench, ('b', title), "list", (size, 0), metrics)?;
    let own = outcome.median(SHIELDCERT, Metric::Processor);
    let sdk = outcome.best_sdk(Metric::Processor);
    outcome.quotient(
        "at least 15 times less processor time than either official SDK",
        sdk,
        own,
        |times| times >= 15.0,
    );
    Ok(vec![outcome])
}

fn stream(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.streamed;
    let title = format!("stream {size} certificates");
    let metrics = &[Metric::Memory, Metric::Wall, Metric::Processor];
    let mut outcome = reading(bench, ('c', title), "stream", (size, 0), metrics)?;
    let memory = outcome.median(SHIELDCERT, Metric::Memory);
    outcome.targets.push(Target {
        target: "in less than 32 MiB",
        measured: memory.map_or("not measured".into(), |memory| format!("{memory:.1} MiB")),
        held: memory.map(|memory| memory < 32.0),
    });
    Ok(vec![outcome])
}

fn issue(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for latency in [30, 0] {
        let size = bench.sizes.issued;
        let title = format!("issue {size} certificates, latency {latency} ms");
        let rows = in_turns(
            bench.rounds,
            &title,
            contenders(bench)?,
            |name, contender| issue_once(bench, latency, name, contender),
        );
        let mut outcome = Outcome {
            letter: 'd',
            title,
            floor: "floor: the same requests by raw reqwest, 16 at once, all with one CSR made before; answers \
                    thrown away, nothing checked or written",
            metrics: &[Metric::Wall, Metric::Processor],
            rows,
            targets: Vec::new(),
            notes: Vec::new(),
        };
        let python = outcome.median(PYTHON, Metric::Wall);
        let own = outcome.median(SHIELDCERT, Metric::Wall);
        if latency > 0 {
            outcome.quotient(
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
    // A zone of its own for each, so that nobody finds it larger than the one before did.
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
    let (answer, usage) = contender.run(&emulator, &task)?;
    let contents = emulator.contents(None)?;
    ensure!(
        contents.count == u64::from(count),
        "wrong: {} certificates are in the zone, not {count}",
        contents.count
    );
    check(name, answer, contents.answer())?;
    if name != FLOOR {
        let floor = bench.programs.get("bench-floor")?;
        let verified = std::process::Command::new(floor)
            .arg("verify")
            .arg(&folder)
            .output()?;
        ensure!(
            verified.status.success(),
            "wrong files: {}",
            String::from_utf8_lossy(&verified.stderr)
        );
        let files: Answer = serde_json::from_slice(&verified.stdout)?;
        let expected = Answer {
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

fn revoke(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let size = bench.sizes.revoked;
    let title = format!("revoke {size} certificates and wait until all are, transition delay 2 s");
    let rows = in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let emulator = Emulator::start(bench, 0, 0)?;
            emulator.issue(size)?;
            let ids = bench.folder.join("ids");
            let first = emulator.contents(Some(&ids))?;
            // Twice, to know how many requests reading the zone is itself.
            let before = emulator.contents(None)?;
            let (answer, usage) = contender.run(&emulator, &["revoke".into(), ids.into()])?;
            let after = emulator.contents(None)?;
            check(name, answer, before.answer())?;
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
        floor: "floor: the revocations by raw reqwest, 16 at once, then after 2 s one look at what is pending",
        metrics: &[Metric::Requests, Metric::Waiting, Metric::Wall],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    let waiting = |name| outcome.median(name, Metric::Waiting);
    let (own, polling) = (waiting(SHIELDCERT), waiting(REQWEST));
    outcome.quotient(
        "waiting takes a tenth of the requests of polling one by one",
        own,
        polling,
        |share| share <= 0.1,
    );
    Ok(vec![outcome])
}

fn get(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let times = bench.sizes.gets;
    let title = format!("get a certificate {times} times, one after the other");
    let emulator = Emulator::start(bench, 1, 0)?;
    let contents = emulator.contents(None)?;
    let id = contents.an_id.clone().unwrap_or_default();
    let expected = Answer {
        count: times.into(),
        checksum: (u128::from(contents.checksum) * u128::from(times) % (1 << 48)) as u64,
    };
    let task = strings(["get", &id, &times.to_string()]);
    let rows = in_turns(
        bench.rounds,
        &title,
        contenders(bench)?,
        |name, contender| {
            let (answer, usage) = contender.run(&emulator, &task)?;
            check(name, answer, expected)?;
            let mut sample = sample(usage);
            if let Some(counted) = allocations(bench, &emulator, name, &id)? {
                sample.insert(Metric::Allocations, counted);
            }
            Ok(sample)
        },
    );
    let mut outcome = Outcome {
        letter: 'f',
        title,
        floor: "floor: the same requests by raw reqwest, answers thrown away unread",
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
        outcome.quotient(target, own, bare, |times| times < 1.1);
    }
    Ok(vec![outcome])
}

/// Allocations a call, counted in a run of their own, since counting takes time.
fn allocations(
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
    let mut command = std::process::Command::new(bench.programs.get("bench-allocations")?);
    command.args([name, id, "200"]);
    emulator.point(&mut command);
    let output = command.output()?;
    ensure!(output.status.success(), "allocations can't be counted");
    let counted: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(counted["allocations"].as_f64())
}
