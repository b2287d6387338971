//! `shieldcert find`: the record of a file, a number, or the beginning of an id.

use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use shieldcert::{CertificateId, ClientCertificate, Csr, X509Certificate, Zone};

use super::Run;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::known_ids;
use crate::output::certificate::CertificateRow;
use crate::output::printer::Printer;
use crate::output::progress::Progress;

/// The fewest characters of an id that are looked for. Fewer would match by chance.
const MIN_PREFIX: usize = 4;

/// Find certificates by a file, a number, or the beginning of an id
///
/// A file may hold a CSR or a certificate, in PEM. Anything else is compared with each record: it is found if it is the
/// beginning of the id, the serial number (in hex or decimal), or the SHA-256 fingerprint. Finding reads the whole list,
/// once for all, but for a complete id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert find sensor-001.csr
  shieldcert find sensor-001.pem --output json
  shieldcert find 7bf7f70c
  openssl x509 -in sensor-001.pem -noout -serial | cut -d= -f2 | xargs shieldcert find")]
pub(crate) struct Find {
    /// Files, serial numbers, fingerprints, or beginnings of ids; - is standard input, in PEM
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
}

/// Something that is looked for.
struct Sought {
    given: String,
    kind: Kind,
    is_found: bool,
}

enum Kind {
    Csr(Csr),
    Certificate(X509Certificate),
    Text,
}

impl Run for Find {
    async fn run(self, context: &Context) -> Result {
        let mut sought: Vec<Sought> = self
            .what
            .into_iter()
            .map(Sought::read)
            .collect::<Result<_>>()?;
        let zones = context.zones().await?;
        let mut printer = context.printer()?;
        let read = find(context, &zones, &mut sought, &mut printer).await;
        printer.finish()?;
        let unreadable = read?;
        let mut failures = Vec::new();
        let zones: Vec<&str> = zones.iter().map(|zone| zone.id().as_str()).collect();
        for missing in sought.iter().filter(|sought| !sought.is_found) {
            let what = missing.kind.name();
            let message = format!(
                "{}: no certificate of zone {} has this {what}",
                missing.given,
                zones.join(", ")
            );
            context
                .messages()
                .error(&Failure::new(ExitCode::NotFound, message));
            failures.push(ExitCode::NotFound);
        }
        let found = sought.len() - failures.len();
        let code = ExitCode::of_many(found, &failures);
        // A record that can't be read may be what is looked for.
        Ok(match unreadable > 0 && code != ExitCode::Done {
            true => ExitCode::Partial,
            false => code,
        })
    }
}

async fn find(
    context: &Context,
    zones: &[Zone],
    sought: &mut [Sought],
    printer: &mut Printer<CertificateRow>,
) -> Result<usize> {
    for sought in sought.iter_mut() {
        let found = match &sought.kind {
            Kind::Certificate(x509) => by_known_id(zones, x509).await,
            Kind::Text if sought.is_complete_id() => match sought.given.parse::<CertificateId>() {
                Ok(id) => super::get::get(zones, &id).await.ok(),
                Err(_) => None,
            },
            _ => None,
        };
        if let Some((zone, certificate)) = found {
            let now = context.now();
            printer.print(&CertificateRow::new(zone.id(), &certificate, now), now)?;
            sought.is_found = true;
        }
    }
    let mut unreadable = find_csrs(context, zones, sought, printer).await?;
    if sought.iter().all(|sought| !sought.may_be_more()) {
        return Ok(unreadable);
    }
    let mut progress = Progress::start(context.messages(), "read", None);
    for zone in zones {
        let mut pages = zone.list().pages();
        while let Some(page) = pages.try_next().await? {
            let now = context.now();
            for certificate in &page.certificates {
                let mut is_match = false;
                for sought in sought.iter_mut().filter(|sought| sought.may_be_more()) {
                    if sought.is(certificate) {
                        sought.is_found = true;
                        is_match = true;
                    }
                }
                if is_match {
                    printer.print(&CertificateRow::new(zone.id(), certificate, now), now)?;
                }
            }
            for record in &page.unreadable {
                unreadable += 1;
                let zone = zone.id();
                context
                    .messages()
                    .warning(&format!("zone {zone}: a record can't be read: {record}"));
            }
            printer.flush()?;
            progress.add(page.certificates.len());
            if sought.iter().all(|sought| !sought.may_be_more()) {
                return Ok(unreadable);
            }
        }
    }
    Ok(unreadable)
}

/// Finds what was issued for the CSRs among them, and returns how many records can't be read.
async fn find_csrs(
    context: &Context,
    zones: &[Zone],
    sought: &mut [Sought],
    printer: &mut Printer<CertificateRow>,
) -> Result<usize> {
    let mut sought: Vec<(&mut Sought, Csr)> = sought
        .iter_mut()
        .filter_map(|sought| match &sought.kind {
            Kind::Csr(csr) => {
                let csr = csr.clone();
                Some((sought, csr))
            }
            _ => None,
        })
        .collect();
    let mut unreadable = 0;
    if sought.is_empty() {
        return Ok(unreadable);
    }
    for zone in zones {
        let csrs = sought.iter().map(|(_, csr)| csr.clone());
        let results = zone.find_by_csrs(csrs).await?;
        let now = context.now();
        for ((sought, _), found) in sought.iter_mut().zip(&results) {
            for certificate in found.certificates.iter().chain(&found.same_key) {
                sought.is_found = true;
                printer.print(&CertificateRow::new(zone.id(), certificate, now), now)?;
            }
            for certificate in &found.same_key {
                context.messages().warning(&format!(
                    "certificate {}: its record has no CSR that can be read; it has the key of {}",
                    certificate.id(),
                    sought.given
                ));
            }
            for certificate in &found.incomparable {
                context.messages().warning(&format!(
                    "certificate {}: its record can't be compared with {}; see `shieldcert get {}`",
                    certificate.id(),
                    sought.given,
                    certificate.id()
                ));
            }
        }
        // They are the same for each CSR.
        let records = results.first().map_or(&[][..], |found| &found.unreadable);
        for record in records {
            let zone = zone.id();
            context
                .messages()
                .warning(&format!("zone {zone}: a record can't be read: {record}"));
        }
        unreadable += records.len();
    }
    Ok(unreadable)
}

/// Finds the record of a certificate whose id is remembered. `None` if it is not, or the record is another one's.
pub(crate) async fn by_known_id<'a>(
    zones: &'a [Zone],
    x509: &X509Certificate,
) -> Option<(&'a Zone, ClientCertificate)> {
    let id = known_ids::recall(x509)?;
    let (zone, certificate) = super::get::get(zones, &id).await.ok()?;
    let fingerprint = x509.fingerprint_sha256();
    (certificate.has_fingerprint_sha256(&fingerprint) == Some(true)).then_some((zone, certificate))
}

/// Finds the record of a certificate. Reads the list only where its id is not remembered, and only as far as needed.
pub(crate) async fn by_certificate<'a>(
    context: &Context,
    zones: &'a [Zone],
    x509: &X509Certificate,
) -> Result<Option<(&'a Zone, ClientCertificate)>> {
    if let Some(found) = by_known_id(zones, x509).await {
        return Ok(Some(found));
    }
    let fingerprint = x509.fingerprint_sha256();
    let mut progress = Progress::start(context.messages(), "read", None);
    for zone in zones {
        let mut pages = zone.list().pages();
        while let Some(page) = pages.try_next().await? {
            progress.add(page.certificates.len());
            let found = page
                .certificates
                .into_iter()
                .find(|certificate| certificate.has_fingerprint_sha256(&fingerprint) == Some(true));
            if let Some(certificate) = found {
                return Ok(Some((zone, certificate)));
            }
        }
    }
    Ok(None)
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Csr(_) => "CSR",
            Self::Certificate(_) => "certificate",
            Self::Text => "id, serial number or fingerprint",
        }
    }
}

impl Sought {
    fn read(given: String) -> Result<Self> {
        let path = Path::new(&given);
        let is_stdin = given == "-";
        let kind = if is_stdin || path.is_file() {
            let bytes = if is_stdin {
                let mut bytes = Vec::new();
                io::stdin().read_to_end(&mut bytes).map(|_| bytes)
            } else {
                std::fs::read(path)
            };
            let bytes = bytes.map_err(|error| Failure::input(path, &error))?;
            match (X509Certificate::from_pem(&bytes), Csr::from_pem(&bytes)) {
                (Ok(x509), _) => Kind::Certificate(x509),
                (_, Ok(csr)) => Kind::Csr(csr),
                (Err(error), Err(_)) => {
                    return Err(Failure::failed(format!(
                        "{given}: it holds neither a certificate nor a CSR ({})",
                        error.problem()
                    )));
                }
            }
        } else if given.contains(['/', '.', '\\']) {
            let problem = match path.exists() {
                true => "it is no file; give a file",
                false => "there is no such file; check its path",
            };
            return Err(Failure::usage(format!("{given}: {problem}")));
        } else if given.chars().count() < MIN_PREFIX {
            return Err(Failure::usage(format!(
                "{given}: it is too short to look for; give at least {MIN_PREFIX} characters of an id, a serial number \
                 or a fingerprint, or a file"
            )));
        } else {
            Kind::Text
        };
        Ok(Self {
            given,
            kind,
            is_found: false,
        })
    }

    /// Whether it can be asked for, instead of looking.
    fn is_complete_id(&self) -> bool {
        let digits = self.given.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_id = digits == 32 && matches!(self.given.len(), 32 | 36);
        is_id && matches!(self.kind, Kind::Text)
    }

    /// Whether another record may be it too, so that the list has to be read on.
    fn may_be_more(&self) -> bool {
        match self.kind {
            Kind::Certificate(_) => !self.is_found,
            // Found in a way of its own.
            Kind::Csr(_) => false,
            Kind::Text => !(self.is_found && self.is_complete_id()),
        }
    }

    fn is(&self, certificate: &ClientCertificate) -> bool {
        match &self.kind {
            Kind::Certificate(x509) => {
                certificate.has_fingerprint_sha256(&x509.fingerprint_sha256()) == Some(true)
            }
            Kind::Csr(_) => false,
            Kind::Text => {
                let id = certificate.id().as_str();
                id.to_ascii_lowercase()
                    .starts_with(&self.given.to_ascii_lowercase())
                    || certificate.has_serial_number(&self.given) == Some(true)
                    || certificate.has_fingerprint_sha256(&self.given) == Some(true)
            }
        }
    }
}
