//! Proves that the simulation notices a broken client.
//!
//! Each patch below `tests/simulation/sabotage` undoes one thing that keeps a promise. It is applied to a copy of the
//! sources, the simulation is built from the copy, and seeds are run until one breaks that promise. The copy stays below
//! `target/sabotage`. It shares the target folder, so that only the workspace's own crates are built again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::output::{print_line, print_status};

/// Where the patches are.
const PATCHES: &str = "tests/simulation/sabotage";

/// The line of a patch that names the promise that it breaks.
const BREAKS: &str = "Breaks: ";

#[derive(Args)]
pub(crate) struct Options {
    /// The patches to try, by name; every one if none is given
    names: Vec<String>,
    /// Try only this many: other ones each day, and every one in turn
    #[arg(long, value_name = "COUNT", conflicts_with = "names")]
    daily: Option<usize>,
    /// How many seeds may run until one breaks the promise
    #[arg(long, default_value_t = 6000)]
    seeds: u64,
}

/// A patch that undoes something.
struct Sabotage {
    name: String,
    path: PathBuf,
    /// How the simulation's report of the broken promise begins.
    breaks: String,
}

/// Why a sabotage proves nothing.
enum Failure {
    /// The patch no longer fits the sources, or they don't compile with it.
    Stale(String),
    NotCaught(String),
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let mut sabotages = select(load(&root.join(PATCHES))?, &options.names)?;
    if let Some(count) = options.daily {
        sabotages = todays(sabotages, count, days_since_1970()?);
    }
    let copy = SourceCopy::new(root);
    copy.sync()?;
    print_status("building the simulation without a patch");
    let untouched = copy.build()?;
    ensure!(untouched.status.success(), "{}", text(&untouched.stderr));
    let seeds = options.seeds.to_string();
    print_status(format_args!("simulating {seeds} seeds without a patch"));
    let untouched = copy.simulate(&["--seeds", &seeds])?;
    if !untouched.status.success() {
        bail!(
            "the simulation fails without a patch; run `cargo xtask simulate`\n{}",
            text(&untouched.stdout)
        );
    }
    let mut failed = 0;
    for sabotage in &sabotages {
        print_status(format_args!(
            "building and simulating with {}",
            sabotage.name
        ));
        match copy.attempt(sabotage, &seeds)? {
            Ok(seen) => print_line(format_args!("caught      {}: {seen}", sabotage.name)),
            Err(failure) => {
                failed += 1;
                let (kind, why) = match failure {
                    Failure::Stale(why) => ("STALE", why),
                    Failure::NotCaught(why) => ("NOT CAUGHT", why),
                };
                print_line(format_args!("{kind:11} {}: {why}", sabotage.name));
            }
        }
    }
    copy.sync()?;
    print_line(format_args!(
        "{} of {} sabotages are caught within {seeds} seeds, in {:.0?}",
        sabotages.len() - failed,
        sabotages.len(),
        started.elapsed()
    ));
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Reads the patches, by name.
fn load(folder: &Path) -> Result<Vec<Sabotage>> {
    let entries = fs::read_dir(folder).with_context(|| format!("can't read {PATCHES}"))?;
    let mut sabotages = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "patch")
        {
            continue;
        }
        let name = path.file_stem().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let patch = crate::workspace::read(&path)?;
        let breaks = patch
            .lines()
            .take_while(|line| !line.starts_with("---"))
            .find_map(|line| line.strip_prefix(BREAKS));
        let breaks = breaks.with_context(|| {
            format!("{name}.patch names no promise; begin it with \"{BREAKS}promise 1\" or another")
        })?;
        sabotages.push(Sabotage {
            breaks: breaks.trim().to_owned(),
            name,
            path,
        });
    }
    sabotages.sort_by(|one, other| one.name.cmp(&other.name));
    ensure!(!sabotages.is_empty(), "there is no patch in {PATCHES}");
    Ok(sabotages)
}

fn select(all: Vec<Sabotage>, names: &[String]) -> Result<Vec<Sabotage>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|sabotage| sabotage.name != **name))
    {
        let known: Vec<_> = all.iter().map(|sabotage| sabotage.name.as_str()).collect();
        bail!("{unknown} is no sabotage; give one of {}", known.join(", "));
    }
    let is_selected = |sabotage: &Sabotage| names.is_empty() || names.contains(&sabotage.name);
    Ok(all.into_iter().filter(is_selected).collect())
}

/// Takes as many as this, beginning where the day before ended.
fn todays(mut all: Vec<Sabotage>, count: usize, day: usize) -> Vec<Sabotage> {
    let first = day.wrapping_mul(count) % all.len();
    all.rotate_left(first);
    all.truncate(count);
    all
}

fn days_since_1970() -> Result<usize> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(usize::try_from(now.as_secs() / 86_400)?)
}

/// A copy of the workspace's sources.
struct SourceCopy<'a> {
    root: &'a Path,
    folder: PathBuf,
    target: PathBuf,
}

impl<'a> SourceCopy<'a> {
    fn new(root: &'a Path) -> Self {
        let folder = root.join("target/sabotage");
        Self {
            root,
            target: root.join("target"),
            folder: folder.join("sources"),
        }
    }

    /// Makes the copy equal to the sources. Files that are equal already keep their time, so cargo rebuilds nothing
    /// for them.
    fn sync(&self) -> Result<()> {
        let files = self.source_files()?;
        for file in &files {
            let (from, to) = (self.root.join(file), self.folder.join(file));
            let contents =
                fs::read(&from).with_context(|| format!("can't read {}", from.display()))?;
            if fs::read(&to).is_ok_and(|present| present == contents) {
                continue;
            }
            let failed = || format!("can't write {}", to.display());
            fs::create_dir_all(to.parent().unwrap_or(&self.folder)).with_context(failed)?;
            fs::write(&to, contents).with_context(failed)?;
        }
        remove_others(&self.folder, Path::new(""), &files)
    }

    /// The files that git tracks or would add.
    fn source_files(&self) -> Result<BTreeSet<PathBuf>> {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(self.root)
            .output()
            .context("can't run git")?;
        ensure!(listed.status.success(), "{}", text(&listed.stderr));
        let listed = text(&listed.stdout);
        let files = listed.split('\0').filter(|file| !file.is_empty());
        // A file that is deleted but not committed is still listed.
        let is_present = |file: &PathBuf| self.root.join(file).is_file();
        Ok(files.map(PathBuf::from).filter(is_present).collect())
    }

    /// Applies a patch and runs seeds. Returns what was seen.
    fn attempt(&self, sabotage: &Sabotage, seeds: &str) -> Result<Result<String, Failure>> {
        self.sync()?;
        let applied = apply(&sabotage.path, &self.folder, &[])?;
        if !applied.status.success() {
            return Ok(Err(Failure::Stale(format!(
                "the patch does not apply: {}",
                text(&applied.stderr).trim()
            ))));
        }
        let built = self.build()?;
        if !built.status.success() {
            return Ok(Err(Failure::Stale(format!(
                "the patched sources do not compile:\n{}",
                text(&built.stderr)
            ))));
        }
        let run = self.simulate(&["--seeds", seeds, "--expect", &sabotage.breaks])?;
        let printed = text(&run.stdout);
        Ok(match run.status.success() {
            true => Ok(printed.trim().to_owned()),
            false => Err(Failure::NotCaught(format!(
                "no seed breaks {}\n{printed}{}",
                sabotage.breaks,
                text(&run.stderr)
            ))),
        })
    }

    fn build(&self) -> Result<Output> {
        Command::new(env!("CARGO"))
            // All default members, so that the features of the dependencies are those that tests build.
            .args(["build", "--quiet", "--locked", "--bin", "simulate"])
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(&self.folder)
            .output()
            .context("can't run cargo")
    }

    fn simulate(&self, arguments: &[&str]) -> Result<Output> {
        let program = self.target.join("debug/simulate");
        Command::new(&program)
            .args(arguments)
            .output()
            .with_context(|| format!("can't run {}", program.display()))
    }
}

/// Applies a patch to a folder, whether or not it is inside of a repository.
fn apply(patch: &Path, folder: &Path, arguments: &[&str]) -> Result<Output> {
    let ceiling = folder.parent().unwrap_or(folder);
    Command::new("git")
        .arg("apply")
        .args(arguments)
        .arg(patch)
        // Inside of a repository, `git apply` ignores paths outside of the current folder.
        .env("GIT_CEILING_DIRECTORIES", ceiling)
        .env_remove("GIT_DIR")
        .current_dir(folder)
        .output()
        .context("can't run git")
}

/// Removes what is in a folder of the copy and not in the sources.
fn remove_others(copy: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    let path = copy.join(folder);
    for entry in fs::read_dir(&path).with_context(|| format!("can't read {}", path.display()))? {
        let entry = entry?;
        let below = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(copy, &below, files)?;
        } else if !files.contains(&below) {
            fs::remove_file(entry.path())
                .with_context(|| format!("can't remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_applies_to_the_sources_and_changes_the_client_alone() {
        let root = crate::workspace::root().expect("has a root");
        for sabotage in load(&root.join(PATCHES)).expect("are read") {
            let checked = apply(&sabotage.path, root, &["--check"]).expect("git runs");
            let why = text(&checked.stderr);
            assert!(checked.status.success(), "{}: {why}", sabotage.name);
            let changed = apply(&sabotage.path, root, &["--numstat"]).expect("git runs");
            for line in text(&changed.stdout).lines() {
                let path = line.rsplit('\t').next().unwrap_or_default();
                assert!(path.starts_with("crates/shieldcert/src/"), "{line}");
            }
        }
    }

    #[test]
    fn a_patch_must_name_its_promise() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("odd.patch"), "--- a\n+++ b\n").expect("is written");
        let error = load(folder.path()).map(drop).expect_err("names none");
        assert!(error.to_string().starts_with("odd.patch"), "{error}");
    }

    fn sabotage(name: &str) -> Sabotage {
        Sabotage {
            name: name.into(),
            path: PathBuf::new(),
            breaks: "promise 1".into(),
        }
    }

    #[test]
    fn days_in_a_row_try_every_patch() {
        let names = ["a", "b", "c", "d", "e"];
        let todays = |day| {
            let all = names.map(sabotage).into();
            let todays = super::todays(all, 2, day).into_iter();
            todays.map(|sabotage| sabotage.name).collect::<String>()
        };
        let days: Vec<_> = (10..14).map(todays).collect();
        assert_eq!(days, ["ab", "cd", "ea", "bc"]);
        assert_eq!(super::todays(names.map(sabotage).into(), 9, 1).len(), 5);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_exist() {
        let error = select(vec![sabotage("one")], &["two".into()]).map(drop);
        let error = error.expect_err("is unknown").to_string();
        assert_eq!(error, "two is no sabotage; give one of one");
    }

    #[test]
    fn what_is_not_in_the_sources_is_removed_from_the_copy() {
        let copy = tempfile::tempdir().expect("a folder");
        fs::create_dir(copy.path().join("a")).expect("is made");
        for file in ["a/kept", "a/gone", "gone"] {
            fs::write(copy.path().join(file), "").expect("is written");
        }
        let files = BTreeSet::from([PathBuf::from("a/kept")]);
        remove_others(copy.path(), Path::new(""), &files).expect("removes");
        assert!(copy.path().join("a/kept").exists());
        assert!(!copy.path().join("a/gone").exists());
        assert!(!copy.path().join("gone").exists());
    }
}
