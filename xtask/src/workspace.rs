//! The workspace: its root, and its files.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// The fragment, as upstream states it.
pub(crate) const SPEC: &str = "spec/client_certificates.yaml";
/// Every departure from the fragment.
pub(crate) const OVERLAY: &str = "spec/overlay.yaml";
/// The fragment with the overlay applied: the input of the generator.
pub(crate) const OPENAPI: &str = "crates/shieldcert-api/openapi.json";
/// The generated client.
pub(crate) const API: &str = "crates/shieldcert-api/src/generated.rs";
/// The generated mocks.
pub(crate) const HTTPMOCK: &str = "crates/shieldcert-httpmock/src/generated.rs";

/// The crates' version, which this package shares.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the root of the workspace that this program was built from.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask's folder has no parent")
}

/// Reads a text file. The error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Replaces a file as a whole: after an interruption it holds the old contents or the new.
///
/// An existing file keeps its permissions; a new one gets the system's default.
pub(crate) fn replace(path: &Path, contents: &str) -> Result<()> {
    write_and_rename(path, contents).with_context(|| format!("can't write {}", path.display()))
}

fn write_and_rename(path: &Path, contents: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(contents.as_bytes())?;
    match fs::metadata(path) {
        Ok(metadata) => file.as_file().set_permissions(metadata.permissions())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            set_default_permissions(&file)?;
        }
        Err(error) => return Err(error.into()),
    }
    file.persist(path)?;
    Ok(())
}

/// A temporary file is for its owner alone; these files are for everybody who reads the repository.
#[cfg(unix)]
fn set_default_permissions(file: &NamedTempFile) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = fs::Permissions::from_mode(0o644);
    Ok(file.as_file().set_permissions(permissions)?)
}

#[cfg(not(unix))]
fn set_default_permissions(_: &NamedTempFile) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_leaves_only_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        for contents in ["one", "two"] {
            replace(&path, contents).expect("replaces");
            assert_eq!(read(&path).expect("reads"), contents);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn replacing_keeps_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mode = || fs::metadata(&path).expect("exists").permissions().mode() & 0o777;
        replace(&path, "one").expect("replaces");
        assert_eq!(mode(), 0o644);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets");
        replace(&path, "two").expect("replaces");
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn errors_name_the_file() {
        let path = Path::new("/nonexistent/file");
        for error in [read(path).map(drop), replace(path, "")] {
            let message = error.expect_err("fails").to_string();
            assert!(message.contains("/nonexistent/file"), "{message}");
        }
    }
}
