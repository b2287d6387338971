//! Waits until a certificate has a status.

pub(crate) mod queue;
mod shared;

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Span;

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::certificate::status::Status;
use crate::context::Context;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result, WaitTarget};
use crate::observe::trace;
use crate::transport::BoxFuture;

/// Waits for a status of a certificate. Created by [`Zone::wait`](crate::Zone::wait) and by `until_settled`.
///
/// It polls the certificate until it has the status: after a quarter of a second at first, then less and less often, at
/// least every ten seconds. It is a future of the
/// certificate in the end, and a stream of every certificate that it sees on the way, the last one included.
///
/// Many waits of one client in one zone share their polls: a few pages of a list, where that is cheaper than a request
/// for each wait.
///
/// # Errors
/// - [`Error::Overtaken`] if somebody moved the certificate the other way;
/// - [`Error::NotSettled`] with the last status seen if the timeout passed;
/// - an error that [`is_not_found`](Error::is_not_found) if there is no such certificate;
/// - after `revoke` or `reactivate`, the error of that request.
///
/// A transient failure, such as a 502, does not end the wait. The stream ends after an error.
///
/// # Cancel safety
/// Dropping the wait changes nothing at the service, once the request of `revoke` or `reactivate` was sent. Waiting
/// again is safe.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{CertificateId, Zone};
///
/// # async fn example(zone: Zone, id: CertificateId) -> shieldcert::Result<()> {
/// let mut wait = zone.revoke(&id).until_settled();
/// while let Some(certificate) = wait.try_next().await? {
///     println!("{}", certificate.status()); // pending_revocation at each poll, then revoked
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent until it is awaited or polled"]
pub struct Wait {
    state: State,
}

enum State {
    /// Not polled yet: the settings.
    New(Box<Settings>),
    Polling(Pin<Box<dyn Stream<Item = Result<ClientCertificate>> + Send>>),
    Done,
}

struct Settings {
    context: Context,
    id: CertificateId,
    target: WaitTarget,
    /// What to send first.
    request: Option<BoxFuture<'static, Result<ClientCertificate>>>,
    timeout: Duration,
}

impl Wait {
    /// The default of [`timeout`](Self::timeout): five minutes.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

    const INITIAL_DELAY: Duration = Duration::from_millis(250);
    const MAX_DELAY: Duration = Duration::from_secs(10);

    pub(crate) fn new(context: Context, id: CertificateId) -> Self {
        Self::with(context, id, WaitTarget::Settled, None)
    }

    /// Sends a request first, and then waits for the status that it leads to.
    pub(crate) fn after(
        context: Context,
        id: CertificateId,
        target: Status,
        request: BoxFuture<'static, Result<ClientCertificate>>,
    ) -> Self {
        Self::with(context, id, WaitTarget::Status(target), Some(request))
    }

    fn with(
        context: Context,
        id: CertificateId,
        target: WaitTarget,
        request: Option<BoxFuture<'static, Result<ClientCertificate>>>,
    ) -> Self {
        Self {
            state: State::New(Box::new(Settings {
                context,
                id,
                target,
                request,
                timeout: Self::DEFAULT_TIMEOUT,
            })),
        }
    }

    /// Waits for this status instead of either settled one. Has no effect once the wait was polled.
    pub fn until(mut self, status: Status) -> Self {
        if let State::New(settings) = &mut self.state {
            settings.target = WaitTarget::Status(status);
        }
        self
    }

    /// Sets how long to wait, from the first poll. Default: five minutes. Has no effect once the wait was polled.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let State::New(settings) = &mut self.state {
            settings.timeout = timeout;
        }
        self
    }

    /// Waits until the certificate has the status. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`Wait`]. A wait that has already ended as a stream is an error.
    pub fn send(self) -> BoxFuture<'static, Result<ClientCertificate>> {
        Box::pin(self.finish())
    }

    async fn finish(mut self) -> Result<ClientCertificate> {
        let mut last = None;
        while let Some(certificate) = self.try_next().await? {
            last = Some(certificate);
        }
        last.ok_or_else(|| InvalidInput::new("wait", "it has already ended; make a new one").into())
    }

    /// Returns the next certificate seen; `None` after the one that has the status.
    ///
    /// # Errors
    /// See [`Wait`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn try_next(&mut self) -> Result<Option<ClientCertificate>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context))
            .await
            .transpose()
    }
}

impl Settings {
    fn into_stream(self) -> impl Stream<Item = Result<ClientCertificate>> + Send {
        let span = tracing::info_span!(
            "shieldcert.wait",
            zone = %self.context.zone_id, certificate = %self.id, until = %self.target
        );
        let started = Instant::now();
        let run = Run {
            started,
            deadline: started + self.timeout,
            observed: Observed::new(self.target.clone()),
            delay: Wait::INITIAL_DELAY,
            settings: self,
            is_done: false,
        };
        stream::unfold((run, span), |(mut run, span)| async {
            let next = run.next_traced(&span).await?;
            Some((next, (run, span)))
        })
    }
}

/// A wait in progress.
struct Run {
    settings: Settings,
    started: Instant,
    deadline: Instant,
    observed: Observed,
    delay: Duration,
    is_done: bool,
}

impl Run {
    async fn next_traced(&mut self, span: &Span) -> Option<Result<ClientCertificate>> {
        if self.is_done {
            return None;
        }
        let next = trace(span.clone(), self.next()).await;
        self.is_done |= next.is_err();
        Some(next)
    }

    /// Returns the next certificate seen, and sets `is_done` if it has the status.
    async fn next(&mut self) -> Result<ClientCertificate> {
        let certificate = match self.settings.request.take() {
            // The timeout does not cut it off, because its outcome would be unknown.
            Some(request) => request.await?,
            None => self.poll().await?,
        };
        tracing::debug!(status = %certificate.status(), "seen");
        match self.observed.add(certificate.status()) {
            Progress::Done => self.is_done = true,
            Progress::Overtaken(wanted) => {
                return Err(Error::Overtaken {
                    id: self.settings.id.clone(),
                    wanted,
                    seen: certificate.status().clone(),
                });
            }
            Progress::Pending => {}
        }
        Ok(certificate)
    }

    /// Polls until the service says something.
    async fn poll(&mut self) -> Result<ClientCertificate> {
        loop {
            if self.observed.last.is_some() {
                self.pause().await;
            }
            // A response that is always ready would starve the timeout.
            let polled = async {
                if Instant::now() >= self.deadline {
                    std::future::pending::<()>().await;
                }
                shared::poll(&self.settings.context, &self.settings.id).await
            };
            match timeout_at(self.deadline, polled).await {
                Ok(Ok(certificate)) => return Ok(certificate),
                Ok(Err(error)) if error.is_retryable() => {
                    tracing::debug!(%error, "poll failed");
                    if self.observed.last.is_none() {
                        self.pause().await;
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    return Err(Error::NotSettled {
                        id: self.settings.id.clone(),
                        wanted: self.settings.target.clone(),
                        last: self.observed.last.clone().unwrap_or(Status::from("")),
                        waited: self.started.elapsed(),
                    });
                }
            }
        }
    }

    /// Sleeps until the next poll, longer each time. The last poll is shortly before the deadline.
    async fn pause(&mut self) {
        let now = Instant::now();
        let remaining = self.deadline.saturating_duration_since(now);
        let last_poll = self.deadline - Wait::INITIAL_DELAY.min(remaining);
        let next_poll = self.settings.context.shared.polls.next_poll(self.delay);
        let until = if now < last_poll {
            next_poll.min(last_poll)
        } else {
            self.deadline
        };
        sleep_until(until).await;
        self.delay = (self.delay * 3 / 2).min(Wait::MAX_DELAY);
    }
}

impl Stream for Wait {
    type Item = Result<ClientCertificate>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let mut stream = match std::mem::replace(&mut self.state, State::Done) {
            State::New(settings) => Box::pin(settings.into_stream()),
            State::Polling(stream) => stream,
            State::Done => return Poll::Ready(None),
        };
        let next = stream.as_mut().poll_next(context);
        if !matches!(next, Poll::Ready(None)) {
            self.state = State::Polling(stream);
        }
        next
    }
}

impl IntoFuture for Wait {
    type Output = Result<ClientCertificate>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wait");
        if let State::New(settings) = &self.state {
            shown
                .field("id", &settings.id)
                .field("target", &settings.target)
                .field("timeout", &settings.timeout);
        }
        shown.finish_non_exhaustive()
    }
}

/// What a wait has observed so far.
struct Observed {
    target: WaitTarget,
    last: Option<Status>,
    /// How often in a row the certificate was seen on the other side.
    contrary: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Pending,
    Overtaken(Status),
}

impl Observed {
    /// One observation of the other side may be from before the request; two are not.
    const OVERTAKEN_AFTER: u32 = 2;

    fn new(target: WaitTarget) -> Self {
        Self {
            target,
            last: None,
            contrary: 0,
        }
    }

    fn add(&mut self, status: &Status) -> Progress {
        self.last = Some(status.clone());
        let wanted = match &self.target {
            WaitTarget::Settled if status.is_settled() => return Progress::Done,
            WaitTarget::Settled => return Progress::Pending,
            WaitTarget::Status(wanted) if wanted == status => return Progress::Done,
            WaitTarget::Status(wanted) => wanted,
        };
        let is_contrary = matches!(
            (wanted, status),
            (
                Status::Revoked,
                Status::Active | Status::PendingReactivation
            ) | (Status::Active, Status::Revoked | Status::PendingRevocation)
        );
        self.contrary = if is_contrary { self.contrary + 1 } else { 0 };
        if self.contrary >= Self::OVERTAKEN_AFTER {
            Progress::Overtaken(wanted.clone())
        } else {
            Progress::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_judged_against_the_target() {
        use Status::*;
        let other = || Status::from("archived");
        let status = WaitTarget::Status;
        for (target, seen, expected) in [
            (WaitTarget::Settled, vec![Active], Progress::Done),
            (
                WaitTarget::Settled,
                vec![PendingRevocation, Revoked],
                Progress::Done,
            ),
            (
                WaitTarget::Settled,
                vec![PendingRevocation, other()],
                Progress::Pending,
            ),
            (
                status(Revoked),
                vec![PendingRevocation, Revoked],
                Progress::Done,
            ),
            (status(Revoked), vec![Active], Progress::Pending),
            (
                status(Revoked),
                vec![Active, PendingRevocation, Active],
                Progress::Pending,
            ),
            (
                status(Revoked),
                vec![Active, Active],
                Progress::Overtaken(Revoked),
            ),
            (
                status(Revoked),
                vec![PendingReactivation, Active],
                Progress::Overtaken(Revoked),
            ),
            (
                status(Active),
                vec![Revoked, PendingReactivation, Active],
                Progress::Done,
            ),
            (
                status(Active),
                vec![PendingRevocation, Revoked],
                Progress::Overtaken(Active),
            ),
            (
                status(Active),
                vec![other(), other(), other()],
                Progress::Pending,
            ),
            (
                status(PendingRevocation),
                vec![Active, Active, Active],
                Progress::Pending,
            ),
        ] {
            let mut observed = Observed::new(target.clone());
            let last = seen.iter().map(|status| observed.add(status)).last();
            assert_eq!(last, Some(expected), "{target:?} {seen:?}");
        }
    }
}
