//! `shieldcert export`: a certificate and its key in the form that a program wants.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use shieldcert::{Identity, Pkcs12Options, Pkcs12Profile, X509Certificate};

use super::Run;
use crate::args::identity::IdentityFiles;
use crate::args::password::PasswordSource;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::file::{self, Existing};

/// Export a certificate and its key as PKCS#12 or PEM
///
/// FILE holds the certificate and its private key, in PEM and in any order, as `issue` writes them. Nothing is sent.
///
/// A password comes from a file or a descriptor, whose first line it is, or is asked for at the terminal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert export sensor-001.pem --p12 sensor-001.p12
  shieldcert export phone.pem --p12 phone.p12 --compat legacy --password-file phone.password
  shieldcert export sensor-001.pem --add-chain ca.pem --fullchain fullchain.pem
  pass show sensor | shieldcert export sensor-001.pem --p12 - --password-fd 0 > sensor-001.p12")]
pub(crate) struct Export {
    #[command(flatten)]
    files: IdentityFiles,

    /// Add the certificates of this file, in PEM, such as that of the CA
    #[arg(long, value_name = "FILE")]
    add_chain: Option<PathBuf>,

    #[command(flatten)]
    outputs: Outputs,

    /// Which programs are to read the PKCS#12 file
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Compat::Modern, requires = "p12")]
    compat: Compat,

    /// The name of the entry in the PKCS#12 file, which phones and browsers show [default: the common name]
    #[arg(long, value_name = "NAME", requires = "p12")]
    friendly_name: Option<String>,

    /// Read the password of the PKCS#12 file from this file
    #[arg(long, value_name = "FILE", requires = "p12")]
    password_file: Option<PathBuf>,

    /// Read the password of the PKCS#12 file from this descriptor
    #[arg(
        long,
        value_name = "N",
        requires = "p12",
        conflicts_with = "password_file"
    )]
    password_fd: Option<u32>,

    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Outputs {
    /// Write a PKCS#12 file with certificate, chain and key; - is standard output
    #[arg(long, value_name = "OUT")]
    p12: Option<PathBuf>,

    /// Write certificate, chain and key in PEM, the key not encrypted; - is standard output
    #[arg(long, value_name = "OUT")]
    pem: Option<PathBuf>,

    /// Write certificate and chain in PEM, without the key; - is standard output
    #[arg(long, value_name = "OUT")]
    fullchain: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Compat {
    /// AES-256: OpenSSL 3, Java 8u301, Android 11, current Windows, macOS and iOS, and later
    Modern,
    /// Triple DES with SHA-1: whatever is older. Take a long and random password
    Legacy,
}

impl Run for Export {
    async fn run(self, context: &Context) -> Result {
        self.check()?;
        let identity = self.read()?;
        let name = identity.certificate().subject();
        let chain = match identity.chain().len() {
            0 => "no chain".to_owned(),
            1 => "1 certificate of its chain".to_owned(),
            count => format!("{count} certificates of its chain"),
        };
        let say = |path: &Path, what: &str| {
            let path = path.display();
            let text = format!("{path}: {name}, with {chain} and {what}");
            context.messages().note(&text);
        };
        if let Some(path) = &self.outputs.p12 {
            let options = self.pkcs12_options()?;
            match is_stdout(path) {
                true => print(&identity.to_pkcs12(&options).map_err(usage)?)?,
                false => {
                    identity
                        .write_pkcs12(path, &options)
                        .map_err(|error| match error {
                            shieldcert::Error::InvalidInput(error) => usage(error),
                            error => error.into(),
                        })?;
                    say(path, "its key, encrypted");
                }
            }
        }
        if let Some(path) = &self.outputs.pem {
            match is_stdout(path) {
                true => print(identity.to_pem().as_bytes())?,
                false => {
                    identity.write_pem(path)?;
                    say(path, "its key, not encrypted");
                }
            }
        }
        if let Some(path) = &self.outputs.fullchain {
            let certificates = std::iter::once(identity.certificate()).chain(identity.chain());
            let pem: String = certificates.map(X509Certificate::to_pem).collect();
            match is_stdout(path) {
                true => print(pem.as_bytes())?,
                false => {
                    file::write(path, pem.as_bytes(), self.existing())?;
                    say(path, "without its key");
                }
            }
        }
        Ok(ExitCode::Done)
    }
}

impl Export {
    fn existing(&self) -> Existing {
        match self.force {
            true => Existing::Replace,
            false => Existing::Keep,
        }
    }

    /// Refuses outputs that can't be written, before a password is asked for.
    fn check(&self) -> Result<()> {
        let Outputs {
            p12,
            pem,
            fullchain,
        } = &self.outputs;
        let outputs: Vec<_> = [p12, pem, fullchain].into_iter().flatten().collect();
        for (place, path) in outputs.iter().enumerate() {
            if outputs[..place].contains(path) {
                let path = path.display();
                return Err(Failure::usage(format!(
                    "{path}: it was given for two outputs; give each its own"
                )));
            }
            if !is_stdout(path) {
                file::check(path, self.existing())?;
            }
        }
        let is_binary = p12.as_deref().is_some_and(is_stdout);
        if is_binary && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "--p12 -: standard output is a terminal, and PKCS#12 is no text; give a file",
            ));
        }
        Ok(())
    }

    fn read(&self) -> Result<Identity> {
        let contents = self.files.read(self.add_chain.as_deref())?;
        let has_key = contents.has_key();
        contents.identity.map_err(|error| {
            let failure = Failure::from(error).about(self.files.file.display());
            match has_key {
                true => failure,
                false => failure.hint("give its private key with --key"),
            }
        })
    }

    fn pkcs12_options(&self) -> Result<Pkcs12Options> {
        let source = PasswordSource::new(self.password_file.as_ref(), self.password_fd, true);
        let password = source.read("of the PKCS#12 file", "--password")?;
        let options = Pkcs12Options::new(&*password).profile(match self.compat {
            Compat::Modern => Pkcs12Profile::Modern,
            Compat::Legacy => Pkcs12Profile::Legacy,
        });
        Ok(match &self.friendly_name {
            Some(name) => options.friendly_name(name),
            None => options,
        })
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn usage(error: shieldcert::InvalidInput) -> Failure {
    Failure::usage(error.to_string())
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}
