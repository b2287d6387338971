//! Copies of the journal that are complete at one instant, also while it is written.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, backup::Backup};
use tempfile::NamedTempFile;

use super::{Journal, block, meta};
use crate::error::{AtPath, Error, Result};

/// How many pages are copied before writers get their turn.
const PAGES_AT_ONCE: i32 = 1_000;

impl Journal {
    /// Copies the journal to a new file, which appears when it is complete. The copy is marked: a fleet that is opened
    /// with it revokes nothing until that is confirmed.
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
                Backup::new(source, &mut copy)?.run_to_completion(
                    PAGES_AT_ONCE,
                    Duration::from_millis(1),
                    None,
                )?;
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
