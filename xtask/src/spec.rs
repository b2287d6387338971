//! `cargo xtask spec`: imports a new document of upstream, and says what a change means.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::openapi::check::check;
use crate::openapi::diff::{self, Change, Class};
use crate::openapi::import::{import, to_yaml};
use crate::openapi::{document, report};
use crate::output::{print_line, print_status};
use crate::workspace::{SPEC, VERSION, read, replace};

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Cut the client_certificates paths out of a full document, and show how they differ from the checked-in fragment
    Import {
        /// A full OpenAPI 3.0 document of the API, JSON or YAML
        full: PathBuf,
        /// Replace the checked-in fragment
        #[arg(long)]
        write: bool,
    },
    /// Compare two documents, and say what the differences mean for the client's users
    ///
    /// Exit code: 0 no difference, 1 additive, 2 risky, 3 breaking; 4 if a document can't be read.
    Diff {
        /// The document before the change, JSON or YAML
        old: PathBuf,
        /// The document after the change, JSON or YAML
        new: PathBuf,
        /// The report's format
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

impl From<Format> for report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Markdown => Self::Markdown,
        }
    }
}

/// The exit code if a document can't be read. Those below say what was found.
const UNREADABLE: u8 = 4;

pub(crate) fn run(root: &Path, task: Task) -> Result<ExitCode> {
    match task {
        Task::Import { full, write } => {
            print_line(import_file(root, &full, write)?.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Task::Diff { old, new, format } => Ok(match compare_files(&old, &new) {
            Ok(changes) => {
                print_line(report::report(&changes, VERSION, format.into()).trim_end());
                ExitCode::from(exit_code(&changes))
            }
            Err(error) => {
                print_status(format_args!("error: {error:#}"));
                ExitCode::from(UNREADABLE)
            }
        }),
    }
}

fn compare_files(old: &Path, new: &Path) -> Result<Vec<Change>> {
    Ok(diff::compare(&read_document(old)?, &read_document(new)?))
}

fn exit_code(changes: &[Change]) -> u8 {
    match diff::worst(changes) {
        None => 0,
        Some(Class::Additive) => 1,
        Some(Class::Risky) => 2,
        Some(Class::Breaking) => 3,
    }
}

fn read_document(path: &Path) -> Result<Value> {
    let value = document::parse(&read(path)?).with_context(|| path.display().to_string())?;
    check(&value).with_context(|| path.display().to_string())?;
    Ok(value)
}

/// Imports the document, writes the fragment if asked, and returns what to print.
fn import_file(root: &Path, path: &Path, write: bool) -> Result<String> {
    let full = read(path)?;
    let target = root.join(SPEC);
    let current_text = read(&target)?;
    let current = document::parse(&current_text).context(SPEC)?;
    let fragment = import(&full, Some(&current)).with_context(|| path.display().to_string())?;
    let changes = diff::compare(&current, &fragment);
    let mut text = report::report(&changes, VERSION, report::Format::Text);
    if write {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let sum = hex::encode(Sha256::digest(&full));
        let yaml = to_yaml(&fragment, &current_text, &format!("{name}, sha256 {sum}"))?;
        replace(&target, &yaml)?;
        text.push_str(&format!("{SPEC}: written; now run `cargo xtask regen`\n"));
    } else if !changes.is_empty() {
        text.push_str("nothing is written without --write\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::{regen, workspace};

    /// Copies what regenerating reads and writes.
    fn copy_workspace() -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        let root = workspace::root().expect("the workspace");
        for file in [
            workspace::SPEC,
            workspace::OVERLAY,
            workspace::OPENAPI,
            workspace::API,
            workspace::HTTPMOCK,
        ] {
            let target = copy.path().join(file);
            fs::create_dir_all(target.parent().expect("has one")).expect("a folder");
            fs::copy(root.join(file), target).expect("copies");
        }
        copy
    }

    /// Imports a document that differs from the fragment by the change.
    fn upstream_changes(change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, Vec<Change>) {
        let copy = copy_workspace();
        let old = read_document(&copy.path().join(SPEC)).expect("a document");
        let mut new = old.clone();
        change(&mut new);
        let full = copy.path().join("full.json");
        fs::write(&full, new.to_string()).expect("writes");
        import_file(copy.path(), &full, true).expect("imports");
        let imported = read_document(&copy.path().join(SPEC)).expect("a document");
        (copy, diff::compare(&old, &imported))
    }

    fn is_success(code: &ExitCode) -> bool {
        format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
    }

    #[test]
    fn an_added_response_property_is_imported_and_generated() {
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
    fn a_tightened_bound_is_breaking() {
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
    fn a_removed_operation_is_breaking_and_stops_the_overlay() {
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
        insta::assert_snapshot!(format!("{error:#}"));
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
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[change(Class::Additive)]), 1);
        assert_eq!(
            exit_code(&[change(Class::Additive), change(Class::Risky)]),
            2
        );
        assert_eq!(
            exit_code(&[change(Class::Breaking), change(Class::Risky)]),
            3
        );
    }

    #[test]
    fn importing_reports_the_changes_and_what_to_do() {
        let copy = copy_workspace();
        let mut new = read_document(&copy.path().join(SPEC)).expect("a document");
        let import_changed = |new: &Value, write| {
            let full = copy.path().join("full.json");
            fs::write(&full, new.to_string()).expect("writes");
            import_file(copy.path(), &full, write).expect("imports")
        };
        let mut reports = vec![import_changed(&new, false)];
        new["components"]["schemas"]["client_certificate"]["properties"]["device_id"] =
            json!({ "type": "string" });
        reports.extend([false, true].map(|write| import_changed(&new, write)));
        insta::assert_snapshot!(without_version(&reports.join("---\n")));
    }

    #[test]
    fn unreadable_documents_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spec.yaml");
        let error_of = |text: &str| {
            fs::write(&path, text).expect("writes");
            let error = read_document(&path).expect_err("is refused");
            format!("{error:#}").replace(&path.display().to_string(), "spec.yaml")
        };
        let errors = ["openapi: 3.1.0\ninfo: {}\npaths: {}", "[]", "{}"].map(error_of);
        insta::assert_snapshot!(errors.join("\n"));
    }

    /// Removes the advice on the next version, which would change with every release.
    fn without_version(report: &str) -> String {
        let lines = report.lines();
        let lines = lines.map(|line| line.split("; the version after").next().unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}
