//! The facts of the machine that the figures depend on. None of them identifies its owner.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::setup::Bench;

/// Facts, by name.
pub(crate) type Facts = BTreeMap<&'static str, String>;

pub(crate) fn facts(bench: &Bench) -> Facts {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = field(&meminfo, "MemTotal:")
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let here = Some(&*bench.root);
    let changed = output_of(here, "git", &["status", "--porcelain"]).is_some();
    let commit = output_of(here, "git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let mut facts = Facts::from([
        (
            "processor",
            field(&cpuinfo, "model name").unwrap_or_default().to_owned(),
        ),
        ("cores", cores.to_string()),
        (
            "memory",
            format!("{:.1} GiB", memory as f64 / f64::from(1 << 20)),
        ),
        (
            "system",
            field(&release, "PRETTY_NAME=")
                .unwrap_or_default()
                .trim_matches('"')
                .to_owned(),
        ),
        (
            "kernel",
            output_of(None, "uname", &["-sr"]).unwrap_or_default(),
        ),
        (
            "rustc",
            output_of(None, "rustc", &["--version"]).unwrap_or_default(),
        ),
        (
            "date",
            output_of(None, "date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
        ),
        (
            "commit",
            if changed {
                commit + " with changes"
            } else {
                commit
            },
        ),
    ]);
    if bench.with_peers {
        facts.insert(
            "node",
            output_of(None, "node", &["--version"]).unwrap_or_default(),
        );
        if let Some(Ok(python)) = &bench.peers.python {
            let version = output_of(None, &python.to_string_lossy(), &["--version"]);
            facts.insert("python", version.unwrap_or_default());
        }
        facts.insert("peers", pinned_versions(&bench.root.join("tests")));
    }
    facts
}

/// Returns the versions that the peers are pinned to.
fn pinned_versions(tests: &Path) -> String {
    let mut versions = Vec::new();
    let python =
        fs::read_to_string(tests.join("interop/python/requirements.txt")).unwrap_or_default();
    versions.extend(
        python
            .lines()
            .map(|line| format!("{} (Python)", line.replace("==", " "))),
    );
    for folder in ["interop/node", "bench/cf", "bench/prism"] {
        let text = fs::read(tests.join(folder).join("package.json")).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        for (name, version) in package["dependencies"].as_object().into_iter().flatten() {
            versions.push(format!(
                "{name} {} (Node)",
                version.as_str().unwrap_or_default()
            ));
        }
    }
    versions.join(", ")
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_start_matches([' ', '\t', ':']).trim())
}

/// Returns what a command prints, if anything.
fn output_of(folder: Option<&Path>, program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = command.args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
