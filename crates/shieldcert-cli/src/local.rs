//! `--local`: an emulator in this process, whose certificates are kept in the user's data folder.
//!
//! Several processes may use it at once: the store is a SQLite file, and nothing runs in between.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use etcetera::BaseStrategy;
use shieldcert::{Client, ClientBuilder};
use shieldcert_emulator::{Emulator, EmulatorTransport};

use crate::failure::{Failure, Result};

/// Opens the emulator.
pub(crate) async fn open() -> Result<Emulator> {
    let file = file()?;
    Ok(Emulator::builder().db(file).open().await?)
}

/// A builder of a client of the emulator.
pub(crate) fn builder(emulator: &Emulator) -> ClientBuilder {
    Client::builder()
        // The emulator accepts any.
        .token("local")
        .base_url(EmulatorTransport::BASE_URL)
        .transport(Arc::new(emulator.transport()))
}

/// The file that keeps the certificates, whose folder is made.
pub(crate) fn file() -> Result<PathBuf> {
    let folders = etcetera::choose_base_strategy().map_err(|error| {
        Failure::failed(format!(
            "--local: {error}; set HOME, or XDG_DATA_HOME to a folder"
        ))
    })?;
    let folder = folders.data_dir().join("shieldcert");
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&folder).map_err(|error| {
        Failure::failed(format!(
            "--local: {}: {error}; set XDG_DATA_HOME to a folder that can be written",
            folder.display()
        ))
    })?;
    Ok(folder.join("local.db"))
}
