//! `cargo xtask bump VERSION`: writes the version of the next release wherever it stands, and dates the changelog.
//!
//! That is more than what cargo's own tools know of: the crates, their dependencies on each other, `Cargo.lock`, the
//! Python packages, and the heading of `CHANGELOG.md`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use semver::Version;
use toml_edit::{DocumentMut, Item, value};

use crate::output::print_line;
use crate::workspace::{cargo, read, replace};

const CARGO: &str = "Cargo.toml";
const PYTEST: &str = "crates/shieldcert-emulator/pytest-shieldcert/pyproject.toml";
const CHANGELOG: &str = "CHANGELOG.md";
const UNRELEASED: &str = "## [Unreleased]\n";

/// Writes the version everywhere, with the date of today, UTC.
pub(crate) fn run(root: &Path, version: &Version) -> Result<ExitCode> {
    let date = Timestamp::now().strftime("%F").to_string();
    for (path, contents) in changed(root, version, &date)? {
        replace(&root.join(path), &contents)?;
        print_line(format_args!("{path}: {version}"));
    }
    let status = cargo()
        .args(["update", "--workspace", "--offline", "--quiet"])
        .current_dir(root)
        .status()
        .context("can't run cargo")?;
    ensure!(status.success(), "`cargo update --workspace` failed");
    print_line(format_args!("Cargo.lock: {version}"));
    Ok(ExitCode::SUCCESS)
}

/// Returns the files that change, with what they then hold. Nothing is written before each is known.
fn changed(root: &Path, version: &Version, date: &str) -> Result<Vec<(&'static str, String)>> {
    let edits: [(&str, Edit); 3] = [
        (CARGO, set_crates),
        (PYTEST, set_pytest),
        (CHANGELOG, date_changelog),
    ];
    let mut changed = Vec::new();
    for (path, edit) in edits {
        let contents = read(&root.join(path))?;
        changed.push((path, edit(&contents, version, date).context(path)?));
    }
    Ok(changed)
}

type Edit = fn(&str, &Version, &str) -> Result<String>;

/// Sets the version of the workspace, and that of each dependency on one of its crates.
fn set_crates(manifest: &str, version: &Version, _: &str) -> Result<String> {
    let mut manifest: DocumentMut = manifest.parse()?;
    let workspace = &mut manifest["workspace"];
    set(&mut workspace["package"]["version"], version)?;
    let dependencies = workspace["dependencies"]
        .as_table_mut()
        .context("[workspace.dependencies] is missing")?;
    for (name, dependency) in dependencies.iter_mut() {
        if dependency.get("path").is_some() {
            let version_of = dependency.get_mut("version");
            let item = version_of.with_context(|| format!("{name}: it has no `version`"))?;
            *item = keep_decor(item, &version.to_string());
        }
    }
    Ok(manifest.to_string())
}

/// Sets the version of the pytest plugin, and the oldest `shieldcert` that it works with.
fn set_pytest(manifest: &str, version: &Version, _: &str) -> Result<String> {
    ensure!(
        version.pre.is_empty() && version.build.is_empty(),
        "Python writes {version} in another way; release it for crates.io alone, or give the packages a final version"
    );
    let mut manifest: DocumentMut = manifest.parse()?;
    let project = &mut manifest["project"];
    set(&mut project["version"], version)?;
    let dependencies = project["dependencies"]
        .as_array_mut()
        .context("project.dependencies is missing")?;
    let binary = dependencies
        .iter_mut()
        .find(|item| {
            item.as_str()
                .is_some_and(|text| text.starts_with("shieldcert>="))
        })
        .context("project.dependencies has no `shieldcert>=…`")?;
    let decor = binary.decor().clone();
    *binary = format!("shieldcert>={version}").into();
    *binary.decor_mut() = decor;
    Ok(manifest.to_string())
}

/// Sets a version, which must rise.
fn set(item: &mut Item, version: &Version) -> Result<()> {
    let current = item.as_str().context("it has no version")?;
    let current = Version::parse(current)?;
    ensure!(
        *version > current,
        "the version is {current} already; write a higher one than that"
    );
    *item = keep_decor(item, &version.to_string());
    Ok(())
}

fn keep_decor(item: &Item, text: &str) -> Item {
    let mut new = value(text);
    if let (Some(old), Some(new)) = (item.as_value(), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    new
}

/// Makes the version's section of what is unreleased, and starts a new one.
fn date_changelog(changelog: &str, version: &Version, date: &str) -> Result<String> {
    let Some((before, after)) = changelog.split_once(UNRELEASED) else {
        bail!("there is no line `{}`", UNRELEASED.trim_end());
    };
    let section = after.split("\n## ").next().unwrap_or_default();
    ensure!(
        section.lines().any(|line| line.starts_with("- ")),
        "nothing is listed as unreleased; say what users get"
    );
    Ok(format!(
        "{before}{UNRELEASED}\n## [{version}] - {date}\n{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    /// Every line that differs, old and new.
    fn difference(old: &str, new: &str) -> String {
        similar::TextDiff::from_lines(old, new)
            .unified_diff()
            .context_radius(0)
            .to_string()
    }

    #[test]
    fn the_version_is_written_everywhere_and_nothing_else_changes() {
        let root = crate::workspace::root().expect("a workspace");
        let changed = changed(root, &version("99.2.0"), "2026-11-29").expect("changes");
        let current = Version::parse(crate::workspace::VERSION)
            .expect("a version")
            .to_string();
        for (path, contents) in changed {
            let old = read(&root.join(path)).expect("reads");
            let difference = difference(&old, &contents);
            let lines = |sign: char| {
                let lines = difference
                    .lines()
                    .filter_map(move |line| line.strip_prefix(sign));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let (removed, added) = (lines('-'), lines('+'));
            if path == CHANGELOG {
                assert_eq!(removed, [""; 0]);
                assert_eq!(added, ["## [99.2.0] - 2026-11-29", ""]);
                continue;
            }
            assert!(!removed.is_empty(), "{path}");
            let expected = removed.iter().map(|line| line.replace(&current, "99.2.0"));
            assert_eq!(added, expected.collect::<Vec<_>>(), "{path}");
            assert!(!contents.contains(&format!("\"{current}\"")), "{path}");
        }
    }

    #[test]
    fn a_version_must_rise() {
        let manifest = "[workspace.package]\nversion = \"0.2.0\"\n[workspace.dependencies]\n";
        for text in ["0.2.0", "0.1.9", "0.2.0-rc.1"] {
            let error = set_crates(manifest, &version(text), "").expect_err(text);
            assert!(error.to_string().contains("0.2.0 already"), "{error}");
        }
        set_crates(manifest, &version("0.2.1"), "").expect("rises");
    }

    #[test]
    fn what_is_released_has_something_in_it() {
        for (changelog, expected) in [
            ("# Changelog\n", "there is no line"),
            (
                "## [Unreleased]\n\n## [0.1.0] - 2026-11-29\n\n- One.\n",
                "nothing is listed",
            ),
        ] {
            let error = date_changelog(changelog, &version("0.2.0"), "").expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_python_package_has_no_version_that_python_writes_otherwise() {
        let error = set_pytest("", &version("0.2.0-rc.1"), "").expect_err("fails");
        assert!(error.to_string().contains("0.2.0-rc.1"), "{error}");
    }
}
