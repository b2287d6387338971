//! Issuing certificates, exactly once.
//!
//! The API has no idempotency key: a request whose answer is lost may have issued a certificate, and one
//! that is sent again issues another. So every failure is one of three kinds:
//!
//! - It *did not happen*: no connection was made, or the service refused (a 4XX, a 429). The call is
//!   sent again as the policy allows, or the error returned as it is.
//! - It *happened*: a certificate came back.
//! - It *may have happened*: a time-out, a broken connection, a 5XX, an answer that can't be read. Then
//!   the certificate is looked for in the zone by the CSR's DER, again and again until the settle window
//!   is over, since the service may act on a request a while after it failed. Only if it is certainly
//!   not there is the request sent again. Where looking fails too, or the attempts are used up, the
//!   error says that the outcome is unknown.
//!
//! What is not promised: that the service acts within the settle window. A certificate that turns up
//! later is a surplus, which [`Zone::revoke_surplus`] revokes. And two issues for one CSR at the same
//! time, here or by another tool, can't be told apart: each may take the other's certificate for its own.

use std::time::Duration;

use jiff::Timestamp;
use shieldcert_api::types;
use tokio::time::{Instant, sleep, sleep_until};

use crate::certificate::ClientCertificate;
use crate::csr::Csr;
use crate::error::{Error, Result};
use crate::search;
use crate::trace::traced;
use crate::transport::BoxFuture;
use crate::transport::retry::RetryPolicy;
use crate::x509::Certificate;
use crate::zone::Zone;

/// Issues a certificate when awaited, exactly once; made by [`Zone::issue`].
///
/// It returns a certificate or an error that says whether one may have been issued: after
/// [`Error::OutcomeUnknown`] one may, after any other error none was.
///
/// What comes back has been checked: its public key is the CSR's, and the fingerprint and serial
/// number of the record are the certificate's own. Otherwise the error is [`Error::WrongCertificate`].
///
/// ```no_run
/// # async fn example(zone: shieldcert::Zone, csr: shieldcert::Csr) -> shieldcert::Result<()> {
/// let issued = zone.issue(&csr).validity_days(90).await?;
/// println!("{}", issued.certificate.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Issue {
    zone: Zone,
    csr: Csr,
    validity_days: u32,
    settle_window: Duration,
    retry: Option<RetryPolicy>,
}

/// An issued certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// The certificate, as the service describes it.
    pub certificate: ClientCertificate,
    /// Whether the answer was lost and the certificate found in the zone.
    pub recovered: bool,
    /// How often the service may have seen the request: 1 unless an outcome was unclear.
    pub attempts: u32,
}

/// A year.
const DEFAULT_VALIDITY_DAYS: u32 = 365;

/// A hundred years. The service's own bound is not documented; beyond this, somebody mistook the unit.
const LONGEST_VALIDITY_DAYS: u32 = 36_500;

/// How far the service's clock may be behind this machine's.
const CLOCK_SKEW: Duration = Duration::from_secs(600);

const FIRST_LOOK: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl Issue {
    /// How long the service may take to act on a request that failed, unless
    /// [`settle_window`](Self::settle_window) says otherwise: 75 seconds.
    pub const SETTLE_WINDOW: Duration = Duration::from_secs(75);

    pub(crate) fn new(zone: Zone, csr: Csr) -> Self {
        Self {
            zone,
            csr,
            validity_days: DEFAULT_VALIDITY_DAYS,
            settle_window: Self::SETTLE_WINDOW,
            retry: None,
        }
    }

    /// How many days the certificate is valid, from 1; 365 unless set.
    pub fn validity_days(mut self, days: u32) -> Self {
        self.validity_days = days;
        self
    }

    /// How long after an unclear failure the service may still act on the request.
    ///
    /// So long the certificate is looked for before the request is sent again. Shorter gives answers
    /// sooner, and a second certificate where the service is slower.
    pub fn settle_window(mut self, window: Duration) -> Self {
        self.settle_window = window;
        self
    }

    /// How often and how long this call is tried, in place of the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    async fn run(self) -> Result<Issued> {
        let span = tracing::info_span!(
            "shieldcert.issue",
            zone = %self.zone.id(), csr.sha256 = self.csr.sha256(), validity_days = self.validity_days
        );
        traced(span, self.act()).await
    }

    async fn act(self) -> Result<Issued> {
        if !(1..=LONGEST_VALIDITY_DAYS).contains(&self.validity_days) {
            return Err(Error::input(
                "validity",
                format!(
                    "{} days is not possible; it must be from 1 to {LONGEST_VALIDITY_DAYS} days",
                    self.validity_days
                ),
            ));
        }
        let policy = self.retry.as_ref().unwrap_or(self.zone.client().retry());
        let since = Timestamp::now()
            .checked_sub(CLOCK_SKEW)
            .unwrap_or(Timestamp::MIN);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.send(policy).await {
                Ok(certificate) => {
                    check(&certificate, &self.csr)?;
                    if attempts > 1 {
                        self.revoke_late_ones(&certificate, since, policy).await;
                    }
                    tracing::debug!(certificate = %certificate.id(), attempts, "issued");
                    return Ok(Issued {
                        certificate,
                        recovered: false,
                        attempts,
                    });
                }
                // Nothing was issued, by this attempt or any before it.
                Err(error) if attempts == 1 && !error.is_ambiguous() => return Err(error),
                Err(error) => error,
            };
            tracing::debug!(%error, attempts, "looking for what it may have issued");
            let looked = self.look(since, policy).await;
            match looked {
                Ok(Some(certificate)) => {
                    check(&certificate, &self.csr)?;
                    self.revoke_late_ones(&certificate, since, policy).await;
                    tracing::info!(certificate = %certificate.id(), attempts, "recovered");
                    return Ok(Issued {
                        certificate,
                        recovered: true,
                        attempts,
                    });
                }
                // A clear refusal now ends it; what earlier attempts did remains unknown.
                Ok(None) if error.is_ambiguous() && attempts < policy.most_attempts() => {}
                Ok(None) | Err(_) => {
                    return Err(Error::OutcomeUnknown {
                        csr_sha256: self.csr.sha256(),
                        source: Box::new(error),
                    });
                }
            }
        }
    }

    /// Sends the request, once or where it certainly did nothing again.
    async fn send(&self, policy: &RetryPolicy) -> Result<ClientCertificate> {
        let body = types::CreateClientCertificateBody::builder()
            .csr(types::Csr(self.csr.to_pem()))
            .validity_days(types::ValidityDays(self.validity_days.into()));
        let answer = self.zone.call(policy, async |api| {
            api.create_client_certificate()
                .zone_id(self.zone.wire_id())
                .body(body)
                .send()
                .await
        });
        Ok(answer.await?.0)
    }

    /// Looks for the certificate until it is found or the settle window is over. It is not there only
    /// if a look after the window's end says so; an error means that nobody knows.
    async fn look(
        &self,
        since: Timestamp,
        policy: &RetryPolicy,
    ) -> Result<Option<ClientCertificate>> {
        let settled = Instant::now() + self.settle_window;
        let mut pause = FIRST_LOOK;
        loop {
            let is_last = Instant::now() >= settled;
            match search::recent(&self.zone, &self.csr, since, policy).await {
                Ok(found) => {
                    if let Some(certificate) = found.into_iter().find(search::may_be_active) {
                        return Ok(Some(certificate));
                    }
                    if is_last {
                        return Ok(None);
                    }
                }
                Err(error) if is_last => return Err(error),
                Err(error) => tracing::debug!(%error, "could not look"),
            }
            let next = Instant::now() + pause;
            sleep_until(next.min(settled.max(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Revokes what earlier attempts issued after all. Their certificates are nobody's: no answer
    /// ever named them. What can't be done here is left to a clean-up.
    async fn revoke_late_ones(
        &self,
        keep: &ClientCertificate,
        since: Timestamp,
        policy: &RetryPolicy,
    ) {
        let found = match search::recent(&self.zone, &self.csr, since, policy).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "could not look for surplus certificates");
                return;
            }
        };
        for surplus in found {
            if surplus.id() == keep.id() || !search::may_be_active(&surplus) {
                continue;
            }
            let revoked = async {
                loop {
                    match self.zone.revoke(surplus.id()).retry(policy.clone()).await {
                        // Revoking twice is safe.
                        Err(error) if error.is_retryable() => sleep(FIRST_LOOK).await,
                        outcome => break outcome,
                    }
                }
            };
            match tokio::time::timeout(self.settle_window.max(LONGEST_PAUSE), revoked).await {
                Ok(Ok(_)) => tracing::info!(certificate = %surplus.id(), "revoked a surplus"),
                Ok(Err(error)) => tracing::warn!(%error, "could not revoke a surplus"),
                Err(_) => {
                    tracing::warn!(certificate = %surplus.id(), "could not revoke a surplus in time")
                }
            }
        }
    }
}

/// Whether the certificate is what was asked for, and the record is about that certificate.
fn check(record: &ClientCertificate, csr: &Csr) -> Result<()> {
    let wrong = |problem: String| Error::WrongCertificate {
        id: Some(record.id().clone()),
        problem,
    };
    let pem = record
        .pem()
        .ok_or_else(|| wrong("the record holds no certificate".into()))?;
    let certificate = Certificate::from_pem(pem)
        .map_err(|problem| wrong(format!("its certificate can't be read: {problem}")))?;
    if certificate.public_key != csr.public_key() {
        return Err(wrong("its public key is not the CSR's".into()));
    }
    if let Some(stated) = record.fingerprint_sha256()
        && !stated
            .replace(':', "")
            .eq_ignore_ascii_case(&certificate.sha256())
    {
        return Err(wrong(format!(
            "the record's fingerprint {stated:?} is not the certificate's, which is {}",
            certificate.sha256()
        )));
    }
    if let Some(stated) = record.serial_number()
        && !certificate.has_serial_number(stated)
    {
        return Err(wrong(format!(
            "the record's serial number {stated:?} is not the certificate's"
        )));
    }
    Ok(())
}

impl IntoFuture for Issue {
    type Output = Result<Issued>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
