//! Removes keys that nothing needs any more.

use std::fs;
use std::io;

use crate::error::{AtPath, Result};
use crate::fleet::Fleet;
use crate::journal::State;
use crate::lock::Lock;
use crate::name::DeviceName;

impl Fleet {
    /// Removes the folders, with the keys, of generations that are revoked or given up, and that no look needs. For fleets
    /// whose devices have files of their own. Returns how many.
    ///
    /// # Errors
    /// Returns an error if another process works on the fleet, if there is no journal, or if a folder can't be removed.
    pub fn remove_old_keys(&self) -> Result<u64> {
        let _lock = Lock::take(&self.folder.lock())?;
        let journal = self.journal()?;
        let devices = self.folder.devices();
        let entries = match fs::read_dir(&devices) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).at(devices),
        };
        let mut removed = 0;
        for entry in entries {
            let name = entry.at(&devices)?.file_name();
            let name = name
                .to_str()
                .and_then(|name| name.parse::<DeviceName>().ok());
            let Some(name) = name else { continue };
            let Some((_, generations)) = journal.generations(&name)? else {
                continue;
            };
            let old = generations.iter().filter(|generation| {
                let is_over = matches!(generation.state, State::Revoked | State::Abandoned);
                is_over && generation.look_at.is_none()
            });
            for generation in old {
                let path = self.folder.generation(&name, generation.number);
                match fs::remove_dir_all(&path) {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).at(path),
                }
            }
        }
        Ok(removed)
    }
}
