//! Issues certificates, exactly once.
//!
//! The API has no idempotency key. A request whose response is lost may have issued a certificate, and sending it again
//! issues another. What is promised:
//!
//! *At most one certificate is returned for a request. The request is sent again only after the settle window that
//! follows the end of the send is over, and a look-up that began after that has shown that the certificate is absent.*
//!
//! Assumed: the service acts on a request, and lists the certificate, within the settle window. A certificate that it
//! issues later is *surplus*, which [`Zone::revoke_surplus`](crate::Zone::revoke_surplus) revokes; until then two may be
//! active.
//!
//! So every failure of a send is one of two kinds:
//!
//! - *Nothing happened*: no connection was made, or the API refused with an error code and a status below 500. The send is
//!   repeated as the policy allows, or the error is returned.
//! - *Unclear*: a timeout, a broken connection, a 5XX, a response that is not one of the API. The certificate is looked
//!   for ([`lookup`](crate::lookup)): early, which can only find it, and completely once the settle window is over. If it is
//!   absent, the request is sent again. If that is unknown, the error is [`Error::OutcomeUnknown`].
//!
//! Time is measured by the monotonic clock. What the service did is dated by the service. The local clock is never read.

mod check;
pub(crate) mod intent;
pub(crate) mod options;
pub(crate) mod registry;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use shieldcert_api::types;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until};

use self::check::check;
use self::intent::IssueIntent;
use self::options::{IssueOptions, issue_options};
use crate::certificate::ClientCertificate;
use crate::certificate::id::CertificateId;
use crate::certificate::status::Status;
use crate::context::Context;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result};
use crate::get::Get;
use crate::list::dedup::key;
use crate::list::unreadable::Keys;
use crate::lookup::needle::{Conclusion, FirstSend, Needle, Unread};
use crate::lookup::queue::{Depth, Line};
use crate::lookup::unclear::UnclearRecord;
use crate::lookup::{Pace, look};
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::revoke::Revoke;
use crate::transport::clock::SendWindow;
use crate::transport::deadline::{deadline_after, earlier, within};
use crate::transport::rate_limit::Permit;
use crate::transport::{BoxFuture, TransportError, TransportErrorKind};

/// Issues a certificate, exactly once. Created by [`Zone::issue`](crate::Zone::issue).
///
/// The certificate that it returns has been checked: its public key is the CSR's, it is not valid for longer than asked,
/// and the record's fingerprint and serial number are the certificate's own.
///
/// At most one certificate is returned for a request. If a response is lost, the zone is searched for the certificate,
/// and the request is sent again only once it is shown to be absent: the *settle window*, in which the service may
/// still act, is over, and every place of the zone's list that can hold the certificate was read. In a list that is
/// ordered by age, expiry or name that takes a few requests. Otherwise, such as in one that is ordered by id, it takes
/// one for each 50 certificates of the zone, and at most 240.
///
/// # Limits
/// - Assumed: the service acts on a request, and lists the certificate, within the settle window. A certificate that it
///   issues later is *surplus*: a second active one, until [`Zone::revoke_surplus`](crate::Zone::revoke_surplus) revokes
///   it.
/// - Two issues of one CSR by one client take turns. Two clients or tools that issue for one CSR at the same time can't
///   be told apart: each may take the other's certificate for its own. Say so with
///   [`csr_is_shared`](Self::csr_is_shared), and nothing is revoked.
///
/// # Errors
/// - After [`Error::OutcomeUnknown`] a certificate may have been issued. [`resume`](Self::resume) with its intent finds
///   out, or issues.
/// - [`Error::WrongCertificate`] names a certificate that exists and does not match the request.
/// - After any other error none was issued.
///
/// Without a [`deadline`](Self::deadline), an issue whose outcome is unclear ends within five minutes of the first
/// unclear send.
///
/// # Cancel safety
/// After the future is dropped, a certificate may have been issued. Keep the CSR and look for it with
/// [`Zone::find_by_csr`](crate::Zone::find_by_csr), or use [`intent`](Self::intent) from the beginning. A CSR made again
/// with the same ECDSA key is another CSR, so it can't be found by that.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{Csr, Zone};
///
/// # async fn example(zone: Zone, csr: Csr) -> shieldcert::Result<()> {
/// let issued = zone.issue(&csr).validity_days(90).await?;
/// println!("{}", issued.certificate.id());
/// # Ok(())
/// # }
/// ```
///
/// Many at once, with the futures crate (see [`Zone::issue_all`](crate::Zone::issue_all) for the shorter form):
///
/// ```no_run
/// use futures_util::{StreamExt, stream};
/// use shieldcert::{Csr, Zone};
///
/// # async fn example(zone: Zone, csrs: Vec<Csr>) {
/// let results: Vec<_> = stream::iter(csrs)
///     .map(|csr| zone.issue(&csr).send())
///     .buffer_unordered(16)
///     .collect()
///     .await;
/// # let _ = results;
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Issue {
    context: Context,
    csr: Csr,
    options: IssueOptions,
    intent: Option<IssueIntent>,
    /// When whoever sent the resumed request had ended.
    sender_ended: Option<Instant>,
}

/// An issued certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate, as the service describes it.
    pub certificate: ClientCertificate,
    /// Whether the response was lost and the certificate was found in the zone.
    pub recovered: bool,
    /// How often the service may have seen the request. 1 unless an outcome was unclear; 0 if a resumed request was
    /// found without being sent again.
    pub attempts: u32,
    /// How many days the certificate is valid, if the service granted fewer than asked.
    pub capped_validity_days: Option<u32>,
    /// Other certificates for the CSR that the request may have led to, and that are active. Revoke them, unless
    /// somebody else issued for the CSR.
    pub surplus: Vec<ClientCertificate>,
}

/// How long an issue without a deadline goes on after its first unclear send.
const MAX_RECOVERY: Duration = Duration::from_secs(300);

/// When the certificate is looked for early, after the end of the send.
const EARLY_LOOKS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(35),
];

/// How far the `Date` of one response may be ahead. By more than this a request was not sent any more before the settle
/// window began; otherwise the window is waited for.
const MAX_DATE_ERROR: Duration = Duration::from_secs(3600);

/// The pause before a complete look-up that failed is made again. Doubles each time.
const INITIAL_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long the revocation of a duplicate may take.
const MAX_REVOCATION: Duration = Duration::from_secs(60);

issue_options!(Issue);

impl Issue {
    /// The default of [`validity_days`](Self::validity_days): 365 days.
    pub const DEFAULT_VALIDITY_DAYS: u32 = options::DEFAULT_VALIDITY_DAYS;

    /// The most of [`validity_days`](Self::validity_days): a hundred years. The service's own bound is not documented. Beyond
    /// this, somebody mistook the unit.
    pub const MAX_VALIDITY_DAYS: u32 = 36_500;

    /// The default of [`settle_window`](Self::settle_window): 75 seconds.
    pub const DEFAULT_SETTLE_WINDOW: Duration = options::DEFAULT_SETTLE_WINDOW;

    pub(crate) fn new(context: Context, csr: Csr) -> Self {
        Self::with_options(context, csr, IssueOptions::default())
    }

    pub(crate) fn with_options(context: Context, csr: Csr, options: IssueOptions) -> Self {
        Self {
            context,
            csr,
            options,
            intent: None,
            sender_ended: None,
        }
    }

    /// Resumes a request that may have been sent, for example by a process that crashed.
    ///
    /// The certificate is looked for first. The request is sent only if it is absent, once the settle window after the
    /// last possible send is over by the service's time. Use the same CSR.
    ///
    /// A process that may crash once more uses [`prepare`](Self::prepare): what is sent again here is not covered by the
    /// stored intent.
    ///
    /// Right after a crash, that may be later than an issue without a [`deadline`](Self::deadline) ends. If the
    /// certificate is not found, the error is [`Error::OutcomeUnknown`] at once then: resume again later, or set a longer
    /// deadline.
    pub fn resume(mut self, intent: IssueIntent) -> Self {
        self.intent = Some(intent);
        self
    }

    /// Says that the process that may have sent the resumed request ended at least so long ago, for example because a lock
    /// that it held was free then.
    ///
    /// It has sent nothing since, so the settle window begins there at the latest. Otherwise it begins when the intent says
    /// that nothing is sent any more, which is up to the [`deadline`](Self::deadline) of that request later.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use shieldcert::{Csr, IssueIntent, Issued, Zone};
    ///
    /// # async fn example(zone: Zone, csr: Csr, intent: IssueIntent) -> shieldcert::Result<Issued> {
    /// // The lock of the process before was taken right now.
    /// let issue = zone.issue(&csr).resume(intent).sender_ended(Duration::ZERO);
    /// issue.deadline(Duration::from_secs(600)).await
    /// # }
    /// ```
    pub fn sender_ended(mut self, ago: Duration) -> Self {
        let now = Instant::now();
        // Further back than the clock reaches: now is late enough.
        self.sender_ended = Some(now.checked_sub(ago).unwrap_or(now));
        self
    }

    /// Looks for what a request that may have been sent has led to, and sends nothing. It needs the request's intent
    /// ([`resume`](Self::resume)).
    ///
    /// It returns the certificates of the request, oldest first, without those that are [known](Self::known). None means
    /// that none was issued, by the same proof that lets a resumed request be sent again. So it is for a request that is
    /// no longer wanted, and for a second look after an unclear one whose certificate was found: what it returns then is
    /// surplus.
    ///
    /// # Errors
    /// Returns [`Error::OutcomeUnknown`] if nothing shows what was issued, and an error if there is no intent.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing at the service.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use shieldcert::{CertificateId, Csr, IssueIntent, Zone};
    ///
    /// # async fn example(zone: Zone, csr: Csr, intent: IssueIntent, in_use: CertificateId) -> shieldcert::Result<()> {
    /// for late in zone.issue(&csr).resume(intent).known([in_use]).find().await? {
    ///     zone.revoke(late.id()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn find(mut self) -> BoxFuture<'static, Result<Vec<ClientCertificate>>> {
        let span = span(&self.context, &self.csr, self.options.validity_days);
        Box::pin(trace(span, async move {
            let Some(intent) = self.intent.take() else {
                let problem = "there is none; give that of the request with `resume`";
                return Err(InvalidInput::new("intent", problem).into());
            };
            let run = Run::start_with(self, Some(&intent)).await?;
            run.find(intent).await
        }))
    }

    /// Waits until the request may be sent under the rate limit, and returns what to store before it is sent.
    ///
    /// Nothing is sent. After a crash, give the stored intent to [`resume`](Self::resume). Without a
    /// [`deadline`](Self::deadline) the request must be sent within five minutes.
    ///
    /// # Errors
    /// Returns an error if a setting is invalid, or the deadline passes during the wait for the rate limit.
    ///
    /// # Cancel safety
    /// Dropping the future, or what it returns, sends nothing.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use shieldcert::{Csr, IssueIntent, Zone};
    ///
    /// # async fn example(zone: Zone, csr: Csr) -> Result<(), Box<dyn std::error::Error>> {
    /// let prepared = zone.issue(&csr).validity_days(90).intent().await?;
    /// std::fs::write("sensor-001.intent", serde_json::to_vec(prepared.intent())?)?;
    /// let issued = prepared.send().await?;
    ///
    /// // After a crash:
    /// let intent: IssueIntent = serde_json::from_slice(&std::fs::read("sensor-001.intent")?)?;
    /// let issued = zone.issue(&csr).resume(intent).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn intent(mut self) -> BoxFuture<'static, Result<PreparedIssue>> {
        Box::pin(async move {
            if self.intent.is_some() {
                let problem =
                    "it belongs to a request that may have been sent; resume it with `send`";
                return Err(InvalidInput::new("intent", problem).into());
            }
            self.options.deadline.get_or_insert(MAX_RECOVERY);
            let run = Run::start(self).await?;
            let permit = run.context.reserve().await?;
            let intent = run.intent();
            Ok(PreparedIssue {
                run,
                permit,
                intent,
            })
        })
    }

    /// Finds out about a resumed request, and returns its certificate; or, if it is absent or the request is new, waits
    /// until it may be sent under the rate limit, and returns what to store before it is.
    ///
    /// This is [`resume`](Self::resume) for a process that may crash once more: before the request is sent again, there is
    /// a new intent to store in place of the old one. Without a [`deadline`](Self::deadline), five minutes are allowed for
    /// both together.
    ///
    /// # Errors
    /// Returns [`Error::OutcomeUnknown`] if nothing shows what the resumed request has led to; the old intent stays good.
    /// See [`Issue`] for the others.
    ///
    /// # Cancel safety
    /// Dropping the future, or what it returns, issues nothing.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use shieldcert::{Csr, IssueIntent, Issued, Prepared, Zone};
    ///
    /// # async fn example(zone: Zone, csr: Csr) -> Result<Issued, Box<dyn std::error::Error>> {
    /// let path = "sensor-001.intent";
    /// let mut issue = zone.issue(&csr).validity_days(90);
    /// if let Ok(stored) = std::fs::read(path) {
    ///     issue = issue.resume(serde_json::from_slice(&stored)?);
    /// }
    /// let issued = match issue.prepare().await? {
    ///     Prepared::Issued(issued) => *issued,
    ///     Prepared::Ready(ready) => {
    ///         std::fs::write(path, serde_json::to_vec(ready.intent())?)?;
    ///         ready.send().await?
    ///     }
    /// };
    /// # Ok(issued)
    /// # }
    /// ```
    pub fn prepare(mut self) -> BoxFuture<'static, Result<Prepared>> {
        self.options.deadline.get_or_insert(MAX_RECOVERY);
        let span = span(&self.context, &self.csr, self.options.validity_days);
        Box::pin(trace(span, async move {
            let resumed = self.intent.take();
            let mut run = Run::start_with(self, resumed.as_ref()).await?;
            if let Some(intent) = &resumed
                && let Some(found) = run.find_early_or_settled(intent).await?
            {
                return Ok(Prepared::Issued(Box::new(run.return_found(found).await?)));
            }
            let permit = run.context.reserve().await?;
            let intent = run.renew_intent();
            Ok(Prepared::Ready(Box::new(PreparedIssue {
                run,
                permit,
                intent,
            })))
        }))
    }

    /// Sends the request. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`Issue`].
    pub fn send(self) -> BoxFuture<'static, Result<Issued>> {
        let span = span(&self.context, &self.csr, self.options.validity_days);
        Box::pin(trace(span, async {
            let resumed = self.intent.clone();
            let run = Run::start(self).await?;
            match resumed {
                Some(intent) => run.resume(intent).await,
                None => run.finish(None).await,
            }
        }))
    }
}

fn span(context: &Context, csr: &Csr, validity_days: u32) -> tracing::Span {
    tracing::info_span!(
        "shieldcert.issue",
        zone = %context.zone_id,
        csr.sha256 = csr.sha256(),
        validity_days
    )
}

/// What came of [`Issue::prepare`].
#[derive(Debug)]
pub enum Prepared {
    /// The resumed request has led to this certificate.
    Issued(Box<Issued>),
    /// Nothing was issued yet: store the intent, and send.
    Ready(Box<PreparedIssue>),
}

/// A request that may be sent under the rate limit, and what to store before it is. Created by [`Issue::intent`] and
/// [`Issue::prepare`].
///
/// It holds a place in the rate limit, and the turn of its CSR.
///
/// # Cancel safety
/// Dropping it sends nothing.
#[must_use = "nothing is sent until `send` is awaited"]
pub struct PreparedIssue {
    run: Run,
    permit: Permit,
    intent: IssueIntent,
}

impl PreparedIssue {
    /// Returns what to store, with the CSR, before the request is sent.
    pub fn intent(&self) -> &IssueIntent {
        &self.intent
    }

    /// Sends the request.
    ///
    /// # Errors
    /// See [`Issue`]. An error if the deadline has passed.
    ///
    /// # Cancel safety
    /// After the future is dropped, a certificate may have been issued: [`Issue::resume`] finds out.
    pub fn send(self) -> BoxFuture<'static, Result<Issued>> {
        let run = self.run;
        let span = span(&run.context, &run.csr, run.options.validity_days);
        Box::pin(trace(span, run.finish(Some(self.permit))))
    }
}

impl fmt::Debug for PreparedIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedIssue")
            .field("intent", &self.intent)
            .finish_non_exhaustive()
    }
}

/// An issue in progress.
struct Run {
    context: Context,
    csr: Csr,
    options: IssueOptions,
    _turn: OwnedMutexGuard<()>,
    /// When it ends.
    limit: Option<Instant>,
    /// How often the request was sent by this client.
    attempts: u32,
    /// The sends whose outcome is unclear.
    unclear: Option<Unclear>,
    /// The request of another process, which may have been sent.
    resumed: Option<IssueIntent>,
    /// When whoever sent it had ended.
    sender_ended: Option<Instant>,
    /// The zone's records without an id, as they were before anything was sent.
    unreadable: Arc<Keys>,
}

#[derive(Clone, Copy)]
struct Unclear {
    first_began: Instant,
    last_ended: Instant,
    count: u32,
}

impl Run {
    async fn start(mut issue: Issue) -> Result<Self> {
        let resumed = issue.intent.take();
        Self::start_with(issue, resumed.as_ref()).await
    }

    async fn start_with(issue: Issue, resumed: Option<&IssueIntent>) -> Result<Self> {
        let Issue {
            mut context,
            csr,
            mut options,
            sender_ended,
            ..
        } = issue;
        if let Some(intent) = resumed {
            options.validity_days = intent.validity_days;
        }
        let days = options.validity_days;
        if !(1..=Issue::MAX_VALIDITY_DAYS).contains(&days) {
            let problem = format!(
                "{days} days are not possible; give 1 to {} days",
                Issue::MAX_VALIDITY_DAYS
            );
            return Err(InvalidInput::new("validity", problem).into());
        }
        let limit = options
            .deadline
            .and_then(|deadline| deadline_after(Instant::now(), deadline));
        context.set_deadline(limit);
        let shared = context.shared.clone();
        let turn = within(limit, shared.issues.take_turn(&csr)).await;
        let turn = turn.map_err(|_| {
            let cause = io::Error::other("another issue for the same CSR is in progress");
            context.not_created(TransportError::new(
                TransportErrorKind::DeadlinePassed,
                Some(cause.into()),
            ))
        })?;
        let unreadable = shared.unreadable.get(&context.zone_id);
        Ok(Self {
            context,
            csr,
            options,
            _turn: turn,
            limit,
            attempts: 0,
            unclear: None,
            resumed: None,
            sender_ended,
            unreadable,
        })
    }

    /// Sends the request until its outcome is clear.
    async fn finish(mut self, mut permit: Option<Permit>) -> Result<Issued> {
        let max_attempts = self.context.retry().max_attempts;
        loop {
            self.attempts += 1;
            let (created, sent) = self.create(permit.take()).await;
            let error = match created {
                Ok(certificate) => return self.return_created(certificate).await,
                Err(error) => error,
            };
            let is_unclear = error.is_ambiguous();
            if let Some(sent) = sent.filter(|_| is_unclear) {
                let unclear = self.unclear.get_or_insert(Unclear {
                    first_began: sent.began,
                    last_ended: sent.ended,
                    count: 0,
                });
                unclear.last_ended = sent.ended;
                unclear.count += 1;
                self.set_limit(deadline_after(sent.began, MAX_RECOVERY));
            }
            // What happened to earlier sends is not said by the refusal of a later one.
            let Some(settled) = self.settled() else {
                return Err(error);
            };
            tracing::debug!(%error, attempts = self.attempts, "looking for the certificate");
            match self.recover(settled).await {
                Conclusion::Found(found) => {
                    return self.return_found(found).await;
                }
                Conclusion::Absent if is_unclear && self.attempts < max_attempts => {}
                Conclusion::Absent => return Err(self.outcome_unknown(error, Vec::new(), None)),
                Conclusion::Unknown(records, unread) => {
                    return Err(self.outcome_unknown(error, records, unread));
                }
            }
        }
    }

    /// Takes over the request of another process.
    fn take_over(&mut self, intent: &IssueIntent) -> Result<()> {
        if intent.csr_sha256 != self.csr.sha256() {
            let problem = format!(
                "it is for the CSR with SHA-256 {}, and this one has {}; give the CSR that was stored with it",
                intent.csr_sha256,
                self.csr.sha256()
            );
            return Err(InvalidInput::new("intent", problem).into());
        }
        self.set_limit(deadline_after(Instant::now(), MAX_RECOVERY));
        self.options.known.extend(intent.known.iter().cloned());
        self.options.key_is_new |= intent.key_is_new;
        self.resumed = Some(intent.clone());
        // This client's own list may be from after the send.
        let keys = intent.unreadable.iter();
        let keys = keys.filter_map(|key| u128::from_str_radix(key, 16).ok());
        self.unreadable = Arc::new(keys.collect());
        Ok(())
    }

    /// Looks for the certificate of another process, and sends the request if it is absent.
    async fn resume(mut self, intent: IssueIntent) -> Result<Issued> {
        match self.find_early_or_settled(&intent).await? {
            Some(found) => self.return_found(found).await,
            None => self.finish(None).await,
        }
    }

    /// Looks for the certificate of another process: early, and completely once it is settled. `None`: it is absent.
    async fn find_early_or_settled(
        &mut self,
        intent: &IssueIntent,
    ) -> Result<Option<Vec<ClientCertificate>>> {
        self.take_over(intent)?;
        let began = Instant::now();
        // This also tells the service's time.
        if let Conclusion::Found(found) = self.look(Depth::Early).await {
            return Ok(Some(found));
        }
        let settled = self.settled_after(intent, began);
        match self.look_when_settled(settled).await {
            Conclusion::Found(found) => Ok(Some(found)),
            Conclusion::Absent => Ok(None),
            Conclusion::Unknown(records, unread) => Err(self.sent_elsewhere(records, unread)),
        }
    }

    /// Returns what another process needs to resume what is sent from now on.
    fn renew_intent(&mut self) -> IssueIntent {
        let mut intent = self.intent();
        if self.resumed.is_some() {
            let clock = &self.context.shared.stack.clock;
            intent.sent_before = self.limit.and_then(|limit| clock.latest_at(limit));
            self.resumed = Some(intent.clone());
        }
        intent
    }

    /// Looks for what another process was issued, and sends nothing.
    async fn find(mut self, intent: IssueIntent) -> Result<Vec<ClientCertificate>> {
        self.take_over(&intent)?;
        let began = Instant::now();
        if self.context.shared.stack.clock.earliest_at(began).is_none() {
            // This tells the service's time.
            self.look(Depth::Early).await;
        }
        let settled = self.settled_after(&intent, began);
        match self.look_when_settled(settled).await {
            Conclusion::Found(found) => Ok(found),
            Conclusion::Absent => Ok(Vec::new()),
            Conclusion::Unknown(records, unread) => Err(self.sent_elsewhere(records, unread)),
        }
    }

    /// When the service has acted on the request of another process, if it ever will.
    fn settled_after(&self, intent: &IssueIntent, began: Instant) -> Option<Instant> {
        let window = self.options.settle_window;
        let clock = &self.context.shared.stack.clock;
        let now = Instant::now();
        let by_intent = match (intent.sent_before, clock.earliest_at(now)) {
            (Some(sent_before), Some(time)) => {
                let left = sent_before.duration_since(time);
                let since =
                    Duration::try_from(time.duration_since(sent_before)).unwrap_or_default();
                let left = Duration::try_from(left).unwrap_or_default();
                match since.checked_sub(MAX_DATE_ERROR) {
                    Some(since) if since >= window => Some(now),
                    _ => (left.checked_add(window)).and_then(|left| deadline_after(now, left)),
                }
            }
            _ => deadline_after(began, self.context.retry().attempt_timeout)
                .and_then(|sent| deadline_after(sent, window)),
        };
        let by_end = self
            .sender_ended
            .and_then(|ended| deadline_after(ended, window));
        earlier(by_intent, by_end)
    }

    fn sent_elsewhere(&self, records: Vec<UnclearRecord>, unread: Option<Unread>) -> Error {
        let cause = InvalidInput::new(
            "intent",
            "its request may have been sent by another process",
        );
        self.outcome_unknown(cause.into(), records, unread)
    }

    fn set_limit(&mut self, default: Option<Instant>) {
        if self.limit.is_none()
            && let Some(limit) = default
        {
            self.limit = Some(limit);
            self.context.set_deadline(Some(limit));
        }
    }

    /// Sends the request once, and again only where it certainly had no effect. Also returns when it was sent.
    async fn create(
        &self,
        permit: Option<Permit>,
    ) -> (Result<ClientCertificate>, Option<SendWindow>) {
        let csr = self.csr.to_pem();
        let days = i64::from(self.options.validity_days);
        let sends = self
            .context
            .send::<types::ClientCertificateResponseSingle>(permit, async |api| {
                let body = types::CreateClientCertificateBody::builder()
                    .csr(types::Csr(csr.clone()))
                    .validity_days(types::ValidityDays(days));
                api.create_client_certificate()
                    .zone_id(self.context.zone())
                    .body(body)
                    .send()
                    .await
            })
            .await;
        (
            sends.result.map(|(certificate, _)| certificate),
            sends.window,
        )
    }

    /// When the service has acted on every unclear send, if it ever will. `None` if no send is unclear.
    fn settled(&self) -> Option<Option<Instant>> {
        let window = self.options.settle_window;
        match self.unclear {
            Some(unclear) => Some(deadline_after(unclear.last_ended, window)),
            // The look-up before this send has shown that it is settled.
            None => self.resumed.as_ref().map(|_| Some(Instant::now())),
        }
    }

    /// Looks for the certificate: early, and completely once it is settled.
    async fn recover(&self, settled: Option<Instant>) -> Conclusion {
        let now = Instant::now();
        let ended = self.unclear.map_or(now, |unclear| unclear.last_ended);
        let line = self.line();
        let _settling = settled.map(|at| line.clone().settling(at));
        for after in EARLY_LOOKS {
            let at = ended + after;
            let is_early = at >= now && settled.is_none_or(|settled| at < settled);
            if is_early && self.limit.is_none_or(|limit| at < limit) {
                sleep_until(at).await;
                if line.try_begin_early(self.options.settle_window)
                    && let Conclusion::Found(found) = self.look(Depth::Early).await
                {
                    return Conclusion::Found(found);
                }
            }
        }
        self.look_when_settled(settled).await
    }

    async fn look_when_settled(&self, settled: Option<Instant>) -> Conclusion {
        let is_in_time = |time: &Instant| self.limit.is_none_or(|limit| *time < limit);
        let Some(settled) = settled.filter(is_in_time) else {
            let problem = "the service may still act on the request after the deadline";
            return Conclusion::Unknown(Vec::new(), Some(Unread::for_good(problem)));
        };
        let line = self.line();
        let _settling = line.clone().settling(settled);
        sleep_until(settled).await;
        let pace = self.pace();
        let together = line.settled_together(settled, pace.settle_window);
        if pace.allows(together) {
            sleep_until(together).await;
        }
        let mut pause = INITIAL_PAUSE;
        loop {
            let conclusion = self.look(Depth::Complete).await;
            let next = Instant::now() + pause;
            match &conclusion {
                Conclusion::Unknown(_, Some(unread)) if unread.can_retry && is_in_time(&next) => {
                    sleep_until(next).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                _ => return conclusion,
            }
        }
    }

    async fn look(&self, depth: Depth) -> Conclusion {
        let needle = Arc::new(self.needle());
        // Boxed, or the future of an issue would hold that of a look-up several times.
        let found = Box::pin(look(&self.context, needle, depth, self.pace()));
        match within(self.limit, found).await {
            Ok(findings) => findings.conclude(),
            Err(_) => {
                let unread = Unread::for_good("the deadline has passed");
                Conclusion::Unknown(Vec::new(), Some(unread))
            }
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            settle_window: self.options.settle_window,
            limit: self.limit,
        }
    }

    /// The look-ups of the zone.
    fn line(&self) -> Arc<Line> {
        self.context.shared.lookups.line(&self.context.zone_id)
    }

    fn needle(&self) -> Needle {
        let sent = match (&self.resumed, self.unclear) {
            (Some(intent), _) => FirstSend::Between(intent.sent_after, intent.sent_before),
            (None, Some(unclear)) => FirstSend::At(unclear.first_began),
            (None, None) => FirstSend::Between(None, None),
        };
        Needle {
            csr: self.csr.clone(),
            validity_days: self.options.validity_days,
            sent,
            clock: self.context.shared.stack.clock.clone(),
            key_is_new: self.options.key_is_new,
            known: self.known().iter().map(key).collect(),
            unreadable: self.unreadable.clone(),
        }
    }

    fn known(&self) -> HashSet<CertificateId> {
        let mut known = self.options.known.clone();
        known.extend(self.context.shared.issues.handed_out(&self.csr));
        known
    }

    /// What another process needs to resume.
    fn intent(&self) -> IssueIntent {
        let clock = &self.context.shared.stack.clock;
        let now = Instant::now();
        let resumed = self.resumed.as_ref();
        let first = self.unclear.map_or(now, |unclear| unclear.first_began);
        let last = match self.unclear {
            Some(unclear) => Some(unclear.last_ended),
            None => self.limit,
        };
        IssueIntent {
            csr_sha256: self.csr.sha256(),
            validity_days: self.options.validity_days,
            sent_after: match resumed {
                Some(intent) => intent.sent_after,
                None => clock.earliest_at(first),
            },
            sent_before: match (resumed, self.unclear) {
                (Some(intent), None) => intent.sent_before,
                _ => last.and_then(|last| clock.latest_at(last)),
            },
            known: self.known().into_iter().collect(),
            key_is_new: self.options.key_is_new,
            unreadable: self
                .unreadable
                .iter()
                .map(|key| format!("{key:032x}"))
                .collect(),
        }
    }

    fn outcome_unknown(
        &self,
        cause: Error,
        records: Vec<UnclearRecord>,
        unread: Option<Unread>,
    ) -> Error {
        Error::OutcomeUnknown {
            intent: Box::new(self.intent()),
            cause: Box::new(cause),
            records,
            problem: unread.map(|unread| unread.problem),
        }
    }

    /// Returns the certificate of a response.
    async fn return_created(self, mut certificate: ClientCertificate) -> Result<Issued> {
        if self
            .known()
            .iter()
            .any(|known| key(known) == key(certificate.id()))
        {
            return Err(Error::WrongCertificate {
                id: Some(certificate.id().clone()),
                problem: "it was issued before this request".to_owned(),
            });
        }
        if certificate.pem().is_none()
            && let Ok(complete) = self.get(certificate.id()).await
        {
            certificate = complete;
        }
        if let Some(issued) = certificate.issued_on() {
            self.context.shared.stack.clock.check(issued);
        }
        let capped_validity_days = self.check(&certificate)?;
        // Earlier sends were shown to have done nothing within the settle window. They may have since.
        let others = match self.unclear {
            Some(_) => match self.look(Depth::Early).await {
                Conclusion::Found(found) => found,
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        let own_sends = self.unclear.map_or(0, |unclear| unclear.count);
        let surplus = self
            .revoke_duplicates(&certificate, others, own_sends)
            .await;
        self.hand_out(&certificate);
        tracing::debug!(certificate = %certificate.id(), attempts = self.attempts, "issued");
        Ok(Issued {
            certificate,
            recovered: false,
            attempts: self.attempts,
            capped_validity_days,
            surplus,
        })
    }

    /// Returns the certificate that a look-up has found.
    async fn return_found(self, mut found: Vec<ClientCertificate>) -> Result<Issued> {
        // The oldest one that is active, or else the oldest one, which is an error.
        let place = found.iter().position(may_be_active).unwrap_or(0);
        let certificate = found.swap_remove(place);
        self.check(&certificate)?;
        // One of them has made the certificate.
        let own_sends = self.unclear.map_or(0, |unclear| unclear.count - 1);
        let surplus = self.revoke_duplicates(&certificate, found, own_sends).await;
        self.hand_out(&certificate);
        tracing::info!(certificate = %certificate.id(), attempts = self.attempts, "recovered");
        Ok(Issued {
            certificate,
            recovered: true,
            attempts: self.attempts,
            capped_validity_days: None,
            surplus,
        })
    }

    async fn get(&self, id: &CertificateId) -> Result<ClientCertificate> {
        Get::new(self.context.clone(), id.clone()).send().await
    }

    fn check(&self, certificate: &ClientCertificate) -> Result<Option<u32>> {
        let checked = check(certificate, &self.csr, self.options.validity_days);
        // The error names it.
        checked.inspect_err(|_| self.hand_out(certificate))
    }

    /// Remembers that the caller knows the certificate. Right before it is returned: a caller that drops the future
    /// doesn't.
    fn hand_out(&self, certificate: &ClientCertificate) {
        self.context
            .shared
            .issues
            .hand_out(&self.csr, certificate.id());
    }

    /// Revokes what this client's own sends can have issued beside the certificate, at most one for each. Returns what it
    /// does not revoke: what others may have issued, and what could not be revoked.
    async fn revoke_duplicates(
        &self,
        keep: &ClientCertificate,
        others: Vec<ClientCertificate>,
        mut own_sends: u32,
    ) -> Vec<ClientCertificate> {
        let needle = self.needle();
        let mut surplus = Vec::new();
        let mut found = Vec::with_capacity(others.len());
        for other in others {
            found.push(other.id().clone());
            if key(other.id()) == key(keep.id()) || !may_be_active(&other) {
                continue;
            }
            let is_own = own_sends > 0 && !self.options.csr_is_shared && needle.is_after(&other);
            if is_own && self.revoke(&other).await {
                own_sends -= 1;
            } else {
                surplus.push(other);
            }
        }
        // Revoked or about to be returned: no later request for the CSR has led to them.
        for id in &found {
            self.context.shared.issues.hand_out(&self.csr, id);
        }
        surplus
    }

    async fn revoke(&self, duplicate: &ClientCertificate) -> bool {
        let revoke = Revoke::new(self.context.clone(), duplicate.id().clone());
        let id = duplicate.id();
        match tokio::time::timeout(MAX_REVOCATION, revoke.send()).await {
            Ok(Ok(_)) => {
                tracing::info!(certificate = %id, "revoked a duplicate");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(certificate = %id, %error, "could not revoke a duplicate");
                false
            }
            Err(_) => {
                tracing::warn!(certificate = %id, "could not revoke a duplicate in time");
                false
            }
        }
    }
}

/// Whether the edge accepts the certificate, or will without another request.
pub(crate) fn may_be_active(certificate: &ClientCertificate) -> bool {
    !matches!(
        certificate.status(),
        Status::Revoked | Status::PendingRevocation
    )
}

impl IntoFuture for Issue {
    type Output = Result<Issued>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}
