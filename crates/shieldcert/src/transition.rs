//! Moving certificates between statuses, and waiting until they have arrived.

use std::time::Duration;

use shieldcert_api::types;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::certificate::{CertificateId, ClientCertificate, Status};
use crate::error::{Awaited, Error, Result};
use crate::trace::traced;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;
use crate::zone::Zone;

/// Revokes a certificate when awaited; made by [`Zone::revoke`].
///
/// Awaited as it is, it returns the certificate as the service answers, on its way: usually
/// `pending_revocation`. With [`until_settled`](Self::until_settled) it returns it `revoked`.
/// Asking twice is safe.
///
/// ```no_run
/// # async fn example(zone: shieldcert::Zone, id: shieldcert::CertificateId) -> shieldcert::Result<()> {
/// use shieldcert::Status;
///
/// let certificate = zone.revoke(&id).until_settled().await?;
/// assert_eq!(certificate.status(), &Status::Revoked);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Revoke(Transition);

/// Makes a certificate active again when awaited; made by [`Zone::reactivate`].
///
/// The service decides which certificates it takes back; `pending_revocation` ones certainly, and by
/// its documentation `revoked` ones too. Asking twice is safe.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Reactivate(Transition);

#[derive(Clone, Debug)]
struct Transition {
    zone: Zone,
    id: CertificateId,
    target: Target,
    retry: Option<RetryPolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

macro_rules! transition {
    ($name:ident, $target:expr) => {
        impl $name {
            pub(crate) fn new(zone: Zone, id: CertificateId) -> Self {
                Self(Transition {
                    zone,
                    id,
                    target: $target,
                    retry: None,
                })
            }

            /// How often and how long this call is tried, in place of the client's policy.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.0.retry = Some(policy);
                self
            }

            /// Asks, and then waits until the certificate has arrived.
            pub fn until_settled(self) -> Wait {
                Wait {
                    awaited: Awaited::Status(self.0.target.status()),
                    zone: self.0.zone.clone(),
                    id: self.0.id.clone(),
                    request: Some(self.0),
                    timeout: Wait::TIMEOUT,
                }
            }
        }

        impl IntoFuture for $name {
            type Output = Result<ClientCertificate>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.0.run())
            }
        }
    };
}

transition!(Revoke, Target::Revoked);
transition!(Reactivate, Target::Active);

impl Transition {
    async fn run(self) -> Result<ClientCertificate> {
        let span = tracing::info_span!(
            "shieldcert.transition",
            zone = %self.zone.id(), certificate = %self.id, to = %self.target.status()
        );
        traced(span, self.act()).await
    }

    async fn act(self) -> Result<ClientCertificate> {
        let policy = self.retry.as_ref().unwrap_or(self.zone.client().retry());
        let (certificate, _) = self
            .zone
            .call(policy, async |api| match self.target {
                Target::Revoked => {
                    api.delete_client_certificate()
                        .zone_id(self.zone.wire_id())
                        .client_certificate_id(self.id.to_string())
                        .send()
                        .await
                }
                Target::Active => {
                    api.edit_client_certificate()
                        .zone_id(self.zone.wire_id())
                        .client_certificate_id(self.id.to_string())
                        .body(types::EditClientCertificateBody::builder().reactivate(true))
                        .send()
                        .await
                }
            })
            .await?;
        Ok(certificate)
    }
}

/// Waits for a status when awaited; made by [`Zone::wait`] and by `until_settled`.
///
/// It asks for the certificate again and again, soon at first and then less often. It ends with the
/// certificate in the status waited for, or with an error that says what it saw instead:
///
/// - [`Error::Overtaken`]: somebody moved the certificate the other way;
/// - [`Error::NotSettled`]: the time ran out, with the last status seen;
/// - an error that [`is_not_found`](Error::is_not_found): there is no such certificate (any more).
///
/// A failure that may pass, such as a 502, does not end it. Dropping the future does.
///
/// Many waits of one client in one zone share what they ask: a few pages of a list, where that is
/// cheaper than a request for each of them.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Wait {
    zone: Zone,
    id: CertificateId,
    awaited: Awaited,
    request: Option<Transition>,
    timeout: Duration,
}

impl Wait {
    /// How long is waited unless [`timeout`](Self::timeout) says otherwise: five minutes.
    pub const TIMEOUT: Duration = Duration::from_secs(300);

    const FIRST_DELAY: Duration = Duration::from_millis(250);
    const LONGEST_DELAY: Duration = Duration::from_secs(10);

    pub(crate) fn until_settled(zone: Zone, id: CertificateId) -> Self {
        Self {
            zone,
            id,
            awaited: Awaited::Settled,
            request: None,
            timeout: Self::TIMEOUT,
        }
    }

    /// Waits for this status instead of either settled one.
    pub fn until(mut self, status: Status) -> Self {
        self.awaited = Awaited::Status(status);
        self
    }

    /// The most time that is waited, from the moment it is first awaited.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(self) -> Result<ClientCertificate> {
        let span = tracing::info_span!(
            "shieldcert.wait",
            zone = %self.zone.id(), certificate = %self.id, until = %self.awaited
        );
        traced(span, self.act()).await
    }

    async fn act(self) -> Result<ClientCertificate> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut sightings = Sightings::of(&self.awaited);
        let mut delay = Self::FIRST_DELAY;
        let mut next = match self.request.clone() {
            // Not cut off by the time-out of the wait: what it did would not be known.
            Some(request) => Some(request.run().await?),
            None => None,
        };
        loop {
            if let Some(certificate) = next.take() {
                tracing::debug!(status = %certificate.status(), "seen");
                match sightings.judge(certificate.status()) {
                    Verdict::Arrived => return Ok(certificate),
                    Verdict::Overtaken(wanted) => {
                        return Err(Error::Overtaken {
                            id: self.id,
                            wanted,
                            seen: certificate.status().clone(),
                        });
                    }
                    Verdict::Underway => self.pause(&mut delay, deadline).await,
                }
            }
            // An answer that is always ready would never let a time-out have its turn.
            let polled = async {
                if Instant::now() >= deadline {
                    std::future::pending::<()>().await;
                }
                let lookout = self.zone.client().lookout();
                lookout.look(&self.zone, &self.id).await
            };
            match timeout_at(deadline, polled).await {
                Ok(Ok(certificate)) => next = Some(certificate),
                Ok(Err(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "no news");
                    self.pause(&mut delay, deadline).await;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(Error::NotSettled {
                        id: self.id,
                        wanted: self.awaited,
                        last: sightings.last,
                        waited: started.elapsed(),
                    });
                }
            }
        }
    }

    /// Waits before the next look, longer each time. The last look is taken shortly before the deadline
    /// rather than one delay too early.
    async fn pause(&self, delay: &mut Duration, deadline: Instant) {
        let now = Instant::now();
        let last_look = deadline - Self::FIRST_DELAY.min(deadline.saturating_duration_since(now));
        let next_look = self.zone.client().lookout().next_look(*delay);
        let until = if now < last_look {
            next_look.min(last_look)
        } else {
            deadline
        };
        sleep_until(until).await;
        *delay = (*delay * 3 / 2).min(Self::LONGEST_DELAY);
    }
}

impl IntoFuture for Wait {
    type Output = Result<ClientCertificate>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What a wait has seen so far.
struct Sightings {
    awaited: Awaited,
    last: Status,
    /// How often in a row the certificate was seen on the other side.
    contrary: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Arrived,
    Underway,
    Overtaken(Status),
}

impl Sightings {
    /// One sighting of the other side may be an answer from before the request; two are not.
    const CONVINCING: u32 = 2;

    fn of(awaited: &Awaited) -> Self {
        Self {
            awaited: awaited.clone(),
            last: Status::Unknown(String::new()),
            contrary: 0,
        }
    }

    fn judge(&mut self, status: &Status) -> Verdict {
        self.last = status.clone();
        let wanted = match &self.awaited {
            Awaited::Settled if status.is_settled() => return Verdict::Arrived,
            Awaited::Settled => return Verdict::Underway,
            Awaited::Status(wanted) if wanted == status => return Verdict::Arrived,
            Awaited::Status(wanted) => wanted,
        };
        let contrary = matches!(
            (wanted, status),
            (
                Status::Revoked,
                Status::Active | Status::PendingReactivation
            ) | (Status::Active, Status::Revoked | Status::PendingRevocation)
        );
        self.contrary = if contrary { self.contrary + 1 } else { 0 };
        if self.contrary >= Self::CONVINCING {
            Verdict::Overtaken(wanted.clone())
        } else {
            Verdict::Underway
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sightings_are_judged_against_what_is_awaited() {
        use Status::*;
        let other = || Status::from("archived");
        for (awaited, seen, verdict) in [
            (Awaited::Settled, vec![Active], Verdict::Arrived),
            (
                Awaited::Settled,
                vec![PendingRevocation, Revoked],
                Verdict::Arrived,
            ),
            (
                Awaited::Settled,
                vec![PendingRevocation, other()],
                Verdict::Underway,
            ),
            (
                Awaited::Status(Revoked),
                vec![PendingRevocation, Revoked],
                Verdict::Arrived,
            ),
            (Awaited::Status(Revoked), vec![Active], Verdict::Underway),
            (
                Awaited::Status(Revoked),
                vec![Active, PendingRevocation, Active],
                Verdict::Underway,
            ),
            (
                Awaited::Status(Revoked),
                vec![Active, Active],
                Verdict::Overtaken(Revoked),
            ),
            (
                Awaited::Status(Revoked),
                vec![PendingReactivation, Active],
                Verdict::Overtaken(Revoked),
            ),
            (
                Awaited::Status(Active),
                vec![Revoked, PendingReactivation, Active],
                Verdict::Arrived,
            ),
            (
                Awaited::Status(Active),
                vec![PendingRevocation, Revoked],
                Verdict::Overtaken(Active),
            ),
            (
                Awaited::Status(Active),
                vec![other(), other(), other()],
                Verdict::Underway,
            ),
            (
                Awaited::Status(PendingRevocation),
                vec![Active, Active, Active],
                Verdict::Underway,
            ),
        ] {
            let mut sightings = Sightings::of(&awaited);
            let last = seen.iter().map(|status| sightings.judge(status)).last();
            assert_eq!(last, Some(verdict), "{awaited:?} {seen:?}");
        }
    }
}
