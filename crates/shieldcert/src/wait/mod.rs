//! Waits until a certificate has a status.

pub(crate) mod queue;
mod shared;

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use http::StatusCode;
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::certificate::status::Status;
use crate::context::Context;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result, WaitTarget};
use crate::observe::trace;
use crate::transport::BoxFuture;
use crate::transport::deadline::{deadline_after, has_passed, within};

/// Waits for a status of a certificate. Created by [`Zone::wait`](crate::Zone::wait) and by `until_settled`.
///
/// It polls the certificate until it has the status: after a quarter of a second at first, then less and less often, at
/// least every ten seconds. It is a future of the certificate in the end, and a stream of every certificate that it sees
/// on the way, the last one included.
///
/// Many waits of one client in one zone share their polls: a few pages of a list, where that is cheaper than a request
/// for each wait.
///
/// The [timeout](Self::timeout) bounds everything: the request of `revoke` or `reactivate`, polls, retries, and waits for
/// the rate limit.
///
/// # Errors
/// - [`Error::NotSettled`] with the last status seen if the timeout passed, or the rate limit blocks beyond it;
/// - an error that [`is_not_found`](Error::is_not_found) if the API says three times, over 15 seconds, that there is no
///   such certificate;
/// - another refusal of the API, such as wrong credentials;
/// - after `revoke` or `reactivate`, the error of that request, or [`Error::Overtaken`] if somebody moved the certificate
///   the other way: it is seen there three times in a row, over 75 seconds. Reads may lag behind, so fewer prove nothing.
///
/// A transient failure, such as a 502 or a page of a gateway, does not end the wait. The stream ends after an error.
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
    request: Option<Request>,
    timeout: Duration,
}

type Request = Box<dyn FnOnce(Context) -> BoxFuture<'static, Result<ClientCertificate>> + Send>;

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
        request: impl FnOnce(Context) -> BoxFuture<'static, Result<ClientCertificate>> + Send + 'static,
    ) -> Self {
        let request: Request = Box::new(request);
        Self::with(context, id, WaitTarget::Status(target), Some(request))
    }

    fn with(
        context: Context,
        id: CertificateId,
        target: WaitTarget,
        request: Option<Request>,
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

    /// Sets how long to wait, from when it is first polled, the request of `revoke` or `reactivate` included. Default:
    /// five minutes. `Duration::MAX` is no limit. Has no effect once the wait was polled.
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
            deadline: deadline_after(started, self.timeout),
            observed: Observed::new(self.target.clone(), self.request.is_some()),
            missing: Evidence::new(MISSING_FOR),
            failure: None,
            delay: Wait::INITIAL_DELAY,
            is_first: true,
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
    deadline: Option<Instant>,
    observed: Observed,
    /// The API says that there is no such certificate.
    missing: Evidence,
    /// Why the last request failed, if it did.
    failure: Option<Error>,
    delay: Duration,
    /// Nothing was sent yet.
    is_first: bool,
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
            Some(request) => self.start(request).await?,
            None => self.poll().await?,
        };
        self.failure = None;
        self.missing.refute();
        let redactor = &self.settings.context.shared.stack.redactor;
        let status = certificate.status().to_string();
        tracing::debug!(status = %redactor.redact(&status), "seen");
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

    /// Sends the request that begins the transition.
    async fn start(&mut self, request: Request) -> Result<ClientCertificate> {
        self.is_first = false;
        let response = request(self.context());
        match self.within_timeout(response).await {
            Some(Err(error)) if has_passed(self.deadline) => Err(self.not_settled(Some(error))),
            Some(result) => result,
            None => Err(self.not_settled(None)),
        }
    }

    /// Polls until the service says something.
    async fn poll(&mut self) -> Result<ClientCertificate> {
        loop {
            if !std::mem::take(&mut self.is_first) {
                self.pause().await;
            }
            // Checked here too, since a response that is always ready would starve a timeout.
            if has_passed(self.deadline) {
                let failure = self.failure.take();
                return Err(self.not_settled(failure));
            }
            let (context, id) = (self.context(), self.settings.id.clone());
            let polled = Box::pin(shared::poll(&context, &id));
            match self.within_timeout(polled).await {
                Some(Ok(certificate)) => return Ok(certificate),
                Some(Err(error)) if self.is_final(&error) => return Err(error),
                Some(Err(error)) => {
                    tracing::debug!(%error, "poll failed");
                    if self.is_blocked_beyond_timeout(&error) {
                        return Err(self.not_settled(Some(error)));
                    }
                    self.failure = Some(error);
                }
                None => {}
            }
        }
    }

    /// The context of a request, which ends with the wait.
    fn context(&self) -> Context {
        let mut context = self.settings.context.clone();
        if !context.is_patient() {
            context.set_deadline(self.deadline);
        }
        context
    }

    /// Waits for a response. `None` if the timeout passes first. In a bulk call, which pauses while the service blocks
    /// it, the timeout counts only the time between requests.
    async fn within_timeout<T>(&mut self, response: impl Future<Output = T>) -> Option<T> {
        if !self.settings.context.is_patient() {
            return within(self.deadline, response).await.ok();
        }
        let asked = Instant::now();
        let response = response.await;
        let deadline = self.deadline;
        self.deadline = deadline.and_then(|deadline| deadline_after(deadline, asked.elapsed()));
        Some(response)
    }

    /// Whether a failed poll ends the wait.
    fn is_final(&mut self, error: &Error) -> bool {
        match error {
            Error::InvalidResponse { .. } => false,
            Error::Api { call, .. } if call.status == Some(StatusCode::NOT_FOUND) => {
                self.missing.add()
            }
            error => !error.is_retryable(),
        }
    }

    fn is_blocked_beyond_timeout(&self, error: &Error) -> bool {
        let Error::RateLimited { wait, .. } = error else {
            return false;
        };
        let free_at = deadline_after(Instant::now(), *wait);
        self.deadline
            .is_some_and(|deadline| free_at.is_none_or(|free_at| free_at >= deadline))
    }

    fn not_settled(&self, failure: Option<Error>) -> Error {
        Error::NotSettled {
            id: self.settings.id.clone(),
            wanted: self.settings.target.clone(),
            last: self.observed.last.clone().unwrap_or(Status::from("")),
            waited: self.started.elapsed(),
            cause: failure.map(Box::new),
        }
    }

    /// Sleeps until the next poll, longer each time. The last poll is shortly before the deadline.
    async fn pause(&mut self) {
        let now = Instant::now();
        let next_poll = self.settings.context.shared.polls.next_poll(self.delay);
        let until = match self.deadline {
            None => next_poll,
            Some(deadline) => {
                let remaining = deadline.saturating_duration_since(now);
                let last_poll = deadline - Wait::INITIAL_DELAY.min(remaining);
                if now < last_poll {
                    next_poll.min(last_poll)
                } else {
                    deadline
                }
            }
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

/// How long the API has to say that there is no such certificate. A replica that lags says so too.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// How long a certificate has to be seen on the other side: longer than reads are assumed to lag, see
/// [`Issue::DEFAULT_SETTLE_WINDOW`](crate::Issue::DEFAULT_SETTLE_WINDOW).
const CONTRARY_FOR: Duration = Duration::from_secs(75);

/// Observations in a row that say the same. One shows nothing.
struct Evidence {
    /// How long they have to last.
    duration: Duration,
    since: Option<Instant>,
    count: u32,
}

impl Evidence {
    const MIN_COUNT: u32 = 3;

    fn new(duration: Duration) -> Self {
        Self {
            duration,
            since: None,
            count: 0,
        }
    }

    /// Adds an observation. Returns whether they suffice.
    fn add(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        self.count += 1;
        self.count >= Self::MIN_COUNT && now - since >= self.duration
    }

    fn refute(&mut self) {
        *self = Self::new(self.duration);
    }
}

/// What a wait has observed so far.
struct Observed {
    target: WaitTarget,
    /// Whether the wait is for a transition that this client began, which another can overtake.
    is_own: bool,
    last: Option<Status>,
    /// The certificate is on the other side.
    contrary: Evidence,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Pending,
    Overtaken(Status),
}

impl Observed {
    fn new(target: WaitTarget, is_own: bool) -> Self {
        Self {
            target,
            is_own,
            last: None,
            contrary: Evidence::new(CONTRARY_FOR),
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
        if !is_contrary {
            self.contrary.refute();
        } else if self.is_own && self.contrary.add() {
            return Progress::Overtaken(wanted.clone());
        }
        Progress::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what the last of these statuses leads to, each seen half a minute after the one before it.
    async fn judge(target: WaitTarget, is_own: bool, seen: &[Status]) -> Progress {
        let mut observed = Observed::new(target, is_own);
        let mut last = Progress::Pending;
        for status in seen {
            tokio::time::advance(Duration::from_secs(30)).await;
            last = observed.add(status);
        }
        last
    }

    #[tokio::test(start_paused = true)]
    async fn observations_are_judged_against_the_target() {
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
            (status(Revoked), vec![Active; 3], Progress::Pending),
            (
                status(Revoked),
                vec![Active, Active, Active, PendingRevocation, Active, Active],
                Progress::Pending,
            ),
            (
                status(Revoked),
                vec![Active; 4],
                Progress::Overtaken(Revoked),
            ),
            (
                status(Revoked),
                vec![PendingReactivation, PendingReactivation, Active, Active],
                Progress::Overtaken(Revoked),
            ),
            (
                status(Active),
                vec![Revoked, PendingReactivation, Active],
                Progress::Done,
            ),
            (
                status(Active),
                vec![PendingRevocation, Revoked, Revoked, Revoked],
                Progress::Overtaken(Active),
            ),
            (status(Active), vec![other(); 9], Progress::Pending),
            (
                status(PendingRevocation),
                vec![Active; 9],
                Progress::Pending,
            ),
        ] {
            let judged = judge(target.clone(), true, &seen).await;
            assert_eq!(judged, expected, "{target:?} {seen:?}");
            let judged = judge(target.clone(), false, &seen).await;
            let expected = match expected {
                Progress::Overtaken(_) => Progress::Pending,
                expected => expected,
            };
            assert_eq!(judged, expected, "of somebody else: {target:?} {seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_observations_at_once_show_no_more_than_one() {
        let mut observed = Observed::new(WaitTarget::Status(Status::Revoked), true);
        for _ in 0..100 {
            assert_eq!(observed.add(&Status::Active), Progress::Pending);
        }
    }
}
