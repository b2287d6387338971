//! The steps of a generation, without the record of what was done: each engine keeps its own. Every step can be repeated.

use std::time::Duration;

use shieldcert::{CertificateId, Csr, Error, Issue, IssueIntent, Issued, Prepared, Zone};

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

/// How long a request may take beyond two settle windows.
const SEND: Duration = Duration::from_secs(30);

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
        let deadline = (self.settle_window * 2).saturating_add(SEND);
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

    /// How long it may take until the outcome of a request is known: until it is not sent any more, the service has acted
    /// on it, and the zone was read.
    fn patience(&self, intent: &IssueIntent) -> Duration {
        let now = self.zone.client().service_time();
        let left = match (intent.sent_before, now) {
            (Some(before), Some(now)) => {
                Duration::try_from(before.duration_since(now)).unwrap_or_default()
            }
            _ => (self.settle_window * 2).saturating_add(SEND),
        };
        left.saturating_add(self.settle_window)
            .saturating_add(RESUME)
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
