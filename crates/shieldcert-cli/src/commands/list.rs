//! `shieldcert list`: the inventory.

use clap::Args;

use super::Run;
use crate::args::selector::{Selection, Selectors};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;
use crate::output::certificate::CertificateRow;
use crate::output::printer::Printer;
use crate::output::progress::Progress;

/// List certificates
///
/// Every certificate of the zones is listed, or those that the selectors select, in the service's order. Rows appear as
/// pages arrive. A list that can't be read to its end is an error, never a short success.
///
/// Revoked certificates stay in the list, and expired ones stay `active`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert list --status active --expires-within 30d
  shieldcert list --subject 'O=Acme*' --output jsonl --fields id,common_name,not_after
  shieldcert list --expired --status active | shieldcert revoke --yes -")]
pub(crate) struct List {
    #[command(flatten)]
    selectors: Selectors,
}

impl Run for List {
    async fn run(self, context: &Context) -> Result {
        let mut printer = context.printer()?;
        let mut left_out = LeftOut::default();
        let read = self.read(context, &mut printer, &mut left_out).await;
        // What was printed before a failure is right.
        printer.finish()?;
        read?;
        Ok(left_out.report(context))
    }
}

/// What is not in the output, and should be known.
#[derive(Default)]
struct LeftOut {
    expired: usize,
    unknown: usize,
    unreadable: usize,
}

impl List {
    async fn read(
        &self,
        context: &Context,
        printer: &mut Printer<CertificateRow>,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let mut progress = (!context.prints_to_terminal())
            .then(|| Progress::start(context.messages(), "read", None));
        for zone in context.zones().await? {
            let filter = self.selectors.status_filter();
            let mut pages = zone.list().status(filter).pages();
            while let Some(page) = pages.try_next().await? {
                let now = context.now();
                for certificate in &page.certificates {
                    match self.selectors.select(certificate, now) {
                        Selection::Yes => {
                            let row = CertificateRow::new(zone.id(), certificate, now);
                            printer.print(&row, now)?;
                        }
                        Selection::No => {}
                        Selection::Expired => left_out.expired += 1,
                        Selection::Unknown => left_out.unknown += 1,
                    }
                }
                for record in &page.unreadable {
                    left_out.unreadable += 1;
                    let zone = zone.id();
                    context
                        .messages()
                        .warning(&format!("zone {zone}: a record can't be read: {record}"));
                }
                printer.flush()?;
                if let Some(progress) = &mut progress {
                    progress.add(page.certificates.len());
                }
            }
        }
        Ok(())
    }
}

impl LeftOut {
    fn report(&self, context: &Context) -> ExitCode {
        let messages = context.messages();
        if self.expired > 0 {
            messages.note(&format!(
                "{} already expired: --expired lists them",
                count(self.expired, "more is", "more are")
            ));
        }
        if self.unknown > 0 {
            messages.warning(&format!(
                "{} left out, because the record lacks what the selectors ask for; list without them",
                count(self.unknown, "certificate was", "certificates were")
            ));
        }
        match self.unknown + self.unreadable {
            0 => ExitCode::Done,
            _ => ExitCode::Partial,
        }
    }
}

/// A number with its noun or verb.
fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}
