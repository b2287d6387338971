//! The folder of a fleet.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::name::DeviceName;

/// The paths of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Where relative paths start.
    base: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            base: path.clone(),
            path,
        }
    }

    /// A folder whose relative paths start at another.
    pub(crate) fn with_base(path: impl Into<PathBuf>, base: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            base: base.into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where relative paths start, and where commands run.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path.join("fleet.toml")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal.db")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("fleet.lock")
    }

    /// A path of the configuration or the manifest.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    pub(crate) fn devices(&self) -> PathBuf {
        self.path.join("devices")
    }

    pub(crate) fn device(&self, name: &DeviceName) -> PathBuf {
        self.devices().join(name.as_str())
    }

    pub(crate) fn generation(&self, name: &DeviceName, number: u32) -> PathBuf {
        self.device(name).join(number.to_string())
    }

    pub(crate) fn current(&self, name: &DeviceName) -> PathBuf {
        self.device(name).join("current")
    }
}

/// Creates a folder that its owner alone can enter, and those above it.
pub(crate) fn create_private(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).at(folder)
}

/// Flushes a folder, so that what was created or renamed in it is on the disk. Not every system can.
pub(crate) fn sync(folder: &Path) {
    if let Ok(folder) = fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}
