//! From the decision to make a certificate to its files.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use shieldcert::{CertificateId, ClientCertificate, IssueIntent, Issued, Status, X509Certificate};
use tokio::time::Instant;

use super::{Admission, Engine, Progress, Purpose, Tally, Work};
use crate::backoff::backoff;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::journal::{Act, Change, Generation, Hold, Reason, Snapshot, Spec, State};
use crate::keystore::Keyed;
use crate::outputs;
use crate::policy::{CSR, choose_zone, may_be_anywhere, zone_id};
use crate::step::{Outcome, Request};

/// A request that may have been sent, and the permission to find out about it.
struct Open {
    request: Request,
    intent: IssueIntent,
    _admission: Admission,
}

impl Engine {
    /// Begins a generation.
    pub(super) fn begin(&self, id: i64, snapshot: &Snapshot, reason: Reason) -> Result<Progress> {
        let Some(device) = &snapshot.device else {
            return Ok(Progress::Held);
        };
        let zone = choose_zone(device, &self.config).and_then(|name| zone_id(name, &self.config));
        let Some(zone) = zone else {
            return Ok(Progress::Held);
        };
        // What was given up after it failed counts on.
        let failures = snapshot
            .generations
            .last()
            .filter(|newest| newest.state == State::Abandoned)
            .map_or(0, |newest| newest.failures);
        self.journal.begin_generation(
            id,
            reason,
            zone,
            &Spec::of(device),
            failures,
            self.now().time,
        )?;
        Ok(Progress::Done)
    }

    pub(super) fn make_key(&self, at: Work<'_>) -> Result<Progress> {
        let Some(device) = &at.snapshot.device else {
            return Ok(Progress::Held);
        };
        let made = crate::journal::block(|| self.folder.make_key(device, at.generation.number));
        let keyed = match made {
            Ok(keyed) => keyed,
            // Never overwritten: the next number is taken.
            Err(Error::Invalid { path, problem }) => {
                let problem = format!("{}: {problem}", path.display());
                return self.abandon(at, Some(&problem));
            }
            Err(error) => return Err(error),
        };
        let change = Change::to(State::Keyed)
            .set("csr_sha256", keyed.csr.sha256())
            .set("public_key_sha256", sha256(keyed.csr.public_key()))
            .set("failures", i64::from(at.generation.failures));
        self.record(at, change, Act::Keyed, None)?;
        Ok(Progress::Done)
    }

    async fn request(&self, at: Work<'_>, keyed: &Keyed) -> Result<Request> {
        let generation = at.generation;
        let is_own = generation.spec.key == CSR;
        let known = match is_own {
            // The same CSR may have led to certificates before.
            true => self.journal.certificates_of_csr(&keyed.csr.sha256())?,
            false => Vec::new(),
        };
        Ok(Request {
            zone: self.budgets.zone(&generation.zone).await?,
            csr: keyed.csr.clone(),
            validity_days: generation.spec.days,
            known: known
                .into_iter()
                .filter(|id| Some(id) != generation.certificate.as_ref())
                .collect(),
            key_is_new: !is_own,
            settle_window: self.config.limits.settle_window,
            sender_ended: self.sender_ended(generation),
        })
    }

    /// What a token that can't be had, or a zone that is not configured, holds up.
    pub(super) fn unavailable(&self, at: Work<'_>, error: Error) -> Result<Progress> {
        match error {
            Error::Token { .. } | Error::Zone { .. } => {
                self.zones.forbid(&at.generation.zone);
                self.wait_for(at, Hold::Permission, Some(&error.to_string()))
            }
            other => Err(other),
        }
    }

    pub(super) async fn send(&self, at: Work<'_>) -> Result<Progress> {
        let keyed = match self.keyed(at)? {
            Ok(keyed) => keyed,
            // It was never sent.
            Err(problem) => return self.abandon(at, Some(&problem)),
        };
        let zone = &at.generation.zone;
        let _admission = match self.admit(zone, Purpose::Issue).await {
            Ok(admission) => admission,
            Err(Hold::Quota) if self.move_to_other_zone(at)? => return Ok(Progress::Done),
            Err(hold) => return self.wait_for(at, hold, None),
        };
        let is_new = at.generation.reason == Reason::New;
        if is_new && let Err(problem) = self.zones.take_place(zone) {
            return match self.move_to_other_zone(at)? {
                true => Ok(Progress::Done),
                false => self.wait_for(at, Hold::Quota, Some(&problem)),
            };
        }
        let request = match self.request(at, &keyed).await {
            Ok(request) => request,
            Err(error) => {
                if is_new {
                    self.zones.give_place_back(zone);
                }
                return self.unavailable(at, error);
            }
        };
        self.lock_sent().insert(at.generation.id);
        let mut intent = None;
        let outcome = request
            .send(|prepared| {
                intent = Some(prepared.clone());
                let change = Change::to(State::Sending)
                    .set("intent", json(prepared))
                    .set("failures", i64::from(at.generation.failures));
                self.record(at, change, Act::Sending, None)
            })
            .await?;
        if !matches!(outcome, Outcome::Unclear(..)) {
            self.lock_sent().remove(&at.generation.id);
        }
        if is_new && matches!(outcome, Outcome::NotIssued(_)) {
            self.zones.give_place_back(zone);
        }
        let was_recorded = intent.is_some();
        self.take(at, outcome, intent, was_recorded).await
    }

    /// What finding out about a request needs. Otherwise what came of the step.
    async fn open(&self, at: Work<'_>) -> Result<std::result::Result<Open, Progress>> {
        let fail = |problem: &str| self.fail(at, Hold::Unclear, Act::Failed, problem).map(Err);
        let keyed = match self.keyed(at)? {
            Ok(keyed) => keyed,
            Err(problem) => return fail(&problem),
        };
        let Some(intent) = at.generation.intent.clone() else {
            return fail("its intent is not in the journal");
        };
        let admission = match self.admit(&at.generation.zone, Purpose::Other).await {
            Ok(admission) => admission,
            Err(hold) => return self.wait_for(at, hold, None).map(Err),
        };
        match self.request(at, &keyed).await {
            Ok(request) => Ok(Ok(Open {
                request,
                intent,
                _admission: admission,
            })),
            Err(error) => self.unavailable(at, error).map(Err),
        }
    }

    pub(super) async fn resume(&self, at: Work<'_>) -> Result<Progress> {
        let open = match self.open(at).await? {
            Ok(open) => open,
            Err(progress) => return Ok(progress),
        };
        let Open {
            request, intent, ..
        } = &open;
        self.record(
            at,
            Change::default().set("hold", None::<String>),
            Act::Resuming,
            None,
        )?;
        let _open = self.begin_to_wait(request.settles_in(intent));
        match request.resume(intent.clone()).await {
            Some(outcome) => self.take(at, outcome, Some(intent.clone()), true).await,
            None => {
                self.zones.responded(&at.generation.zone);
                let change = Change::to(State::Keyed)
                    .set("intent", None::<String>)
                    .set("failures", i64::from(at.generation.failures));
                let change = self.owe_look(at, change, intent);
                self.record(at, change, Act::NotIssued, Some("the request was lost"))?;
                Ok(Progress::Done)
            }
        }
    }

    /// Finds out about a request that is not wanted any more.
    pub(super) async fn settle(&self, at: Work<'_>) -> Result<Progress> {
        let open = match self.open(at).await? {
            Ok(open) => open,
            Err(progress) => return Ok(progress),
        };
        let Open {
            request, intent, ..
        } = &open;
        let _open = self.begin_to_wait(request.settles_in(intent));
        match request.find(intent.clone()).await {
            Ok(found) => {
                self.zones.responded(&at.generation.zone);
                let mut found = found.into_iter();
                match found.next() {
                    Some(first) => {
                        let others: Vec<_> = found.map(|other| other.id().clone()).collect();
                        let intent = self.end_with_sender(at, intent.clone());
                        self.issued(at, &first, &others, Some(intent))
                    }
                    None => {
                        let change = self
                            .owe_look(at, Change::to(State::Abandoned), intent)
                            .set("intent", None::<String>);
                        self.record(at, change, Act::Abandoned, Some("nothing was issued"))?;
                        Ok(Progress::Done)
                    }
                }
            }
            Err(error) => self.unclear(at, &error, None).await,
        }
    }

    /// Records what came of a request.
    async fn take(
        &self,
        at: Work<'_>,
        outcome: Outcome,
        intent: Option<IssueIntent>,
        was_recorded: bool,
    ) -> Result<Progress> {
        let zone = &at.generation.zone;
        match outcome {
            Outcome::Issued(issued) => {
                self.zones.responded(zone);
                let Issued {
                    certificate,
                    recovered,
                    attempts,
                    surplus,
                    ..
                } = &*issued;
                let was_open = at.generation.state == State::Sending;
                let was_unclear = *recovered || *attempts > 1 || was_open;
                // What another process has sent ended before this run began.
                let intent = match was_open {
                    true => intent.map(|intent| self.end_with_sender(at, intent)),
                    false => intent,
                };
                if *recovered {
                    Tally::add(&self.tally.recovered);
                }
                let surplus: Vec<_> = surplus.iter().map(|surplus| surplus.id().clone()).collect();
                self.issued(at, certificate, &surplus, intent.filter(|_| was_unclear))
            }
            Outcome::Wrong(error, id) => {
                self.zones.responded(zone);
                let failures = at.generation.failures.saturating_add(1);
                let problem = error.to_string();
                tracing::warn!(
                    device = %at.snapshot.name, generation = at.generation.number, problem, "a wrong certificate"
                );
                Tally::add(&self.tally.failures);
                let now = self.now().time;
                let retry_at = now.checked_add(backoff(failures)).ok();
                let mut change = Change::hold(Hold::Failed, Some(problem.clone()), retry_at)
                    .set("state", State::Abandoned.as_str().to_owned())
                    .set("intent", None::<String>)
                    .set("failures", i64::from(failures));
                // The error does not say whether a send was unclear before.
                if let Some(intent) = &intent {
                    change = self.owe_look(at, change, intent);
                }
                let surplus: Vec<_> = id.into_iter().collect();
                let entry = Some((Act::Failed, problem.as_str()));
                self.journal.change_with_surplus(
                    at.id,
                    at.generation,
                    change,
                    &surplus,
                    entry,
                    now,
                )?;
                Ok(Progress::Done)
            }
            Outcome::NotIssued(error) => {
                if was_recorded {
                    let change = Change::to(State::Keyed)
                        .set("intent", None::<String>)
                        .set("failures", i64::from(at.generation.failures));
                    self.record(at, change, Act::NotIssued, Some(&error.to_string()))?;
                }
                self.refused(at, &error).await
            }
            Outcome::Unclear(error, intent) => self.unclear(at, &error, Some(&intent)).await,
        }
    }

    /// Nothing shows what was issued. The request stays open.
    async fn unclear(
        &self,
        at: Work<'_>,
        error: &shieldcert::Error,
        intent: Option<&IssueIntent>,
    ) -> Result<Progress> {
        let zone = &at.generation.zone;
        let problem = error.to_string();
        if let Some(intent) = intent {
            let change = Change::default()
                .set("state", State::Sending.as_str().to_owned())
                .set("intent", json(intent));
            self.record(at, change, Act::Unclear, Some(&problem))?;
        }
        if error.is_rate_limited() || error.is_not_allowed() {
            return self.refused(at, error).await;
        }
        if error.is_quota_reached() {
            self.zones.responded(zone);
            self.zones.is_full_now(zone);
            return self.wait_for(at, Hold::Quota, Some(&problem));
        }
        self.count_silence(zone, error);
        self.fail(at, Hold::Unclear, Act::Unclear, &problem)
    }

    /// Records a certificate, beside what else the request may have led to.
    fn issued(
        &self,
        at: Work<'_>,
        certificate: &ClientCertificate,
        surplus: &[CertificateId],
        unclear: Option<IssueIntent>,
    ) -> Result<Progress> {
        let x509 = certificate.x509().ok();
        let issuer = certificate
            .certificate_authority_id()
            .or(certificate.certificate_authority_name())
            .map(str::to_owned);
        let not_before = x509
            .as_ref()
            .and_then(X509Certificate::not_before)
            .or(certificate.not_before());
        let not_after = x509
            .as_ref()
            .and_then(X509Certificate::not_after)
            .or(certificate.not_after());
        let mut change = Change::to(State::Issued)
            .set("intent", None::<String>)
            .set("certificate", certificate.id().to_string())
            .set("pem", x509.as_ref().map(X509Certificate::to_pem))
            .set(
                "fingerprint",
                x509.as_ref().map(X509Certificate::fingerprint_sha256),
            )
            .set("issuer", issuer)
            .set("not_before", not_before.map(|time| time.as_second()))
            .set("not_after", not_after.map(|time| time.as_second()));
        if let Some(intent) = unclear {
            change = self.owe_look_at_end(at, change, &intent);
        }
        tracing::info!(
            device = %at.snapshot.name, generation = at.generation.number, certificate = %certificate.id(), "issued"
        );
        Tally::add(&self.tally.issued);
        self.tally
            .surplus
            .fetch_add(surplus.len() as u64, Ordering::Relaxed);
        let entry = Some((Act::Issued, certificate.id().as_str()));
        let now = self.now().time;
        self.journal
            .change_with_surplus(at.id, at.generation, change, surplus, entry, now)?;
        Ok(Progress::Done)
    }

    /// Owes the zone one more look, a settle window from now.
    fn owe_look(&self, at: Work<'_>, change: Change, intent: &IssueIntent) -> Change {
        let now = self.now().time;
        let mut intent = intent.clone();
        // Nothing is sent any more.
        intent.sent_before = Some(intent.sent_before.map_or(now, |before| before.min(now)));
        self.owe_look_after(at, change, (now, Instant::now()), &intent)
    }

    /// Owes the zone one more look: the service may act on an unclear request until the settle window after its end is over.
    fn owe_look_at_end(&self, at: Work<'_>, change: Change, intent: &IssueIntent) -> Change {
        let now = self.now().time;
        let mut intent = intent.clone();
        // Nothing is sent any more.
        let ended = intent.sent_before.map_or(now, |before| before.min(now));
        intent.sent_before = Some(ended);
        let by_clock = self.sender_ended(at.generation);
        let by_clock = by_clock.unwrap_or_else(Instant::now);
        self.owe_look_after(at, change, (ended, by_clock), &intent)
    }

    fn owe_look_after(
        &self,
        at: Work<'_>,
        change: Change,
        (ended, by_clock): (Timestamp, Instant),
        intent: &IssueIntent,
    ) -> Change {
        let mut known = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(at.generation.id, by_clock);
        let window = SignedDuration::try_from(self.config.limits.settle_window)
            .unwrap_or(SignedDuration::MAX);
        let look_at = ended.checked_add(window).unwrap_or(ended);
        change
            .set("look_at", look_at.as_second() + 1)
            .set("look_intent", json(intent))
    }

    /// When the request of a generation that is owed a look had ended.
    pub(super) fn request_ended(&self, generation: &Generation) -> Option<Instant> {
        let known = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&generation.id).copied().or(self.others_ended)
    }

    /// When the process that may have sent a generation's request had ended. `None` if that is not known, or this run has
    /// sent it: what the intent says is exact then.
    fn sender_ended(&self, generation: &Generation) -> Option<Instant> {
        let is_own = self.lock_sent().contains(&generation.id);
        self.others_ended.filter(|_| !is_own)
    }

    /// An intent that says that nothing was sent any more when this run began, if another process may have sent it.
    fn end_with_sender(&self, at: Work<'_>, mut intent: IssueIntent) -> IssueIntent {
        if let Some(ended) = self.sender_ended(at.generation) {
            let now = self.now();
            let since = SignedDuration::try_from(ended.elapsed()).unwrap_or_default();
            if let Ok(ended) = now.time.checked_sub(since)
                && now.is_service_time
            {
                let before = intent.sent_before.map_or(ended, |before| before.min(ended));
                intent.sent_before = Some(before);
            }
        }
        intent
    }

    fn lock_sent(&self) -> MutexGuard<'_, HashSet<i64>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a generation that has no certificate, and whose row names no zone, to one that has a place.
    fn move_to_other_zone(&self, at: Work<'_>) -> Result<bool> {
        let Some(device) = &at.snapshot.device else {
            return Ok(false);
        };
        if !may_be_anywhere(device, &self.config) {
            return Ok(false);
        }
        let mut zones = self.config.zones.values().map(|zone| &zone.id);
        let Some(other) = zones.find(|id| **id != at.generation.zone && self.zones.takes_new(id))
        else {
            return Ok(false);
        };
        let change = Change::to(State::Keyed).set("zone", other.to_string());
        let detail = format!(
            "moved to zone {other}, since the quota of {} is reached",
            at.generation.zone
        );
        self.record(at, change, Act::Planned, Some(&detail))?;
        Ok(true)
    }

    pub(super) fn write(&self, at: Work<'_>) -> Result<Progress> {
        let keyed = match self.keyed(at)? {
            Ok(keyed) => keyed,
            Err(problem) => return self.fail(at, Hold::KeyLost, Act::Failed, &problem),
        };
        let Some(pem) = &at.generation.pem else {
            return self.fail(
                at,
                Hold::Failed,
                Act::Failed,
                "the service has shown no certificate to write",
            );
        };
        let path = self
            .folder
            .generation(&at.snapshot.name, at.generation.number);
        crate::journal::block(|| {
            let certificate = X509Certificate::from_pem(pem)?;
            let config = &self.config.outputs;
            outputs::write(&self.folder, &path, keyed, &certificate, config)
        })?;
        let change = Change::to(State::Written).set("pem", None::<String>);
        self.record(at, change, Act::Written, None)?;
        Ok(Progress::Done)
    }
}

fn json(intent: &IssueIntent) -> String {
    serde_json::to_string(intent).expect("an intent has no map with other keys than text")
}

/// Whether a certificate may be used, or will be without another request.
pub(super) fn may_be_active(status: &Status) -> bool {
    !matches!(status, Status::Revoked | Status::PendingRevocation)
}
