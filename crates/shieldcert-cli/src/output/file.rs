//! Files that others may read, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// What to do about a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse to write.
    Keep,
    Replace,
}

/// Refuses a file that is there and must be kept. Called before work is done that would be lost.
pub(crate) fn check(path: &Path, existing: Existing) -> Result<()> {
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(already_there(path));
    }
    Ok(())
}

fn already_there(path: &Path) -> Failure {
    Failure::failed(format!(
        "{}: it exists; give another file, or --force",
        path.display()
    ))
}

/// Writes a file under a temporary name in the same folder, flushes it to the disk, and renames it. Who may read it is up
/// to the umask, or as it was.
///
/// A symbolic link is followed, and what is no regular file is left alone.
pub(crate) fn write(path: &Path, contents: &[u8], existing: Existing) -> Result<()> {
    check(path, existing)?;
    replace(path, contents, existing).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => Failure::file(path, &error),
    })
}

fn replace(path: &Path, contents: &[u8], existing: Existing) -> io::Result<()> {
    let (path, present) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => (fs::canonicalize(path)?, Some(metadata)),
        Ok(_) => return Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (PathBuf::from(path), None),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".shieldcert-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder)?;
    if let Some(present) = present {
        temporary.as_file().set_permissions(present.permissions())?;
    }
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    match existing {
        Existing::Keep => temporary.persist_noclobber(&path),
        Existing::Replace => temporary.persist(&path),
    }
    .map_err(|refused| refused.error)?;
    // The rename is on the disk once the folder is. Not every system can flush a folder.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_or_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.html");
        write(&path, b"one", Existing::Keep).expect("is written");
        let refused = write(&path, b"two", Existing::Keep).expect_err("exists");
        assert!(
            refused
                .message
                .ends_with("it exists; give another file, or --force")
        );
        assert_eq!(fs::read(&path).expect("is there"), b"one");
        write(&path, b"two", Existing::Replace).expect("is replaced");
        assert_eq!(fs::read(&path).expect("is there"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let refused = write(folder.path(), b"", Existing::Replace).expect_err("a folder");
        assert!(
            refused.message.ends_with("it is no regular file"),
            "{refused:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_permissions_kept() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("certificates.prom");
        fs::write(&path, b"one").expect("is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("is set");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        write(&link, b"two", Existing::Replace).expect("is written");
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).expect("is there"), b"two");
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
