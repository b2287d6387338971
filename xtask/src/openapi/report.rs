//! Reports of a comparison: for a terminal, a program, or a pull request.

use serde_json::json;

use super::diff::{Change, next_version, worst};

/// The format of a report.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Text,
    Json,
    Markdown,
}

/// Formats the changes, the version that follows `version`, and what else is to be known. The report ends with a
/// newline.
pub(crate) fn report(
    changes: &[Change],
    notes: &[String],
    version: &str,
    format: Format,
) -> String {
    match format {
        Format::Text => text(changes, version) + &list(notes, ""),
        Format::Json => json(changes, notes, version),
        Format::Markdown => markdown(changes, version) + &list(notes, "\n- "),
    }
}

fn list(notes: &[String], bullet: &str) -> String {
    notes
        .iter()
        .map(|note| format!("{bullet}{note}\n"))
        .collect()
}

fn json(changes: &[Change], notes: &[String], version: &str) -> String {
    let class = worst(changes);
    let next = class.and_then(|class| next_version(version, class));
    let report =
        json!({ "class": class, "next_version": next, "changes": changes, "notes": notes });
    format!("{report:#}\n")
}

fn text(changes: &[Change], version: &str) -> String {
    let Some(class) = worst(changes) else {
        return "no difference\n".into();
    };
    let mut text = String::new();
    for Change { class, at, what } in changes {
        text.push_str(&format!("{class:<9} {at}: {what}\n"));
    }
    let plural = if changes.len() == 1 { "" } else { "s" };
    text.push_str(&format!("{} change{plural}, worst: {class}", changes.len()));
    if let Some(next) = next_version(version, class) {
        text.push_str(&format!("; the version after {version} is {next}"));
    }
    text + "\n"
}

fn markdown(changes: &[Change], version: &str) -> String {
    let Some(class) = worst(changes) else {
        return "No difference.\n".into();
    };
    let mut text = String::from("| class | where | what |\n| --- | --- | --- |\n");
    for Change { class, at, what } in changes {
        let cell = |text: &str| text.replace('|', "\\|");
        text.push_str(&format!("| {class} | {} | {} |\n", cell(at), cell(what)));
    }
    text.push_str(&format!("\nWorst: {class}."));
    if let Some(next) = next_version(version, class) {
        text.push_str(&format!(" The version after {version} is {next}."));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::super::diff::Class;
    use super::*;

    fn changes() -> [Change; 2] {
        [
            Change {
                class: Class::Breaking,
                at: "GET /a › query p".into(),
                what: "the value \"a|b\" is gone".into(),
            },
            Change {
                class: Class::Additive,
                at: "GET /a › 200.new".into(),
                what: "a new property".into(),
            },
        ]
    }

    #[test]
    fn a_text_report_lists_the_changes_and_the_next_version() {
        assert_snapshot!(report(&changes(), &[], "0.1.4", Format::Text));
        assert_snapshot!(report(&changes()[1..], &[], "1.2.3", Format::Text));
    }

    #[test]
    fn a_json_report_lists_the_changes_and_the_next_version() {
        assert_snapshot!(report(&changes(), &[], "0.1.4", Format::Json));
    }

    #[test]
    fn a_markdown_report_lists_the_changes_and_the_next_version() {
        assert_snapshot!(report(&changes(), &[], "0.1.4", Format::Markdown));
    }

    #[test]
    fn a_report_without_changes_says_so() {
        let reports = [Format::Text, Format::Json, Format::Markdown]
            .map(|format| report(&[], &[], "0.1.4", format));
        assert_snapshot!(reports.concat());
    }
}
