//! A zone: the handle that every operation hangs from.

use std::sync::Arc;

use shieldcert_api::{ResponseValue, types};

use crate::certificate::{CertificateId, ClientCertificate, ZoneId};
use crate::client::Client;
use crate::csr::Csr;
use crate::error::{Call, Error, Result};
use crate::get::Get;
use crate::issue::Issue;
use crate::list::List;
use crate::search;
use crate::transition::{Reactivate, Revoke, Wait};
use crate::transport::answer::{Envelope, conclude};
use crate::transport::exchange::Exchange;
use crate::transport::retry::RetryPolicy;

/// The client certificates of a zone. Cheap to clone; made by [`Client::zone`].
#[derive(Clone, Debug)]
pub struct Zone {
    client: Client,
    id: ZoneId,
}

impl Zone {
    pub(crate) fn new(client: Client, id: ZoneId) -> Self {
        Self { client, id }
    }

    /// The zone's id.
    pub fn id(&self) -> &ZoneId {
        &self.id
    }

    /// The client that calls are made with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Lists the zone's certificates, all of them unless a filter is set.
    pub fn list(&self) -> List {
        List::new(self.clone())
    }

    /// Gets one certificate.
    pub fn get(&self, id: &CertificateId) -> Get {
        Get::new(self.clone(), id.clone())
    }

    /// Issues a certificate for a CSR.
    pub fn issue(&self, csr: &Csr) -> Issue {
        Issue::new(self.clone(), csr.clone())
    }

    /// Finds the certificates that were issued for a CSR, in any status, oldest first.
    ///
    /// Reads the whole list: 20 requests for each 1,000 certificates. This is what to ask after an
    /// [`Error::OutcomeUnknown`].
    pub async fn find_by_csr(&self, csr: &Csr) -> Result<Vec<ClientCertificate>> {
        search::everywhere(self, csr, self.client.retry()).await
    }

    /// Revokes every certificate for a CSR but one, and returns those that it revoked.
    ///
    /// For a clean-up after an issue whose request reached the service later than the settle window
    /// allows for, so that a second certificate turned up afterwards. `keep` is the one that is in
    /// use. Asking twice is safe.
    pub async fn revoke_surplus(
        &self,
        csr: &Csr,
        keep: &CertificateId,
    ) -> Result<Vec<ClientCertificate>> {
        let mut revoked = Vec::new();
        for certificate in self.find_by_csr(csr).await? {
            if certificate.id() != keep && search::may_be_active(&certificate) {
                revoked.push(self.revoke(certificate.id()).await?);
            }
        }
        Ok(revoked)
    }

    /// Revokes a certificate. Its quota is free at once; the edge refuses it once it is `revoked`.
    pub fn revoke(&self, id: &CertificateId) -> Revoke {
        Revoke::new(self.clone(), id.clone())
    }

    /// Makes a certificate active again.
    pub fn reactivate(&self, id: &CertificateId) -> Reactivate {
        Reactivate::new(self.clone(), id.clone())
    }

    /// Waits until nothing is under way with a certificate, and returns it as it then is.
    pub fn wait(&self, id: &CertificateId) -> Wait {
        Wait::until_settled(self.clone(), id.clone())
    }

    /// Makes one operation's call and reads its answer.
    pub(crate) async fn call<E: Envelope>(
        &self,
        policy: &RetryPolicy,
        request: impl AsyncFnOnce(
            shieldcert_api::Client,
        ) -> Result<
            ResponseValue<E>,
            shieldcert_api::Error<types::ApiResponseCommonFailure>,
        >,
    ) -> Result<(E::Answer, Call)> {
        let exchange = Arc::new(Exchange::new(
            self.client.transport(),
            self.client.limits(),
            policy.clone(),
            self.client.base_path(),
        ));
        let api = shieldcert_api::Client::with_transport(self.client.base_url(), exchange.clone());
        let read = request(api).await;
        match exchange.take() {
            Some(record) => conclude(read.ok().map(ResponseValue::into_inner), record),
            None => Err(Error::input(
                "request",
                match read {
                    Err(error) => format!("can't be composed ({error})"),
                    Ok(_) => "was not sent".to_owned(),
                },
            )),
        }
    }

    pub(crate) fn wire_id(&self) -> String {
        self.id.to_string()
    }
}
