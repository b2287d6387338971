//! `cargo xtask spec`: takes a new document of upstream in, and says what a change means.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::diff::{self, Change, Class};
use crate::regen::{self, SPEC};
use crate::{document, import, say};

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Pick the client_certificates paths out of a full document and show the difference from the checked-in fragment
    Import {
        /// A full OpenAPI 3.0 document of the API, JSON or YAML
        full: PathBuf,
        /// Replace the checked-in fragment
        #[arg(long)]
        write: bool,
    },
    /// Say what differs between two documents and what that means for those who use the client
    ///
    /// Exit code: 0 no difference, 1 additive, 2 risky, 3 breaking; 4 where a document can't be read.
    Diff {
        old: PathBuf,
        new: PathBuf,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// For a terminal
    Text,
    /// For a program
    Json,
    /// For a pull request
    Markdown,
}

/// The crates' version, which this package shares with them.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a document can't be read: beyond the codes that say what was found.
const UNREADABLE: u8 = 4;

pub(crate) fn run(root: &Path, task: Task) -> Result<ExitCode> {
    match task {
        Task::Import { full, write } => import(root, &full, write),
        Task::Diff { old, new, format } => Ok(match differences(&old, &new) {
            Ok(changes) => {
                say(report(&changes, format).trim_end());
                ExitCode::from(code(&changes))
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(UNREADABLE)
            }
        }),
    }
}

fn differences(old: &Path, new: &Path) -> Result<Vec<Change>> {
    Ok(diff::compare(&read_document(old)?, &read_document(new)?))
}

fn code(changes: &[Change]) -> u8 {
    match diff::worst(changes) {
        None => 0,
        Some(Class::Additive) => 1,
        Some(Class::Risky) => 2,
        Some(Class::Breaking) => 3,
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

fn read_document(path: &Path) -> Result<Value> {
    let value = document::parse(&read(path)?).with_context(|| path.display().to_string())?;
    document::check(&value).with_context(|| path.display().to_string())?;
    Ok(value)
}

fn import(root: &Path, path: &Path, write: bool) -> Result<ExitCode> {
    let full = read(path)?;
    let target = root.join(SPEC);
    let current_text = read(&target)?;
    let current = document::parse(&current_text).context(SPEC)?;
    let fragment =
        import::fragment(&full, Some(&current)).with_context(|| path.display().to_string())?;
    let changes = diff::compare(&current, &fragment);
    say(report(&changes, Format::Text).trim_end());
    if write {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        let sum: String = Sha256::digest(&full)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let yaml = import::to_yaml(&fragment, &current_text, &format!("{name}, sha256 {sum}"))?;
        regen::replace(&target, &yaml).with_context(|| format!("can't write {SPEC}"))?;
        say(format_args!("{SPEC}: written; now `cargo xtask regen`"));
    } else if !changes.is_empty() {
        say("nothing is written without --write");
    }
    Ok(ExitCode::SUCCESS)
}

/// What changed, and the version that follows.
pub(crate) fn report(changes: &[Change], format: Format) -> String {
    let current = VERSION;
    let worst = diff::worst(changes);
    let next = worst.and_then(|class| diff::next_version(current, class));
    match format {
        Format::Json => {
            let report = json!({ "class": worst, "next_version": next, "changes": changes });
            format!("{report:#}\n")
        }
        Format::Text => {
            let Some(worst) = worst else {
                return "no difference\n".into();
            };
            let mut text = String::new();
            for Change { class, at, what } in changes {
                text.push_str(&format!("{class:<9} {at}: {what}\n"));
            }
            let plural = if changes.len() == 1 { "" } else { "s" };
            text.push_str(&format!(
                "{} change{plural}, {worst} at the worst",
                changes.len()
            ));
            if let Some(next) = next {
                text.push_str(&format!("; after {current} follows {next}"));
            }
            text + "\n"
        }
        Format::Markdown => {
            let Some(worst) = worst else {
                return "No difference.\n".into();
            };
            let mut text = String::from("| class | where | what |\n| --- | --- | --- |\n");
            for Change { class, at, what } in changes {
                let cell = |text: &str| text.replace('|', "\\|");
                text.push_str(&format!("| {class} | {} | {} |\n", cell(at), cell(what)));
            }
            if let Some(next) = next {
                text.push_str(&format!(
                    "\n{worst} at the worst; after {current} follows {next}.\n"
                ));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A copy of what regenerating reads and writes.
    fn workspace() -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        let root = regen::root().expect("the workspace");
        for file in [
            SPEC,
            "spec/overlay.yaml",
            "crates/shieldcert-api/openapi.json",
            "crates/shieldcert-api/src/generated.rs",
            "crates/shieldcert-httpmock/src/generated.rs",
        ] {
            let target = copy.path().join(file);
            fs::create_dir_all(target.parent().expect("has one")).expect("a folder");
            fs::copy(root.join(file), target).expect("copies");
        }
        copy
    }

    /// Upstream publishes a document that differs so from the fragment; the maintainer imports it.
    fn upstream_changes(change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, Vec<Change>) {
        let copy = workspace();
        let old = read_document(&copy.path().join(SPEC)).expect("a document");
        let mut new = old.clone();
        change(&mut new);
        let full = copy.path().join("full.json");
        fs::write(&full, new.to_string()).expect("writes");
        import(copy.path(), &full, true).expect("imports");
        let imported = read_document(&copy.path().join(SPEC)).expect("a document");
        (copy, diff::compare(&old, &imported))
    }

    fn is_success(code: &ExitCode) -> bool {
        format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
    }

    #[test]
    fn story_an_added_response_property() {
        let (copy, changes) = upstream_changes(|document| {
            document["components"]["schemas"]["client_certificate"]["properties"]["device_id"] =
                json!({ "type": "string" });
        });
        assert_eq!(diff::worst(&changes), Some(Class::Additive), "{changes:#?}");
        let stale = regen::run(copy.path(), true).expect("runs");
        assert!(!is_success(&stale), "the generated files are stale");
        regen::run(copy.path(), false).expect("regenerates");
        assert!(is_success(&regen::run(copy.path(), true).expect("runs")));
        let client =
            read(&copy.path().join("crates/shieldcert-api/src/generated.rs")).expect("is there");
        assert!(client.contains("pub device_id: ::std::option::Option<::std::string::String>"));
    }

    #[test]
    fn story_a_tightened_bound() {
        let (copy, changes) = upstream_changes(|document| {
            let parameters =
                &mut document["paths"]["/zones/{zone_id}/client_certificates"]["get"]["parameters"];
            let per_page = parameters.as_array_mut().expect("a list").iter_mut();
            let mut per_page = per_page.filter(|parameter| parameter["name"] == "per_page");
            per_page.next().expect("is there")["schema"]["maximum"] = 40.into();
        });
        assert_eq!(diff::worst(&changes), Some(Class::Breaking), "{changes:#?}");
        assert!(
            changes[0]
                .what
                .contains("`maximum` is tighter: 50 before, 40 now"),
            "{changes:#?}"
        );
        regen::run(copy.path(), false).expect("regenerates");
        assert!(is_success(&regen::run(copy.path(), true).expect("runs")));
    }

    #[test]
    fn story_a_removed_operation() {
        let (copy, changes) = upstream_changes(|document| {
            let path = "/zones/{zone_id}/client_certificates/{client_certificate_id}";
            document["paths"][path]
                .as_object_mut()
                .expect("an object")
                .remove("patch");
        });
        assert_eq!(diff::worst(&changes), Some(Class::Breaking), "{changes:#?}");
        assert_eq!(changes[0].what, "the operation is gone");
        let error =
            regen::run(copy.path(), false).expect_err("an overlay action has lost its target");
        let message = format!("{error:#}");
        assert!(
            message.contains("no longer applies") && message.contains(".patch"),
            "{message}"
        );
    }

    fn change(class: Class) -> Change {
        Change {
            class,
            at: "GET /a".into(),
            what: "is | odd".into(),
        }
    }

    #[test]
    fn exit_codes_rank_the_classes() {
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[change(Class::Additive)]), 1);
        assert_eq!(code(&[change(Class::Additive), change(Class::Risky)]), 2);
        assert_eq!(code(&[change(Class::Breaking), change(Class::Risky)]), 3);
    }

    #[test]
    fn every_format_says_what_and_what_follows() {
        let changes = [change(Class::Breaking)];
        let text = report(&changes, Format::Text);
        assert!(text.starts_with("breaking  GET /a: is | odd\n"), "{text}");
        assert!(text.contains("follows 0."), "{text}");
        let json: Value = serde_json::from_str(&report(&changes, Format::Json)).expect("JSON");
        assert_eq!(json["class"], "breaking");
        assert!(report(&changes, Format::Markdown).contains("| breaking | GET /a | is \\| odd |"));
        for format in [Format::Text, Format::Json, Format::Markdown] {
            assert!(report(&[], format).to_lowercase().contains(
                if matches!(format, Format::Json) {
                    "null"
                } else {
                    "no difference"
                }
            ));
        }
    }
}
