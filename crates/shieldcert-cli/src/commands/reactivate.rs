//! `shieldcert reactivate`.

use clap::Args;
use shieldcert::Status;

use super::Run;
use super::change::{Change, ChangeArgs};
use crate::context::Context;
use crate::failure::Result;

/// Reactivate revoked certificates
///
/// By id, by file, or by selectors, as `shieldcert revoke` takes them. Each takes a place in the zone's quota again. The
/// service decides which it reactivates; those whose revocation is pending certainly.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert reactivate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 --wait
  shieldcert reactivate --status revoked --subject O=Acme --dry-run")]
pub(crate) struct Reactivate {
    #[command(flatten)]
    change: ChangeArgs,
}

impl Run for Reactivate {
    async fn run(self, context: &Context) -> Result {
        let change = Change {
            verb: "reactivate",
            done: "reactivated",
            status: "active",
            unchecked: ", and the quota, in which each takes a place again",
            needs_nothing: |status| matches!(status, Status::Active | Status::PendingReactivation),
            send: |zone, ids, wait| match wait {
                true => zone.reactivate_all(ids).until_settled().stream(),
                false => zone.reactivate_all(ids).stream(),
            },
        };
        change.run(context, self.change).await
    }
}
