//! Passwords: from a file, a descriptor or a prompt. Never from an argument, which every process of the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(crate) struct KeyPasswordArgs {
    /// Read the password of the private key, if it is encrypted, from this file
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,

    /// Read the password of the private key, if it is encrypted, from this descriptor
    #[arg(long, value_name = "N", conflicts_with = "key_password_file")]
    key_password_fd: Option<u32>,
}

impl KeyPasswordArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.key_password_file.is_some() || self.key_password_fd.is_some()
    }

    /// Reads the password of a private key from where the options say, or asks for it. `None` if the text holds no key
    /// that is encrypted.
    pub(crate) fn read(&self, path: &Path, text: &str) -> Result<Option<Zeroizing<String>>> {
        if !text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Ok(None);
        }
        let file = self.key_password_file.as_ref();
        let source = PasswordSource::new(file, self.key_password_fd, false);
        let what = format!("of the private key in {}", path.display());
        source.read(&what, "--key-password").map(Some)
    }
}

/// The longest password that is read, in bytes.
const MAX_LEN: u64 = 4_096;

/// Where a password comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PasswordSource<'a> {
    File(&'a Path),
    Descriptor(u32),
    /// Asked for, and asked again where it is a new one.
    Prompt {
        is_new: bool,
    },
}

impl<'a> PasswordSource<'a> {
    pub(crate) fn new(file: Option<&'a PathBuf>, descriptor: Option<u32>, is_new: bool) -> Self {
        match (file, descriptor) {
            (Some(file), _) => Self::File(file),
            (None, Some(descriptor)) => Self::Descriptor(descriptor),
            (None, None) => Self::Prompt { is_new },
        }
    }

    /// Reads the password. `what` is what it is for, and `option` names what gives it in place of a prompt.
    pub(crate) fn read(self, what: &str, option: &str) -> Result<Zeroizing<String>> {
        let password = match self {
            Self::File(path) => first_line(path).map_err(|error| Failure::input(path, &error))?,
            Self::Descriptor(descriptor) => {
                let path = PathBuf::from(format!("/dev/fd/{descriptor}"));
                first_line(&path).map_err(|error| {
                    Failure::usage(format!(
                        "{option}-fd {descriptor}: it can't be read: {error}; open it, as in {option}-fd 3 3<FILE"
                    ))
                })?
            }
            Self::Prompt { is_new } => prompt(what, option, is_new)?,
        };
        match password.is_empty() {
            true => Err(Failure::usage(format!(
                "the password {what} is empty; give one"
            ))),
            false => Ok(password),
        }
    }
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> io::Result<Zeroizing<String>> {
    // Reserved as a whole, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN as usize + 1));
    File::open(path)?.take(MAX_LEN).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

fn prompt(what: &str, option: &str, is_new: bool) -> Result<Zeroizing<String>> {
    if !io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "the password {what} is needed, and there is no terminal to ask at; give {option}-file or {option}-fd"
        )));
    }
    let ask = |text: String| {
        rpassword::prompt_password(text)
            .map(Zeroizing::new)
            .map_err(|error| {
                Failure::usage(format!(
                    "the password {what} can't be asked for: {error}; give {option}-file or {option}-fd"
                ))
            })
    };
    let password = ask(format!("Password {what}: "))?;
    if is_new && !password.is_empty() && *ask("The same again: ".to_owned())? != *password {
        return Err(Failure::usage(
            "the passwords differ; run the command again",
        ));
    }
    Ok(password)
}
