//! `shieldcert fleet init`.

use std::path::{Path, PathBuf};

use clap::Args;
use shieldcert_fleet::Fleet;

use super::InFolder;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::shell::quote;

/// Make the folder of a new fleet
///
/// Makes a fleet.toml that explains every key, a devices.csv with three devices to be replaced by yours, and a .gitignore
/// that keeps private keys out of repositories. Nothing is overwritten, and nothing is sent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert --local fleet init demo
  shieldcert fleet init /srv/sensors --zone 023e105f4ecef8ad9ca31a8372d0c353")]
pub(crate) struct Init {
    /// The folder, which is made if it is not there [default: that of --dir]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl InFolder for Init {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let folder = self.folder.as_deref().unwrap_or(folder);
        let zones = context.zone_ids()?;
        let [zone] = &zones[..] else {
            return Err(Failure::usage(
                "--zone: give one zone; more of them are added to fleet.toml, as [zones.NAME]",
            ));
        };
        let made = Fleet::init(folder, zone)?;
        let messages = context.messages();
        for file in made {
            messages.note(&format!("made {}", file.display()));
        }
        let shown = quote(folder);
        let local = if context.is_local() { "--local " } else { "" };
        messages.note(&format!(
            "now put your devices into {}, and see what would be done: shieldcert {local}fleet --dir {shown} plan",
            folder.join("devices.csv").display()
        ));
        Ok(ExitCode::Done)
    }
}
