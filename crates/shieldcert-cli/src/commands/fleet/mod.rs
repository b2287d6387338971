//! `shieldcert fleet`: a fleet from a manifest. One file for each command.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod ask;
pub(crate) mod backup;
pub(crate) mod history;
pub(crate) mod init;
mod metrics;
pub(crate) mod plan;
mod refresh;
pub(crate) mod run;
mod simulate;
pub(crate) mod status;

use std::path::{Path, PathBuf};

use shieldcert_fleet::commands::counted;
use shieldcert_fleet::{Error, Fleet};

use super::Run;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// A command about the fleet in a folder.
pub(crate) trait InFolder {
    /// See [`Run::IS_PARALLEL`].
    const IS_PARALLEL: bool = false;
    /// See [`Run::IS_SERVICE`].
    const IS_SERVICE: bool = false;

    async fn run(self, context: &Context, folder: &Path) -> Result;
}

/// A command, and the folder of its fleet.
pub(crate) struct Placed<C> {
    pub(crate) command: C,
    pub(crate) folder: PathBuf,
}

impl<C: InFolder> Run for Placed<C> {
    const IS_PARALLEL: bool = C::IS_PARALLEL;
    const IS_SERVICE: bool = C::IS_SERVICE;

    async fn run(self, context: &Context) -> Result {
        self.command.run(context, &self.folder).await
    }
}

/// Opens the fleet.
async fn open(context: &Context, folder: &Path) -> Result<Fleet> {
    let connector = context.connector().await?;
    let fleet = Fleet::open(folder, connector).map_err(|error| {
        let failure = Failure::from(error);
        match folder.join("fleet.toml").exists() {
            true => failure,
            false => failure.hint(
                "give the folder with --dir; to begin a fleet: shieldcert fleet init DIR --zone ID",
            ),
        }
    })?;
    context.set_fleet_folder(folder);
    Ok(fleet)
}

/// Turns an error into a failure. Every problem of a manifest is said before.
pub(super) fn failure(context: &Context, error: Error) -> Failure {
    let Error::Manifest {
        path,
        problems,
        more,
        ..
    } = error
    else {
        return error.into();
    };
    let shown = path.strip_prefix(".").unwrap_or(&path).display();
    for problem in &problems {
        let column = problem.column.as_ref();
        let column = column.map(|column| format!("column {column}: "));
        let message = format!(
            "{shown}:{}: {}{}",
            problem.line,
            column.unwrap_or_default(),
            problem.message
        );
        context.messages().error(&Failure::usage(message));
    }
    let count = problems.len() as u64 + more;
    let shown_part = match more {
        0 => String::new(),
        _ => format!(", of which {} are shown", problems.len()),
    };
    Failure::usage(format!(
        "{shown}: {}{shown_part}; nothing was done",
        counted(count, "problem")
    ))
}

/// Warns of a journal that revokes hardly anything.
fn warn_if_restored(context: &Context, is_restored: bool) {
    if is_restored {
        context.messages().warning(&format!(
            "the journal is a backup, which may not know the newest certificates: only those of leaked keys are revoked \
             until `{}`",
            context.fleet_command("apply --confirm-restored")
        ));
    }
}
