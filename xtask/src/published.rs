//! The crates that are published: those of the workspace that do not say `publish = false`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What `cargo metadata --no-deps` prints, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_default_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    /// The registries that it may be published to; `null` for any.
    publish: Option<Vec<String>>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// A crate that is published.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// The name of its library in paths, such as `shieldcert_api`. A crate with programs alone has none.
    pub(crate) library: Option<String>,
    /// Whether it is a default member of the workspace.
    pub(crate) is_default: bool,
}

/// Returns the crates that are published, by name.
pub(crate) fn published(root: &Path) -> Result<Vec<Published>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("can't run cargo")?;
    ensure!(output.status.success(), "`cargo metadata` failed");
    parse(&output.stdout)
}

fn parse(metadata: &[u8]) -> Result<Vec<Published>> {
    let metadata: Metadata =
        serde_json::from_slice(metadata).context("can't read what `cargo metadata` printed")?;
    let mut published = Vec::new();
    for package in metadata.packages {
        if package.publish.is_some_and(|names| names.is_empty()) {
            continue;
        }
        let folder = package
            .manifest_path
            .parent()
            .with_context(|| format!("{}: its manifest is in no folder", package.name))?
            .to_owned();
        let library = package
            .targets
            .into_iter()
            .find(|target| target.kind.iter().any(|kind| kind == "lib"))
            .map(|target| target.name);
        published.push(Published {
            name: package.name,
            folder,
            library,
            is_default: metadata.workspace_default_members.contains(&package.id),
        });
    }
    published.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_publish_false_is_left_out() {
        let metadata = serde_json::json!({"workspace_default_members": ["a-lib 0.1.0"], "packages": [
            {"id": "tool 0.1.0", "name": "tool", "manifest_path": "/w/tool/Cargo.toml", "publish": null,
             "targets": [{"name": "tool", "kind": ["bin"]}]},
            {"id": "a-lib 0.1.0", "name": "a-lib", "manifest_path": "/w/a-lib/Cargo.toml", "publish": null,
             "targets": [{"name": "example", "kind": ["example"]}, {"name": "a_lib", "kind": ["lib"]}]},
            {"id": "xtask 0.0.0", "name": "xtask", "manifest_path": "/w/xtask/Cargo.toml", "publish": [],
             "targets": [{"name": "xtask", "kind": ["bin"]}]},
        ]});
        let found = parse(metadata.to_string().as_bytes()).expect("parses");
        let crates = found
            .iter()
            .map(|found| (found.name.as_str(), found.library.as_deref()))
            .collect::<Vec<_>>();
        assert_eq!(crates, [("a-lib", Some("a_lib")), ("tool", None)]);
        assert_eq!(found[0].folder, Path::new("/w/a-lib"));
        assert!(found[0].is_default && !found[1].is_default);
    }

    /// What may stand at the top of a package.
    const CONTENTS: &[&str] = &[
        ".cargo_vcs_info.json",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "FLEETS.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "examples",
        "openapi.json",
        "schemas",
        "src",
        "tests",
    ];

    #[test]
    fn a_package_has_licences_and_nothing_that_users_have_no_use_for() {
        let root = crate::workspace::root().expect("a workspace");
        for published in published(root).expect("reads") {
            let output = crate::workspace::cargo()
                .args([
                    "package",
                    "--list",
                    "--allow-dirty",
                    "--offline",
                    "--package",
                ])
                .arg(&published.name)
                .current_dir(root)
                .output()
                .expect("cargo runs");
            let listed = String::from_utf8(output.stdout).expect("text");
            let top = listed
                .lines()
                .filter_map(|path| path.split('/').next())
                .collect::<std::collections::BTreeSet<_>>();
            let stray = top.iter().filter(|name| !CONTENTS.contains(name));
            assert_eq!(stray.collect::<Vec<_>>(), [&""; 0], "{}", published.name);
            for name in [
                "Cargo.toml",
                "LICENSE-APACHE",
                "LICENSE-MIT",
                "README.md",
                "src",
            ] {
                assert!(top.contains(name), "{}: {name}", published.name);
            }
        }
    }

    /// A Python package must not reach outside of its folder.
    #[test]
    fn the_python_package_has_the_same_licences() {
        let root = crate::workspace::root().expect("a workspace");
        for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let folder = root.join("crates/shieldcert-emulator/pytest-shieldcert");
            let read = |path: PathBuf| std::fs::read_to_string(path).expect("can be read");
            assert_eq!(read(folder.join(name)), read(root.join(name)));
        }
    }

    #[test]
    fn the_folder_crates_holds_what_is_published() {
        let root = crate::workspace::root().expect("a workspace");
        let folders = std::fs::read_dir(root.join("crates")).expect("can be read");
        let mut expected = folders
            .map(|entry| entry.expect("an entry").path())
            .filter(|folder| folder.join("Cargo.toml").exists())
            .collect::<Vec<_>>();
        expected.sort();
        let found = published(root).expect("reads");
        let found = found
            .into_iter()
            .map(|found| found.folder)
            .collect::<Vec<_>>();
        assert_eq!(found, expected);
    }
}
