//! Copies of the journal that are complete at one instant, also while it is written.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::database::{Journal, block};
use super::meta;
use crate::error::{AtPath, Error, Result};

/// Every page.
const ALL: i32 = -1;

/// How long to wait while the journal is locked.
const PAUSE: Duration = Duration::from_millis(5);

impl Journal {
    /// Copies the journal to a new file, which appears when it is complete. The copy is marked: a fleet that is opened
    /// with it revokes only certificates of leaked keys until that is confirmed.
    ///
    /// # Errors
    /// Returns an error if the file exists or can't be written. Nothing is left behind then.
    pub fn backup(&self, target: &Path) -> Result<()> {
        if target.exists() {
            return Err(Error::Invalid {
                path: target.to_owned(),
                problem: "it exists; give another file, for a backup replaces nothing".to_owned(),
            });
        }
        let folder = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let file = NamedTempFile::with_prefix_in(".shieldcert-", folder).at(folder)?;
        block(|| {
            let copied = self.read(|source| {
                let mut copy = Connection::open(file.path())?;
                // In one step: it reads one instant of the journal while others write. In several, each write between two of
                // them would begin it anew.
                while Backup::new(source, &mut copy)?.step(ALL)? != StepResult::Done {
                    std::thread::sleep(PAUSE);
                }
                // A file of its own, without others beside it.
                copy.pragma_update(None, "journal_mode", "DELETE")?;
                meta::mark_copy(&copy)?;
                copy.close().map_err(|(_, error)| error)
            });
            copied.map_err(|error| match error {
                Error::Journal { problem, .. } => Error::Journal {
                    path: target.to_owned(),
                    problem,
                },
                other => other,
            })
        })?;
        file.as_file().sync_all().at(target)?;
        file.persist_noclobber(target)
            .map_err(|error| error.error)
            .at(target)?;
        if let Ok(folder) = std::fs::File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}
