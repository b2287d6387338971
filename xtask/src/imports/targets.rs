//! The packages of the workspace and the files that their targets start from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A package of the workspace.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// Its folder, relative to the workspace.
    pub(super) folder: PathBuf,
    /// The root files of its targets, absolute.
    pub(super) roots: Vec<PathBuf>,
}

/// Asks cargo for the packages.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Described>,
    }
    #[derive(Deserialize)]
    struct Described {
        name: String,
        manifest_path: PathBuf,
        targets: Vec<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        src_path: PathBuf,
    }
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root)
        .output()
        .context("can't run cargo")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
    let packages = metadata.packages.into_iter().map(|package| {
        let folder = package.manifest_path.parent().unwrap_or(root);
        Package {
            name: package.name,
            folder: folder.strip_prefix(root).unwrap_or(folder).to_owned(),
            roots: package
                .targets
                .into_iter()
                .map(|target| target.src_path)
                .collect(),
        }
    });
    Ok(packages.collect())
}
