//! The steps of a generation, without the record of what was done: each engine keeps its own. Every step can be repeated.

use std::time::Duration;

use shieldcert::{CertificateId, Csr, Error, Issue, IssueIntent, Issued, Prepared, Zone};
use tokio::time::Instant;

use crate::error::Result;

/// A request to issue the certificate of a generation.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) zone: Zone,
    pub(crate) csr: Csr,
    pub(crate) validity_days: u32,
    /// The certificates of the CSR that exist already.
    pub(crate) known: Vec<CertificateId>,
    /// Whether the key was made for this generation.
    pub(crate) key_is_new: bool,
    pub(crate) settle_window: Duration,
    /// When the process that may have sent it had ended, if it has.
    pub(crate) sender_ended: Option<Instant>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The certificate, which was checked.
    Issued(Box<Issued>),
    /// Nothing was issued.
    NotIssued(Error),
    /// A certificate exists that is not what was asked for.
    Wrong(Error, Option<CertificateId>),
    /// Nothing shows whether one was issued. With what resumes the request.
    Unclear(Error, Box<IssueIntent>),
}

/// How long a request that may have been sent is given to be found out about, after the settle window.
const RESUME: Duration = Duration::from_secs(600);

/// How long a request may take beyond its settle windows.
const SEND: Duration = Duration::from_secs(30);

/// How long after it began to wait for its permit a request is sent at the latest.
pub(crate) fn send_deadline(settle_window: Duration) -> Duration {
    settle_window.saturating_mul(2).saturating_add(SEND)
}

/// The same for a process with many requests in flight, whose look-ups are made together: up to two windows later.
fn shared_deadline(settle_window: Duration) -> Duration {
    settle_window
        .saturating_mul(2)
        .saturating_add(send_deadline(settle_window))
}

impl Request {
    fn issue(&self) -> Issue {
        let issue = self
            .zone
            .issue(&self.csr)
            .validity_days(self.validity_days)
            .settle_window(self.settle_window)
            .known(self.known.iter().cloned())
            // What is surplus is recorded, and revoked by reconciliation alone.
            .csr_is_shared();
        let issue = match self.sender_ended {
            Some(ended) => issue.sender_ended(ended.elapsed()),
            None => issue,
        };
        match self.key_is_new {
            true => issue.key_is_new(),
            false => issue,
        }
    }

    /// Waits for a permit of the rate limit, has the intent recorded, and sends.
    ///
    /// # Errors
    /// Returns the error of `record`. Nothing was sent then.
    ///
    /// # Cancel safety
    /// After the future is dropped, a certificate may have been issued. What was recorded resumes it.
    pub(crate) async fn send(
        &self,
        record: impl FnOnce(&IssueIntent) -> Result<()>,
    ) -> Result<Outcome> {
        let deadline = shared_deadline(self.settle_window);
        self.send_within(deadline, record).await
    }

    /// Like [`send`](Self::send), with another deadline.
    pub(crate) async fn send_within(
        &self,
        deadline: Duration,
        record: impl FnOnce(&IssueIntent) -> Result<()>,
    ) -> Result<Outcome> {
        let prepared = match self.issue().deadline(deadline).intent().await {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Outcome::NotIssued(error)),
        };
        record(prepared.intent())?;
        Ok(outcome(prepared.send().await))
    }

    /// Finds out about a request that may have been sent. `None`: nothing was issued, and it may be sent again, as a new
    /// one.
    pub(crate) async fn resume(&self, intent: IssueIntent) -> Option<Outcome> {
        let issue = self.issue().deadline(self.patience(&intent)).resume(intent);
        match issue.prepare().await {
            Ok(Prepared::Issued(issued)) => Some(Outcome::Issued(issued)),
            // What is sent next gets an intent of its own, with a deadline of its own.
            Ok(Prepared::Ready(_)) => None,
            Err(error) => Some(outcome(Err(error))),
        }
    }

    /// Finds what a request has led to beside the known certificates, and sends nothing.
    pub(crate) async fn find(
        &self,
        intent: IssueIntent,
    ) -> shieldcert::Result<Vec<shieldcert::ClientCertificate>> {
        let patience = self.patience(&intent);
        self.issue().deadline(patience).resume(intent).find().await
    }

    /// How long it may take until the outcome of a request is known: until the service has acted on it, and the zone was
    /// read.
    fn patience(&self, intent: &IssueIntent) -> Duration {
        self.settles_in(intent).saturating_add(RESUME)
    }

    /// How long it takes, at most, until a request that may have been sent is not sent any more, and the service has acted
    /// on it.
    pub(crate) fn settles_in(&self, intent: &IssueIntent) -> Duration {
        let now = self.zone.client().service_time();
        let left = match (intent.sent_before, now) {
            (Some(before), Some(now)) => {
                Duration::try_from(before.duration_since(now)).unwrap_or_default()
            }
            _ => shared_deadline(self.settle_window),
        };
        let by_intent = left.saturating_add(self.settle_window);
        match self.sender_ended {
            Some(ended) => by_intent.min(self.settle_window.saturating_sub(ended.elapsed())),
            None => by_intent,
        }
    }
}

fn outcome(result: shieldcert::Result<Issued>) -> Outcome {
    let error = match result {
        Ok(issued) => return Outcome::Issued(Box::new(issued)),
        Err(error) => error,
    };
    match &error {
        Error::OutcomeUnknown { intent, .. } => {
            let intent = intent.clone();
            Outcome::Unclear(error, intent)
        }
        Error::WrongCertificate { id, .. } => {
            let id = id.clone();
            Outcome::Wrong(error, id)
        }
        _ => Outcome::NotIssued(error),
    }
}
