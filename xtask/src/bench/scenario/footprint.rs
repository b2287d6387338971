//! The cost of a dependency: the number of crates, and the time of a clean build.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use super::super::outcome::{Metric, Outcome, Sample, run_in_turns};
use super::super::setup::Bench;
use crate::workspace;

const OWN: &str = "shieldcert";
const CLOUDFLARE: &str = "cloudflare 0.14";
const REQWEST: &str = "reqwest 0.13";

pub(crate) fn compare(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let title = "clean debug build of a project with one dependency, default features";
    let own = bench.root.join("crates/shieldcert");
    let projects = [
        (
            OWN,
            format!("shieldcert = {{ path = {:?} }}", own.display().to_string()),
        ),
        (CLOUDFLARE, "cloudflare = \"0.14\"".to_owned()),
        (REQWEST, "reqwest = \"0.13\"".to_owned()),
    ];
    let folder = bench.folder.join("footprint");
    let mut prepared = Vec::new();
    for (name, dependency) in projects {
        let project = folder.join(name.replace(' ', "-"));
        let ready = prepare(&project, &dependency).map(|crates| (project, crates));
        prepared.push((name, ready.map_err(|error| format!("{error}"))));
    }
    let rows = run_in_turns(bench.rounds, title, prepared, |_, (project, crates)| {
        let seconds = build(project)?;
        Ok(Sample::from([
            (Metric::Wall, seconds),
            (Metric::Crates, *crates as f64),
        ]))
    });
    fs::remove_dir_all(&folder)?;
    let mut outcome = Outcome {
        letter: 'g',
        title: title.into(),
        floor: "floor: none; reqwest shows the cost of HTTP and TLS alone",
        metrics: &[Metric::Wall, Metric::Crates],
        rows,
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for (target, metric) in [
        ("no more build time than `cloudflare` 0.14", Metric::Wall),
        ("no more crates than `cloudflare` 0.14", Metric::Crates),
    ] {
        let median = |name| outcome.summary(name, metric).map(|summary| summary.median);
        let (own, other) = (median(OWN), median(CLOUDFLARE));
        outcome.add_quotient(target, own, other, |times| times <= 1.0);
    }
    Ok(vec![outcome])
}

fn cargo(project: &Path) -> Command {
    let mut cargo = workspace::cargo();
    cargo
        .current_dir(project)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS");
    cargo
}

/// Makes a project and fetches its dependencies, so that the network is not measured. Returns the number of crates.
fn prepare(project: &Path, dependency: &str) -> anyhow::Result<usize> {
    if project.exists() {
        fs::remove_dir_all(project)?;
    }
    fs::create_dir_all(project.join("src"))?;
    // A workspace of its own, apart from the one around it.
    let manifest = format!(
        "[package]\nname = \"footprint\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependency}\n"
    );
    fs::write(project.join("Cargo.toml"), manifest)?;
    fs::write(project.join("src/main.rs"), "fn main() {}\n")?;
    let fetched = cargo(project).args(["fetch", "--quiet"]).output()?;
    ensure!(
        fetched.status.success(),
        "its dependencies can't be fetched"
    );
    let tree = cargo(project)
        .args([
            "tree",
            "--offline",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-f",
            "{p}",
        ])
        .output()?;
    ensure!(tree.status.success(), "cargo tree failed");
    let text = String::from_utf8(tree.stdout)?;
    // A name and a version, maybe followed by a source or a mark for repetition.
    let crates: BTreeSet<Vec<&str>> = text
        .lines()
        .map(|line| line.split(' ').take(2).collect())
        .filter(|words: &Vec<&str>| words.len() == 2 && words[0] != "footprint")
        .collect();
    Ok(crates.len())
}

fn build(project: &Path) -> anyhow::Result<f64> {
    let target = project.join("target");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let started = Instant::now();
    let status = cargo(project)
        .args(["build", "--quiet", "--offline"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "the project does not build");
    Ok(started.elapsed().as_secs_f64())
}
