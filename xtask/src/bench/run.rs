//! The task: its options, and the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;

use super::peer::Peers;
use super::programs::Programs;
use super::setup::{Bench, Sizes};
use super::{instructions, machine, report, scenario};
use crate::output::{print_line, print_status};
use crate::workspace::replace;

#[derive(Args)]
pub(crate) struct Options {
    /// Install the official SDKs and Prism below target/bench, and measure them, too
    #[arg(long)]
    peers: bool,

    /// Use small sizes and two rounds, to test the benchmark; the figures mean nothing
    #[arg(long, conflicts_with = "peers")]
    quick: bool,

    /// Write all measurements and the facts of the machine to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Only count the instructions of the client's workloads under callgrind, and fail if they have grown
    #[arg(long, conflicts_with_all = ["peers", "quick", "json", "only"])]
    instructions: bool,

    /// Accept the new counts
    #[arg(long, requires = "instructions")]
    bless: bool,

    /// The number of times that every contender runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Run only the scenarios with these letters, such as "abf"
    #[arg(long, value_name = "LETTERS")]
    only: Option<String>,
}

/// Runs what the options ask for.
///
/// # Errors
/// An installed contender failed, or its result was wrong.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(file) = &options.json {
        // Fails now rather than after an hour.
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        ensure!(
            folder.is_none_or(Path::is_dir),
            "can't write {}: its folder does not exist",
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
        Peers::install(root, &folder)
    } else {
        Peers::default()
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
    print_line(report::heading(&machine, options.quick));

    let mut results = Vec::new();
    for (letter, scenario) in scenario::ALL {
        // It takes minutes, and needs a registry.
        let is_heavy = *letter == 'g' && !options.peers;
        let is_wanted = match &options.only {
            Some(letters) => letters.contains(*letter),
            None => !is_heavy,
        };
        if !is_wanted {
            continue;
        }
        print_status(format_args!("measuring: scenario {letter}"));
        for result in scenario(&bench)? {
            print_line(report::section(&result));
            results.push(result);
        }
    }
    ensure!(
        !results.is_empty(),
        "--only names no scenario; they are a to m"
    );
    print_line(report::targets(&results));
    print_line(report::legend());
    if let Some(file) = &options.json {
        let json = report::json(&machine, &results, bench.rounds, options.quick);
        replace(file, &(serde_json::to_string_pretty(&json)? + "\n"))?;
        print_line(format_args!("written to {}", file.display()));
    }
    let wrong: Vec<_> = results.iter().flat_map(report::failures).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("failed or wrong:\n  {}", wrong.join("\n  "))
}
