//! What is kept between runs, in the user's state folder: a fleet for each service and zone, and what runs that have not
//! finished were to do.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shieldcert::ZoneId;
use shieldcert_fleet::DeviceName;

use super::files::{Spec, short_hash};
use crate::failure::{Failure, Result};
use crate::output::file::{self, Existing};

/// The state. Who holds it is alone.
pub(super) struct State {
    folder: PathBuf,
    runs: Vec<Run>,
    _lock: File,
}

/// A run that has not finished. The same command goes on with it for a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    /// The files that it was given, in order.
    files: Vec<PathBuf>,
    started: Timestamp,
    /// The fingerprints of the certificates that it was to replace.
    pub(super) before: BTreeMap<DeviceName, String>,
}

const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
const RUNS: &str = "runs.json";
const LOCK: &str = "renew.lock";

/// The manifest of the fleet.
pub(super) const MANIFEST: &str = "manifest.jsonl";

/// The folder for a zone of a service.
pub(super) fn folder(base_url: &str, zone: &ZoneId) -> Result<PathBuf> {
    let folders = etcetera::choose_base_strategy().map_err(|error| {
        Failure::failed(format!(
            "there is no folder for what is kept between runs: {error}; set HOME, or XDG_STATE_HOME to a folder"
        ))
    })?;
    let folder = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    let place = short_hash(&format!("{base_url}\n{zone}"));
    Ok(folder.join("shieldcert").join("renew").join(place))
}

impl State {
    /// Opens the state of this folder, or makes it.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        let failed = |error: io::Error| {
            Failure::file(&folder, &error)
                .hint("XDG_STATE_HOME names another folder for what is kept between runs")
        };
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&folder).map_err(failed)?;
        let path = folder.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = (&lock).take(32).read_to_string(&mut pid);
                let pid = pid.trim();
                let process = match read.is_ok() && !pid.is_empty() {
                    true => format!("process {pid}"),
                    false => "another process".to_owned(),
                };
                return Err(Failure::failed(format!(
                    "{}: {process} renews certificates of this zone; wait until it has ended",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // For people. What holds the lock is the open file.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()));
        let runs = match fs::read(folder.join(RUNS)) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Ok(Self {
            folder,
            runs,
            _lock: lock,
        })
    }

    /// The run of these files that has not finished, or a new one.
    pub(super) fn run(&self, files: &[PathBuf], now: Timestamp) -> Run {
        let is_fresh = |run: &&Run| now.duration_since(run.started) < MAX_AGE;
        let same = (self.runs.iter()).find(|run| run.files == files);
        same.filter(is_fresh).cloned().unwrap_or_else(|| Run {
            files: files.to_owned(),
            started: now,
            before: BTreeMap::new(),
        })
    }

    /// Keeps a run until it has finished.
    pub(super) fn keep(&mut self, run: &Run) -> Result<()> {
        let now = run.started;
        self.runs.retain(|other| {
            other.files != run.files && now.duration_since(other.started) < MAX_AGE
        });
        self.runs.push(run.clone());
        self.write_runs()
    }

    pub(super) fn forget(&mut self, run: &Run) -> Result<()> {
        self.runs.retain(|other| other.files != run.files);
        self.write_runs()
    }

    fn write_runs(&self) -> Result<()> {
        let path = self.folder.join(RUNS);
        let text =
            serde_json::to_vec(&self.runs).map_err(|error| Failure::file(&path, &error.into()))?;
        file::write(&path, &text, Existing::Replace)
    }
}

/// Writes the manifest. A file is where the new certificate goes; of what is only to be revoked there is none.
pub(super) fn write_manifest(
    folder: &Path,
    rows: &BTreeMap<DeviceName, (Spec, Option<PathBuf>)>,
) -> Result<()> {
    let mut text = String::new();
    for (name, (spec, output)) in rows {
        let subject = &spec.subject;
        let row = serde_json::json!({
            "name": name,
            "common_name": subject.common_name,
            "organization": subject.organization,
            "organizational_unit": subject.organizational_unit,
            "locality": subject.locality,
            "province": subject.province,
            "country": subject.country,
            "key": spec.key.as_str(),
            "days": spec.days,
            "output": output,
        });
        text.push_str(&format!("{row}\n"));
    }
    file::write(&folder.join(MANIFEST), text.as_bytes(), Existing::Replace)
}
