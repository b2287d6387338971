//! `cargo xtask bench`: Shieldcert beside what its users would otherwise pick, on this machine.
//!
//! Every contender is a process of its own ([`contender`]), measured from outside ([`measure`]), in turns with
//! the others ([`scenario`]), against the emulator ([`emulator`]). What it answers is checked against what is in
//! the zone; a wrong answer has no figures. [`report`] prints what came of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::say;

mod contender;
mod emulator;
mod footprint;
mod instructions;
mod machine;
pub(crate) mod measure;
mod peer;
mod report;
mod scenario;
mod statistics;
mod throughput;

#[derive(Args)]
pub(crate) struct Options {
    /// Install the official SDKs and Prism below target/bench, and let them take part
    #[arg(long)]
    peers: bool,

    /// Small sizes and two rounds, to see that everything works; the figures mean nothing
    #[arg(long, conflicts_with = "peers")]
    quick: bool,

    /// Write everything that was measured to this file, with the facts of the machine
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Count the instructions of the client's workloads under callgrind instead, and fail where they have grown
    #[arg(long, conflicts_with_all = ["peers", "quick", "json", "only"])]
    instructions: bool,

    /// Take the counts over
    #[arg(long, requires = "instructions")]
    bless: bool,

    /// How often every contender runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Only the scenarios with these letters, such as "abf"
    #[arg(long, value_name = "LETTERS")]
    only: Option<String>,
}

/// What every scenario needs.
struct Bench {
    rounds: u32,
    sizes: Sizes,
    programs: Programs,
    peers: peer::Peers,
    with_peers: bool,
    root: PathBuf,
    /// Ignored by git. What is needed for longer than a run is kept in it.
    folder: PathBuf,
}

/// cargo, without what the cargo that runs this task has set: some build scripts would build anew for it.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// How much of everything.
struct Sizes {
    listed: u32,
    streamed: u32,
    issued: u32,
    revoked: u32,
    gets: u32,
    /// Seconds of load.
    load: u32,
}

impl Sizes {
    const FULL: Self = Self {
        listed: 10_000,
        streamed: 200_000,
        issued: 2_000,
        revoked: 500,
        gets: 5_000,
        load: 5,
    };
    const QUICK: Self = Self {
        listed: 300,
        streamed: 600,
        issued: 50,
        revoked: 20,
        gets: 50,
        load: 1,
    };
}

/// Programs of the workspace, built for release, by their names.
struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    fn build(root: &Path) -> anyhow::Result<Self> {
        let mut command = cargo();
        command
            .args([
                "build",
                "--release",
                "--message-format=json-render-diagnostics",
            ])
            .args([
                "--package",
                "shieldcert-cli",
                "--package",
                "shieldcert-bench",
            ])
            .current_dir(root)
            .stderr(Stdio::inherit());
        let output = command.output().context("can't run cargo")?;
        ensure!(output.status.success(), "the contenders don't build");
        let mut programs = BTreeMap::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            let message: Value = serde_json::from_str(line).context("cargo's messages")?;
            if let (Some(name), Some(path)) = (
                message["target"]["name"].as_str(),
                message["executable"].as_str(),
            ) {
                programs.insert(name.to_owned(), path.into());
            }
        }
        Ok(Self(programs))
    }

    fn get(&self, name: &str) -> anyhow::Result<&Path> {
        let path = self
            .0
            .get(name)
            .with_context(|| format!("cargo built no {name}"))?;
        Ok(path)
    }
}

/// Runs what the options ask for. Fails where a contender that is there is wrong or broken.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(file) = &options.json {
        // Better known now than in an hour.
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        ensure!(
            folder.is_none_or(Path::is_dir),
            "the folder of {} does not exist",
            file.display()
        );
    }
    let folder = root.join("target/bench");
    fs::create_dir_all(&folder)?;
    let programs = Programs::build(root)?;
    if options.instructions {
        instructions::run(root, &programs, options.bless)?;
        return Ok(ExitCode::SUCCESS);
    }
    let peers = if options.peers {
        peer::Peers::install(root, &folder)
    } else {
        peer::Peers::default()
    };
    let bench = Bench {
        rounds: if options.quick { 2 } else { options.rounds },
        sizes: if options.quick {
            Sizes::QUICK
        } else {
            Sizes::FULL
        },
        programs,
        peers,
        with_peers: options.peers,
        root: root.to_owned(),
        folder,
    };
    let machine = machine::facts(&bench);
    say(report::heading(&machine, options.quick));

    let mut results = Vec::new();
    for (letter, scenario) in scenario::ALL {
        // Takes minutes, and needs a registry.
        let is_heavy = *letter == 'g' && !options.peers;
        let is_wanted = match &options.only {
            Some(letters) => letters.contains(*letter),
            None => !is_heavy,
        };
        if !is_wanted {
            continue;
        }
        for result in scenario(&bench)? {
            say(report::section(&result));
            results.push(result);
        }
    }
    ensure!(!results.is_empty(), "there is no such scenario");
    say(report::targets(&results));
    say(report::legend());
    if let Some(file) = &options.json {
        write_whole(
            file,
            &report::json(&machine, &results, bench.rounds, options.quick),
        )?;
        say(format_args!("written to {}", file.display()));
    }
    let wrong: Vec<_> = results.iter().flat_map(report::wrong).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("wrong or broken:\n  {}", wrong.join("\n  "))
}

/// The file appears whole or not at all.
fn write_whole(file: &Path, value: &Value) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, file))
        .with_context(|| format!("can't write {}", file.display()))
}
