//! Installs the peers: the official SDKs, Cloudflare's command line and Prism, in pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::output::print_status;

/// Where each peer is, or the reason why it is missing.
#[derive(Default)]
pub(crate) struct Peers {
    /// The Python with the packages.
    pub(crate) python: Option<Result<PathBuf, String>>,
    /// The script, in the folder with the packages.
    pub(crate) node: Option<Result<PathBuf, String>>,
    /// Prism's script.
    pub(crate) prism: Option<Result<PathBuf, String>>,
    /// The script of Cloudflare's command line.
    pub(crate) cf: Option<Result<PathBuf, String>>,
}

impl Peers {
    pub(crate) fn install(root: &Path, folder: &Path) -> Self {
        print_status(
            "installing the official SDKs and Prism below target/bench; the first time takes a minute",
        );
        // The SDKs of the interop tests, so that their versions are pinned in one place.
        let (files, sdks) = (root.join("tests/bench"), root.join("tests/interop"));
        let report = |outcome: anyhow::Result<PathBuf>| {
            outcome.map_err(|error| {
                print_status(format_args!("missing: {error:#}"));
                format!("{error}")
            })
        };
        Self {
            python: Some(report(python(&sdks, &folder.join("python")))),
            node: Some(report(
                node(&sdks.join("node"), &folder.join("node")).and_then(|folder| {
                    let script = folder.join("contender.mjs");
                    fs::copy(files.join("node/contender.mjs"), &script)?;
                    Ok(script)
                }),
            )),
            prism: Some(report(
                node(&files.join("prism"), &folder.join("prism"))
                    .map(|folder| folder.join("node_modules/@stoplight/prism-cli/dist/index.js")),
            )),
            cf: Some(report(
                node(&files.join("cf"), &folder.join("cf"))
                    .map(|folder| folder.join("node_modules/cf/bin/cf")),
            )),
        }
    }
}

fn python(files: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    let requirements = files.join("python/requirements.txt");
    let constraints = files.join("constraints.txt");
    once(folder, &[&requirements, &constraints], || {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder))?;
        run(Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg("-r")
            .arg(&requirements)
            .arg("-c")
            .arg(&constraints))
    })?;
    Ok(python)
}

fn node(files: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let names = ["package.json", "package-lock.json"];
    let [package, lock] = names.map(|name| files.join(name));
    once(folder, &[&package, &lock], || {
        fs::create_dir_all(folder)?;
        for name in names {
            fs::copy(files.join(name), folder.join(name))?;
        }
        // Without scripts: one of Prism's packages reports its installation.
        run(Command::new("npm")
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(folder))
    })?;
    Ok(folder.to_owned())
}

/// Installs, if the folder was not made from the same files. The mark is written last, so that an interrupted
/// installation is repeated.
fn once(
    folder: &Path,
    files: &[&Path],
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut from = Vec::new();
    for file in files {
        from.extend(fs::read(file).context("can't read a file with pinned versions")?);
    }
    let mark = folder.join(".made-from");
    if fs::read(&mark).is_ok_and(|made| made == from) {
        return Ok(());
    }
    install()?;
    fs::write(mark, from)?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let output = command
        .output()
        .with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let error = anyhow::anyhow!(stderr);
        bail!(error.context(format!("{name} failed")));
    }
    Ok(())
}
