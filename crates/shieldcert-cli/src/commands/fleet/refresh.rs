//! `shieldcert fleet plan --refresh`: what the zones and the files show otherwise than the journal.

use std::io::{self, Write};

use clap::Args;
use jiff::Timestamp;
use shieldcert_fleet::{Differences, Fleet};

use super::failure;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::facts::Facts;
use crate::output::fleet::finding::{FindingRow, fix};
use crate::output::fleet::word;
use crate::output::format::Format;

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// Compare the journal with the zones and the files too, which lists each zone once
    #[arg(long)]
    refresh: bool,

    /// Print what differs, a row each, and no plan
    #[arg(long, requires = "refresh", conflicts_with = "summary")]
    findings: bool,
}

impl RefreshArgs {
    pub(super) fn is_given(&self) -> bool {
        self.refresh
    }

    pub(super) fn wants_findings(&self) -> bool {
        self.findings
    }
}

/// Prints each difference.
pub(super) async fn print_findings(context: &Context, fleet: &Fleet) -> Result {
    check(fleet)?;
    let mut printer = context.printer_or(Format::Table)?;
    let mut printed = Ok(());
    fleet
        .compare(|finding| {
            if printed.is_ok() {
                let row = FindingRow::new(finding, |fix| context.complete(fix));
                printed = printer.print(&row, Timestamp::UNIX_EPOCH);
            }
        })
        .await
        .map_err(|error| failure(context, error))?;
    printed?;
    printer.finish()?;
    if printer.rows() == 0 {
        context.messages().note(NOTHING);
    }
    Ok(ExitCode::Done)
}

const NOTHING: &str = "the zones and the files are as the journal says";

/// Says how many differences there are of each kind, and what to do about it.
pub(super) async fn describe(context: &Context, fleet: &Fleet) -> Result<()> {
    check(fleet)?;
    let differences = (fleet.compare(|_| {}).await).map_err(|error| failure(context, error))?;
    if differences.is_empty() {
        context.messages().note(NOTHING);
        return Ok(());
    }
    if context.has_chosen_output() {
        for (name, text) in lines(context, &differences) {
            context.messages().note(&format!("{name}: {text}"));
        }
    } else {
        writeln!(io::stdout()).map_err(|error| Failure::output(&error))?;
        let mut facts = Facts::default();
        for (name, text) in lines(context, &differences) {
            facts.add(name, text);
        }
        facts.print(&context.output(Format::Table))?;
    }
    let command = context.fleet_command("plan --refresh --findings");
    context
        .messages()
        .note(&format!("which they are: {command}"));
    Ok(())
}

fn lines(context: &Context, differences: &Differences) -> impl Iterator<Item = (String, String)> {
    differences.iter().map(|(difference, count)| {
        let fix = context.complete(fix(*difference));
        (word(difference), format!("{count}: {fix}"))
    })
}

/// Without a journal there is nothing to compare.
fn check(fleet: &Fleet) -> Result<()> {
    match fleet.folder().join("journal.db").exists() {
        true => Ok(()),
        false => Err(Failure::usage(
            "--refresh: there is no journal yet, and so nothing to compare; `shieldcert fleet apply` begins it, and \
             `shieldcert fleet adopt` takes over what exists",
        )),
    }
}
