//! `shieldcert fleet backup`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{InFolder, open};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;

/// Copy the journal of a fleet to a file
///
/// The copy is complete, also while another process works on the fleet. Put in place of journal.db, it goes on from there,
/// but revokes only certificates of leaked keys until `fleet apply --confirm-restored`. It holds no private key: back up
/// the folder `devices` as well.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir sensors backup /backup/sensors-$(date +%F).db")]
pub(crate) struct Backup {
    /// The new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl InFolder for Backup {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        fleet.journal()?.backup(&self.file)?;
        context
            .messages()
            .note(&format!("{}: the journal, as it was", self.file.display()));
        Ok(ExitCode::Done)
    }
}
