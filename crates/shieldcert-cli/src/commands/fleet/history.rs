//! `shieldcert fleet history`.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use shieldcert_fleet::DeviceName;

use super::status::{parse_name, unknown};
use super::{InFolder, open};
use crate::args::moment::{self, Moment};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;
use crate::output::fleet::history::HistoryRow;
use crate::output::format::Format;

/// Show what was done in a fleet, or to a device
///
/// The newest entries, oldest first, also while another process works on the fleet. How long they are kept is
/// `history` in fleet.toml, below [limits]. Nothing is sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors history sensor-001
  shieldcert fleet --dir sensors history --since 30d --output csv > acts.csv")]
pub(crate) struct History {
    /// The device [default: all]
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<DeviceName>,

    /// At most so many of the newest entries [default: 100, or all with --since]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,

    /// Entries since a day, a time, or so long ago: 2026-01-31, 30d
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<Moment>,
}

const LIMIT: u32 = 100;

impl InFolder for History {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        let journal = fleet.journal()?;
        if let Some(name) = &self.name
            && journal.generations(name)?.is_none()
        {
            return Err(unknown(name));
        }
        let since = self.since.map(|since| since.at(Timestamp::now()));
        let default = if since.is_some() { u32::MAX } else { LIMIT };
        let limit = self.limit.unwrap_or(default);
        let mut printer = context.printer_or(Format::Table)?;
        let mut printed = Ok(());
        journal.each_entry(self.name.as_ref(), since, limit, |entry| {
            if printed.is_ok() {
                printed = printer.print(&HistoryRow::from(entry), Timestamp::UNIX_EPOCH);
            }
        })?;
        printed?;
        printer.finish()?;
        Ok(ExitCode::Done)
    }
}
