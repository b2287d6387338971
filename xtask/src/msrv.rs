//! `cargo xtask msrv`: compares each crate's stated `rust-version` with those of its dependencies.
//!
//! The rule: a crate's `rust-version` holds for its default features, and for every other feature that the crate does
//! not list under `[package.metadata.feature-rust-version]`. A listed feature states its own, higher version.
//! Dev-dependencies do not count, since no user builds them.
//!
//! One toolchain is all that is needed. That the crate's own code keeps to its version is checked by
//! `clippy::incompatible_msrv`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::output::print_status;

/// What `cargo metadata` prints, as far as it is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    rust_version: Option<Version>,
    features: BTreeMap<String, Vec<String>>,
    /// Free-form, and `null` where a crate has none.
    metadata: Option<serde_json::Value>,
}

/// A Rust version: major, minor, patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Version([u32; 3]);

impl TryFrom<String> for Version {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        let mut version = [0; 3];
        let mut parts = text.split('.');
        for (number, part) in version.iter_mut().zip(parts.by_ref()) {
            *number = part
                .parse()
                .with_context(|| format!("{text:?} is not a Rust version"))?;
        }
        ensure!(parts.next().is_none(), "{text:?} is not a Rust version");
        Ok(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}")?;
        if patch > 0 {
            write!(f, ".{patch}")?;
        }
        Ok(())
    }
}

/// A way to build a crate: with these features, and promised to work from `stated` on.
#[derive(Debug, PartialEq, Eq)]
struct Build {
    label: String,
    /// Arguments for cargo.
    features: Vec<String>,
    stated: Version,
}

impl Package {
    /// Versions that features state for themselves.
    fn feature_versions(&self) -> anyhow::Result<BTreeMap<String, Version>> {
        let table = self
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get("feature-rust-version"));
        let Some(table) = table else {
            return Ok(BTreeMap::new());
        };
        BTreeMap::deserialize(table).with_context(|| {
            format!(
                "{}: [package.metadata.feature-rust-version] is not a table of versions",
                self.name
            )
        })
    }

    /// The builds whose versions are stated.
    fn builds(&self) -> anyhow::Result<Vec<Build>> {
        let stated = self
            .rust_version
            .with_context(|| format!("{}: states no `rust-version`", self.name))?;
        let listed = self.feature_versions()?;
        for feature in listed.keys() {
            ensure!(
                self.features.contains_key(feature),
                "{}: [package.metadata.feature-rust-version] lists {feature:?}, which is not a feature",
                self.name
            );
        }
        let unlisted = self
            .features
            .keys()
            .filter(|name| !listed.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>();
        let mut builds = vec![Build {
            label: "default features".to_owned(),
            features: Vec::new(),
            stated,
        }];
        if unlisted.iter().any(|name| name != "default") {
            builds.push(Build {
                label: if listed.is_empty() {
                    "all features".to_owned()
                } else {
                    "all features but those listed".to_owned()
                },
                features: vec![format!("--features={}", unlisted.join(","))],
                stated,
            });
        }
        for (feature, version) in listed {
            builds.push(Build {
                label: format!("feature `{feature}`"),
                features: vec![format!("--features={feature}")],
                stated: version.max(stated),
            });
        }
        Ok(builds)
    }
}

/// The dependency of `package` with the highest `rust_version`.
fn most_demanding<'a>(
    package: &Package,
    packages: &'a [Package],
    tree: &str,
) -> Option<(&'a Package, Version)> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            packages
                .iter()
                .find(|package| package.name == name && package.version == version)
        })
        // The tree begins with the crate itself.
        .filter(|dependency| dependency.id != package.id)
        .filter_map(|package| Some((package, package.rust_version?)))
        .max_by_key(|(_, version)| *version)
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("can't run cargo")?;
    ensure!(
        output.status.success(),
        "`cargo {}` failed",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).context("cargo printed something that is not text")
}

/// Prints what each crate of the workspace states and needs. Fails where one needs more than it states.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    print_status("resolving the dependencies of each crate");
    let metadata = cargo(root, &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("can't read what `cargo metadata` printed")?;
    let mut out = std::io::stdout();
    let mut is_fine = true;
    for package in &metadata.packages {
        if !metadata.workspace_members.contains(&package.id) {
            continue;
        }
        for build in package.builds()? {
            let mut arguments = vec!["tree", "--locked", "--target=all", "--edges=no-dev"];
            arguments.extend(["--prefix=none", "--format={p}", "--package", &package.name]);
            arguments.extend(build.features.iter().map(String::as_str));
            let tree = cargo(root, &arguments)?;
            let Some((needed_by, needed)) = most_demanding(package, &metadata.packages, &tree)
            else {
                continue;
            };
            let is_enough = needed <= build.stated;
            is_fine &= is_enough;
            let _ = writeln!(
                out,
                "{} {}: states {}, needs {needed} ({} {}){}",
                package.name,
                build.label,
                build.stated,
                needed_by.name,
                needed_by.version,
                if is_enough { "" } else { ": NOT ENOUGH" }
            );
        }
    }
    if is_fine {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "error: a crate states a lower `rust-version` than it needs; raise it, take an older dependency, or list the \
         feature under [package.metadata.feature-rust-version]"
    );
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(value: serde_json::Value) -> Package {
        let mut package = json!({
            "id": "path+file:///w/a#0.1.0", "name": "a", "version": "0.1.0", "rust_version": "1.89",
            "features": {}, "metadata": null,
        });
        let members = package.as_object_mut().expect("an object");
        members.extend(value.as_object().expect("an object").clone());
        serde_json::from_value(package).expect("a package")
    }

    fn version(text: &str) -> Version {
        text.to_owned().try_into().expect("a version")
    }

    fn labels(package: &Package) -> Vec<(String, String, String)> {
        let builds = package.builds().expect("builds");
        builds
            .into_iter()
            .map(|build| {
                (
                    build.label,
                    build.features.join(" "),
                    build.stated.to_string(),
                )
            })
            .collect()
    }

    fn row(label: &str, features: &str, stated: &str) -> (String, String, String) {
        (label.into(), features.into(), stated.into())
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("1.9") < version("1.89"));
        assert!(version("1.89") < version("1.89.1"));
        assert_eq!(version("1.89"), version("1.89.0"));
        assert_eq!(version("1.89.0").to_string(), "1.89");
        assert_eq!(version("1.89.2").to_string(), "1.89.2");
        for text in ["", "1.x", "nightly", "1.2.3.4", "1.89-beta"] {
            assert!(Version::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_crate_without_features_has_one_build() {
        assert_eq!(
            labels(&package(json!({}))),
            [row("default features", "", "1.89")]
        );
    }

    #[test]
    fn features_that_are_not_listed_are_covered_by_the_crates_version() {
        let package = package(json!({ "features": { "default": ["x"], "x": [], "y": [] } }));
        assert_eq!(
            labels(&package),
            [
                row("default features", "", "1.89"),
                row("all features", "--features=default,x,y", "1.89"),
            ]
        );
    }

    #[test]
    fn a_listed_feature_states_its_own_version() {
        let package = package(json!({
            "features": { "sqlite": [], "x": [] },
            "metadata": { "feature-rust-version": { "sqlite": "1.94" }, "docs": {} },
        }));
        assert_eq!(
            labels(&package),
            [
                row("default features", "", "1.89"),
                row("all features but those listed", "--features=x", "1.89"),
                row("feature `sqlite`", "--features=sqlite", "1.94"),
            ]
        );
    }

    #[test]
    fn what_is_stated_wrongly_is_named() {
        for (value, expected) in [
            (json!({ "rust_version": null }), "states no `rust-version`"),
            (
                json!({ "metadata": { "feature-rust-version": { "gone": "1.94" } } }),
                "not a feature",
            ),
            (
                json!({ "features": { "x": [] }, "metadata": { "feature-rust-version": { "x": "new" } } }),
                "not a table of versions",
            ),
        ] {
            let error = package(value).builds().expect_err(expected);
            let message = format!("{error:#}");
            assert!(message.contains(expected), "{message}");
            assert!(message.starts_with("a: "), "{message}");
        }
    }

    #[test]
    fn the_most_demanding_package_of_a_tree_is_found() {
        let packages = [
            package(json!({ "rust_version": "1.95" })),
            package(
                json!({ "id": "b@1", "name": "b", "version": "1.0.0", "rust_version": "1.94.0" }),
            ),
            // Another version of it, which is not in the tree.
            package(
                json!({ "id": "b@2", "name": "b", "version": "2.0.0", "rust_version": "1.99" }),
            ),
            package(json!({ "id": "c@1", "name": "c", "version": "1.0.0", "rust_version": null })),
        ];
        let tree = "a v0.1.0 (/w/a)\nb v1.0.0\nc v1.0.0 (proc-macro)\nb v1.0.0 (*)\n\nfeatures\n";
        let (found, needed) = most_demanding(&packages[0], &packages, tree).expect("there is one");
        assert_eq!((found.name.as_str(), needed), ("b", version("1.94")));
        assert!(most_demanding(&packages[0], &packages, "c v1.0.0\n").is_none());
    }
}
