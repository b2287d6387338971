//! What tells a worker's folder from others: two folders must not use one worker's name, since each would have half of its
//! keys.

use std::io::{self, Write};
use std::path::Path;

use crate::failure::{Failure, Result};

/// The file with the id.
const FILE: &str = "worker.id";

/// Returns the id of a folder, and makes one if it has none. The folder's lock is held.
pub(crate) fn folder_id(folder: &Path) -> Result<String> {
    let path = folder.join(FILE);
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let id = format!("{:032x}", fastrand::u128(..));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(format!("{id}\n").as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    file.persist(&path)
        .map_err(|refused| failed(refused.error))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_id() {
        let (one, other) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, other) = (one.expect("a folder"), other.expect("a folder"));
        let id = folder_id(one.path()).expect("is made");
        assert_eq!(id.len(), 32);
        assert_eq!(folder_id(one.path()).expect("is read"), id);
        assert_ne!(folder_id(other.path()).expect("is made"), id);
    }
}
