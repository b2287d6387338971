//! `shieldcert wait`.

use std::time::Duration;

use clap::Args;
use shieldcert::{Status, Wait as WaitCall};
use shieldcert_fleet::parse_duration;
use tokio::task::JoinSet;

use super::Run;
use super::plan::Plan;
use crate::args::targets::TargetArgs;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::certificate::CertificateRow;
use crate::output::progress::Progress;

/// Wait until certificates have a status
///
/// Many waits share their requests. The command ends with code 6 if the time is over before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert wait 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 --for revoked
  shieldcert list --status pending_revocation | shieldcert wait --for revoked --timeout 1m -")]
pub(crate) struct Wait {
    #[command(flatten)]
    targets: TargetArgs,

    /// The status to wait for; settled is either of the others
    #[arg(long = "for", value_name = "STATUS", value_enum, default_value_t = Until::Settled)]
    until: Until,

    /// How long to wait for each
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    Active,
    Revoked,
    Settled,
}

impl Until {
    fn set(self, wait: WaitCall) -> WaitCall {
        match self {
            Self::Active => wait.until(Status::Active),
            Self::Revoked => wait.until(Status::Revoked),
            Self::Settled => wait,
        }
    }
}

impl Run for Wait {
    async fn run(self, context: &Context) -> Result {
        let targets = self.targets.read("wait for")?;
        let plan = Plan::make(context, targets, false, |_| false).await?;
        let mut printer = context.printer()?;
        let mut failures = plan.failures.clone();
        let mut waits = JoinSet::new();
        for (place, id) in &plan.ids {
            let wait = self
                .until
                .set(plan.zones[*place].wait(id))
                .timeout(self.timeout)
                .send();
            let (place, id) = (*place, id.clone());
            waits.spawn(async move { (place, id, wait.await) });
        }
        let mut progress = Progress::start(
            context.messages(),
            "waited for",
            Some(plan.ids.len() as u64),
        );
        while let Some(joined) = waits.join_next().await {
            let Ok((place, id, result)) = joined else {
                // A wait that panics is a defect, and is printed as one.
                failures.push(ExitCode::Failed);
                continue;
            };
            progress.add(1);
            match result {
                Ok(certificate) => {
                    let now = context.now();
                    let zone = plan.zones[place].id();
                    printer.print(&CertificateRow::new(zone, &certificate, now), now)?;
                    printer.flush_some()?;
                }
                Err(error) => {
                    let failure = Failure::from(error).about(format!("certificate {id}"));
                    context.messages().error(&failure);
                    failures.push(failure.code);
                }
            }
        }
        drop(progress);
        printer.finish()?;
        Ok(ExitCode::of_many(printer.rows(), &failures))
    }
}
