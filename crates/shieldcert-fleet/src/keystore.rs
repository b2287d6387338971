//! The keys and CSRs of generations: a folder each, which is never overwritten.

use std::fs;
use std::io;
use std::path::Path;

use shieldcert::{Csr, PrivateKey};

use crate::error::{AtPath, Error, Result};
use crate::folder::{self, Folder};
use crate::manifest::{Device, DeviceKey};
use crate::name::DeviceName;

pub(crate) const KEY: &str = "key.pem";
pub(crate) const CSR: &str = "request.csr.pem";

/// What a folder of a generation holds.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) csr: Csr,
    /// `None`: the device has it.
    pub(crate) key: Option<PrivateKey>,
}

/// What a generation's folder is.
#[derive(Debug)]
pub(crate) enum Stored {
    Missing,
    Complete(Keyed),
    /// It is there, and holds no key and CSR that belong together.
    Unusable(String),
}

impl Folder {
    /// Makes key and CSR of a generation and stores them in its new folder, which appears whole. Of a device that has its
    /// key, the CSR is copied.
    ///
    /// Where the folder is there already, because a run ended right after it was made, that one is returned.
    pub(crate) fn make_key(&self, device: &Device, number: u32) -> Result<Keyed> {
        let target = self.generation(&device.name, number);
        match self.stored(&target)? {
            Stored::Missing => {}
            Stored::Complete(keyed)
                if keyed.key.is_none() && matches!(device.key, DeviceKey::Generated(_)) =>
            {
                return Err(Error::Invalid {
                    path: target,
                    problem: format!("{KEY} is missing"),
                });
            }
            Stored::Complete(keyed) => return Ok(keyed),
            Stored::Unusable(problem) => {
                return Err(Error::Invalid {
                    path: target,
                    problem,
                });
            }
        }
        let keyed = match &device.key {
            DeviceKey::Generated(algorithm) => {
                let key = PrivateKey::generate(*algorithm)?;
                Keyed {
                    csr: key.csr(&device.subject.to_subject())?,
                    key: Some(key),
                }
            }
            DeviceKey::Csr(path) => Keyed {
                csr: self.read_csr(path)?,
                key: None,
            },
        };
        self.store(&device.name, number, keyed)
    }

    /// Stores key and CSR in the new folder of a generation, which appears whole.
    pub(crate) fn store(&self, device: &DeviceName, number: u32, keyed: Keyed) -> Result<Keyed> {
        let target = self.generation(device, number);
        let parent = self.device(device);
        folder::create_private(&parent)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".new-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        // Removed when dropped, if it was not renamed.
        let temporary = builder.tempdir_in(&parent).at(&parent)?;
        if let Some(key) = &keyed.key {
            key.write_pem(temporary.path().join(KEY))?;
        }
        keyed.csr.write_pem(temporary.path().join(CSR))?;
        // It fails if there is a folder that is not empty.
        fs::rename(temporary.path(), &target).at(&target)?;
        let _ = temporary.keep();
        folder::sync(&parent);
        Ok(keyed)
    }

    /// Reads the CSR that a device has delivered.
    pub(crate) fn read_csr(&self, path: &Path) -> Result<Csr> {
        let path = self.resolve(path);
        let text = fs::read(&path).at(&path)?;
        Csr::from_pem(text).map_err(|error| Error::Invalid {
            path,
            problem: error.to_string(),
        })
    }

    /// Reads key and CSR of a generation, if they are the ones that were made for it. Otherwise says what is wrong, and what
    /// an operator can do. With `is_own`, the device has the key.
    pub(crate) fn keyed(
        &self,
        generation: &Path,
        csr_sha256: Option<&str>,
        is_own: bool,
    ) -> Result<std::result::Result<Keyed, String>> {
        let problem = match self.stored(generation)? {
            Stored::Missing => "it is missing".to_owned(),
            Stored::Unusable(problem) => problem,
            Stored::Complete(keyed) if csr_sha256 != Some(&keyed.csr.sha256()) => {
                format!("{CSR} is another one")
            }
            Stored::Complete(Keyed { key: None, .. }) if !is_own => format!("{KEY} is missing"),
            Stored::Complete(keyed) => return Ok(Ok(keyed)),
        };
        Ok(Err(format!(
            "{}: {problem}; restore it, or rotate the device",
            generation.display()
        )))
    }

    /// Reads what the folder of a generation holds.
    pub(crate) fn stored(&self, generation: &Path) -> Result<Stored> {
        let read = |name: &str| match fs::read(generation.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at(generation.join(name)),
        };
        if !generation.is_dir() {
            return Ok(Stored::Missing);
        }
        let Some(csr) = read(CSR)? else {
            return Ok(Stored::Unusable(format!("{CSR} is missing")));
        };
        let csr = match Csr::from_pem(csr) {
            Ok(csr) => csr,
            Err(error) => return Ok(Stored::Unusable(format!("{CSR}: {error}"))),
        };
        let key = match read(KEY)? {
            None => None,
            Some(key) => match PrivateKey::from_pem(zeroize(key)) {
                Ok(key) if key.public_key() == csr.public_key() => Some(key),
                Ok(_) => return Ok(Stored::Unusable(format!("{KEY} is not the key of {CSR}"))),
                Err(error) => return Ok(Stored::Unusable(format!("{KEY}: {error}"))),
            },
        };
        Ok(Stored::Complete(Keyed { csr, key }))
    }
}

/// The text is wiped when it is dropped.
fn zeroize(text: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(text)
}

#[cfg(test)]
mod tests;
