//! The handle of a zone, which hands out the operations.

use std::fmt;

use crate::bulk::{IssueAll, ReactivateAll, RevokeAll};
use crate::certificate::id::{CertificateId, ZoneId};
use crate::client::Client;
use crate::context::Context;
use crate::find::{FindByCsr, FindByCsrs};
use crate::get::Get;
use crate::issue::Issue;
use crate::list::List;
use crate::pki::csr::Csr;
use crate::revoke::{Reactivate, Revoke};
use crate::surplus::RevokeSurplus;
use crate::wait::Wait;

/// The client certificates of a zone. Cheap to clone. Created by [`Client::zone`].
#[derive(Clone)]
pub struct Zone {
    context: Context,
}

impl Zone {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Returns the zone's id.
    pub fn id(&self) -> &ZoneId {
        &self.context.zone_id
    }

    /// Returns the client that makes the calls.
    pub fn client(&self) -> Client {
        Client::from_shared(self.context.shared.clone())
    }

    /// Lists the zone's certificates: all of them, or those with a status.
    pub fn list(&self) -> List {
        List::new(self.context.clone())
    }

    /// Gets a certificate.
    pub fn get(&self, id: &CertificateId) -> Get {
        Get::new(self.context.clone(), id.clone())
    }

    /// Issues a certificate for a CSR.
    pub fn issue(&self, csr: &Csr) -> Issue {
        Issue::new(self.context.clone(), csr.clone())
    }

    /// Issues a certificate for each of many CSRs.
    pub fn issue_all<I>(&self, csrs: I) -> IssueAll
    where
        I: IntoIterator<Item = Csr>,
        I::IntoIter: Send + 'static,
    {
        IssueAll::new(self.context.clone(), csrs.into_iter())
    }

    /// Finds the certificates that were issued for a CSR.
    pub fn find_by_csr(&self, csr: &Csr) -> FindByCsr {
        FindByCsr::new(self.context.clone(), csr.clone())
    }

    /// Finds the certificates that were issued for many CSRs, in as many requests as for one.
    pub fn find_by_csrs(&self, csrs: impl IntoIterator<Item = Csr>) -> FindByCsrs {
        FindByCsrs::new(self.context.clone(), csrs.into_iter().collect())
    }

    /// Revokes a certificate.
    ///
    /// Its place in the quota becomes free at once. The edge refuses it once it is `revoked`, if the mTLS rule checks
    /// for that.
    pub fn revoke(&self, id: &CertificateId) -> Revoke {
        Revoke::new(self.context.clone(), id.clone())
    }

    /// Revokes many certificates.
    pub fn revoke_all<I>(&self, ids: I) -> RevokeAll
    where
        I: IntoIterator<Item = CertificateId>,
        I::IntoIter: Send + 'static,
    {
        RevokeAll::new(self.context.clone(), ids.into_iter())
    }

    /// Revokes the certificates that were issued for a CSR but are not in use.
    pub fn revoke_surplus(&self, csr: &Csr) -> RevokeSurplus {
        RevokeSurplus::new(self.context.clone(), csr.clone())
    }

    /// Reactivates a certificate.
    pub fn reactivate(&self, id: &CertificateId) -> Reactivate {
        Reactivate::new(self.context.clone(), id.clone())
    }

    /// Reactivates many certificates.
    pub fn reactivate_all<I>(&self, ids: I) -> ReactivateAll
    where
        I: IntoIterator<Item = CertificateId>,
        I::IntoIter: Send + 'static,
    {
        ReactivateAll::new(self.context.clone(), ids.into_iter())
    }

    /// Waits until no transition of a certificate is in progress.
    pub fn wait(&self, id: &CertificateId) -> Wait {
        Wait::new(self.context.clone(), id.clone())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("base_url", &self.context.shared.base_url)
            .field("id", &self.context.zone_id)
            .finish_non_exhaustive()
    }
}
