//! `shieldcert verify`: do a key, a certificate, its record and the edge agree?

mod edge;

use clap::Args;
use jiff::Timestamp;
use shieldcert::{CertificateId, ClientCertificate, Error, Status, X509Certificate, Zone};

use self::edge::{Edge, Presented, Target};
use super::{Run, find};
use crate::args::identity::IdentityFiles;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::check::{CheckResult, CheckRow};
use crate::output::format::Format;
use crate::output::printer::Printer;
use crate::output::progress::Progress;
use crate::output::time;

/// Verify that a certificate, its key, its record and the edge agree
///
/// Checks that the key belongs to the certificate, that a zone holds its record, that it is active and not expired, and
/// with --connect that the edge asks for it and lets it in. Each finding says what to do. Nothing is changed.
///
/// The record takes one request to find where its id is known: from --id, or because it was issued on this machine. Else
/// the list is read, with 20 requests for each 1,000 certificates.
///
/// The exit code is 1 if something does not agree, or can't be shown to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert verify sensor-001.pem
  shieldcert verify sensor-001.pem --connect api.example.com
  shieldcert verify device.crt --key device.key --connect api.example.com:8443/health --output json")]
pub(crate) struct Verify {
    #[command(flatten)]
    files: IdentityFiles,

    /// The id of the record, which saves reading the list
    #[arg(long, value_name = "ID")]
    id: Option<CertificateId>,

    /// Connect to this host with the certificate and without, and GET the path [default port: 443, path: /]
    #[arg(long, value_name = "HOST[:PORT][/PATH]")]
    connect: Option<Target>,
}

/// The findings so far.
struct Findings {
    printer: Printer<CheckRow>,
    code: ExitCode,
}

impl Run for Verify {
    async fn run(self, context: &Context) -> Result {
        let contents = self.files.read(None)?;
        let zones = context.zones().await?;
        let mut findings = Findings {
            printer: context.printer_or(Format::Table)?.unbounded(),
            code: ExitCode::Done,
        };
        let x509 = match &contents.identity {
            Ok(identity) => identity.certificate().clone(),
            Err(_) => X509Certificate::from_pem(&*contents.text)
                .map_err(|error| Failure::from(error).about(self.files.file.display()))?,
        };
        findings.key(&x509, contents.identity.as_ref().err(), contents.has_key())?;
        let record = self.record(context, &zones, &x509, &mut findings).await?;
        let now = context.now();
        let status = record.as_ref().map(|record| record.status());
        if let Some(status) = status {
            findings.status(status)?;
        }
        findings.expiry(&x509, now)?;
        if let Some(target) = &self.connect {
            let presented = Presented {
                is_revoked: status == Some(&Status::Revoked),
                is_valid: x509.not_after().is_some_and(|end| now <= end),
            };
            match contents.identity {
                Ok(identity) => {
                    let edge = Edge::connect(target, &identity, context.ca_file()).await?;
                    let (result, detail, fix) = edge.judge(target, presented);
                    findings.add("edge", result, detail, fix)?;
                }
                Err(_) => findings.add(
                    "edge",
                    CheckResult::Unknown,
                    "not checked: the certificate can't be presented without its key",
                    None,
                )?,
            }
        }
        findings.printer.finish()?;
        Ok(findings.code)
    }
}

impl Verify {
    /// Finds the record, or says why there is none.
    async fn record(
        &self,
        context: &Context,
        zones: &[Zone],
        x509: &X509Certificate,
        findings: &mut Findings,
    ) -> Result<Option<ClientCertificate>> {
        const CHECK: &str = "record";
        let looked_up = match &self.id {
            Some(id) => super::get::get(zones, id)
                .await
                .map(|(zone, record)| (Some((zone, record)), 0)),
            None => look_up(context, zones, x509).await,
        };
        let (found, unreadable) = match looked_up {
            Ok(looked_up) => looked_up,
            Err(failure) => {
                let fix = failure.hints.into_iter().next();
                findings.fail(CHECK, failure.code, failure.message, fix)?;
                return Ok(None);
            }
        };
        let Some((zone, record)) = found else {
            let ids: Vec<&str> = zones.iter().map(|zone| zone.id().as_str()).collect();
            let zones = ids.join(", ");
            match unreadable {
                0 => findings.mismatch(
                    CHECK,
                    format!("zone {zones} does not hold this certificate"),
                    "give the zone that it was issued in with --zone; it may have another issuer",
                )?,
                _ => findings.add(
                    CHECK,
                    CheckResult::Unknown,
                    format!("zone {zones} was not seen to hold it, and {unreadable} of its records can't be read"),
                    None,
                )?,
            }
            return Ok(None);
        };
        let (id, zone) = (record.id(), zone.id());
        match record.has_fingerprint_sha256(&x509.fingerprint_sha256()) {
            Some(true) => {
                let detail = format!("certificate {id} of zone {zone}");
                findings.add(CHECK, CheckResult::Ok, detail, None)?;
            }
            Some(false) => {
                let detail = format!("certificate {id} of zone {zone} is another one");
                findings.mismatch(CHECK, detail, "give its own id, or leave out --id")?;
                return Ok(None);
            }
            None => {
                let detail = format!(
                    "the record of {id} in zone {zone} holds no certificate to compare with"
                );
                findings.add(CHECK, CheckResult::Unknown, detail, None)?;
            }
        }
        Ok(Some(record))
    }
}

/// Looks for the record of a certificate in the lists, as far as needed. Counts the records that can't be read.
async fn look_up<'a>(
    context: &Context,
    zones: &'a [Zone],
    x509: &X509Certificate,
) -> Result<(Option<(&'a Zone, ClientCertificate)>, usize)> {
    if let Some(found) = find::by_known_id(zones, x509).await {
        return Ok((Some(found), 0));
    }
    let fingerprint = x509.fingerprint_sha256();
    let mut progress = Progress::start(context.messages(), "read", None);
    let mut unreadable = 0;
    for zone in zones {
        let mut pages = zone.list().pages();
        while let Some(page) = pages.try_next().await? {
            progress.add(page.certificates.len());
            unreadable += page.unreadable.len();
            for certificate in page.certificates {
                match certificate.has_fingerprint_sha256(&fingerprint) {
                    Some(true) => return Ok((Some((zone, certificate)), unreadable)),
                    Some(false) => {}
                    None => unreadable += 1,
                }
            }
        }
    }
    Ok((None, unreadable))
}

impl Findings {
    fn add(
        &mut self,
        check: &'static str,
        result: CheckResult,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Result<()> {
        // What can't be shown to agree does not.
        if matches!(result, CheckResult::Failed | CheckResult::Unknown)
            && self.code == ExitCode::Done
        {
            self.code = ExitCode::Failed;
        }
        let row = CheckRow {
            check,
            result,
            detail: detail.into(),
            fix,
        };
        self.printer.print(&row, Timestamp::now())
    }

    fn mismatch(
        &mut self,
        check: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Result<()> {
        self.add(check, CheckResult::Failed, detail, Some(fix.into()))
    }

    /// A check that could not be made, whose code says why.
    fn fail(
        &mut self,
        check: &'static str,
        code: ExitCode,
        detail: String,
        fix: Option<String>,
    ) -> Result<()> {
        if self.code == ExitCode::Done {
            self.code = code;
        }
        self.add(check, CheckResult::Failed, detail, fix)
    }

    fn key(&mut self, x509: &X509Certificate, error: Option<&Error>, has_key: bool) -> Result<()> {
        let subject = x509.subject();
        match error {
            None => self.add(
                "key",
                CheckResult::Ok,
                format!("it belongs to the certificate, {subject}"),
                None,
            ),
            Some(Error::KeyMismatch { .. }) => self.mismatch(
                "key",
                format!("it belongs to another certificate than {subject}"),
                "find the key that the CSR was made with, or issue a new certificate",
            ),
            Some(_) if !has_key => {
                let fix = Some("give it with --key".to_owned());
                self.add(
                    "key",
                    CheckResult::Unknown,
                    "the file holds no private key",
                    fix,
                )
            }
            Some(error) => self.add("key", CheckResult::Failed, error.to_string(), None),
        }
    }

    fn status(&mut self, status: &Status) -> Result<()> {
        match status {
            Status::Active => self.add("status", CheckResult::Ok, "active", None),
            Status::Revoked => self.mismatch(
                "status",
                "revoked",
                "issue a new one, or `shieldcert reactivate` it",
            ),
            Status::PendingRevocation => self.mismatch(
                "status",
                "pending_revocation: it is about to be revoked",
                "issue a new one, or `shieldcert reactivate` it",
            ),
            Status::PendingReactivation => self.mismatch(
                "status",
                "pending_reactivation: it is not active yet",
                "`shieldcert wait` for it",
            ),
            other => {
                let detail = format!("{:?}, which is not known here", other.as_str());
                self.add("status", CheckResult::Unknown, detail, None)
            }
        }
    }

    /// `now` is the service's time.
    fn expiry(&mut self, x509: &X509Certificate, now: Timestamp) -> Result<()> {
        const CHECK: &str = "expiry";
        let (Some(start), Some(end)) = (x509.not_before(), x509.not_after()) else {
            return self.add(
                CHECK,
                CheckResult::Unknown,
                "the certificate's validity can't be read",
                None,
            );
        };
        let (day, distance) = (time::day(end), time::relative(end, now));
        if now > end {
            self.mismatch(
                CHECK,
                format!("expired on {day}, {distance}"),
                "issue a new one with `shieldcert issue`",
            )
        } else if now < start {
            let detail = format!("not valid before {start}");
            self.mismatch(
                CHECK,
                detail,
                "wait until then, or check who has set a clock wrong",
            )
        } else {
            self.add(
                CHECK,
                CheckResult::Ok,
                format!("{day}, {distance} left"),
                None,
            )
        }
    }
}
