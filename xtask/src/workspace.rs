//! The workspace: its root, and its files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// The fragment, as upstream states it.
pub(crate) const SPEC: &str = "spec/client_certificates.yaml";
/// Every departure from the fragment.
pub(crate) const OVERLAY: &str = "spec/overlay.yaml";
/// The fragment with the overlay applied: the input of the generator.
pub(crate) const OPENAPI: &str = "crates/shieldcert-api/openapi.json";
/// The generated client.
pub(crate) const API: &str = "crates/shieldcert-api/src/generated.rs";
/// The generated mocks.
pub(crate) const HTTPMOCK: &str = "crates/shieldcert-httpmock/src/generated.rs";

/// The crates' version, which this package shares.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the root of the workspace that this program was built from.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask's folder has no parent")
}

/// Returns a cargo command without the variables that the outer cargo has set for this program: some build scripts
/// would run again because of them.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Reads a text file. The error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Replaces a file as a whole: after an interruption it holds the old contents or the new.
///
/// An existing file keeps its permissions; a new one gets the system's default.
pub(crate) fn replace(path: &Path, contents: &str) -> Result<()> {
    write_and_rename(path, contents).with_context(|| format!("can't write {}", path.display()))
}

fn write_and_rename(path: &Path, contents: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(contents.as_bytes())?;
    match fs::metadata(path) {
        Ok(metadata) => file.as_file().set_permissions(metadata.permissions())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            set_default_permissions(&file)?;
        }
        Err(error) => return Err(error.into()),
    }
    file.persist(path)?;
    Ok(())
}

/// A temporary file is for its owner alone; these files are for everybody who reads the repository.
#[cfg(unix)]
fn set_default_permissions(file: &NamedTempFile) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = fs::Permissions::from_mode(0o644);
    Ok(file.as_file().set_permissions(permissions)?)
}

#[cfg(not(unix))]
fn set_default_permissions(_: &NamedTempFile) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_leaves_only_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        for contents in ["one", "two"] {
            replace(&path, contents).expect("replaces");
            assert_eq!(read(&path).expect("reads"), contents);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn replacing_keeps_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mode = || fs::metadata(&path).expect("exists").permissions().mode() & 0o777;
        replace(&path, "one").expect("replaces");
        assert_eq!(mode(), 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets");
        replace(&path, "two").expect("replaces");
        assert_eq!(mode(), 0o600);
    }

    /// What cargo prints about this workspace.
    fn cargo(arguments: &[&str]) -> String {
        let output = std::process::Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--offline", "--locked"])
            .current_dir(root().expect("a root"))
            .output()
            .expect("cargo runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("is text")
    }

    /// Whatever a package may depend on, with any feature and on any target, as the lock file has it.
    fn locked_dependencies(roots: &[&str]) -> std::collections::BTreeSet<String> {
        let path = root().expect("a root").join("Cargo.lock");
        let lock: toml_edit::DocumentMut =
            read(&path).expect("reads").parse().expect("is a lock file");
        let packages = lock["package"].as_array_of_tables().expect("has packages");
        let mut found = std::collections::BTreeSet::new();
        let mut next: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        while let Some(name) = next.pop() {
            if !found.insert(name.clone()) {
                continue;
            }
            for package in packages
                .iter()
                .filter(|package| package["name"].as_str() == Some(&name))
            {
                let dependencies = package.get("dependencies").and_then(|list| list.as_array());
                let names = dependencies
                    .into_iter()
                    .flatten()
                    .filter_map(|each| each.as_str());
                // Where there are several versions, the version follows.
                next.extend(names.map(|each| each.split(' ').next().unwrap_or(each).to_owned()));
            }
        }
        found
    }

    #[test]
    fn who_does_not_build_the_fleet_on_temporal_builds_nothing_of_temporal() {
        let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]);
        let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
        let packages = metadata["packages"].as_array().expect("a list").iter();
        let names = packages.filter_map(|package| package["name"].as_str());
        let others: Vec<_> = names
            .filter(|name| *name != "shieldcert-fleet-temporal")
            .collect();
        assert!(others.contains(&"shieldcert-cli"));
        let has_temporal = |roots: &[&str]| {
            let dependencies = locked_dependencies(roots);
            assert!(dependencies.contains("tokio"), "{dependencies:?}");
            dependencies
                .iter()
                .any(|name| name.starts_with("temporalio"))
        };
        assert!(!has_temporal(&others));
        assert!(has_temporal(&["shieldcert-fleet-temporal"]));
    }

    #[test]
    fn every_other_member_is_a_default_member() {
        let metadata = cargo(&["metadata", "--no-deps", "--format-version=1"]);
        let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
        let ids = |key: &str| -> Vec<String> {
            let ids = metadata[key].as_array().expect("a list").iter();
            ids.map(ToString::to_string).collect()
        };
        let (all, default) = (ids("workspace_members"), ids("workspace_default_members"));
        let left_out: Vec<_> = all.iter().filter(|id| !default.contains(id)).collect();
        assert!(
            matches!(&left_out[..], [one] if one.contains("shieldcert-fleet-temporal")),
            "{left_out:?}"
        );
    }

    #[test]
    fn errors_name_the_file() {
        let path = Path::new("/nonexistent/file");
        for error in [read(path).map(drop), replace(path, "")] {
            let message = error.expect_err("fails").to_string();
            assert!(message.contains("/nonexistent/file"), "{message}");
        }
    }
}
