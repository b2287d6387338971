//! `cargo xtask spec`: imports a new document of upstream, and says what a change means.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::openapi::check::check;
use crate::openapi::diff::{self, Change, Class};
use crate::openapi::import::{Import, UPSTREAM, import, to_yaml};
use crate::openapi::overlay::Overlay;
use crate::openapi::{document, report};
use crate::output::{print_line, print_status};
use crate::revision::{self, Revision};
use crate::workspace::{OVERLAY, SPEC, VERSION, read, replace};

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Cut the client_certificates paths out of a full document, and show what changes for the client's users
    ///
    /// Upstream's document: openapi.json or openapi.yaml of <https://github.com/cloudflare/api-schemas>
    Import {
        /// Upstream's full OpenAPI 3.0 document, JSON or YAML
        full: PathBuf,
        /// Replace the checked-in fragment
        #[arg(long)]
        write: bool,
    },
    /// Compare two documents, full ones or fragments, and say what the differences mean for the client's users
    ///
    /// Only the client_certificates paths are compared, with the overlay applied to both documents.
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
            print_status(format_args!(
                "reading {}, and generating the code that it leads to",
                full.display()
            ));
            let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
            let report = import_file(root, &full, write, &today)?;
            print_line(report.text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Task::Diff { old, new, format } => {
            print_status(format_args!(
                "reading {} and {}, and generating the code that they lead to",
                old.display(),
                new.display()
            ));
            Ok(match compare_files(root, &old, &new, format) {
                Ok(report) => {
                    print_line(report.text.trim_end());
                    ExitCode::from(exit_code(&report.changes))
                }
                Err(error) => {
                    print_status(format_args!("error: {error:#}"));
                    ExitCode::from(UNREADABLE)
                }
            })
        }
    }
}

fn exit_code(changes: &[Change]) -> u8 {
    match diff::worst(changes) {
        None => 0,
        Some(Class::Additive) => 1,
        Some(Class::Risky) => 2,
        Some(Class::Breaking) => 3,
    }
}

/// The checked-in fragment and overlay: the layout and the names that documents are read in.
struct Base {
    text: String,
    fragment: Value,
    overlay: Overlay,
}

impl Base {
    fn read(root: &Path) -> Result<Self> {
        let text = read(&root.join(SPEC))?;
        let fragment = document::parse(&text).context(SPEC)?;
        check(&fragment).context(SPEC)?;
        let overlay = Overlay::parse(&read(&root.join(OVERLAY))?).context(OVERLAY)?;
        Ok(Self {
            text,
            fragment,
            overlay,
        })
    }

    fn import(&self, path: &Path, text: &str) -> Result<Import> {
        import(text, Some(&self.fragment)).with_context(|| path.display().to_string())
    }

    fn derive(&self, fragment: &Value) -> Revision {
        Revision::derive(fragment, &self.overlay)
    }
}

fn read_document(path: &Path) -> Result<String> {
    read(path).map_err(|error| anyhow!("{error:#}; upstream's document: {UPSTREAM}"))
}

/// What a command prints, and what it found.
pub(crate) struct Report {
    pub(crate) changes: Vec<Change>,
    pub(crate) text: String,
}

pub(crate) fn compare_files(root: &Path, old: &Path, new: &Path, format: Format) -> Result<Report> {
    let base = Base::read(root)?;
    let before = base.import(old, &read_document(old)?)?;
    let after = base.import(new, &read_document(new)?)?;
    let (before, revision) = (base.derive(&before.fragment), base.derive(&after.fragment));
    let changes = revision::compare(&before.surface()?, &revision.surface()?)?;
    let notes: Vec<String> = left_out(&after).chain(unfinished(&revision)).collect();
    let text = report::report(&changes, &notes, VERSION, format.into());
    Ok(Report { changes, text })
}

/// Imports the document, and writes the fragment if asked.
pub(crate) fn import_file(root: &Path, path: &Path, write: bool, today: &str) -> Result<Report> {
    let full = read_document(path)?;
    let base = Base::read(root)?;
    let imported = base.import(path, &full)?;
    let (before, after) = (base.derive(&base.fragment), base.derive(&imported.fragment));
    let changes = revision::compare(&before.surface()?, &after.surface()?)?;
    let is_changed = imported.fragment != base.fragment;
    let mut notes: Vec<String> = left_out(&imported).collect();
    if is_changed && changes.is_empty() {
        notes.push("the overlay hides from users what changed in the fragment".into());
    }
    notes.extend(unfinished(&after));
    let mut text = report::report(&changes, &notes, VERSION, report::Format::Text);
    if is_changed && write {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let sum = hex::encode(Sha256::digest(&full));
        let version = &imported.version;
        let provenance = [
            format!("Imported from {name}, version {version}, on {today}."),
            format!("SHA-256 {sum}"),
        ];
        let yaml = to_yaml(&imported.fragment, &base.text, Some(&provenance))?;
        replace(&root.join(SPEC), &yaml)?;
        text.push_str(&format!("{SPEC}: written; now run `cargo xtask regen`\n"));
    } else if is_changed {
        text.push_str("nothing is written without --write\n");
    } else if write {
        text.push_str(&format!("{SPEC}: up to date\n"));
    }
    Ok(Report { changes, text })
}

fn left_out(import: &Import) -> impl Iterator<Item = String> {
    import.left_out.iter().map(|operation| {
        let path = operation.split(' ').nth(1).unwrap_or_default();
        format!(
            "not imported: {operation}; to take it, add `{path}: {{}}` to the `paths` of {SPEC} and import again"
        )
    })
}

/// Says what is still to be done in the overlay.
fn unfinished(revision: &Revision) -> impl Iterator<Item = String> {
    let unnamed = unnamed_operations(&revision.document).into_iter();
    let unnamed = unnamed.map(|(path, method, id)| {
        format!(
            "{} {path} has no name for Rust yet; add an action to {OVERLAY}:\n    target: $.paths['{path}'].{method}\n    \
             update: {{ operationId: a_name }}, instead of {id}",
            method.to_uppercase()
        )
    });
    let failed = revision
        .overlay
        .failed
        .iter()
        .map(|failed| format!("{OVERLAY}: {failed}"));
    let done = revision.overlay.done.iter().cloned();
    let sources = revision.sources.as_ref().err();
    let sources = sources.map(|error| format!("the generated code is not compared: {error:#}"));
    failed.chain(done).chain(unnamed).chain(sources)
}

/// Returns the operations that still have upstream's ids, which repeat their tag.
fn unnamed_operations(document: &Value) -> Vec<(&str, &str, &str)> {
    let mut unnamed = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if let Some(id) = operation["operationId"]
                .as_str()
                .filter(|id| id.contains('-'))
            {
                unnamed.push((path.as_str(), method.as_str(), id));
            }
        }
    }
    unnamed
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
        let old = fragment(copy.path());
        let mut new = old.clone();
        change(&mut new);
        let full = copy.path().join("full.json");
        fs::write(&full, new.to_string()).expect("writes");
        import_file(copy.path(), &full, true, TODAY).expect("imports");
        let changes = diff::compare(&old, &fragment(copy.path())).expect("resolves");
        (copy, changes)
    }

    const TODAY: &str = "2026-11-30";

    fn fragment(root: &Path) -> Value {
        Base::read(root).expect("is read").fragment
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
        let mut new = fragment(copy.path());
        let import_changed = |new: &Value, write| {
            let full = copy.path().join("full.json");
            fs::write(&full, new.to_string()).expect("writes");
            import_file(copy.path(), &full, write, TODAY)
                .expect("imports")
                .text
        };
        let mut reports = vec![import_changed(&new, false)];
        new["components"]["schemas"]["client_certificate"]["properties"]["device_id"] =
            json!({ "type": "string" });
        reports.extend([false, true].map(|write| import_changed(&new, write)));
        insta::assert_snapshot!(without_version(&reports.join("---\n")));
    }

    #[test]
    fn a_path_that_the_fragment_asks_for_is_imported() {
        let copy = copy_workspace();
        let path = "/zones/{zone_id}/client_certificates/{client_certificate_id}/renew";
        let mut document: Value =
            serde_json::from_str(include_str!("../fixtures/published.json")).expect("JSON");
        let one = "/zones/{zone_id}/client_certificates/{client_certificate_id}";
        let mut operation = document["paths"][one]["patch"].clone();
        operation["operationId"] = "renew".into();
        document["paths"][path] = json!({ "post": operation });
        let full = copy.path().join("full.json");
        fs::write(&full, document.to_string()).expect("writes");
        let import = || {
            import_file(copy.path(), &full, true, TODAY)
                .expect("imports")
                .text
        };
        let text = import();
        assert!(
            text.contains(&format!("add `{path}: {{}}` to the `paths`")),
            "{text}"
        );
        let spec = read(&copy.path().join(SPEC)).expect("is there");
        let asked = spec.replace("\npaths:\n", &format!("\npaths:\n  \"{path}\": {{}}\n"));
        assert_ne!(asked, spec);
        fs::write(copy.path().join(SPEC), asked).expect("writes");
        let text = import();
        assert!(
            text.contains(&format!("additive  POST {path}: a new operation")),
            "{text}"
        );
        assert!(fragment(copy.path())["paths"][path]["post"].is_object());
        regen::run(copy.path(), false).expect("regenerates");
    }

    #[test]
    fn a_full_document_of_upstreams_size_is_compared() {
        let copy = copy_workspace();
        let mut yaml = read(&copy.path().join(SPEC)).expect("is there");
        for number in 0..30_000 {
            yaml.push_str(&format!(
                "    other_{number}:\n      type: object\n      properties:\n        a: {{type: string, maxLength: 3}}\n"
            ));
        }
        let full = copy.path().join("full.yaml");
        fs::write(&full, yaml).expect("writes");
        let spec = copy.path().join(SPEC);
        let report = compare_files(copy.path(), &spec, &full, Format::Text).expect("compares");
        assert_eq!(report.changes, []);
    }

    #[test]
    fn unreadable_documents_are_named() {
        let copy = copy_workspace();
        let path = copy.path().join("full.yaml");
        let error_of = |text: &str| {
            fs::write(&path, text).expect("writes");
            let error = import_file(copy.path(), &path, false, TODAY)
                .err()
                .expect("is refused");
            format!("{error:#}").replace(&path.display().to_string(), "full.yaml")
        };
        let errors = [
            "openapi: 3.1.0\ninfo: {}\npaths: {}",
            "[]",
            "{}",
            "openapi: 3.0.3\npaths: {}",
        ];
        let mut errors = errors.map(error_of).to_vec();
        fs::remove_file(&path).expect("removes");
        let error = import_file(copy.path(), &path, false, TODAY)
            .err()
            .expect("is missing");
        errors.push(format!("{error:#}").replace(&path.display().to_string(), "full.yaml"));
        insta::assert_snapshot!(errors.join("\n"));
    }

    /// Removes the advice on the next version, which would change with every release.
    fn without_version(report: &str) -> String {
        let lines = report.lines();
        let lines = lines.map(|line| line.split("; the version after").next().unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }
}
