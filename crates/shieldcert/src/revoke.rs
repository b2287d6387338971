//! Revokes and reactivates certificates.

use shieldcert_api::types;

use crate::certificate::ClientCertificate;
use crate::certificate::envelope::Change;
use crate::certificate::id::CertificateId;
use crate::certificate::status::Status;
use crate::context::Context;
use crate::error::Result;
use crate::get::{Get, of_id};
use crate::observe::trace;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;
use crate::wait::Wait;

/// Revokes a certificate. Created by [`Zone::revoke`](crate::Zone::revoke).
///
/// It returns the certificate as the service responds, usually `pending_revocation`. With
/// [`until_settled`](Self::until_settled) it waits until the certificate is `revoked`. Revoking is idempotent.
///
/// # Errors
/// [`Error::is_not_found`](crate::Error::is_not_found) tells that there is no such certificate. After an
/// [ambiguous](crate::Error::is_ambiguous) error, revoking again is safe. If a response was lost and the service refuses
/// the repetition, the certificate's status decides whether that is an error.
///
/// # Cancel safety
/// After the future is dropped, the service may have acted. Revoking again is safe.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{CertificateId, Status, Zone};
///
/// # async fn example(zone: Zone, id: CertificateId) -> shieldcert::Result<()> {
/// let certificate = zone.revoke(&id).until_settled().await?;
/// assert_eq!(certificate.status(), &Status::Revoked);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Revoke(Transition);

/// Reactivates a certificate. Created by [`Zone::reactivate`](crate::Zone::reactivate).
///
/// The service decides which certificates it reactivates: `pending_revocation` ones certainly, and by its
/// documentation `revoked` ones too. Reactivating is idempotent.
///
/// # Errors
/// [`Error::is_not_found`](crate::Error::is_not_found) tells that there is no such certificate, and
/// [`Error::is_quota_reached`](crate::Error::is_quota_reached) that the zone has no place for another active one.
///
/// # Cancel safety
/// After the future is dropped, the service may have acted. Reactivating again is safe.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Reactivate(Transition);

#[derive(Clone, Debug)]
struct Transition {
    context: Context,
    id: CertificateId,
    target: Target,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Revoked,
    Active,
}

impl Target {
    fn status(self) -> Status {
        match self {
            Self::Revoked => Status::Revoked,
            Self::Active => Status::Active,
        }
    }

    /// Whether a certificate with this status is there or on its way.
    fn is_approached_by(self, status: &Status) -> bool {
        match self {
            Self::Revoked => matches!(status, Status::Revoked | Status::PendingRevocation),
            Self::Active => matches!(status, Status::Active | Status::PendingReactivation),
        }
    }
}

/// What both operations have.
macro_rules! transition {
    ($name:ident, $target:expr) => {
        impl $name {
            pub(crate) fn new(context: Context, id: CertificateId) -> Self {
                Self(Transition {
                    context,
                    id,
                    target: $target,
                })
            }

            /// Overrides the client's retry policy.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.0.context.set_retry(policy);
                self
            }

            /// Sends the request, and then waits until the certificate has the requested status.
            ///
            /// The wait's timeout bounds the request too. If it cuts the request off, the service may have acted.
            pub fn until_settled(self) -> Wait {
                let Transition {
                    context,
                    id,
                    target,
                } = self.0;
                let request = {
                    let id = id.clone();
                    move |context| Self::new(context, id).send()
                };
                Wait::after(context, id, target.status(), request)
            }

            /// Sends the request. The same as `.await`, for where a plain future is needed.
            ///
            /// # Errors
            #[doc = concat!("See [`", stringify!($name), "`].")]
            pub fn send(self) -> BoxFuture<'static, Result<ClientCertificate>> {
                let span = tracing::info_span!(
                    "shieldcert.transition",
                    zone = %self.0.context.zone_id, certificate = %self.0.id, to = %self.0.target.status()
                );
                Box::pin(trace(span, self.0.send_inner()))
            }
        }

        impl IntoFuture for $name {
            type Output = Result<ClientCertificate>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                self.send()
            }
        }
    };
}

transition!(Revoke, Target::Revoked);
transition!(Reactivate, Target::Active);

impl Transition {
    async fn send_inner(self) -> Result<ClientCertificate> {
        let error = match self.request().await {
            Ok(certificate) => return Ok(certificate),
            Err(error) => error,
        };
        // The service may refuse a repetition because it has acted on the attempt before it.
        let is_unclear = error.call().is_some_and(|call| call.earlier_unclear);
        if is_unclear
            && !error.is_retryable()
            && let Ok(certificate) = self.get().await
            && self.target.is_approached_by(certificate.status())
        {
            return Ok(certificate);
        }
        Err(error)
    }

    async fn request(&self) -> Result<ClientCertificate> {
        let response = self.context.call::<Change>(async |api| {
            let response = match self.target {
                Target::Revoked => {
                    api.delete_client_certificate()
                        .zone_id(self.context.zone())
                        .client_certificate_id(self.id.to_string())
                        .send()
                        .await
                }
                Target::Active => {
                    let body = types::EditClientCertificateBody::builder().reactivate(true);
                    api.edit_client_certificate()
                        .zone_id(self.context.zone())
                        .client_certificate_id(self.id.to_string())
                        .body(body)
                        .send()
                        .await
                }
            };
            response?.map(Change)
        });
        match response.await? {
            (Some(certificate), call) => of_id(certificate, &self.id, call),
            // It says that it has acted, but not what the certificate is like now.
            (None, _) => self.get().await,
        }
    }

    async fn get(&self) -> Result<ClientCertificate> {
        Get::new(self.context.clone(), self.id.clone()).send().await
    }
}
