//! `shieldcert issue`: a key, a CSR and a certificate, exactly once.

mod many;
mod pending;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use shieldcert::{
    ClientCertificate, Csr, Error, Identity, Issue as IssueCall, Issued, KeyAlgorithm, Prepared,
    PrivateKey, Status, Subject, X509Certificate, Zone,
};
use shieldcert_fleet::parse_duration;
use zeroize::Zeroizing;

use self::many::Many;
use self::pending::{Pending, Request};
use super::plan::requests;
use super::{Run, find};
use crate::args::password::KeyPasswordArgs;
use crate::args::subject::Attribute;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::interrupts::Interrupts;
use crate::known_ids::{self, Asked};
use crate::output::issued::{IssuedRow, Outcome};
use crate::output::progress::show_wait;
use crate::output::shell::{quote, this_command};

/// Issue a certificate, with a new key or for a CSR
///
/// Makes a key and a CSR, issues the certificate, and writes certificate and key to one new file that its owner alone can
/// read. Before the request leaves, key and CSR are on disk, in FILE.issuing: if the command is killed, or the outcome is
/// unknown, the same command goes on where it was, and issues nothing twice. Once it is done, the same command says so.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert issue sensor-001 --days 90 --subject 'O=Acme, Inc.'
  shieldcert issue --csr device.csr -o device.crt
  shieldcert issue --from devices.csv --out-dir ids
  shieldcert issue sensor-001 -o - | kubectl create secret generic sensor --from-file=tls.pem=/dev/stdin")]
pub(crate) struct Issue {
    /// The common name; of a CSR, its own
    #[arg(required_unless_present_any = ["csr", "from"])]
    name: Option<String>,

    /// Issue for each row of this CSV (with a header) or JSONL file, which is a manifest of `shieldcert fleet`: name, and
    /// what differs from the options, such as organization, days, key, csr
    #[arg(long, value_name = "FILE", requires = "out_dir", conflicts_with_all = ["name", "csr", "key", "subject", "out", "timeout"])]
    from: Option<PathBuf>,

    /// Write NAME.pem of each row into this folder. What the same command needs to go on is in its folder .shieldcert
    #[arg(long, value_name = "DIR", requires = "from")]
    out_dir: Option<PathBuf>,

    /// How many days it is valid, from 1 to 36500
    #[arg(long, default_value_t = IssueCall::DEFAULT_VALIDITY_DAYS, value_parser = parse_days, allow_hyphen_values = true)]
    days: u32,

    /// An attribute of the subject beside the common name: O, OU, L, ST or C; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "csr")]
    subject: Vec<Attribute>,

    /// Write to this file, or to standard output with - [default: NAME.pem]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Issue for this CSR, or for that of standard input with -, whose key stays where it is; the file then has the
    /// certificate alone
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,

    /// Use this private key, in PEM, instead of a new one; the file then holds it, too, and not encrypted
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    #[command(flatten)]
    key_password: KeyPasswordArgs,

    /// Make a key of this algorithm: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096
    #[arg(long, value_name = "ALGORITHM", default_value_t = KeyAlgorithm::EcdsaP256, conflicts_with_all = ["csr", "key"])]
    key_algorithm: KeyAlgorithm,

    /// Give up after this time; what is open then is found out by the same command
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Replace the file if it exists; whose group could read it can read the new one
    #[arg(long)]
    force: bool,

    /// Check what can be checked, and issue nothing
    #[arg(long)]
    dry_run: bool,
}

/// The service may allow fewer.
const MAX_DAYS: u32 = IssueCall::MAX_VALIDITY_DAYS;

pub(super) fn parse_days(text: &str) -> std::result::Result<u32, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok();
    days.filter(|days| (1..=MAX_DAYS).contains(days))
        .ok_or_else(|| format!("write a whole number of days, from 1 to {MAX_DAYS}"))
}

/// How long the outcome of an earlier run may take to find out. A request leaves within five minutes, and the service acts
/// on it within the settle window.
const MAX_RESUME: Duration = Duration::from_secs(900);

/// Where the certificate goes.
#[derive(Clone)]
struct Target {
    /// The file, or what it would be if standard output were one.
    file: PathBuf,
    is_stdout: bool,
}

/// What the certificate is issued for.
struct Subjected {
    name: String,
    csr: Option<Csr>,
    key: Option<PrivateKey>,
}

impl Run for Issue {
    async fn run(self, context: &Context) -> Result {
        if let (Some(from), Some(out_dir)) = (&self.from, &self.out_dir) {
            let many = Many {
                from,
                out_dir,
                days: self.days,
                key: self.key_algorithm,
                force: self.force,
                dry_run: self.dry_run,
            };
            return many.run(context).await;
        }
        let given = self.read_inputs()?;
        let target = self.target(&given.name)?;
        self.spare_inputs(&given, &target)?;
        if !target.is_stdout && !self.force && target.file.exists() {
            return self.already_there(context, &given, &target).await;
        }
        if self.dry_run {
            return self.rehearse(context, given, &target).await;
        }
        if target.is_stdout && is_discarded() {
            return Err(discarded());
        }
        let zone = context.zone().await?;
        let mut pending = Pending::open(&target.file)?;
        let is_new = pending.request.is_none();
        if is_new && !target.is_stdout && !self.force && target.file.exists() {
            // Another process has just made it.
            pending.remove()?;
            return self.already_there(context, &given, &target).await;
        }
        let (csr, key) = match self.prepare(&zone, given, &mut pending) {
            Ok(prepared) => prepared,
            Err(failure) => {
                // A new folder holds nothing that anybody needs.
                return Err(match is_new {
                    true => discard(pending, failure),
                    false => failure,
                });
            }
        };
        if !is_new {
            let folder = pending.folder().display();
            context
                .messages()
                .note(&format!("going on with the request in {folder}"));
        }
        let is_resumed = pending.intent().is_some();
        if is_resumed {
            context
                .messages()
                .note("its request may have been sent; finding out takes up to seven minutes");
        }
        let mut interrupts = Interrupts::listen();
        let sent = tokio::select! {
            sent = self.send(&zone, &csr, &mut pending) => sent,
            () = interrupts.next() => Err(interrupted()),
            never = async {
                match is_resumed {
                    true => show_wait(context.messages(), "finding out what came of it").await,
                    false => std::future::pending().await,
                }
            } => match never {},
        };
        let issued = match sent {
            Ok(issued) => issued,
            Err(Sent::Failed(failure)) => return Err(failure),
            Err(Sent::Refused(failure)) => {
                let may_exist = is_resumed || pending.intent().is_some();
                return Err(match may_exist {
                    true => open_outcome(&pending, failure),
                    false => discard(pending, failure.hint("nothing was issued")),
                });
            }
        };
        let asked = Asked {
            days: self.days,
            subject: csr.subject(),
        };
        finish(context, &zone, issued, key, &target, pending, &asked)
    }
}

/// Why no certificate was returned.
enum Sent {
    /// Nothing was issued, unless an intent is stored.
    Refused(Failure),
    /// What the caller needs was said.
    Failed(Failure),
}

/// Whether what is written to standard output is lost. A closed one is /dev/null, too.
#[cfg(unix)]
fn is_discarded() -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path| fs::metadata(path).map(|metadata| metadata.rdev()).ok();
    let out = device("/dev/stdout");
    out.is_some_and(|device| device != 0) && out == device("/dev/null")
}

#[cfg(not(unix))]
fn is_discarded() -> bool {
    false
}

fn interrupted() -> Sent {
    Sent::Refused(Failure::new(ExitCode::Interrupted, "interrupted"))
}

/// Says that a certificate may exist, and how to go on.
fn open_outcome(pending: &Pending, failure: Failure) -> Failure {
    let folder = pending.folder().display();
    let code = match failure.code {
        ExitCode::Interrupted => ExitCode::Interrupted,
        _ => ExitCode::OutcomeUnknown,
    };
    Failure { code, ..failure }
        .hint(format!(
            "a certificate may have been issued; what is needed to find out is in {folder}"
        ))
        .hint(format!("to find out, and go on: {}", this_command()))
}

fn discard(pending: Pending, failure: Failure) -> Failure {
    match pending.remove() {
        Ok(()) => failure,
        Err(other) => failure.hint(other.message),
    }
}

impl Issue {
    fn read_inputs(&self) -> Result<Subjected> {
        let key = match &self.key {
            Some(path) => Some(self.read_key(path)?),
            None if self.key_password.is_given() => {
                return Err(Failure::usage(
                    "--key-password-file and --key-password-fd are for the key of --key; give that too, or leave them out",
                ));
            }
            None => None,
        };
        let Some(path) = &self.csr else {
            let name = self.name.clone().unwrap_or_default();
            return Ok(Subjected {
                name,
                csr: None,
                key,
            });
        };
        let csr = Csr::from_pem(read(path)?).map_err(|error| of_file(path, &error))?;
        if let Some(key) = &key
            && key.public_key() != csr.public_key()
        {
            return Err(Failure::usage(format!(
                "--key {}: it is not the key that the CSR was made with; give that one, or leave it out",
                path.display()
            )));
        }
        let own = csr.common_name().map(str::to_owned);
        if let (Some(name), Some(own)) = (&self.name, &own)
            && name != own
        {
            return Err(Failure::usage(format!(
                "{name}: the CSR's common name is {own:?}, which the certificate will have; leave out the name, or give \
                 another CSR"
            )));
        }
        let name = own.or(self.name.clone()).unwrap_or_default();
        Ok(Subjected {
            name,
            csr: Some(csr),
            key,
        })
    }

    fn read_key(&self, path: &Path) -> Result<PrivateKey> {
        let pem = Zeroizing::new(read(path)?);
        // Bytes that are no text are no part of a PEM block.
        let text = Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
        let key = match self.key_password.read(path, &text)? {
            Some(password) => PrivateKey::from_encrypted_pem(&*pem, &*password),
            None => PrivateKey::from_pem(&*pem),
        };
        key.map_err(|error| of_file(path, &error))
    }

    /// Refuses to write over a key that is needed, which would be lost, or over the CSR.
    fn spare_inputs(&self, given: &Subjected, target: &Target) -> Result<()> {
        let Ok(file) = fs::canonicalize(&target.file) else {
            return Ok(());
        };
        if target.is_stdout || !file.is_file() {
            return Ok(());
        }
        let refusal = |what: &str| {
            let file = target.file.display();
            Err(Failure::usage(format!(
                "{file}: it {what}; give another file with -o"
            )))
        };
        for (option, input) in [("--key", &self.key), ("--csr", &self.csr)] {
            let input = input.as_ref().and_then(|path| fs::canonicalize(path).ok());
            if input.is_some_and(|input| input == file) {
                return refusal(&format!("is the file of {option}, which would be lost"));
            }
        }
        let (Some(csr), None, true) = (&given.csr, &given.key, self.force) else {
            return Ok(());
        };
        let held = Zeroizing::new(read(&file)?);
        if !String::from_utf8_lossy(&held).contains("PRIVATE KEY-----") {
            return Ok(());
        }
        match PrivateKey::from_pem(&*held) {
            Ok(key) if key.public_key() == csr.public_key() => {
                refusal("holds the key that the CSR was made with, which would be lost")
            }
            Ok(_) => Ok(()),
            Err(_) => refusal(
                "holds a private key that can't be read, which may be that of the CSR and would be lost",
            ),
        }
    }

    fn target(&self, name: &str) -> Result<Target> {
        let is_stdout = self.out.as_deref() == Some(Path::new("-"));
        if let Some(out) = &self.out
            && !is_stdout
        {
            return Ok(Target {
                file: out.clone(),
                is_stdout,
            });
        }
        let is_plain = |c: char| c.is_alphanumeric() || "-_.@+ ".contains(c);
        let is_file_name =
            name.chars().all(is_plain) && !name.starts_with(['.', '-', ' ']) && name.len() <= 200;
        if name.is_empty() || !is_file_name {
            return Err(Failure::usage(format!(
                "{name:?}: the name makes no good name of a file; give the file with -o"
            )));
        }
        Ok(Target {
            file: format!("{name}.pem").into(),
            is_stdout,
        })
    }

    /// The file exists. If it is what this command makes, it was made before.
    async fn already_there(&self, context: &Context, given: &Subjected, target: &Target) -> Result {
        let file = &target.file;
        let is_other = |what: String| {
            Failure::failed(format!(
                "{}: it exists, and {what}; give another file, or --force",
                file.display()
            ))
        };
        let x509 = X509Certificate::from_pem(read(file)?)
            .map_err(|_| is_other("holds no certificate".to_owned()))?;
        let has_own_key = match &given.csr {
            Some(csr) => csr.public_key() == x509.public_key(),
            None => (given.key.as_ref()).is_none_or(|key| key.public_key() == x509.public_key()),
        };
        if x509.common_name() != Some(&given.name) || !has_own_key {
            return Err(is_other(format!(
                "holds another certificate, for {}",
                x509.subject()
            )));
        }
        let zones = context.zones().await?;
        let Some((zone, certificate)) = find::by_certificate(context, &zones, &x509).await? else {
            let ids: Vec<_> = zones.iter().map(|zone| zone.id().as_str()).collect();
            return Err(is_other(format!(
                "holds a certificate for {} that zone {} does not have",
                x509.subject(),
                ids.join(", ")
            )));
        };
        if !matches!(
            certificate.status(),
            Status::Active | Status::PendingReactivation
        ) {
            return Err(is_other(format!(
                "holds a certificate that is {}",
                certificate.status()
            )));
        }
        if certificate.is_expired_at(context.now()) == Some(true) {
            return Err(is_other("holds a certificate that has expired".to_owned()));
        }
        if let Some(difference) = self.difference(given, &certificate, &x509)? {
            return Err(is_other(difference).hint("nothing was issued"));
        }
        // A process that was killed right before the end has left it.
        if !self.dry_run && Pending::folder_for(file).exists() {
            let pending = Pending::open(file)?;
            if pending
                .csr
                .as_ref()
                .is_none_or(|csr| csr.public_key() == x509.public_key())
            {
                pending.remove()?;
            }
        }
        let shown = file.display();
        context.messages().note(&format!(
            "{shown} is already there, and nothing was issued; --force issues another"
        ));
        print(
            context,
            zone,
            &certificate,
            &x509,
            Outcome::AlreadyIssued,
            Some(file),
        )
    }

    /// How a certificate that was issued earlier differs from what this command asks for.
    fn difference(
        &self,
        given: &Subjected,
        certificate: &ClientCertificate,
        x509: &X509Certificate,
    ) -> Result<Option<String>> {
        let asked = known_ids::recall_asked(x509);
        let days = match &asked {
            Some(asked) => Some(i64::from(asked.days)),
            None => certificate.validity_days(),
        };
        if let Some(days) = days.filter(|days| *days != i64::from(self.days)) {
            let wanted = self.days;
            return Ok(Some(format!(
                "holds a certificate that was asked for with --days {days}, and not {wanted}"
            )));
        }
        // The service may write a subject in another way than it was asked for.
        let has_subject = match (&asked, &given.csr) {
            (_, Some(_)) => true,
            (Some(asked), None) => {
                let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
                self.make_csr(&given.name, &key)?.subject() == asked.subject
            }
            (None, None) => (self.subject.iter()).all(|attribute| attribute.is_of(certificate)),
        };
        Ok(match has_subject {
            true => None,
            false => Some(format!(
                "holds a certificate with another subject, {}",
                x509.subject()
            )),
        })
    }

    /// Makes key and CSR, and stores them; or takes those of a request that was begun.
    fn prepare(
        &self,
        zone: &Zone,
        given: Subjected,
        pending: &mut Pending,
    ) -> Result<(Csr, Option<PrivateKey>)> {
        let stored_key = pending.key.take();
        let is_begun = pending.request.is_some();
        let (csr, key, is_own) = match (given.csr, given.key) {
            (Some(csr), key) => (csr, key, false),
            (None, Some(key)) => (self.make_csr(&given.name, &key)?, Some(key), false),
            (None, None) => match (is_begun, stored_key) {
                (true, Some(key)) => (self.make_csr(&given.name, &key)?, Some(key), true),
                (true, None) => {
                    return Err(self.differs(pending, "with a CSR or key that was given"));
                }
                _ => {
                    let key = PrivateKey::generate(self.key_algorithm)?;
                    (self.make_csr(&given.name, &key)?, Some(key), true)
                }
            },
        };
        let request = Request {
            base_url: zone.client().base_url().to_owned(),
            zone_id: zone.id().to_string(),
            days: self.days,
            subject: csr.subject(),
            intent: None,
        };
        let (Some(begun), Some(stored)) = (&pending.request, &pending.csr) else {
            pending.begin(request, key.as_ref().filter(|_| is_own), &csr)?;
            return Ok((csr, key));
        };
        let difference = if begun.base_url != request.base_url {
            Some(format!("at {}", begun.base_url))
        } else if begun.zone_id != request.zone_id {
            Some(format!("with --zone {}", begun.zone_id))
        } else if begun.days != request.days {
            Some(format!("with --days {}", begun.days))
        } else if begun.subject != request.subject {
            Some(format!("for {}", begun.subject))
        } else if stored.public_key() != csr.public_key() {
            Some("with another key".to_owned())
        } else {
            None
        };
        match difference {
            Some(difference) => Err(self.differs(pending, &difference)),
            // A CSR that is made again is another one.
            None => Ok((stored.clone(), key)),
        }
    }

    fn differs(&self, pending: &Pending, difference: &str) -> Failure {
        let folder = pending.folder();
        let failure = Failure::usage(format!(
            "{}: it holds a request that was begun {difference}; run that command again to finish it",
            folder.display()
        ));
        match pending.intent() {
            Some(_) => failure.hint("a certificate may have been issued for it"),
            None => failure.hint(format!(
                "nothing was sent for it; to start over: rm -r {}",
                quote(folder)
            )),
        }
    }

    fn make_csr(&self, name: &str, key: &PrivateKey) -> Result<Csr> {
        for (place, attribute) in self.subject.iter().enumerate() {
            if self.subject[..place]
                .iter()
                .any(|other| other.has_key_of(attribute))
            {
                return Err(Failure::usage(
                    "--subject: an attribute is given twice; give each once",
                ));
            }
        }
        let subject = self
            .subject
            .iter()
            .fold(Subject::common_name(name), |subject, attribute| {
                attribute.add_to(subject)
            });
        key.csr(&subject)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    async fn send(
        &self,
        zone: &Zone,
        csr: &Csr,
        pending: &mut Pending,
    ) -> std::result::Result<Issued, Sent> {
        let mut issue = zone.issue(csr).validity_days(self.days);
        if let Some(timeout) = self.timeout {
            issue = issue.deadline(timeout);
        } else if pending.intent().is_some() {
            issue = issue.deadline(MAX_RESUME);
        }
        issue = match pending.intent().cloned() {
            Some(intent) => issue.resume(intent),
            None if self.csr.is_none() && self.key.is_none() => issue.key_is_new(),
            None => issue,
        };
        let sent = match issue.prepare().await {
            Ok(Prepared::Issued(issued)) => Ok(*issued),
            Ok(Prepared::Ready(prepared)) => {
                pending
                    .set_intent(Some(prepared.intent().clone()))
                    .map_err(Sent::Refused)?;
                let sent = prepared.send().await;
                // Any other error says that none was issued.
                let is_open = matches!(
                    sent,
                    Ok(_) | Err(Error::OutcomeUnknown { .. } | Error::WrongCertificate { .. })
                );
                if !is_open {
                    pending.set_intent(None).map_err(Sent::Refused)?;
                }
                sent
            }
            Err(error) => Err(error),
        };
        sent.map_err(|error| match &error {
            Error::WrongCertificate { id, .. } => {
                let revoke = id
                    .as_ref()
                    .map(|id| format!("to revoke it: shieldcert revoke {}", quote(id.as_str())));
                let folder = quote(pending.folder());
                let failure =
                    Failure::from(error).hint(format!("to start over after that: rm -r {folder}"));
                Sent::Failed(match revoke {
                    Some(revoke) => failure.hint(revoke),
                    None => failure,
                })
            }
            _ => Sent::Refused(Failure::from(error)),
        })
    }

    /// Says what would be done, as far as that can be known without doing it.
    async fn rehearse(&self, context: &Context, given: Subjected, target: &Target) -> Result {
        let zone = context.zone().await?;
        let subject = match (&given.csr, &given.key) {
            (Some(csr), _) => csr.subject(),
            (None, Some(key)) => self.make_csr(&given.name, key)?.subject(),
            (None, None) => {
                let key = PrivateKey::generate(self.key_algorithm)?;
                self.make_csr(&given.name, &key)?.subject()
            }
        };
        let folder = match target.file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        try_writing(folder)?;
        if target.is_stdout && is_discarded() {
            return Err(discarded());
        }
        let begun = Pending::folder_for(&target.file);
        let goes_on = begun.exists() && {
            let mut pending = Pending::open(&target.file)?;
            let is_begun = pending.request.is_some();
            if is_begun {
                // Compares them, and stores nothing.
                self.prepare(&zone, given, &mut pending)?;
            }
            is_begun
        };
        // One request that shows whether the token may read.
        let page = zone
            .list()
            .page_size(5)
            .prefetch(1)
            .pages()
            .try_next()
            .await?;
        let messages = context.messages();
        let shown = match target.is_stdout {
            true => "standard output".to_owned(),
            false => target.file.display().to_string(),
        };
        let days = self.days;
        messages.note(&format!(
            "would issue {subject} for {days} days in zone {}, with {}, into {shown}",
            zone.id(),
            requests(1, zone.client().requests_left())
        ));
        if goes_on {
            let folder = begun.display();
            messages.note(&format!("would go on with the request in {folder}"));
        }
        let place = match folder == Path::new(".") {
            true => "this folder".to_owned(),
            false => folder.display().to_string(),
        };
        messages.note(&format!(
            "checked: the permission to read, and that {place} can be written to and has room"
        ));
        let quota = match page.and_then(|page| page.total_count) {
            Some(count) => {
                format!("the quota, which the service does not say (it counts {count} in the zone)")
            }
            None => "the quota, which the service does not say".to_owned(),
        };
        messages.note(&format!(
            "not checked: the permission to write, which `shieldcert doctor --probe-write` checks, and {quota}"
        ));
        Ok(ExitCode::Done)
    }
}

/// More than a key, a CSR, a certificate and its chain take.
const ROOM: usize = 64 << 10;

/// Fails if a folder can't be written to, or has no room.
fn try_writing(folder: &Path) -> Result<()> {
    let written = tempfile::tempfile_in(folder).and_then(|mut file| {
        file.write_all(&[0; ROOM])?;
        file.sync_all()
    });
    written.map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such folder; make it, or give another file".to_owned()
            }
            _ => format!("it can't be written to: {error}"),
        };
        Failure::failed(format!("{}: {problem}", folder.display()))
    })
}

fn discarded() -> Failure {
    Failure::usage(
        "-o -: standard output is closed, or /dev/null, and the key would be lost; give a file, or a pipe",
    )
}

/// Writes the certificate, and removes what was only needed until then.
fn finish(
    context: &Context,
    zone: &Zone,
    issued: Issued,
    key: Option<PrivateKey>,
    target: &Target,
    pending: Pending,
    asked: &Asked,
) -> Result {
    let certificate = &issued.certificate;
    let x509 = certificate.x509()?;
    known_ids::remember(&x509, certificate.id(), asked);
    let folder = pending.folder().to_owned();
    let keep = |failure: Failure| {
        let folder = folder.display();
        failure
            .about(format!("certificate {} was issued", certificate.id()))
            .hint(format!(
                "what is needed to go on is in {folder}: {}",
                this_command()
            ))
    };
    let identity = match key {
        Some(key) => Some(Identity::new(certificate, key).map_err(|error| keep(error.into()))?),
        None => None,
    };
    let written = if target.is_stdout {
        match &identity {
            Some(identity) => write_all(identity.to_pem().as_bytes()),
            None => write_all(x509.to_pem().as_bytes()),
        }
    } else {
        match &identity {
            Some(identity) => identity.write_pem(&target.file).map_err(Failure::from),
            None => x509.write_pem(&target.file).map_err(Failure::from),
        }
    };
    written.map_err(keep)?;
    pending.remove()?;
    let messages = context.messages();
    if identity.is_some() && !target.is_stdout {
        warn_if_shared(context, &target.file);
    }
    if let Some(days) = issued.capped_validity_days {
        messages.warning(&format!(
            "the service granted {days} days, fewer than asked for"
        ));
    }
    for surplus in &issued.surplus {
        let id = surplus.id();
        messages.warning(&format!(
            "certificate {id} was issued for the same CSR, and is active; unless it is in use: shieldcert revoke {id}"
        ));
    }
    let outcome = match issued.recovered {
        true => Outcome::Recovered,
        false => Outcome::Issued,
    };
    if target.is_stdout {
        messages.note(&format!("issued {} ({})", certificate.id(), x509.subject()));
        return Ok(ExitCode::Done);
    }
    print(
        context,
        zone,
        certificate,
        &x509,
        outcome,
        Some(&target.file),
    )
}

/// A file that was replaced keeps its group, and the group's right to read. One that is mounted keeps its mode.
fn warn_if_shared(context: &Context, file: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = file.metadata() {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let who = match mode & 0o007 {
                0 => "its group",
                _ => "everyone",
            };
            let (file, path) = (file.display(), file);
            context.messages().warning(&format!(
                "{file}: {who} can read the key, as the file before (mode {mode:04o}); unless that is meant: chmod 600 {}",
                quote(path)
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (context, file);
}

fn write_all(pem: &[u8]) -> Result<()> {
    let mut out = io::stdout();
    let written = out.write_all(pem).and_then(|()| out.flush());
    written.map_err(|error| Failure {
        // It must not end quietly: the key would be lost.
        is_broken_pipe: false,
        ..Failure::output(&error)
    })
}

fn print(
    context: &Context,
    zone: &Zone,
    certificate: &ClientCertificate,
    x509: &X509Certificate,
    outcome: Outcome,
    file: Option<&Path>,
) -> Result {
    let mut printer = context.printer()?.detailed();
    let row = IssuedRow::new(zone.id(), certificate, x509, outcome, file);
    printer.print(&row, context.now())?;
    printer.finish()?;
    Ok(ExitCode::Done)
}

fn of_file(path: &Path, error: &shieldcert::InvalidInput) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

/// Reads a file, or standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.map_err(|error| Failure::input(path, &error))
}
