//! Which certificates a command acts on: ids, files, standard input, or selectors.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use shieldcert::{CertificateId, X509Certificate};

use super::id;
use super::selector::Selectors;
use crate::failure::{Failure, Result};

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Ids; files that hold certificates, or ids, one a line; - for ids on standard input
    #[arg(value_name = "ID|FILE")]
    given: Vec<String>,

    #[command(flatten)]
    selectors: Selectors,
}

/// What was asked for.
pub(crate) enum Targets {
    Named {
        ids: Vec<CertificateId>,
        /// Certificates whose ids are not known.
        certificates: Vec<(String, X509Certificate)>,
        /// Whether they were typed as arguments, all of them.
        is_typed: bool,
        /// Whether standard input was read, so that nobody can be asked.
        has_read_stdin: bool,
    },
    Selected(Selectors),
}

impl TargetArgs {
    /// Reads what was named. `verb` is what the command does, for messages.
    pub(crate) fn read(self, verb: &str) -> Result<Targets> {
        if self.given.is_empty() {
            return match self.selectors.is_empty() {
                true => Err(Failure::usage(format!(
                    "nothing to {verb} was named; give ids, files, - for standard input, or selectors such as --name"
                ))),
                false => Ok(Targets::Selected(self.selectors)),
            };
        }
        if !self.selectors.is_empty() {
            return Err(Failure::usage(format!(
                "ids and selectors can't be combined; {verb} them in two commands"
            )));
        }
        let mut known = HashSet::new();
        let (mut ids, mut certificates) = (Vec::new(), Vec::new());
        let (mut is_typed, mut has_read_stdin) = (true, false);
        for given in self.given {
            let path = Path::new(&given);
            let is_stdin = given == "-";
            if !is_stdin && !path.is_file() {
                let id = id::parse(&given)
                    .map_err(|problem| Failure::usage(format!("{given}: {problem}")))?;
                if known.insert(id.clone()) {
                    ids.push(id);
                }
                continue;
            }
            is_typed = false;
            has_read_stdin |= is_stdin;
            let text = read(path)?;
            if text.contains("-----BEGIN") {
                let x509 = X509Certificate::from_pem(&text)
                    .map_err(|error| Failure::failed(format!("{given}: {}", error.problem())))?;
                certificates.push((given, x509));
                continue;
            }
            for (place, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let id: CertificateId = (line.parse::<CertificateId>().ok())
                    .filter(|_| !line.contains(|c: char| c.is_whitespace() || ",;\"{".contains(c)))
                    .ok_or_else(|| {
                        Failure::usage(format!(
                            "{given}, line {}: {line:?} is no id; give one id a line, as `shieldcert list --output id` \
                             prints them",
                            place + 1
                        ))
                    })?;
                if known.insert(id.clone()) {
                    ids.push(id);
                }
            }
        }
        Ok(Targets::Named {
            ids,
            certificates,
            is_typed,
            has_read_stdin,
        })
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::input(path, &error))?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::failed(format!(
            "{}: it is no text; give ids, or a certificate in PEM",
            path.display()
        ))
    })
}
