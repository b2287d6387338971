//! A certificate with its private key, in one file or two.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use shieldcert::{Error, Identity};
use zeroize::Zeroizing;

use super::password::KeyPasswordArgs;
use crate::failure::{Failure, Result};

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(crate) struct IdentityFiles {
    /// The certificate with its private key, in PEM
    pub(crate) file: PathBuf,

    /// Read the private key from this file, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    key_password: KeyPasswordArgs,
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
        let path = self.key.as_ref().unwrap_or(&self.file);
        let identity = match self.key_password.read(path, &text)? {
            Some(password) => Identity::from_encrypted_pem(&*text, &*password),
            None => Identity::from_pem(&*text),
        };
        Ok(Contents { text, identity })
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = fs::read(path).map_err(|error| Failure::input(path, &error))?;
    let bytes = Zeroizing::new(bytes);
    // Bytes that are no text are no part of a PEM block.
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}
