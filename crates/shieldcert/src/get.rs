//! Getting one certificate.

use crate::certificate::{CertificateId, ClientCertificate};
use crate::error::Result;
use crate::trace::traced;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;
use crate::zone::Zone;

/// Gets a certificate when awaited; made by [`Zone::get`].
///
/// Fails with an error that [`is_not_found`](crate::Error::is_not_found) where there is none.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Get {
    zone: Zone,
    id: CertificateId,
    retry: Option<RetryPolicy>,
}

impl Get {
    pub(crate) fn new(zone: Zone, id: CertificateId) -> Self {
        Self {
            zone,
            id,
            retry: None,
        }
    }

    /// How often and how long this call is tried, in place of the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    async fn run(self) -> Result<ClientCertificate> {
        let span = tracing::info_span!(
            "shieldcert.get",
            zone = %self.zone.id(), certificate = %self.id
        );
        traced(span, self.act()).await
    }

    async fn act(self) -> Result<ClientCertificate> {
        let policy = self.retry.as_ref().unwrap_or(self.zone.client().retry());
        let answer = self.zone.call(policy, async |api| {
            api.get_client_certificate()
                .zone_id(self.zone.wire_id())
                .client_certificate_id(self.id.to_string())
                .send()
                .await
        });
        Ok(answer.await?.0)
    }
}

impl IntoFuture for Get {
    type Output = Result<ClientCertificate>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
