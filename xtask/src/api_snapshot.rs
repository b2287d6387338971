//! `cargo xtask public-api`: a text file for each published library of the default members, `public-api.txt`, that lists its public API.
//!
//! A change of the API shows in a diff of that file. The list is made from rustdoc's JSON by the crate `public-api`,
//! with all features: a feature that is left out could lose items unseen. Blanket implementations and those of auto
//! traits are left out, since they hide the rest.
//!
//! rustdoc writes JSON only on nightly, or where `RUSTC_BOOTSTRAP` is set. That variable makes some build scripts run
//! again, and with them nearly everything. So this program stands in for rustdoc and sets it for rustdoc alone.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use similar::TextDiff;

use crate::output::{print_line, print_status};
use crate::published::published;
use crate::workspace::{cargo, read, replace};

/// The file of a crate.
const FILE: &str = "public-api.txt";

/// The variable that says that this program stands in for rustdoc.
const STAND_IN: &str = "SHIELDCERT_XTASK_IS_RUSTDOC";

/// Runs rustdoc if this program stands in for it.
pub(crate) fn run_as_rustdoc() -> Option<ExitCode> {
    std::env::var_os(STAND_IN)?;
    let rustdoc =
        Path::new(env!("CARGO")).with_file_name(format!("rustdoc{}", std::env::consts::EXE_SUFFIX));
    let status = Command::new(rustdoc)
        .args(std::env::args_os().skip(1))
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            print_status(format_args!("error: can't run rustdoc: {error}"));
            ExitCode::FAILURE
        }
    })
}

/// Writes the files. With `check`, prints what that would change, and fails if anything would.
pub(crate) fn run(root: &Path, check: bool) -> Result<ExitCode> {
    let libraries = published(root)?
        .into_iter()
        // Who depends on the others is no Rust code: they are there for their programs.
        .filter(|published| published.is_default)
        .filter_map(|published| Some((published.folder, published.library?)))
        .collect::<Vec<_>>();
    let json = document(root)?;
    let mut stale = Vec::new();
    for (folder, library) in libraries {
        let listed = list(&json.join(format!("{library}.json")))?;
        let path = folder.join(FILE);
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let current = match path.exists() {
            true => read(&path)?,
            false => String::new(),
        };
        if current == listed {
            print_line(format_args!("{name}: up to date"));
        } else if check {
            print_line(diff(&name.to_string(), &current, &listed));
            stale.push(name.to_string());
        } else {
            replace(&path, &listed)?;
            print_line(format_args!("{name}: written"));
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print_status(format_args!(
        "error: the public API differs from {}; if it should, run `cargo xtask public-api` and commit the result",
        stale.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}

/// Writes rustdoc's JSON of all libraries, and returns the folder.
fn document(root: &Path) -> Result<PathBuf> {
    print_status("documenting the crates with all features; the first time takes some minutes");
    let this = std::env::current_exe().context("can't tell where this program is")?;
    let target = root.join("target");
    let status = cargo()
        // All default members, as CI documents them: other selections build the dependencies once more.
        .args(["doc", "--all-features", "--no-deps", "--lib", "--quiet"])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTDOC", this)
        .env(
            "RUSTDOCFLAGS",
            "-Z unstable-options --output-format json --cap-lints allow",
        )
        .env(STAND_IN, "1")
        .current_dir(root)
        .status()
        .context("can't run cargo")?;
    ensure!(status.success(), "`cargo doc` failed");
    Ok(target.join("doc"))
}

/// Lists the public API that rustdoc has described, an item a line.
fn list(json: &Path) -> Result<String> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .with_context(|| {
            format!(
                "{}: it can't be read; the version of the crate `public-api` in Cargo.toml must fit the toolchain",
                json.display()
            )
        })?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

fn diff(name: &str, old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(1)
        .header(name, "the code")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_public_item_is_listed_and_no_private_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("sample.rs");
        let code = "mod hidden { pub fn nobody() {} }\n\
                    pub use self::inner::Shown;\n\
                    mod inner { #[derive(Clone)] pub struct Shown { pub field: u8, own: u8 } \
                    impl Shown { pub fn method(&self) -> u8 { self.own } } }\n";
        std::fs::write(&source, code).expect("is written");
        let status = Command::new(Path::new(env!("CARGO")).with_file_name("rustdoc"))
            .args([
                "--edition=2024",
                "-Z",
                "unstable-options",
                "--output-format=json",
                "--out-dir",
            ])
            .arg(folder.path())
            .arg(&source)
            .env("RUSTC_BOOTSTRAP", "1")
            .status()
            .expect("rustdoc runs");
        assert!(status.success());
        let listed = list(&folder.path().join("sample.json")).expect("is listed");
        insta::assert_snapshot!(listed);
    }

    #[test]
    fn a_difference_names_the_file_and_the_items() {
        let diff = diff(
            "crates/a/public-api.txt",
            "pub fn a::f()\n",
            "pub fn a::g()\n",
        );
        insta::assert_snapshot!(diff, @r"
        --- crates/a/public-api.txt
        +++ the code
        @@ -1 +1 @@
        -pub fn a::f()
        +pub fn a::g()
        ");
    }

    #[test]
    fn what_rustdoc_did_not_write_is_named() {
        let error = list(Path::new("/nonexistent/a.json")).expect_err("fails");
        assert!(
            format!("{error:#}").contains("/nonexistent/a.json"),
            "{error:#}"
        );
    }
}
