//! What rows leave out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use shieldcert::KeyAlgorithm;

use crate::config::Config;

/// What `fleet.toml` says for rows.
pub(super) struct Defaults {
    pub(super) key: KeyAlgorithm,
    pub(super) validity_days: u32,
    pub(super) zone: Option<String>,
    pub(super) output_folder: Option<PathBuf>,
    /// The zones that a row may name.
    pub(super) zones: BTreeSet<String>,
}

impl Defaults {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            key: config.devices.key,
            validity_days: config.devices.validity_days,
            zone: config.devices.zone.clone(),
            output_folder: config.devices.output_folder.clone(),
            zones: config.zones.keys().cloned().collect(),
        }
    }
}
