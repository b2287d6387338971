//! Private files that are written whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes a file that only its owner can read (mode 0600 on Unix).
///
/// The file is written under a temporary name in the same folder, flushed to the disk, and renamed. A process that is
/// killed leaves the old file or the new one.
pub(super) fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    replace(path, contents).map_err(|cause| Error::Write {
        path: path.to_owned(),
        cause,
    })
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Created with mode 0600. Removed when dropped, if it was not renamed.
    let mut temporary = NamedTempFile::with_prefix_in(".shieldcert-", folder)?;
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The rename is on the disk once the folder is. Not every system can flush a folder.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_is_whole_private_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        fs::write(&path, "old").expect("writes");
        write_private(&path, b"new").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"new");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let files = fs::read_dir(folder.path()).expect("reads").count();
        assert_eq!(files, 1, "no temporary file is left");
    }

    #[test]
    fn a_failure_names_the_file_and_the_cause_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing/sensor-001.pem");
        let message = write_private(&missing, b"new")
            .expect_err("no folder")
            .to_string();
        assert_eq!(
            message,
            format!(
                "can't write {} (no such file or directory)",
                missing.display()
            )
        );
        let occupied = folder.path().join("sensor-001.pem");
        fs::create_dir(&occupied).expect("is made");
        let message = write_private(&occupied, b"new")
            .expect_err("a folder")
            .to_string();
        assert!(message.contains("is a directory"), "{message}");
        let left = fs::read_dir(folder.path()).expect("reads").count();
        assert_eq!(left, 1, "the folder alone");
    }
}
