//! `shieldcert fleet adopt`: takes over certificates from before.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};
use shieldcert::{Csr, Identity, PrivateKey, X509Certificate};
use shieldcert_fleet::commands::{counted, escape};
use shieldcert_fleet::{AdoptBy, AdoptOutcome, Adopted, Adoptee, DeviceName, DeviceSubject, Fleet};
use zeroize::Zeroizing;

use super::status::parse_name;
use super::{InFolder, failure, open};
use crate::args::subject;
use crate::commands::confirm;
use crate::commands::renew::lifetime;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::fleet::adopted::{AdoptedRow, is_taken};
use crate::output::format::Format;

/// Take over certificates that exist already
///
/// Each becomes the present certificate of the device that has its common name, or the name that --name gives. Where its key
/// is here, in its file or beside it, the fleet renews it from now on. Where the key is elsewhere it is watched: revoked if
/// the manifest says so, and replaced when `fleet rotate` asks for it. A device that holds its key itself needs a row with its
/// csr first: otherwise it is watched, too.
///
/// Each zone of the fleet is listed once. Nothing is issued or revoked, and the given files stay as they are: keys are
/// copied into the fleet's folder. Devices without a row in the manifest are left alone until they have one.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).multiple(true).args(["certificates", "csrs", "common_names"]),
    after_help = "\
Examples:
  shieldcert fleet --dir sensors adopt --certificate ids/*.pem
  shieldcert fleet adopt --certificate certs/*.crt --key-dir keys --print-rows >> devices.csv
  shieldcert fleet --dir sensors adopt --csr gateway-7.csr --name gateway-7
  shieldcert fleet --dir sensors adopt --common-name sensor-001 sensor-002 --yes

Exit codes: 0 all were taken over, 3 none was found, 7 some were not found, are revoked, or are ambiguous.")]
pub(crate) struct Adopt {
    /// Files with a certificate, in PEM, and perhaps its private key
    #[arg(long = "certificate", value_name = "FILE", num_args = 1..)]
    certificates: Vec<PathBuf>,

    /// Take the private keys from this folder: STEM.key for STEM.crt [default: beside the certificate]
    #[arg(long, value_name = "DIR", requires = "certificates")]
    key_dir: Option<PathBuf>,

    /// Files with the CSR that a certificate was issued for
    #[arg(long = "csr", value_name = "FILE", num_args = 1..)]
    csrs: Vec<PathBuf>,

    /// The active certificate with this common name, if there is one alone
    #[arg(long = "common-name", value_name = "NAME", num_args = 1..)]
    common_names: Vec<String>,

    /// The name of the device, if it is one [default: the common name]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<DeviceName>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Print rows for the devices that the manifest does not have, to be added to it
    #[arg(long)]
    print_rows: bool,
}

/// What is to be taken over, and what a row of the manifest would say of it.
struct Candidate {
    device: DeviceName,
    by: AdoptBy,
    row: Map<String, Value>,
}

impl InFolder for Adopt {
    async fn run(self, context: &Context, folder: &Path) -> Result {
        let fleet = open(context, folder).await?;
        let candidates = self.candidates()?;
        self.confirm(context)?;
        let mut rows = HashMap::new();
        let mut adoptees = Vec::new();
        for candidate in candidates {
            rows.insert(candidate.device.clone(), candidate.row);
            adoptees.push(Adoptee::new(candidate.device, candidate.by));
        }
        let adopted = (fleet.adopt(adoptees).await).map_err(|error| failure(context, error))?;
        let mut managed = HashSet::new();
        fleet
            .devices(|snapshot| {
                if snapshot.device.is_some() {
                    managed.insert(snapshot.name);
                }
            })
            .map_err(|error| failure(context, error))?;
        let missing: Vec<_> = (adopted.iter())
            .filter(|one| is_taken(one.outcome) && !managed.contains(&one.device))
            .map(|one| &one.device)
            .collect();
        match self.print_rows {
            true => print_rows(context, &fleet, folder, &missing, &rows)?,
            false => {
                let mut printer = context.printer_or(Format::Table)?;
                for one in &adopted {
                    let row = AdoptedRow::new(one, managed.contains(&one.device));
                    printer.print(&row, Timestamp::UNIX_EPOCH)?;
                }
                printer.finish()?;
            }
        }
        advise(context, &fleet, &adopted, &missing, self.print_rows);
        let taken = adopted.iter().filter(|one| is_taken(one.outcome)).count();
        Ok(match taken {
            0 => ExitCode::NotFound,
            taken if taken < adopted.len() => ExitCode::Partial,
            _ => ExitCode::Done,
        })
    }
}

impl Adopt {
    /// Reads what was named. Nothing is sent if something is wrong with it.
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let count = self.certificates.len() + self.csrs.len() + self.common_names.len();
        if self.name.is_some() && count > 1 {
            return Err(Failure::usage(format!(
                "--name: it is the name of one device, and {count} certificates were named; adopt this one alone"
            )));
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for file in &self.certificates {
            candidates.push(self.certificate(file)?);
        }
        for file in &self.csrs {
            let text = fs::read(file).map_err(|error| Failure::input(file, &error))?;
            let csr = Csr::from_pem(text).map_err(|error| {
                Failure::failed(format!("{}: {}", file.display(), error.problem()))
            })?;
            let device = self.device(&file.display(), csr.common_name())?;
            let mut row = row(&device, subject::parse_name(&csr.subject()).ok());
            row.insert("csr".to_owned(), absolute(file).into());
            let by = AdoptBy::Csr(csr);
            candidates.push(Candidate { device, by, row });
        }
        for name in &self.common_names {
            let device = self.device(&format!("--common-name {name}"), Some(name))?;
            let mut subject = DeviceSubject::default();
            subject.common_name = name.clone();
            let row = row(&device, Some(subject));
            let by = AdoptBy::CommonName(name.clone());
            candidates.push(Candidate { device, by, row });
        }
        let mut known = HashSet::new();
        for candidate in &candidates {
            if !known.insert(candidate.device.as_str().to_ascii_lowercase()) {
                return Err(Failure::usage(format!(
                    "{}: two certificates would be this device's; adopt one of them alone, with --name for another device",
                    candidate.device
                )));
            }
        }
        Ok(candidates)
    }

    fn certificate(&self, file: &Path) -> Result<Candidate> {
        let path = file.display();
        let text = read(file)?;
        let failed = |error: shieldcert::Error| match error {
            shieldcert::Error::InvalidInput(error) => {
                Failure::failed(format!("{path}: {}", error.problem()))
            }
            error => Failure::failed(format!("{path}: {error}")),
        };
        let (certificate, key) = match self.key_file(file, &text) {
            None => {
                let certificate =
                    X509Certificate::from_pem(&*text).map_err(|error| failed(error.into()))?;
                (certificate, None)
            }
            Some(key_file) => {
                let mut all = text;
                if key_file != file {
                    let key = read(&key_file)?;
                    check_encryption(&key_file, &key)?;
                    PrivateKey::from_pem(&*key).map_err(|error| {
                        Failure::failed(format!("{}: {}", key_file.display(), error.problem()))
                    })?;
                    all.extend_from_slice(b"\n");
                    all.extend_from_slice(&key);
                }
                check_encryption(file, &all)?;
                let identity = Identity::from_pem(&*all).map_err(|error| match error {
                    shieldcert::Error::KeyMismatch { .. } if key_file != file => Failure::failed(format!(
                        "{path}: {} is the key of another certificate; move it, or name its folder with --key-dir",
                        key_file.display()
                    )),
                    error => failed(error),
                })?;
                let (certificate, _, key) = identity.into_parts();
                (certificate, Some(key))
            }
        };
        let device = self.device(&path, certificate.common_name())?;
        let mut row = row(&device, subject::parse_name(&certificate.subject()).ok());
        if let Some(key) = &key {
            row.insert("key".to_owned(), key.algorithm().as_str().into());
        }
        row.insert("days".to_owned(), lifetime(&certificate).into());
        let by = AdoptBy::Certificate(Box::new(certificate), key.map(Box::new));
        Ok(Candidate { device, by, row })
    }

    /// The file with the key, which may be the certificate's own.
    fn key_file(&self, file: &Path, text: &[u8]) -> Option<PathBuf> {
        if has(text, "PRIVATE KEY-----") {
            return Some(file.to_owned());
        }
        let beside = match &self.key_dir {
            Some(folder) => folder.join(file.file_name()?).with_extension("key"),
            None => file.with_extension("key"),
        };
        beside.is_file().then_some(beside)
    }

    fn device(
        &self,
        what: &impl std::fmt::Display,
        common_name: Option<&str>,
    ) -> Result<DeviceName> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let Some(common_name) = common_name else {
            return Err(Failure::usage(format!(
                "{what}: it has no common name; name the device with --name"
            )));
        };
        common_name.parse().map_err(|problem| {
            Failure::usage(format!(
                "{what}: its common name {common_name:?} is no name of a device: {problem}; or adopt it alone, and name the \
                 device with --name"
            ))
        })
    }

    fn confirm(&self, context: &Context) -> Result<()> {
        let count = self.common_names.len() as u64;
        if count == 0 || self.yes {
            return Ok(());
        }
        if !confirm::can_ask() {
            return Err(Failure::usage(
                "--common-name: common names are not unique, so that must be confirmed, and there is no terminal to ask at; \
                 give --yes",
            ));
        }
        context.messages().note(&format!(
            "common names are not unique: whatever active certificate has one of these {count} is taken for the device's"
        ));
        confirm::ask(count, "adopt them")
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let text = fs::read(file).map_err(|error| Failure::input(file, &error))?;
    Ok(Zeroizing::new(text))
}

fn has(text: &[u8], words: &str) -> bool {
    text.windows(words.len())
        .any(|part| part == words.as_bytes())
}

fn check_encryption(file: &Path, text: &[u8]) -> Result<()> {
    match has(text, "ENCRYPTED PRIVATE KEY-----") || has(text, "Proc-Type: 4,ENCRYPTED") {
        true => Err(Failure::failed(format!(
            "{}: the private key is encrypted, and the fleet would have to keep it as it is; decrypt it first",
            file.display()
        ))
        .hint("shieldcert export FILE --pem NEW.pem")),
        false => Ok(()),
    }
}

fn absolute(file: &Path) -> String {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    path.to_string_lossy().into_owned()
}

/// What a row of the manifest says of a device.
fn row(device: &DeviceName, subject: Option<DeviceSubject>) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("name".to_owned(), device.as_str().into());
    let Some(subject) = subject else { return row };
    if subject.common_name != device.as_str() {
        row.insert("common_name".to_owned(), subject.common_name.into());
    }
    for (column, value) in [
        ("organization", subject.organization),
        ("organizational_unit", subject.organizational_unit),
        ("locality", subject.locality),
        ("province", subject.province),
        ("country", subject.country),
    ] {
        if let Some(value) = value {
            row.insert(column.to_owned(), value.into());
        }
    }
    row
}

/// Prints the rows that the manifest does not have, in its form and with its columns.
fn print_rows(
    context: &Context,
    fleet: &Fleet,
    folder: &Path,
    missing: &[&DeviceName],
    rows: &HashMap<DeviceName, Map<String, Value>>,
) -> Result<()> {
    let path = folder.join(&fleet.config().devices.manifest);
    let rows: Vec<_> = missing.iter().filter_map(|name| rows.get(*name)).collect();
    let mut out = io::stdout().lock();
    if path
        .extension()
        .is_some_and(|extension| extension == "jsonl")
    {
        for row in rows {
            let line = Value::Object(row.clone());
            writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
        }
        return Ok(());
    }
    let header = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_path(&path)
        .and_then(|mut reader| reader.headers().cloned())
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    let columns: Vec<_> = header
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').trim())
        .collect();
    let mut left_out: Vec<&str> = Vec::new();
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        left_out.extend(
            row.keys()
                .map(String::as_str)
                .filter(|name| !columns.contains(name)),
        );
        let cells = columns.iter().map(|name| match row.get(*name) {
            Some(Value::String(text)) => escape(text).into_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        });
        writer
            .write_record(cells)
            .map_err(|error| Failure::failed(error.to_string()))?;
    }
    let text = writer
        .into_inner()
        .map_err(|error| Failure::failed(error.to_string()))?;
    out.write_all(&text)
        .map_err(|error| Failure::output(&error))?;
    left_out.sort_unstable();
    left_out.dedup();
    if !left_out.is_empty() {
        context.messages().warning(&format!(
            "{}: it has no column {}, so the rows leave that out; add it to the header, and print them again",
            path.display(),
            left_out.join(", ")
        ));
    }
    Ok(())
}

/// Says what is left to do.
fn advise(
    context: &Context,
    fleet: &Fleet,
    adopted: &[Adopted],
    missing: &[&DeviceName],
    has_printed: bool,
) {
    let messages = context.messages();
    let of = |outcome: AdoptOutcome| adopted.iter().filter(move |one| one.outcome == outcome);
    for one in adopted.iter().filter(|one| !is_taken(one.outcome)) {
        let device = &one.device;
        let text = match one.outcome {
            AdoptOutcome::Revoked => "its certificate is revoked; `shieldcert reactivate` takes it back".to_owned(),
            AdoptOutcome::Ambiguous => format!(
                "{} active certificates are like that; name one by its file, with --certificate",
                one.certificates.len()
            ),
            _ => "no zone of this fleet has a certificate like that; is it of a zone that fleet.toml does not have?".to_owned(),
        };
        messages.error(&Failure::failed(format!("{device}: {text}")));
    }
    if let Some(first) = of(AdoptOutcome::Watched).next() {
        messages.note(&format!(
            "{} watched, because the keys are not here: the fleet does not renew them before it is asked to, as by \
             `{}`",
            counted(of(AdoptOutcome::Watched).count() as u64, "certificate"),
            context.fleet_command(&format!("rotate --name {}", first.device))
        ));
    }
    let manifest = fleet.folder().join(&fleet.config().devices.manifest);
    let manifest = manifest.strip_prefix(".").unwrap_or(&manifest).display();
    match missing {
        [] => {}
        missing if has_printed => messages.note(&format!(
            "add these to {manifest}: until then {} left alone",
            counted(missing.len() as u64, "device") + if missing.len() == 1 { " is" } else { " are" }
        )),
        [first, ..] => messages.note(&format!(
            "{manifest} has no row for {}, such as {first}: until then the fleet leaves them alone; the same command with \
             --print-rows prints the rows",
            counted(missing.len() as u64, "device")
        )),
    }
}
