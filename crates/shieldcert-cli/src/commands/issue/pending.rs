//! What is on disk before a request leaves: a folder beside the file that the certificate will be in.
//!
//! It holds the key, the CSR, and `request.json`: what was asked for, and the intent once a request is about to leave.
//! Each is written whole, in an order in which a process that is killed anywhere leaves what the next one goes on from:
//! without an intent nothing was sent, and with one the outcome is found out first. The folder goes when the certificate
//! is in its file. A lock keeps two processes from one folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shieldcert::{Csr, IssueIntent, PrivateKey};
use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};

/// A request that is not finished.
pub(super) struct Pending {
    folder: PathBuf,
    _lock: File,
    /// What was asked for by the process that began it. `None` for a new one.
    pub(super) request: Option<Request>,
    pub(super) key: Option<PrivateKey>,
    pub(super) csr: Option<Csr>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) base_url: String,
    pub(super) zone_id: String,
    pub(super) days: u32,
    /// Of the CSR.
    pub(super) subject: String,
    /// What to resume with. `None` if nothing was sent.
    pub(super) intent: Option<IssueIntent>,
}

const KEY: &str = "key.pem";
const CSR: &str = "csr.pem";
const REQUEST: &str = "request.json";
const LOCK: &str = "lock";

impl Pending {
    /// The folder for what will be in this file.
    pub(super) fn folder_for(file: &Path) -> PathBuf {
        let mut folder = file.as_os_str().to_owned();
        folder.push(".issuing");
        folder.into()
    }

    /// Opens the folder, or makes it.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let folder = Self::folder_for(file);
        let failed = |error: io::Error| Failure::file(&folder, &error);
        let lock = loop {
            create_private(&folder).map_err(failed)?;
            let path = folder.join(LOCK);
            let lock = match File::create(&path) {
                // Another process has just removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                created => created.map_err(failed)?,
            };
            match lock.try_lock() {
                // It counts only if it is still the one that others try.
                Ok(()) if is_at(&lock, &path) => break lock,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::failed(format!(
                        "{}: another process is issuing this certificate; wait until it is done",
                        folder.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        };
        let mut pending = Self {
            folder,
            _lock: lock,
            request: None,
            key: None,
            csr: None,
        };
        pending.request = match pending.read(REQUEST)? {
            Some(text) => Some(
                serde_json::from_slice(&text).map_err(|error| pending.damaged(REQUEST, &error))?,
            ),
            None => None,
        };
        pending.key = match pending.read(KEY)? {
            Some(text) => {
                Some(PrivateKey::from_pem(&text).map_err(|error| pending.damaged(KEY, &error))?)
            }
            None => None,
        };
        pending.csr = match pending.read(CSR)? {
            Some(text) => Some(Csr::from_pem(&text).map_err(|error| pending.damaged(CSR, &error))?),
            None => None,
        };
        Ok(pending)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a request may have been sent.
    pub(super) fn intent(&self) -> Option<&IssueIntent> {
        self.request.as_ref()?.intent.as_ref()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!(
                "{}: {error}",
                self.folder.join(name).display()
            ))),
        }
    }

    fn damaged(&self, name: &str, error: &impl std::fmt::Display) -> Failure {
        Failure::failed(format!("{}: {error}", self.folder.join(name).display())).hint(format!(
            "if no certificate was issued for it (see `shieldcert list`), remove {} and start over",
            self.folder.display()
        ))
    }

    /// Stores key and CSR, and then what they are for.
    pub(super) fn begin(
        &mut self,
        request: Request,
        key: Option<&PrivateKey>,
        csr: &Csr,
    ) -> Result<()> {
        if let Some(key) = key {
            key.write_pem(self.folder.join(KEY))?;
        }
        csr.write_pem(self.folder.join(CSR))?;
        self.csr = Some(csr.clone());
        self.store(request)
    }

    /// Stores what is about to be sent.
    pub(super) fn set_intent(&mut self, intent: Option<IssueIntent>) -> Result<()> {
        let Some(request) = self.request.clone() else {
            return Ok(());
        };
        self.store(Request { intent, ..request })
    }

    fn store(&mut self, request: Request) -> Result<()> {
        let path = self.folder.join(REQUEST);
        let stored = serde_json::to_vec_pretty(&request)
            .map_err(io::Error::from)
            .and_then(|text| {
                let mut file = NamedTempFile::new_in(&self.folder)?;
                file.write_all(&text)?;
                file.as_file().sync_all()?;
                file.persist(&path)?;
                // The rename is on the disk once the folder is. Not every system can flush a folder.
                if let Ok(folder) = File::open(&self.folder) {
                    let _ = folder.sync_all();
                }
                Ok(())
            });
        stored.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        self.request = Some(request);
        Ok(())
    }

    /// Removes the folder: the certificate is in its file, or nothing was sent.
    pub(super) fn remove(self) -> Result<()> {
        let failed = |error: io::Error| {
            let folder = self.folder.display();
            Failure::failed(format!(
                "{folder}: {error}; it is not needed any more, and holds a private key"
            ))
        };
        // First: without it nothing is resumed, if the process is killed in between.
        remove_file(&self.folder.join(REQUEST)).map_err(failed)?;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() != LOCK {
                remove_file(&entry.path()).map_err(failed)?;
            }
        }
        // Last: from then on another process may use the folder.
        remove_file(&self.folder.join(LOCK)).map_err(failed)?;
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the open file is the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// An open file can't be removed here.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_counts_only_while_it_is_the_one_that_others_try() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sensor-001.pem");
        let first = Pending::open(&file).expect("opens");
        assert!(Pending::open(&file).is_err(), "it is locked");
        let lock = first.folder().join(LOCK);
        let waiting = File::open(&lock).expect("opens");
        assert!(is_at(&waiting, &lock));
        first.remove().expect("removes");
        let _second = Pending::open(&file).expect("opens");
        assert!(!is_at(&waiting, &lock));
    }
}
