//! A certificate with its private key, in one file or two.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use shieldcert::{Error, Identity};
use zeroize::Zeroizing;

use super::password::PasswordSource;
use crate::failure::{Failure, Result};

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(crate) struct IdentityFiles {
    /// The certificate with its private key, in PEM
    pub(crate) file: PathBuf,

    /// Read the private key from this file, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Read the password of the private key, if it is encrypted, from this file
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,

    /// Read the password of the private key, if it is encrypted, from this descriptor
    #[arg(long, value_name = "N", conflicts_with = "key_password_file")]
    key_password_fd: Option<u32>,
}

/// What the files hold.
pub(crate) struct Contents {
    /// All of them, in PEM.
    pub(crate) text: Zeroizing<String>,
    pub(crate) identity: std::result::Result<Identity, Error>,
}

impl Contents {
    pub(crate) fn has_key(&self) -> bool {
        self.text.contains("PRIVATE KEY-----")
    }
}

impl IdentityFiles {
    /// Reads the files, and another with more certificates. Fails if one can't be read, or the password.
    pub(crate) fn read(&self, chain: Option<&Path>) -> Result<Contents> {
        let mut text = read(&self.file)?;
        for path in [self.key.as_deref(), chain].into_iter().flatten() {
            text = Zeroizing::new(format!("{}\n{}", *text, *read(path)?));
        }
        let identity = match text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            true => Identity::from_encrypted_pem(&*text, &*self.key_password()?),
            false => Identity::from_pem(&*text),
        };
        Ok(Contents { text, identity })
    }

    fn key_password(&self) -> Result<Zeroizing<String>> {
        let file = self.key_password_file.as_ref();
        let source = PasswordSource::new(file, self.key_password_fd, false);
        let path = self.key.as_ref().unwrap_or(&self.file).display();
        source.read(&format!("of the private key in {path}"), "--key-password")
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let bytes = Zeroizing::new(bytes);
    // Bytes that are no text are no part of a PEM block.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}
