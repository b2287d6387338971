//! Revokes certificates that were issued for a CSR but are not in use.

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::context::Context;
use crate::error::Result;
use crate::error::input::InvalidInput;
use crate::find::{FindByCsr, may_be_active};
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::revoke::Revoke;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Revokes every certificate of a CSR but those to keep, and returns the ones that it revoked. Created by
/// [`Zone::revoke_surplus`](crate::Zone::revoke_surplus).
///
/// It is for the clean-up after a request to issue that reached the service later than the settle window allows, so
/// that a second certificate turned up. It reads the whole list, and is idempotent.
///
/// # Errors
/// Returns an error if no certificate to keep was named, if the list can't be read, or if a certificate can't be
/// revoked. Those before it are revoked then.
///
/// # Cancel safety
/// After the future is dropped, some may be revoked. Calling it again is safe.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{CertificateId, Csr, Zone};
///
/// # async fn example(zone: Zone, csr: Csr, in_use: CertificateId) -> shieldcert::Result<()> {
/// let revoked = zone.revoke_surplus(&csr).keep([in_use]).await?;
/// println!("{} revoked", revoked.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct RevokeSurplus {
    context: Context,
    csr: Csr,
    keep: Vec<CertificateId>,
}

impl RevokeSurplus {
    pub(crate) fn new(context: Context, csr: Csr) -> Self {
        Self {
            context,
            csr,
            keep: Vec::new(),
        }
    }

    /// Keeps these certificates, because they are in use. At least one is required. Can be called repeatedly.
    pub fn keep(mut self, ids: impl IntoIterator<Item = CertificateId>) -> Self {
        self.keep.extend(ids);
        self
    }

    /// Overrides the client's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.context.set_retry(policy);
        self
    }

    /// Finds and revokes. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`RevokeSurplus`].
    pub fn send(self) -> BoxFuture<'static, Result<Vec<ClientCertificate>>> {
        let span = tracing::info_span!(
            "shieldcert.revoke_surplus",
            zone = %self.context.zone_id, csr.sha256 = self.csr.sha256()
        );
        Box::pin(trace(span, self.send_inner()))
    }

    async fn send_inner(self) -> Result<Vec<ClientCertificate>> {
        if self.keep.is_empty() {
            return Err(InvalidInput::new(
                "certificates to keep",
                "there are none, so every certificate of the CSR would be revoked; name the one in use with `keep`",
            )
            .into());
        }
        let found = FindByCsr::new(self.context.clone(), self.csr)
            .send()
            .await?;
        let mut revoked = Vec::new();
        for certificate in found {
            if !self.keep.contains(certificate.id()) && may_be_active(&certificate) {
                let revoke = Revoke::new(self.context.clone(), certificate.id().clone());
                revoked.push(revoke.send().await?);
            }
        }
        Ok(revoked)
    }
}

impl IntoFuture for RevokeSurplus {
    type Output = Result<Vec<ClientCertificate>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}
