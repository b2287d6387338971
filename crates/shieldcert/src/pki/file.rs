//! Private files that are written whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes a file that only its owner can read (mode 0600 on Unix).
///
/// The file is written under a temporary name in the same folder, flushed to the disk, and renamed. A process that is
/// killed leaves the old file or the new one.
///
/// A symbolic link is followed: its target is replaced. Of a file that is there, owner, group and the group's right to
/// read are kept, and nobody gets more rights than they had. What is no regular file is left alone. Where the file can't
/// be replaced, because it is mounted on its own into a container, it is written in place; a copy of what it held is
/// kept beside it until that is complete.
pub(super) fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    replace(path, contents).map_err(|cause| Error::Write {
        path: path.to_owned(),
        cause,
    })
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = follow(path)?;
    let present = match fs::metadata(&path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if present.as_ref().is_some_and(|present| !present.is_file()) {
        let kind = if path.is_dir() {
            "a folder"
        } else {
            "no regular file"
        };
        return Err(io::Error::other(format!("it is {kind}")));
    }
    let folder = folder_of(&path);
    // Created with mode 0600. Removed when dropped, if it was not renamed.
    let mut temporary = NamedTempFile::with_prefix_in(".shieldcert-", folder)?;
    if let Some(present) = &present {
        keep_access(temporary.as_file(), present)?;
    }
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    match temporary.persist(&path) {
        Ok(_) => {}
        Err(refused) if is_mount_point(&refused.error) => {
            overwrite(&path, contents, refused.file)?;
        }
        Err(refused) => return Err(refused.error),
    }
    // The rename is on the disk once the folder is. Not every system can flush a folder.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// How many links in a row are followed, as Linux does.
const MAX_LINKS: u32 = 40;

/// Returns the path of what a symbolic link leads to, which need not be there.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            // It is no link, or it is not there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("it is a symbolic link that leads nowhere"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives a file the owner, the group and the group's right to read of the one that it replaces.
#[cfg(unix)]
fn keep_access(file: &File, present: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    const OWNER: u32 = 0o600;
    const GROUP_READ: u32 = 0o040;
    let own = file.metadata()?;
    let (owner, group) = (present.uid(), present.gid());
    if (own.uid(), own.gid()) != (owner, group) {
        fchown(file, Some(owner), Some(group)).map_err(|error| {
            let problem = format!("its owner {owner} and group {group} can't be kept: {error}");
            io::Error::new(error.kind(), problem)
        })?;
    }
    let mode = present.mode() & (OWNER | GROUP_READ);
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn keep_access(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Whether a rename failed because the file is mounted on its own.
fn is_mount_point(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
    )
}

/// Writes into the file itself. `copy` becomes what it holds now, and stays if that is not completed.
fn overwrite(path: &Path, contents: &[u8], mut copy: NamedTempFile) -> io::Result<()> {
    let held = fs::read(path)?;
    copy.as_file_mut().set_len(0)?;
    copy.as_file_mut().rewind()?;
    copy.write_all(&held)?;
    copy.as_file().sync_all()?;
    let (_, kept) = copy.keep().map_err(|error| error.error)?;
    let written = File::options().write(true).open(path).and_then(|mut file| {
        file.set_len(0)?;
        file.write_all(contents)?;
        file.sync_all()
    });
    written.map_err(|error| {
        let problem = format!("{error}; what it held is in {}", kept.display());
        io::Error::new(error.kind(), problem)
    })?;
    fs::remove_file(kept)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_is_whole_private_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        write_private(&path, b"old").expect("writes");
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

    #[cfg(unix)]
    #[test]
    fn the_rights_of_a_file_are_kept_and_not_widened() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        for (before, after) in [
            (0o640, 0o640),
            (0o644, 0o640),
            (0o666, 0o640),
            (0o600, 0o600),
            (0o400, 0o400),
        ] {
            write_private(&path, b"old").expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).expect("is ours");
            write_private(&path, b"new").expect("writes");
            let mode = fs::metadata(&path).expect("exists").permissions().mode();
            assert_eq!(mode & 0o777, after, "{before:o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        symlink("first", at("link")).expect("is made");
        symlink("second", at("first")).expect("is made");
        write_private(&at("link"), b"new").expect("writes");
        assert_eq!(fs::read(at("second")).expect("reads"), b"new");
        assert!(at("link").is_symlink() && at("first").is_symlink());
    }

    #[test]
    fn a_file_that_is_written_in_place_leaves_no_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.pem");
        fs::write(&path, "old and longer").expect("writes");
        let copy = NamedTempFile::with_prefix_in(".shieldcert-", folder.path()).expect("a file");
        overwrite(&path, b"new", copy).expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"new");
        assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_failure_names_the_file_and_the_cause_and_leaves_nothing() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        symlink("circle", at("circle")).expect("is made");
        fs::create_dir(at("folder")).expect("is made");
        let refusals = [
            at("missing/sensor-001.pem"),
            at("circle"),
            at("folder"),
            "/dev/null".into(),
        ]
        .map(|path| {
            let error = write_private(&path, b"new").expect_err("is refused");
            let folder = folder.path().display().to_string();
            error.to_string().replace(&folder, "FOLDER")
        });
        insta::assert_snapshot!(refusals.join("\n"), @"
        can't write FOLDER/missing/sensor-001.pem (no such file or directory)
        can't write FOLDER/circle (it is a symbolic link that leads nowhere)
        can't write FOLDER/folder (it is a folder)
        can't write /dev/null (it is no regular file)
        ");
        let left = fs::read_dir(folder.path()).expect("reads").count();
        assert_eq!(left, 2, "the link and the folder alone");
    }
}
