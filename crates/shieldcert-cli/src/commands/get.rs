//! `shieldcert get`: certificates by their id.

use std::io::{self, Write};

use clap::Args;
use shieldcert::{CertificateId, ClientCertificate, Zone};

use super::Run;
use crate::args::id;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::certificate::CertificateRow;

/// Show certificates by their id
///
/// With several zones, each id is looked for in one after the other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert get 7bf7f70c-7600-42e1-81c4-e4c0da9aa515
  shieldcert get 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 --output json --fields status,not_after
  shieldcert get 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 --pem > sensor-001.crt")]
pub(crate) struct Get {
    /// The ids
    #[arg(value_name = "ID", required = true, value_parser = id::parse)]
    ids: Vec<CertificateId>,

    /// Print the certificates themselves in PEM, in place of their records
    #[arg(long, conflicts_with_all = ["output", "fields"])]
    pem: bool,
}

impl Run for Get {
    async fn run(self, context: &Context) -> Result {
        let zones = context.zones().await?;
        let mut printer = context.printer()?.detailed();
        let mut failures = Vec::new();
        let mut found = 0;
        for id in &self.ids {
            let (zone, certificate) = match get(&zones, id).await {
                Ok(got) => got,
                Err(failure) => {
                    context.messages().error(&failure);
                    failures.push(failure.code);
                    continue;
                }
            };
            found += 1;
            if self.pem {
                let x509 = certificate.x509()?;
                let written = io::stdout().write_all(x509.to_pem().as_bytes());
                written.map_err(|error| Failure::output(&error))?;
            } else {
                let now = context.now();
                printer.print(&CertificateRow::new(zone.id(), &certificate, now), now)?;
                printer.flush()?;
            }
        }
        if !self.pem {
            printer.finish()?;
        }
        Ok(ExitCode::of_many(found, &failures))
    }
}

/// Gets a certificate from the first zone that holds it.
pub(crate) async fn get<'a>(
    zones: &'a [Zone],
    id: &CertificateId,
) -> Result<(&'a Zone, ClientCertificate)> {
    for zone in zones {
        match zone.get(id).await {
            Ok(certificate) => return Ok((zone, certificate)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Failure::from(error).about(format!("certificate {id}"))),
        }
    }
    let names: Vec<&str> = zones.iter().map(|zone| zone.id().as_str()).collect();
    let message = format!(
        "certificate {id}: there is none with this id in zone {}",
        names.join(", ")
    );
    Err(Failure::new(ExitCode::NotFound, message).hint(
        "`shieldcert list` shows the ids, and `shieldcert find` looks for the beginning of one",
    ))
}
