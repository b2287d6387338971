//! `shieldcert revoke`.

use clap::Args;
use shieldcert::Status;

use super::Run;
use super::change::{Change, ChangeArgs};
use crate::context::Context;
use crate::failure::Result;

/// Revoke certificates
///
/// By id, by file, or by selectors. All but a single id must be confirmed: by typing their number at a terminal, or with
/// --yes. Selectors read the whole list before anything is revoked, and leave out what is revoked already.
///
/// Revoking is safe to repeat, and `shieldcert reactivate` undoes it. The edge refuses a revoked certificate only where
/// the mTLS rule checks cf.tls_client_auth.cert_revoked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert revoke 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 --wait
  shieldcert revoke --subject O=Acme --dry-run
  shieldcert revoke --subject O=Acme --yes --wait
  shieldcert list --expired --status active | shieldcert revoke --yes -")]
pub(crate) struct Revoke {
    #[command(flatten)]
    change: ChangeArgs,
}

impl Run for Revoke {
    async fn run(self, context: &Context) -> Result {
        let change = Change {
            verb: "revoke",
            done: "revoked",
            status: "revoked",
            unchecked: "",
            needs_nothing: |status| matches!(status, Status::Revoked | Status::PendingRevocation),
            send: |zone, ids, wait| match wait {
                true => zone.revoke_all(ids).until_settled().stream(),
                false => zone.revoke_all(ids).stream(),
            },
        };
        change.run(context, self.change).await
    }
}
