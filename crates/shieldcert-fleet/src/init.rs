//! Makes the folder of a new fleet.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use shieldcert::ZoneId;

use crate::config::Config;
use crate::error::{AtPath, Error, Result};
use crate::fleet::Fleet;
use crate::folder::{Folder, create_private, sync};

/// The id in the example.
const NO_ZONE: &str = "00000000000000000000000000000000";

const MANIFEST: &str = "\
# The devices of the fleet, one a row. Replace these by your own. An empty cell takes what fleet.toml says.
# More columns: common_name, organizational_unit, locality, province, country, key, zone, csr, output.
# Only the state `absent` revokes the certificates of a device. A row that is removed leaves them as they are.
name,organization,days,labels,state
sensor-001,Acme,,ground-floor,present
sensor-002,Acme,,ground-floor,present
gateway-01,Acme,90,ground-floor edge,present
";

const GIT_IGNORE: &str = "\
# What a fleet knows and holds, private keys included, belongs in no repository.
/journal.db*
/fleet.lock
/failed.csv
/devices/
";

impl Fleet {
    /// Makes the folder of a new fleet: a `fleet.toml` that explains every key, a `devices.csv` with three devices, and a
    /// `.gitignore`. A manifest or `.gitignore` that is there is kept. Returns the files that were made.
    ///
    /// # Errors
    /// Returns an error if the folder holds a `fleet.toml`, or can't be written.
    pub fn init(folder: impl AsRef<Path>, zone: &ZoneId) -> Result<Vec<PathBuf>> {
        let path = folder.as_ref();
        let folder = Folder::new(path);
        if folder.config().symlink_metadata().is_ok() {
            return Err(exists(&folder));
        }
        create_private(path)?;
        let config = Config::EXAMPLE.replace(NO_ZONE, zone.as_str());
        let mut made = Vec::new();
        // The policy comes last: a folder that has it is complete.
        for (name, text) in [(".gitignore", GIT_IGNORE), ("devices.csv", MANIFEST)] {
            let file = path.join(name);
            if create(&file, text)? {
                made.push(file);
            }
        }
        match create(&folder.config(), &config)? {
            true => made.push(folder.config()),
            false => return Err(exists(&folder)),
        }
        sync(path);
        Ok(made)
    }
}

/// Writes a file that does not exist. Returns whether it did not.
fn create(path: &Path, text: &str) -> Result<bool> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).at(path),
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .at(path)?;
    Ok(true)
}

fn exists(folder: &Folder) -> Error {
    Error::Invalid {
        path: folder.config(),
        problem: "it exists, so the folder is that of a fleet; give another folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::format::ManifestFormat;
    use crate::manifest::reader::Manifest;

    #[test]
    fn the_example_is_a_fleet() {
        let zone: ZoneId = "023e105f4ecef8ad9ca31a8372d0c353".parse().expect("an id");
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("a/fleet");
        let made = Fleet::init(&folder, &zone).expect("is made");
        assert_eq!(made.len(), 3);
        let config = Config::read(&folder.join("fleet.toml")).expect("is read");
        assert_eq!(config.zones["main"].id, zone);
        let manifest = Manifest::from_reader(MANIFEST.as_bytes(), ManifestFormat::Csv, &config);
        let devices: Vec<_> = manifest.map(|row| row.expect("a device")).collect();
        assert_eq!(devices.len(), 3);
        assert_eq!(devices[2].labels, ["ground-floor", "edge"]);
        let refused = Fleet::init(&folder, &zone).expect_err("exists");
        assert!(
            refused.to_string().ends_with("give another folder"),
            "{refused}"
        );
    }

    #[test]
    fn a_manifest_that_is_there_is_kept() {
        let zone: ZoneId = "023e105f4ecef8ad9ca31a8372d0c353".parse().expect("an id");
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = folder.path().join("devices.csv");
        std::fs::write(&manifest, "name\nmine\n").expect("is written");
        let made = Fleet::init(folder.path(), &zone).expect("is made");
        assert_eq!(made.len(), 2);
        assert_eq!(
            std::fs::read_to_string(&manifest).expect("is read"),
            "name\nmine\n"
        );
    }
}
