//! Gets one certificate.

use shieldcert_api::types;

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::context::Context;
use crate::error::call::Call;
use crate::error::{Error, Result};
use crate::list::dedup::key;
use crate::observe::trace;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Gets a certificate. Created by [`Zone::get`](crate::Zone::get).
///
/// # Errors
/// [`Error::is_not_found`](crate::Error::is_not_found) tells that there is no such certificate.
///
/// # Cancel safety
/// Dropping the future changes nothing at the service.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Get {
    context: Context,
    id: CertificateId,
}

impl Get {
    pub(crate) fn new(context: Context, id: CertificateId) -> Self {
        Self { context, id }
    }

    /// Overrides the client's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.context.set_retry(policy);
        self
    }

    /// Sends the request. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`Get`].
    pub fn send(self) -> BoxFuture<'static, Result<ClientCertificate>> {
        let span = tracing::info_span!(
            "shieldcert.get",
            zone = %self.context.zone_id, certificate = %self.id
        );
        Box::pin(trace(span, self.send_inner()))
    }

    async fn send_inner(self) -> Result<ClientCertificate> {
        let response = self
            .context
            .call::<types::ClientCertificateResponseSingle>(async |api| {
                api.get_client_certificate()
                    .zone_id(self.context.zone())
                    .client_certificate_id(self.id.to_string())
                    .send()
                    .await
            });
        let (certificate, call) = response.await?;
        of_id(certificate, &self.id, call)
    }
}

/// Returns the certificate if it is the one with this id. A cache may mix up responses.
pub(crate) fn of_id(
    certificate: ClientCertificate,
    id: &CertificateId,
    call: Call,
) -> Result<ClientCertificate> {
    if key(certificate.id()) == key(id) {
        return Ok(certificate);
    }
    let problem = format!(
        "the response is about another certificate, {}",
        certificate.id()
    );
    Err(Error::invalid_response(call, problem, ""))
}

impl IntoFuture for Get {
    type Output = Result<ClientCertificate>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}
