//! `cargo xtask bench --instructions`: counts the instructions of the client's workloads under callgrind, and compares
//! them with the checked-in counts. Unlike times, they are about the same on every machine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::programs::Programs;
use crate::output::{print_line, print_status};
use crate::workspace::{read, replace};

/// The checked-in counts.
const COUNTS: &str = "tests/bench/instructions.txt";

/// The increase that is a regression. Compilers and hash seeds make a few percent.
const MAX_INCREASE: f64 = 0.10;

const HEADER: &str = "\
# Instructions of each workload of tests/bench/src/workload.rs, once. Written by
# `cargo xtask bench --instructions --bless`.
";

pub(super) fn run(root: &Path, programs: &Programs, bless: bool) -> anyhow::Result<()> {
    let program = programs.get("bench-workload")?;
    print_status("counting instructions under callgrind; this takes about a minute");
    let counted = count_all(program)?;
    let file = root.join(COUNTS);
    if bless {
        let mut text = HEADER.to_owned();
        for (name, count) in &counted {
            writeln!(text, "{count:>12}  {name}")?;
        }
        replace(&file, &text)?;
        print_line(format_args!("written to {COUNTS}"));
        return Ok(());
    }
    let text = read(&file)?;
    let known = parse(&text)?;
    let mut worse = Vec::new();
    for (name, count) in &counted {
        let before = known.get(name).with_context(|| {
            format!("{COUNTS}: there is no count of {name:?}; write it with `--bless`")
        })?;
        let ratio = *count as f64 / *before as f64;
        print_line(format_args!(
            "{count:>12}  {name}: {ratio:.3} times the checked-in count"
        ));
        if ratio > 1.0 + MAX_INCREASE {
            worse.push(name.as_str());
        }
    }
    ensure!(
        worse.is_empty(),
        "more than {:.0} % more instructions than in {COUNTS}: {}; find the cause, or accept the new counts with `--bless`",
        MAX_INCREASE * 100.0,
        worse.join(", ")
    );
    Ok(())
}

fn count_all(program: &Path) -> anyhow::Result<Vec<(String, u64)>> {
    let listed = Command::new(program)
        .output()
        .context("can't run the workloads")?;
    ensure!(listed.status.success(), "the workloads can't be listed");
    let listed = String::from_utf8(listed.stdout)?;
    let workloads = listed.lines().map(|line| {
        let (times, name) = line.split_once('\t').context("a workload has no name")?;
        let times: u64 = times.parse()?;
        // Both include the start of the program.
        let [once, thrice] = [1, 3].map(|factor| count(program, name, factor * times));
        let difference = thrice?
            .checked_sub(once?)
            .context("more repetitions took fewer instructions")?;
        anyhow::Ok((name.to_owned(), difference / (2 * times)))
    });
    workloads.collect()
}

/// Counts the instructions of a program that runs a workload several times.
fn count(program: &Path, name: &str, times: u64) -> anyhow::Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        .output()
        .context("can't run valgrind; install it")?;
    let printed = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{name} failed:\n{printed}");
    let count = printed.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected : ")?;
        count.trim().parse().ok()
    });
    count.with_context(|| format!("valgrind printed no count:\n{printed}"))
}

/// Parses the checked-in counts.
fn parse(text: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let counts = lines.map(|line| {
        let parts = line.trim().split_once("  ");
        let parsed = parts.and_then(|(count, name)| Some((name.to_owned(), count.parse().ok()?)));
        match parsed {
            Some(counted) => Ok(counted),
            None => bail!("{COUNTS}: {line:?} is not a count and a name"),
        }
    });
    counts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_round_trip() {
        let counts =
            parse("# a comment\n         120  a CSR, made\n           7  b\n").expect("counts");
        assert_eq!(counts["a CSR, made"], 120);
        assert_eq!(counts["b"], 7);
        for broken in ["x  a", "12", "12 a", ""] {
            let text = format!("{broken}\n");
            assert!(parse(&text).is_err(), "{broken:?}");
        }
    }
}
