//! Issues certificates, exactly once.
//!
//! The API has no idempotency key. A request whose response is lost may have issued a certificate, and sending it
//! again issues another. So every failure is one of three kinds:
//!
//! - It *did not happen*: no connection was made, or the service refused (a 4XX, a 429). The call is retried as the
//!   policy allows, or the error is returned.
//! - It *happened*: a certificate came back.
//! - It *may have happened*: a timeout, a broken connection, a 5XX, an unreadable response. Then the zone is searched
//!   for the CSR's DER until the settle window is over, because the service may act on a request a while after it
//!   failed. Only if the certificate is certainly not there is the request sent again. If the search fails too, or the
//!   attempts are used up, the error says that the outcome is unknown.
//!
//! Not promised: that the service acts within the settle window. A certificate that turns up later is surplus, which
//! [`Zone::revoke_surplus`](crate::Zone::revoke_surplus) revokes. Two issues for one CSR at the same time, in this
//! client or by another tool, can't be told apart: each may take the other's certificate for its own.

use std::time::Duration;

use jiff::Timestamp;
use shieldcert_api::types;
use tokio::time::{Instant, sleep, sleep_until};

use crate::certificate::ClientCertificate;
use crate::context::Context;
use crate::error::input::InvalidInput;
use crate::error::{Error, Result};
use crate::find::{find_recent, may_be_active};
use crate::observe::trace;
use crate::pki::csr::Csr;
use crate::pki::x509::X509Certificate;
use crate::revoke::Revoke;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;

/// Issues a certificate, exactly once. Created by [`Zone::issue`](crate::Zone::issue).
///
/// The certificate that it returns has been checked: its public key is the CSR's, and the record's fingerprint and
/// serial number are the certificate's own.
///
/// If a response is lost, the zone is searched for the certificate until the *settle window* is over, in which the
/// service may still act. Only then is the request sent again. If every request is lost, that takes seven minutes with
/// the defaults: four attempts, each with a timeout of 30 seconds and a window of 75.
///
/// # Limits
/// - Use a CSR for one certificate. If a response is lost, any unrevoked certificate of the same CSR, even an older one,
///   is taken for the new one. To renew, make a new CSR.
/// - A certificate that the service issues after the settle window is *surplus*: a second one, which
///   [`Zone::revoke_surplus`](crate::Zone::revoke_surplus) revokes.
/// - Two issues of one CSR at the same time, in this client or by another tool, can't be told apart: each may take the
///   other's certificate for its own.
///
/// # Errors
/// After [`Error::OutcomeUnknown`] a certificate may have been issued. After [`Error::WrongCertificate`] one was issued
/// that does not match the request. After any other error none was issued.
///
/// # Cancel safety
/// After the future is dropped, a certificate may have been issued. Keep the CSR and look for it with
/// [`Zone::find_by_csr`](crate::Zone::find_by_csr); a CSR made again with the same ECDSA key is another CSR.
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
}

/// The settings of an issue, for one certificate or many.
#[derive(Clone, Debug)]
pub(crate) struct IssueOptions {
    pub(crate) validity_days: u32,
    pub(crate) settle_window: Duration,
}

impl Default for IssueOptions {
    fn default() -> Self {
        Self {
            validity_days: Issue::DEFAULT_VALIDITY_DAYS,
            settle_window: Issue::DEFAULT_SETTLE_WINDOW,
        }
    }
}

/// An issued certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate, as the service describes it.
    pub certificate: ClientCertificate,
    /// Whether the response was lost and the certificate was found in the zone.
    pub recovered: bool,
    /// How often the service may have seen the request. 1 unless an outcome was unclear.
    pub attempts: u32,
}

/// A hundred years. The service's own bound is not documented. Beyond this, somebody mistook the unit.
const MAX_VALIDITY_DAYS: u32 = 36_500;

/// How far the service's clock may be behind this machine's.
const CLOCK_SKEW: Duration = Duration::from_secs(600);

const INITIAL_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(15);

impl Issue {
    /// The default of [`validity_days`](Self::validity_days): 365 days.
    pub const DEFAULT_VALIDITY_DAYS: u32 = 365;

    /// The default of [`settle_window`](Self::settle_window): 75 seconds.
    pub const DEFAULT_SETTLE_WINDOW: Duration = Duration::from_secs(75);

    pub(crate) fn new(context: Context, csr: Csr) -> Self {
        Self::with_options(context, csr, IssueOptions::default())
    }

    pub(crate) fn with_options(context: Context, csr: Csr, options: IssueOptions) -> Self {
        Self {
            context,
            csr,
            options,
        }
    }

    /// Sets how many days the certificate is valid, from 1 to 36,500. Default: 365.
    pub fn validity_days(mut self, days: u32) -> Self {
        self.options.validity_days = days;
        self
    }

    /// Sets how long after an unclear failure the service may still act on the request. Default: 75 seconds.
    ///
    /// The zone is searched for this long before the request is sent again. A shorter window gives results sooner, and
    /// a second certificate where the service is slower.
    pub fn settle_window(mut self, window: Duration) -> Self {
        self.options.settle_window = window;
        self
    }

    /// Overrides the client's retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.context.set_retry(policy);
        self
    }

    /// Sends the request. The same as `.await`, for where a plain future is needed.
    ///
    /// # Errors
    /// See [`Issue`].
    pub fn send(self) -> BoxFuture<'static, Result<Issued>> {
        let span = tracing::info_span!(
            "shieldcert.issue",
            zone = %self.context.zone_id,
            csr.sha256 = self.csr.sha256(),
            validity_days = self.options.validity_days
        );
        Box::pin(trace(span, self.send_inner()))
    }

    async fn send_inner(self) -> Result<Issued> {
        let days = self.options.validity_days;
        if !(1..=MAX_VALIDITY_DAYS).contains(&days) {
            let problem =
                format!("{days} days are not possible; give 1 to {MAX_VALIDITY_DAYS} days");
            return Err(InvalidInput::new("validity", problem).into());
        }
        let max_attempts = self.context.retry().max_attempts;
        let since = Timestamp::now()
            .checked_sub(CLOCK_SKEW)
            .unwrap_or(Timestamp::MIN);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.create().await {
                Ok(certificate) => {
                    check(&certificate, &self.csr)?;
                    if attempts > 1 {
                        self.revoke_surplus(&certificate, since).await;
                    }
                    tracing::debug!(certificate = %certificate.id(), attempts, "issued");
                    return Ok(Issued {
                        certificate,
                        recovered: false,
                        attempts,
                    });
                }
                // Neither this attempt nor one before it issued anything.
                Err(error) if attempts == 1 && !error.is_ambiguous() => return Err(error),
                Err(error) => error,
            };
            tracing::debug!(%error, attempts, "searching for the certificate");
            match self.search(since).await {
                Ok(Some(certificate)) => {
                    check(&certificate, &self.csr)?;
                    self.revoke_surplus(&certificate, since).await;
                    tracing::info!(certificate = %certificate.id(), attempts, "recovered");
                    return Ok(Issued {
                        certificate,
                        recovered: true,
                        attempts,
                    });
                }
                // A clear refusal of this attempt ends it. What earlier attempts did remains unknown.
                Ok(None) if error.is_ambiguous() && attempts < max_attempts => {}
                Ok(None) | Err(_) => {
                    return Err(Error::OutcomeUnknown {
                        csr_sha256: self.csr.sha256(),
                        cause: Box::new(error),
                    });
                }
            }
        }
    }

    /// Sends the request once, and again only where it certainly had no effect.
    async fn create(&self) -> Result<ClientCertificate> {
        let body = types::CreateClientCertificateBody::builder()
            .csr(types::Csr(self.csr.to_pem()))
            .validity_days(types::ValidityDays(self.options.validity_days.into()));
        let response = self
            .context
            .call::<types::ClientCertificateResponseSingle>(async |api| {
                api.create_client_certificate()
                    .zone_id(self.context.zone())
                    .body(body)
                    .send()
                    .await
            });
        Ok(response.await?.0)
    }

    /// Searches for the certificate until it is found or the settle window is over. `None` if a search after the end
    /// of the window did not find it; an error if nobody knows.
    async fn search(&self, since: Timestamp) -> Result<Option<ClientCertificate>> {
        let settled = Instant::now() + self.options.settle_window;
        let mut pause = INITIAL_PAUSE;
        loop {
            let is_last = Instant::now() >= settled;
            match find_recent(&self.context, &self.csr, since).await {
                Ok(found) => {
                    if let Some(certificate) = found.into_iter().find(may_be_active) {
                        return Ok(Some(certificate));
                    }
                    if is_last {
                        return Ok(None);
                    }
                }
                Err(error) if is_last => return Err(error),
                Err(error) => tracing::debug!(%error, "search failed"),
            }
            let next = Instant::now() + pause;
            sleep_until(next.min(settled.max(Instant::now()))).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Revokes what earlier attempts issued after all. No response named those certificates, so nobody uses them.
    /// What can't be revoked here is left to a clean-up.
    async fn revoke_surplus(&self, keep: &ClientCertificate, since: Timestamp) {
        let found = match find_recent(&self.context, &self.csr, since).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "could not search for surplus certificates");
                return;
            }
        };
        for surplus in found {
            if surplus.id() == keep.id() || !may_be_active(&surplus) {
                continue;
            }
            let revoke = Revoke::new(self.context.clone(), surplus.id().clone());
            let revoked = async {
                loop {
                    match revoke.clone().send().await {
                        Err(error) if error.is_retryable() => sleep(INITIAL_PAUSE).await,
                        outcome => break outcome,
                    }
                }
            };
            let limit = self.options.settle_window.max(MAX_PAUSE);
            match tokio::time::timeout(limit, revoked).await {
                Ok(Ok(_)) => {
                    tracing::info!(certificate = %surplus.id(), "revoked a surplus certificate");
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not revoke a surplus certificate");
                }
                Err(_) => {
                    tracing::warn!(
                        certificate = %surplus.id(),
                        "could not revoke a surplus certificate in time"
                    );
                }
            }
        }
    }
}

/// Checks that the certificate matches the request, and the record matches the certificate.
fn check(record: &ClientCertificate, csr: &Csr) -> Result<()> {
    let wrong = |problem: String| Error::WrongCertificate {
        id: Some(record.id().clone()),
        problem,
    };
    let pem = record
        .pem()
        .ok_or_else(|| wrong("the record holds no certificate".into()))?;
    let certificate = X509Certificate::from_pem(pem).map_err(|error| wrong(error.to_string()))?;
    if certificate.public_key() != csr.public_key() {
        return Err(wrong("its public key is not the CSR's".into()));
    }
    if let Some(stated) = record.fingerprint_sha256()
        && !stated
            .replace(':', "")
            .eq_ignore_ascii_case(&certificate.fingerprint_sha256())
    {
        return Err(wrong(format!(
            "the record's fingerprint is {stated:?}, the certificate's is {}",
            certificate.fingerprint_sha256()
        )));
    }
    if let Some(stated) = record.serial_number()
        && !certificate.has_serial_number(stated)
    {
        return Err(wrong(format!(
            "the record's serial number is {stated:?}, the certificate's is {}",
            certificate.serial_number()
        )));
    }
    Ok(())
}

impl IntoFuture for Issue {
    type Output = Result<Issued>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}
