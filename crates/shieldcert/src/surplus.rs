//! Revokes certificates that were issued for a CSR but are not in use.

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::certificate::unreadable::UnreadableRecord;
use crate::context::Context;
use crate::error::Result;
use crate::error::input::InvalidInput;
use crate::find::FindByCsr;
use crate::issue::may_be_active;
use crate::list::dedup::key;
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::revoke::Revoke;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Revokes every certificate of a CSR but those to keep. Created by
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
/// let surplus = zone.revoke_surplus(&csr).keep([in_use]).await?;
/// println!("{} revoked", surplus.revoked.len());
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

/// What [`RevokeSurplus`] has revoked, and what it could not judge.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RevokedSurplus {
    /// The certificates that it revoked, as the service responded.
    pub revoked: Vec<ClientCertificate>,
    /// Active certificates with the CSR's public key whose record has no CSR that can be read. They are left alone,
    /// because another CSR may have the same key.
    pub same_key: Vec<ClientCertificate>,
    /// Active certificates whose record has neither a CSR nor a certificate that can be read. They are left alone.
    pub incomparable: Vec<ClientCertificate>,
    /// The records of the zone that can't be read.
    pub unreadable: Vec<UnreadableRecord>,
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
    pub fn send(self) -> BoxFuture<'static, Result<RevokedSurplus>> {
        let span = tracing::info_span!(
            "shieldcert.revoke_surplus",
            zone = %self.context.zone_id, csr.sha256 = self.csr.sha256()
        );
        Box::pin(trace(span, self.send_inner()))
    }

    async fn send_inner(self) -> Result<RevokedSurplus> {
        if self.keep.is_empty() {
            return Err(InvalidInput::new(
                "certificates to keep",
                "there are none, so every certificate of the CSR would be revoked; name the one in use with `keep`",
            )
            .into());
        }
        let found = FindByCsr::new(self.context.clone(), self.csr.clone())
            .send()
            .await?;
        let is_surplus = |certificate: &ClientCertificate| {
            let is_kept = self
                .keep
                .iter()
                .any(|keep| key(keep) == key(certificate.id()));
            !is_kept && may_be_active(certificate)
        };
        let mut surplus = RevokedSurplus {
            same_key: found.same_key.into_iter().filter(is_surplus).collect(),
            incomparable: found.incomparable.into_iter().filter(is_surplus).collect(),
            unreadable: found.unreadable,
            ..RevokedSurplus::default()
        };
        for certificate in found.certificates.iter().filter(|found| is_surplus(found)) {
            let revoke = Revoke::new(self.context.clone(), certificate.id().clone());
            surplus.revoked.push(revoke.send().await?);
        }
        Ok(surplus)
    }
}

impl IntoFuture for RevokeSurplus {
    type Output = Result<RevokedSurplus>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}
