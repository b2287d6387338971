//! The workspace's programs, built for release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::output::print_status;
use crate::workspace::cargo;

/// The programs, by name.
pub(super) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    pub(super) fn build(root: &Path) -> anyhow::Result<Self> {
        print_status("building the contenders for release; the first build takes some minutes");
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
            let message: Value =
                serde_json::from_str(line).context("cargo printed a message that is not JSON")?;
            if let (Some(name), Some(path)) = (
                message["target"]["name"].as_str(),
                message["executable"].as_str(),
            ) {
                programs.insert(name.to_owned(), path.into());
            }
        }
        Ok(Self(programs))
    }

    pub(super) fn get(&self, name: &str) -> anyhow::Result<&Path> {
        let path = self
            .0
            .get(name)
            .with_context(|| format!("cargo built no {name}"))?;
        Ok(path)
    }
}

/// Checks that the programs of the documented way are installed.
pub(super) fn check_tools() -> Result<(), String> {
    for (tool, argument) in [
        ("bash", "--version"),
        ("openssl", "version"),
        ("curl", "--version"),
        ("jq", "--version"),
    ] {
        if Command::new(tool).arg(argument).output().is_err() {
            return Err(format!("{tool} is not installed"));
        }
    }
    Ok(())
}
