//! What the workflow of a device knows, and what comes next: nothing here waits, sends or reads a clock.
//!
//! The rules for a generation are those of [`shieldcert_fleet::steps::Policy::decide`]. What is added here is what a fleet on
//! several machines has beside them: where a key is, that a worker is lost, what reconciliation suspects, and what an
//! unclear request is owed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shieldcert::{CertificateId, IssueIntent, ZoneId};
use shieldcert_fleet::steps::{
    Decision, Delivered, DeploymentOf, IssueOutcome, IssueRequest, IssuedCertificate, Now, Policy,
    PreparedCsr, Refusal, RefusalKind, RevokeOutcome, RevokeReason, Spec, Step, StoredGeneration,
    backoff, csr_sha256, text_sha256,
};
use shieldcert_fleet::{
    Ask, Device, DeviceKey, Generation, Held, Hold, Reason, Snapshot, State as Progress,
};

use crate::names::{FleetName, Queue, WorkerName, pinned};

/// A row of the manifest, and the policy that holds for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The device. `None`: the manifest does not have it any more.
    pub device: Option<Device>,
    /// The policy.
    pub policy: Policy,
    /// The CSR that the device has delivered, in PEM, where it makes its own key.
    pub csr: Option<String>,
}

impl Row {
    /// A digest, by which a change shows.
    pub(crate) fn digest(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        text_sha256(&json)[..16].to_owned()
    }
}

/// A certificate that reconciliation found for a CSR of the device, and that the server's search attributes don't show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The zone.
    pub zone: ZoneId,
    /// The certificate.
    pub certificate: CertificateId,
    /// SHA-256 of the certificate, in hex. An id can be written in several ways.
    pub fingerprint: Option<String>,
    /// The beginning of the CSR's SHA-256, in hex.
    pub csr: String,
}

/// How much of a CSR's digest is shown in search attributes.
pub(crate) const SHORT: usize = 32;

/// What is known of the time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Clock {
    /// The service's time. `None`: it does not say it.
    service: Option<Timestamp>,
    /// The workflow's time then.
    at: Timestamp,
}

/// A look that an unclear request is owed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) generation: u32,
    pub(crate) request: IssueRequest,
    pub(crate) intent: IssueIntent,
    /// The fingerprint of the generation's own certificate: an id can be written in several ways.
    pub(crate) fingerprint: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) failures: u32,
}

/// A certificate that is in no generation's place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Surplus {
    pub(crate) zone: ZoneId,
    pub(crate) certificate: CertificateId,
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) failures: u32,
}

/// What is remembered of a generation that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Past {
    csr: String,
    certificate: Option<CertificateId>,
}

/// How many generations that are over are remembered.
const MAX_PAST: usize = 16;

/// How many suspects wait at most. Reconciliation names what is left out again.
const MAX_SUSPECTS: usize = 64;

/// For how long the service's time is reckoned from one response.
const CLOCK_AGE: SignedDuration = SignedDuration::from_hours(1);

/// Counts of what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) issued: u64,
    pub(crate) recovered: u64,
    pub(crate) deployed: u64,
    pub(crate) revoked: u64,
    pub(crate) failures: u64,
    pub(crate) requests: u64,
    /// How often an operator asked for another try.
    pub(crate) retries: u64,
}

/// What was done for a device, and what is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// How many looks are owed.
    pub(crate) looks: u64,
    /// How many certificates are in no generation's place.
    pub(crate) surplus: u64,
}

/// What the workflow of a device knows. It is handed on when the workflow continues as new. No key is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceState {
    pub(crate) fleet: FleetName,
    pub(crate) snapshot: Snapshot,
    pub(crate) policy: Policy,
    csr: Option<String>,
    row: String,
    clock: Option<Clock>,
    pub(crate) paused: bool,
    /// The CSRs of generations that are not over, in PEM.
    csrs: BTreeMap<u32, String>,
    /// Where the files of generations are.
    workers: BTreeMap<u32, WorkerName>,
    /// Generations whose worker is lost.
    lost: Vec<u32>,
    past: Vec<Past>,
    pub(crate) looks: Vec<Look>,
    pub(crate) surplus: Vec<Surplus>,
    suspects: Vec<Suspect>,
    pub(crate) tally: Tally,
    /// What the search attributes show.
    pub(crate) shown: Option<Shown>,
}

/// What the search attributes show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) state: String,
    pub(crate) hold: Option<String>,
    pub(crate) worker: Option<String>,
    pub(crate) row: String,
    pub(crate) csrs: Vec<String>,
    pub(crate) certificates: Vec<String>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) due: Option<Timestamp>,
    pub(crate) done: Done,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// A step that needs an activity.
    Do(Step),
    /// A look that is owed.
    Look(usize),
    /// A revocation of what is in no generation's place.
    RevokeSurplus(usize),
    /// The service's time is to be asked for.
    AskTime(ZoneId),
    /// Nothing before this time, or a signal.
    Wait(Option<Timestamp>),
}

/// How urgent requests of a device are, from 1, the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Urgency(pub(crate) u32);

impl DeviceState {
    /// Creates the state of a device that has nothing yet.
    pub fn new(fleet: FleetName, device: Device, policy: Policy, csr: Option<String>) -> Self {
        let row = Row {
            device: Some(device.clone()),
            policy: policy.clone(),
            csr: csr.clone(),
        };
        let mut state = Self {
            fleet,
            snapshot: Snapshot::of(device),
            policy,
            csr,
            row: row.digest(),
            clock: None,
            paused: false,
            csrs: BTreeMap::new(),
            workers: BTreeMap::new(),
            lost: Vec::new(),
            past: Vec::new(),
            looks: Vec::new(),
            surplus: Vec::new(),
            suspects: Vec::new(),
            tally: Tally::default(),
            shown: None,
        };
        state.shown = Some(state.show(WORKING));
        state
    }

    // Signals.

    /// Takes what the manifest says now.
    pub(crate) fn set_row(&mut self, row: Row) {
        self.row = row.digest();
        self.snapshot.device = row.device;
        self.policy = row.policy;
        // A device that is not in the manifest keeps what it has delivered.
        if row.csr.is_some() {
            self.csr = row.csr;
        }
    }

    pub(crate) fn set_csr(&mut self, csr: String) {
        self.csr = Some(csr);
    }

    /// Takes what an operator asked for.
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.snapshot.ask = Some(ask);
        let is_leak = matches!(ask, Ask::RotateNow | Ask::RevokeNow);
        for generation in self.live() {
            // Who asks wants it now, and may have mended what failed.
            generation.retry_at = None;
            generation.leaked |= is_leak;
        }
    }

    /// Tries at once what has failed.
    pub(crate) fn retry_now(&mut self) {
        self.tally.retries += 1;
        for generation in &mut self.snapshot.generations {
            generation.retry_at = None;
        }
        for surplus in &mut self.surplus {
            surplus.retry_at = None;
        }
    }

    /// Takes that a worker is lost, with the keys on it.
    pub(crate) fn lose_worker(&mut self, worker: &WorkerName) {
        let lost = &mut self.lost;
        let mut needs_new = false;
        for generation in &mut self.snapshot.generations {
            if is_over(generation) || self.workers.get(&generation.number) != Some(worker) {
                continue;
            }
            if !lost.contains(&generation.number) {
                lost.push(generation.number);
            }
            generation.retry_at = None;
            if generation.hook_started {
                needs_new = true;
                // It can't be deployed again. What replaces it was decided by the operator who said that the worker is lost.
                if generation.state != Progress::Verified {
                    generation.hold = Some(Hold::KeyLost);
                    generation.problem = Some(format!("worker {worker} is lost"));
                }
            }
        }
        if needs_new && self.snapshot.ask.is_none() {
            self.snapshot.ask = Some(Ask::Rotate);
        }
    }

    /// Takes what reconciliation found.
    pub(crate) fn suspect(&mut self, suspects: Vec<Suspect>) {
        for suspect in suspects {
            if !self.suspects.contains(&suspect) && self.suspects.len() < MAX_SUSPECTS {
                self.suspects.push(suspect);
            }
        }
    }

    // What comes next.

    /// The service's time, as far as it is known.
    pub(crate) fn now(&self, at: Timestamp) -> Now {
        let service = self.clock.and_then(|clock| {
            let since = at.duration_since(clock.at);
            clock.service?.checked_add(since).ok()
        });
        Now {
            time: service.unwrap_or(at),
            is_service_time: service.is_some(),
        }
    }

    pub(crate) fn set_clock(&mut self, service: Option<Timestamp>, at: Timestamp) {
        if service.is_some() || self.clock.is_none() {
            self.clock = Some(Clock { service, at });
        } else if let Some(clock) = &mut self.clock {
            // It was asked, and said nothing: reckoned on from what it said before.
            clock.service = clock
                .service
                .and_then(|time| time.checked_add(at.duration_since(clock.at)).ok());
            clock.at = at;
        }
    }

    /// Judges suspects, and forgets what is over. Then says what comes next.
    pub(crate) fn next(&mut self, at: Timestamp) -> Next {
        self.judge_suspects();
        self.prune();
        let now = self.now(at);
        let decision = self.decide(now);
        let mut until = None;
        match decision {
            Decision::Now(step) => {
                if self.is_clock_old(at)
                    && depends_on_time(&step)
                    && let Some(zone) = self.any_zone()
                {
                    return Next::AskTime(zone);
                }
                return Next::Do(step);
            }
            Decision::Later { at, .. } => until = at,
            Decision::Settled { next } => until = next,
            Decision::Unmanaged => {}
        }
        if !self.paused {
            let is_due = |at: Option<Timestamp>| at.is_none_or(|at| at <= now.time);
            if let Some(place) = self.surplus.iter().position(|one| is_due(one.retry_at)) {
                return Next::RevokeSurplus(place);
            }
            if let Some(place) = self.looks.iter().position(|look| look.at <= now.time) {
                return Next::Look(place);
            }
        }
        let others = self
            .surplus
            .iter()
            .filter_map(|one| one.retry_at)
            .chain(self.looks.iter().map(|look| look.at));
        let until = until.into_iter().chain(others).min();
        // In the workflow's time, at least a second from now.
        let until = until.filter(|_| !self.paused).map(|until| {
            let left = until.duration_since(now.time);
            let left = left.max(SignedDuration::from_secs(1));
            at.checked_add(left).unwrap_or(Timestamp::MAX)
        });
        Next::Wait(until)
    }

    fn decide(&self, now: Now) -> Decision {
        let decision = self.decide_unpaused(now);
        match self.paused {
            true => decision.paused(),
            false => decision,
        }
    }

    fn decide_unpaused(&self, now: Now) -> Decision {
        // Of a lost worker nothing can be deployed any more. What was never deployed is revoked.
        let lost = self.snapshot.generations.iter().find(|generation| {
            self.lost.contains(&generation.number)
                && !is_over(generation)
                && !generation.hook_started
        });
        if let Some(lost) = lost {
            let number = lost.number;
            let step = match lost.state {
                Progress::Planned | Progress::Keyed => Step::Abandon(number),
                Progress::Sending => Step::Settle(number),
                _ => Step::Revoke(number, RevokeReason::Outdated),
            };
            return match lost.retry_at {
                Some(at) if at > now.time => Decision::Later {
                    at: Some(at),
                    hold: lost.hold,
                },
                _ => Decision::Now(step),
            };
        }
        self.policy.decide(&self.snapshot, &self.delivered(), now)
    }

    pub(crate) fn delivered(&self) -> Delivered {
        let device = self.snapshot.device.as_ref();
        match device.map(|device| &device.key) {
            Some(DeviceKey::Csr(_)) => {
                let csr = self.csr.as_deref().and_then(|csr| csr_sha256(csr).ok());
                csr.map_or(Delivered::Missing, Delivered::Csr)
            }
            _ => Delivered::NotNeeded,
        }
    }

    fn is_clock_old(&self, at: Timestamp) -> bool {
        self.clock
            .is_none_or(|clock| at.duration_since(clock.at) > CLOCK_AGE)
    }

    fn any_zone(&self) -> Option<ZoneId> {
        let newest = self.snapshot.generations.last();
        let zone = newest.map(|newest| newest.zone.clone());
        zone.or_else(|| Some(self.policy.zones.values().next()?.id.clone()))
    }

    fn judge_suspects(&mut self) {
        let suspects = std::mem::take(&mut self.suspects);
        for suspect in suspects {
            let generation = self.snapshot.generations.iter().find(|generation| {
                let csr = generation.csr_sha256.as_deref();
                csr.is_some_and(|csr| csr.starts_with(&suspect.csr))
            });
            let id = &suspect.certificate;
            let is_surplus = match generation {
                // Until it is known which one is its own, none is revoked.
                Some(open) if open.state == Progress::Sending => {
                    self.suspects.push(suspect);
                    continue;
                }
                Some(generation) => generation.certificate.as_ref() != Some(id),
                // One that was revoked and is active again was reactivated by somebody, who knows why.
                None => {
                    let past = self.past.iter().find(|past| past.csr == suspect.csr);
                    past.is_some_and(|past| past.certificate.as_ref() != Some(id))
                }
            };
            // Of one CSR a device may hold several certificates, in several generations.
            let is_used = self.snapshot.generations.iter().any(|generation| {
                generation.certificate.as_ref() == Some(id)
                    || (generation.fingerprint.is_some()
                        && generation.fingerprint == suspect.fingerprint)
            });
            if is_surplus && !is_used {
                self.add_surplus(suspect.zone, suspect.certificate);
            }
        }
    }

    fn add_surplus(&mut self, zone: ZoneId, certificate: CertificateId) {
        let mut known = self.surplus.iter();
        if !known.any(|known| known.certificate == certificate) {
            self.surplus.push(Surplus {
                zone,
                certificate,
                retry_at: None,
                failures: 0,
            });
        }
    }

    /// Forgets generations that say nothing any more, as the journal's view of a device does.
    fn prune(&mut self) {
        let newest = self.snapshot.generations.last().map(|last| last.number);
        let (past, csrs) = (&mut self.past, &mut self.csrs);
        let (workers, lost) = (&mut self.workers, &mut self.lost);
        self.snapshot.generations.retain(|generation| {
            let is_kept = !is_over(generation)
                || Some(generation.number) == newest
                || generation.spec.key == CSR;
            if is_over(generation) {
                csrs.remove(&generation.number);
                if lost.contains(&generation.number) {
                    workers.remove(&generation.number);
                    lost.retain(|number| *number != generation.number);
                }
            }
            if !is_kept {
                workers.remove(&generation.number);
                if let Some(csr) = &generation.csr_sha256 {
                    past.push(Past {
                        csr: csr[..SHORT.min(csr.len())].to_owned(),
                        certificate: generation.certificate.clone(),
                    });
                }
            }
            is_kept
        });
        let excess = past.len().saturating_sub(MAX_PAST);
        past.drain(..excess);
    }

    // What steps need.

    fn live(&mut self) -> impl Iterator<Item = &mut Generation> {
        let generations = self.snapshot.generations.iter_mut();
        generations.filter(|generation| !is_over(generation))
    }

    pub(crate) fn generation(&self, number: u32) -> Option<&Generation> {
        let mut generations = self.snapshot.generations.iter();
        generations.find(|generation| generation.number == number)
    }

    fn with(&mut self, number: u32, act: impl FnOnce(&mut Generation)) {
        let mut generations = self.snapshot.generations.iter_mut();
        if let Some(generation) = generations.find(|generation| generation.number == number) {
            act(generation);
        }
    }

    /// The worker that is to make the next key. `None`: any.
    fn next_worker(&self) -> Option<WorkerName> {
        let device = self.snapshot.device.as_ref();
        if let Some(pinned) = device.and_then(|device| pinned(&device.labels)) {
            return Some(pinned);
        }
        let mut generations = self.snapshot.generations.iter().rev();
        let known = generations.find_map(|generation| {
            let worker = self.workers.get(&generation.number)?;
            Some((generation.number, worker))
        });
        let (number, worker) = known?;
        (!self.lost.contains(&number)).then(|| worker.clone())
    }

    /// The task queue of a step that touches keys. `None`: the files are nowhere.
    pub(crate) fn key_queue(&self, step: &Step) -> Option<String> {
        match step {
            Step::MakeKey(_) => Some(match self.next_worker() {
                Some(worker) => self.fleet.queue(&Queue::Worker(worker)),
                None => self.fleet.queue(&Queue::Keys),
            }),
            other => {
                let worker = self.workers.get(&other.generation()?)?;
                Some(self.fleet.queue(&Queue::Worker(worker.clone())))
            }
        }
    }

    /// The CSR of the device's own, where it makes its key.
    pub(crate) fn own_csr(&self) -> Option<&str> {
        let device = self.snapshot.device.as_ref()?;
        match device.key {
            DeviceKey::Csr(_) => self.csr.as_deref(),
            _ => None,
        }
    }

    /// The task queue of requests for a zone. `None`: it is not in the policy.
    pub(crate) fn budget_queue(&self, zone: &ZoneId) -> Option<String> {
        let budget = self.policy.budget(zone)?.to_owned();
        Some(self.fleet.queue(&Queue::Budget(budget)))
    }

    /// What a request for a generation needs.
    pub(crate) fn request(&self, number: u32) -> Option<IssueRequest> {
        let generation = self.generation(number)?;
        let is_own = generation.spec.key == CSR;
        let csr = generation.csr_sha256.as_deref();
        // The same CSR may have led to certificates before.
        let known =
            self.snapshot.generations.iter().filter(|other| {
                is_own && other.number != number && other.csr_sha256.as_deref() == csr
            });
        Some(IssueRequest {
            zone: generation.zone.clone(),
            csr: self.csrs.get(&number)?.clone(),
            validity_days: generation.spec.days,
            known: known
                .filter_map(|other| other.certificate.clone())
                .collect(),
            key_is_new: !is_own,
            settle_window: self.policy.settle_window,
        })
    }

    pub(crate) fn deployment(&self, number: u32) -> Option<(Device, DeploymentOf)> {
        let device = self.snapshot.device.clone()?;
        let generation = self.generation(number)?;
        let mut before = self
            .snapshot
            .generations
            .iter()
            .rev()
            .filter(|old| old.number < number && old.state == Progress::Verified);
        let deployment = DeploymentOf {
            stored: StoredGeneration::of(generation)?,
            reason: generation.reason,
            zone: generation.zone.clone(),
            certificate: generation.certificate.clone(),
            old_certificate: before.next().and_then(|old| old.certificate.clone()),
        };
        Some((device, deployment))
    }

    pub(crate) fn urgency(&self, step: &Step) -> Urgency {
        let newest = self.snapshot.generations.last();
        Urgency(match step {
            Step::Revoke(_, RevokeReason::Leaked) => 1,
            Step::Revoke(_, RevokeReason::Absent | RevokeReason::Asked) | Step::Settle(_) => 3,
            Step::Revoke(..) => 5,
            _ => match newest.map(|newest| newest.reason) {
                Some(Reason::New) | None => 4,
                Some(_) => 2,
            },
        })
    }

    // Records.

    /// Begins a generation. Returns whether it could.
    pub(crate) fn begin(&mut self, reason: Reason) -> bool {
        let Some(device) = &self.snapshot.device else {
            return false;
        };
        let Some(zone) = self.policy.choose_zone(device) else {
            return false;
        };
        let newest = self.snapshot.generations.last();
        let number = newest.map_or(1, |newest| newest.number + 1);
        // What was given up after it failed counts on.
        let failures = newest
            .filter(|newest| newest.state == Progress::Abandoned)
            .map_or(0, |newest| newest.failures);
        let mut generation = Generation::planned(number, reason, zone, Spec::of(device));
        generation.failures = failures;
        self.snapshot.generations.push(generation);
        true
    }

    pub(crate) fn keyed(&mut self, number: u32, worker: WorkerName, prepared: PreparedCsr) {
        let key_number = prepared.number;
        self.with(number, |generation| {
            generation.number = key_number;
            generation.state = Progress::Keyed;
            generation.csr_sha256 = Some(prepared.csr_sha256);
            clear(generation, false);
        });
        self.csrs.insert(key_number, prepared.csr);
        self.workers.insert(key_number, worker);
    }

    pub(crate) fn sending(&mut self, number: u32) {
        self.with(number, |generation| {
            generation.state = Progress::Sending;
            clear(generation, false);
        });
    }

    /// Records what came of a request.
    pub(crate) fn took(&mut self, number: u32, outcome: IssueOutcome, now: Now) {
        match outcome {
            IssueOutcome::Issued {
                certificate,
                surplus,
                unclear,
                recovered,
            } => {
                self.tally.recovered += u64::from(recovered);
                let intent = unclear.map(|intent| *intent);
                self.issued(number, *certificate, surplus, intent, now);
            }
            IssueOutcome::NotIssued { refusal } => {
                self.with(number, |generation| {
                    generation.state = Progress::Keyed;
                    generation.intent = None;
                });
                if refusal.kind == RefusalKind::Quota && self.move_to_other_zone(number) {
                    return;
                }
                self.refused(number, &refusal, false, now);
            }
            IssueOutcome::Lost { intent } => {
                self.owe_look(number, *intent, now);
                self.with(number, |generation| {
                    generation.state = Progress::Keyed;
                    generation.intent = None;
                    clear(generation, false);
                });
            }
            IssueOutcome::Wrong {
                problem,
                certificate,
                intent,
            } => {
                if let Some(intent) = intent {
                    self.owe_look(number, *intent, now);
                }
                let zone = self.generation(number).map(|one| one.zone.clone());
                if let (Some(certificate), Some(zone)) = (certificate, zone) {
                    self.add_surplus(zone, certificate);
                }
                self.abandon(number, Some(&problem), now);
            }
            IssueOutcome::Unclear { refusal, intent } => {
                self.with(number, |generation| {
                    generation.state = Progress::Sending;
                    generation.intent = Some(*intent);
                });
                self.refused(number, &refusal, true, now);
            }
            _ => self.fail(
                number,
                Hold::Failed,
                "an outcome that this version does not know",
                now,
            ),
        }
    }

    /// Records what was found of a request that is not wanted any more.
    pub(crate) fn settled(
        &mut self,
        number: u32,
        found: Vec<IssuedCertificate>,
        intent: Option<IssueIntent>,
        now: Now,
    ) {
        let mut found = found.into_iter();
        match found.next() {
            Some(first) => {
                let others = found.map(|other| other.id).collect();
                self.issued(number, first, others, intent, now);
            }
            None => {
                if let Some(intent) = intent {
                    self.owe_look(number, intent, now);
                }
                self.abandon(number, None, now);
            }
        }
    }

    fn issued(
        &mut self,
        number: u32,
        certificate: IssuedCertificate,
        surplus: Vec<CertificateId>,
        unclear: Option<IssueIntent>,
        now: Now,
    ) {
        self.tally.issued += 1;
        let mut zone = None;
        self.with(number, |generation| {
            zone = Some(generation.zone.clone());
            generation.state = Progress::Issued;
            generation.intent = None;
            generation.certificate = Some(certificate.id);
            generation.pem = certificate.pem;
            generation.fingerprint = certificate.fingerprint;
            generation.issuer = certificate.issuer;
            generation.not_before = certificate.not_before;
            generation.not_after = certificate.not_after;
            clear(generation, true);
        });
        if let Some(intent) = unclear {
            self.owe_look(number, intent, now);
        }
        if let Some(zone) = zone {
            for certificate in surplus {
                self.add_surplus(zone.clone(), certificate);
            }
        }
    }

    /// The service may act on an unclear request until the settle window is over.
    fn owe_look(&mut self, number: u32, mut intent: IssueIntent, now: Now) {
        let Some(mut request) = self.request(number) else {
            return;
        };
        let generation = self.generation(number);
        let certificate = generation.and_then(|generation| generation.certificate.clone());
        request.known.extend(certificate);
        let fingerprint = generation.and_then(|generation| generation.fingerprint.clone());
        // Nothing is sent any more.
        intent.sent_before = Some(intent.sent_before.map_or(now.time, |at| at.min(now.time)));
        self.looks.retain(|look| look.generation != number);
        self.looks.push(Look {
            generation: number,
            at: after(now.time, request.settle_window + Duration::from_secs(1)),
            request,
            intent,
            fingerprint,
            failures: 0,
        });
    }

    /// Records what a look has found.
    pub(crate) fn looked(&mut self, place: usize, found: Vec<IssuedCertificate>) {
        if place >= self.looks.len() {
            return;
        }
        let look = self.looks.remove(place);
        let own = self.generation(look.generation);
        let own_id = own.and_then(|own| own.certificate.clone());
        let own_fingerprint = own.and_then(|own| own.fingerprint.clone());
        let is_sending = own.is_some_and(|own| own.state == Progress::Sending);
        for found in found {
            let is_own = Some(&found.id) == own_id.as_ref()
                || (found.fingerprint.is_some()
                    && (found.fingerprint == own_fingerprint
                        || found.fingerprint == look.fingerprint));
            // A later request of the same generation finds it by itself.
            if !is_own && !is_sending {
                self.add_surplus(look.request.zone.clone(), found.id);
            }
        }
    }

    pub(crate) fn look_failed(&mut self, place: usize, retry_after: Option<Duration>, now: Now) {
        self.tally.failures += 1;
        if let Some(look) = self.looks.get_mut(place) {
            look.failures = look.failures.saturating_add(1);
            let pause = backoff(look.failures).max(retry_after.unwrap_or_default());
            look.at = after(now.time, pause);
        }
    }

    pub(crate) fn surplus_revoked(&mut self, place: usize) {
        if place < self.surplus.len() {
            self.surplus.remove(place);
            self.tally.revoked += 1;
        }
    }

    pub(crate) fn surplus_refused(
        &mut self,
        place: usize,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        self.tally.failures += 1;
        if let Some(surplus) = self.surplus.get_mut(place) {
            surplus.failures = surplus.failures.saturating_add(1);
            let pause = backoff(surplus.failures).max(retry_after.unwrap_or_default());
            surplus.retry_at = Some(after(now.time, pause));
        }
    }

    /// Moves a generation that has no certificate, and whose row names no zone, to the next one. Returns whether there is
    /// one that it was not in yet.
    fn move_to_other_zone(&mut self, number: u32) -> bool {
        let device = self.snapshot.device.as_ref();
        let names_zone = device.is_none_or(|device| device.zone.is_some());
        if names_zone || self.policy.zone.is_some() {
            return false;
        }
        let Some(generation) = self.generation(number) else {
            return false;
        };
        let zones: Vec<_> = self
            .policy
            .zones
            .values()
            .map(|zone| zone.id.clone())
            .collect();
        let tried = generation.failures as usize + 1;
        let at = zones.iter().position(|id| *id == generation.zone);
        let Some(next) = at.map(|at| zones[(at + 1) % zones.len()].clone()) else {
            return false;
        };
        if tried >= zones.len() {
            return false;
        }
        self.with(number, |generation| {
            generation.zone = next;
            generation.failures += 1;
        });
        true
    }

    pub(crate) fn written(&mut self, number: u32) {
        self.with(number, |generation| {
            generation.state = Progress::Written;
            generation.pem = None;
            clear(generation, true);
        });
    }

    /// From here on a device may use it.
    pub(crate) fn hook_started(&mut self, number: u32) {
        self.with(number, |generation| generation.hook_started = true);
    }

    pub(crate) fn deployed(&mut self, number: u32) {
        self.tally.deployed += 1;
        self.with(number, |generation| {
            generation.state = Progress::Deployed;
            clear(generation, true);
        });
    }

    pub(crate) fn verified(&mut self, number: u32, now: Now) {
        let revoke_at = after(now.time, self.policy.renew.grace);
        for old in self.live() {
            if old.number < number {
                old.revoke_at = Some(old.revoke_at.map_or(revoke_at, |at| at.min(revoke_at)));
            }
        }
        self.with(number, |generation| {
            generation.state = Progress::Verified;
            generation.verified_at = Some(now.time);
            clear(generation, true);
        });
        if matches!(self.snapshot.ask, Some(Ask::Rotate | Ask::RotateNow)) {
            self.snapshot.ask = None;
        }
    }

    pub(crate) fn revoked(&mut self, number: u32, outcome: &RevokeOutcome, now: Now) {
        if let RevokeOutcome::Refused(refusal) = outcome {
            return self.refused(number, refusal, false, now);
        }
        self.tally.revoked += 1;
        self.with(number, |generation| {
            generation.state = Progress::Revoked;
            clear(generation, true);
        });
    }

    pub(crate) fn abandon(&mut self, number: u32, problem: Option<&str>, now: Now) {
        self.with(number, |generation| {
            generation.state = Progress::Abandoned;
            generation.intent = None;
            match problem {
                None => clear(generation, true),
                Some(problem) => {
                    generation.failures = generation.failures.saturating_add(1);
                    generation.hold = Some(Hold::Failed);
                    generation.problem = Some(problem.to_owned());
                    generation.retry_at = Some(after(now.time, backoff(generation.failures)));
                }
            }
        });
        self.tally.failures += u64::from(problem.is_some());
    }

    /// Records that a step failed, and when it is tried again.
    pub(crate) fn fail(&mut self, number: u32, hold: Hold, problem: &str, now: Now) {
        self.tally.failures += 1;
        self.with(number, |generation| {
            generation.failures = generation.failures.saturating_add(1);
            generation.hold = Some(hold);
            generation.problem = Some(problem.to_owned());
            generation.retry_at = Some(after(now.time, backoff(generation.failures)));
        });
    }

    /// Records that deployment is paused at the worker.
    pub(crate) fn deploy_paused(&mut self, number: u32, now: Now) {
        self.with(number, |generation| {
            generation.hold = Some(Hold::DeployPaused);
            generation.retry_at = Some(after(now.time, Duration::from_secs(60)));
        });
    }

    pub(crate) fn refused(&mut self, number: u32, refusal: &Refusal, is_open: bool, now: Now) {
        let hold = match refusal.kind {
            RefusalKind::RateLimited => None,
            RefusalKind::Quota => Some(Hold::Quota),
            RefusalKind::Permission => Some(Hold::Permission),
            _ if is_open => Some(Hold::Unclear),
            _ => Some(Hold::Failed),
        };
        self.tally.failures += u64::from(hold.is_some());
        self.with(number, |generation| {
            if hold.is_some() {
                generation.failures = generation.failures.saturating_add(1);
            }
            generation.hold = hold;
            generation.problem = hold.map(|_| refusal.problem.clone());
            generation.retry_at = Some(after(now.time, pause(refusal, generation.failures)));
        });
    }

    // What is shown.

    /// What the search attributes are to show.
    pub(crate) fn show(&self, state: &str) -> Shown {
        let generations = &self.snapshot.generations;
        let current = generations
            .iter()
            .rev()
            .find(|generation| generation.state == Progress::Verified);
        let hold = generations.iter().rev().find_map(|generation| {
            // What was replaced is revoked, whatever is missing of it, as `Held` says too.
            let is_replaced = generation.revoke_at.is_some();
            (generation.hold).filter(|hold| !(is_replaced && hold.needs_operator()))
        });
        let newest = generations.last();
        let worker = newest.and_then(|newest| self.workers.get(&newest.number));
        let worker = worker.cloned().or_else(|| {
            let device = self.snapshot.device.as_ref()?;
            pinned(&device.labels)
        });
        let mut csrs: Vec<String> = generations
            .iter()
            .filter_map(|generation| generation.csr_sha256.as_deref())
            .map(|csr| csr[..SHORT.min(csr.len())].to_owned())
            .chain(self.past.iter().map(|past| past.csr.clone()))
            .collect();
        csrs.sort();
        csrs.dedup();
        let certificates = generations
            .iter()
            .filter(|generation| !is_over(generation))
            .filter_map(|generation| generation.certificate.as_ref());
        Shown {
            state: state.to_owned(),
            hold: hold.map(|hold| hold.as_str().to_owned()),
            worker: worker.map(String::from),
            row: self.row.clone(),
            csrs,
            certificates: certificates.map(ToString::to_string).collect(),
            expires: current.and_then(|current| current.not_after),
            due: current.and_then(|current| self.policy.due(&self.snapshot.name, current)),
            done: Done {
                tally: self.tally,
                looks: self.looks.len() as u64,
                surplus: self.surplus.len() as u64,
            },
        }
    }

    /// The state that the search attributes show while nothing is done.
    pub(crate) fn resting(&self, at: Timestamp) -> &'static str {
        if self.paused {
            return "paused";
        }
        let owes = !self.looks.is_empty() || !self.surplus.is_empty();
        match self.decide(self.now(at)) {
            Decision::Unmanaged => "unmanaged",
            Decision::Settled { .. } if owes => "looking",
            Decision::Settled { .. } => {
                let mut generations = self.snapshot.generations.iter();
                match generations.any(|generation| generation.state == Progress::Verified) {
                    true => "verified",
                    false => "none",
                }
            }
            _ => "waiting",
        }
    }

    /// What the device waits for.
    pub(crate) fn held(&self, at: Timestamp) -> Option<Held> {
        Held::of(&self.snapshot, &self.decide(self.now(at)))
    }
}

/// The state that the search attributes show while something is done.
pub(crate) const WORKING: &str = "working";

/// The algorithm of a key that the device has made.
const CSR: &str = "csr";

fn is_over(generation: &Generation) -> bool {
    matches!(generation.state, Progress::Revoked | Progress::Abandoned)
}

/// What it waited for is over.
fn clear(generation: &mut Generation, with_failures: bool) {
    generation.hold = None;
    generation.problem = None;
    generation.retry_at = None;
    if with_failures {
        generation.failures = 0;
    }
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// How long to wait after a refusal.
fn pause(refusal: &Refusal, failures: u32) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    /// After so many, a zone that does not respond is tried as seldom as what is refused.
    const SHORT_FAILURES: u32 = 10;
    let asked = refusal.retry_after.unwrap_or_default().max(LEAST);
    match refusal.kind {
        RefusalKind::RateLimited => asked,
        RefusalKind::Silent if failures <= SHORT_FAILURES => {
            let pause = LEAST.saturating_mul(1 << failures.saturating_sub(1).min(6));
            pause.min(Duration::from_secs(60)).max(asked)
        }
        _ => backoff(failures).max(asked),
    }
}

/// Whether a step is due because of the time.
fn depends_on_time(step: &Step) -> bool {
    matches!(
        step,
        Step::Begin(Reason::Time | Reason::Lost)
            | Step::Revoke(_, RevokeReason::Replaced | RevokeReason::Expired)
    )
}

#[cfg(test)]
mod tests;
