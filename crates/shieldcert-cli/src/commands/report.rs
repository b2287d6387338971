//! `shieldcert report`: the inventory in numbers, and as a page for an auditor.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Run, inventory};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::file::{self, Existing};
use crate::output::format::Format;
use crate::output::html::{Entry, Page};
use crate::output::report::{ReportRow, Summary};

/// Count certificates by zone, status, month of expiry and organization
///
/// Every certificate of the zones is counted. A list that can't be read to its end is an error, never a short report.
/// Months are UTC.
///
/// --html writes one page that needs nothing else: numbers, a timeline, and a table of all certificates to search, sort
/// and filter. It can be sent, archived and printed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert report
  shieldcert report --html report.html
  shieldcert report --output csv > report.csv")]
pub(crate) struct Report {
    /// Write a page to this file, or to standard output with -
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "fields"])]
    html: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(long, requires = "html")]
    force: bool,
}

impl Run for Report {
    async fn run(self, context: &Context) -> Result {
        let existing = match self.force {
            true => Existing::Replace,
            false => Existing::Keep,
        };
        let file = self.html.as_deref();
        if let Some(path) = file.filter(|path| !is_stdout(path)) {
            file::check(path, existing)?;
        }
        let zones = context.zones().await?;
        let mut summary = Summary::new(zones.iter().map(|zone| zone.id().clone()));
        let mut entries = Vec::new();
        let inventory = inventory::read(context, &zones, |zone, certificate, now| {
            summary.add(zone, certificate, now);
            if file.is_some() {
                entries.push(Entry::new(zone, certificate));
            }
        })
        .await?;
        let taken_at = inventory.taken_at;
        match file {
            None => {
                let mut printer = context.printer_or::<ReportRow>(Format::Table)?;
                for row in summary.rows(taken_at) {
                    printer.print(&row, taken_at)?;
                }
                printer.finish()?;
            }
            Some(path) => {
                let page = Page {
                    summary: &summary,
                    entries: &entries,
                    taken_at,
                    unreadable: inventory.unreadable,
                };
                write(path, &page.render()?, existing)?;
                let (count, path) = (summary.total.certificates, path.display());
                context
                    .messages()
                    .note(&format!("{path}: {count} certificates"));
            }
        }
        Ok(match inventory.unreadable {
            0 => ExitCode::Done,
            _ => ExitCode::Partial,
        })
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write(path: &Path, page: &str, existing: Existing) -> Result<()> {
    match is_stdout(path) {
        true => {
            let mut out = io::stdout().lock();
            let written = out.write_all(page.as_bytes()).and_then(|()| out.flush());
            written.map_err(|error| Failure::output(&error))
        }
        false => file::write(path, page.as_bytes(), existing),
    }
}
