//! What is to be done next for a device: a function of the manifest, the journal and the time, and of nothing else.
//!
//! The rules, in the order in which they are looked at:
//!
//! 1. A leaked key's certificate is revoked at once.
//! 2. An unmanaged device is left alone. Only `state: absent`, or an operator, revokes.
//! 3. Of an absent device every certificate is revoked, once the outcome of its requests is known.
//! 4. A request whose outcome is open is resumed before anything else is sent for the device.
//! 5. A generation that can still be deployed is deployed: no other is made beside it. It can't if it has expired, its key
//!    has leaked, or the manifest asks for something else by now; or if its key is lost, and an operator asks for another.
//! 6. A device without a usable certificate gets one. One whose certificate is due, or is not what the manifest asks for,
//!    gets another.
//! 7. A generation whose deploy command was started is revoked only once a later one is verified and its grace is over,
//!    or once it has expired.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use shieldcert::ZoneId;

use crate::config::{Config, RenewConfig};
use crate::journal::{Ask, Generation, Hold, Reason, Snapshot, Spec, State};
use crate::manifest::{Device, DeviceKey, DeviceState};
use crate::name::DeviceName;

/// What is known of the time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The service's time, or this machine's where the service has not said it.
    pub time: Timestamp,
    /// Whether it is the service's. Nothing is revoked by this machine's clock.
    pub is_service_time: bool,
}

/// The next step for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin a generation, and make its key and CSR.
    Begin(Reason),
    /// Make key and CSR of a generation that has none yet.
    MakeKey(u32),
    /// Send the request.
    Send(u32),
    /// Find out about a request that may have been sent, and send it if it is absent.
    Resume(u32),
    /// Find out about a request that may have been sent, and send nothing.
    Settle(u32),
    /// Write the files.
    Write(u32),
    /// Bring it into use.
    Deploy(u32),
    /// Check that it works.
    Verify(u32),
    /// Revoke its certificate.
    Revoke(u32, RevokeReason),
    /// It has no certificate and gets none.
    Abandon(u32),
}

impl Step {
    /// Returns the number of the generation that it is about. `None`: it begins one.
    pub fn generation(&self) -> Option<u32> {
        match self {
            Self::Begin(_) => None,
            Self::MakeKey(number)
            | Self::Send(number)
            | Self::Resume(number)
            | Self::Settle(number)
            | Self::Write(number)
            | Self::Deploy(number)
            | Self::Verify(number)
            | Self::Revoke(number, _)
            | Self::Abandon(number) => Some(*number),
        }
    }
}

/// Why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeReason {
    /// Its key has leaked.
    Leaked,
    /// The manifest says that the device is absent.
    Absent,
    /// An operator asked for it.
    Asked,
    /// A later one was verified, and its grace is over.
    Replaced,
    /// It was never deployed, and is not what the manifest asks for.
    Outdated,
    /// It has expired before it was verified, and takes a place in the quota.
    Expired,
}

impl RevokeReason {
    /// Returns the words for it, as the history writes them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaked => "its key has leaked",
            Self::Absent => "the device is absent",
            Self::Asked => "asked for",
            Self::Replaced => "a later one is in use",
            Self::Expired => "it has expired before it was verified",
            Self::Outdated => "it was never deployed, and the manifest asks for something else",
        }
    }

    /// Whether the device may be left without a certificate.
    pub(crate) fn leaves_none(self) -> bool {
        matches!(self, Self::Leaked | Self::Absent | Self::Asked)
    }
}

/// What comes next for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Something is to be done now.
    Now(Step),
    /// Something is to be done, but not before this time, or not before what it waits for.
    Later {
        /// The time.
        at: Option<Timestamp>,
        /// What it waits for.
        hold: Option<Hold>,
    },
    /// It is as it should be. Says when the next renewal is due, or an old certificate is to be revoked.
    Settled {
        /// When.
        next: Option<Timestamp>,
    },
    /// It is in the journal alone.
    Unmanaged,
}

impl Decision {
    /// What comes next for a device that an operator has paused.
    ///
    /// What an operator revokes is revoked all the same.
    pub fn paused(self) -> Self {
        match self {
            Self::Now(Step::Revoke(_, RevokeReason::Leaked | RevokeReason::Asked))
            | Self::Settled { .. }
            | Self::Unmanaged => self,
            Self::Now(_) | Self::Later { .. } => Self::Later {
                at: None,
                hold: Some(Hold::Paused),
            },
        }
    }
}

/// What a CSR file of a device holds, where the device makes its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The fleet makes the key.
    NotNeeded,
    /// The CSR's SHA-256.
    Csr(String),
    /// There is none that can be read.
    Missing,
}

/// Decides what comes next for a device.
pub(crate) fn decide(
    snapshot: &Snapshot,
    delivered: &Delivered,
    config: &Config,
    now: Now,
) -> Decision {
    let generations = &snapshot.generations;
    let live = || generations.iter().filter(|generation| is_live(generation));
    let leaked = live().filter(|generation| generation.leaked && generation.certificate.is_some());
    let mut waiting = None;
    for leaked in leaked {
        let step = Step::Revoke(leaked.number, RevokeReason::Leaked);
        match act(leaked, step, now) {
            Decision::Now(step) => return Decision::Now(step),
            later => waiting = waiting.or(Some(later)),
        }
    }
    if let Some(later) = waiting {
        return later;
    }
    let is_asked_to_revoke = snapshot.ask.is_some_and(Ask::revokes);
    let is_absent = |device: &Device| device.state == DeviceState::Absent;
    match &snapshot.device {
        None if !is_asked_to_revoke => Decision::Unmanaged,
        Some(device) if !is_asked_to_revoke && !is_absent(device) => {
            decide_present(snapshot, device, delivered, config, now)
        }
        device => {
            let reason = match device.as_ref().is_some_and(is_absent) {
                true => RevokeReason::Absent,
                false => RevokeReason::Asked,
            };
            decide_absent(generations, reason, now)
        }
    }
}

/// Whether it may have a certificate that is active, or get one.
fn is_live(generation: &Generation) -> bool {
    !matches!(generation.state, State::Revoked | State::Abandoned)
}

/// The step, or the time before which it is not tried again.
fn act(generation: &Generation, step: Step, now: Now) -> Decision {
    // No step waits longer. A later time was recorded by this machine's clock, which was ahead of the service's.
    const LONGEST: SignedDuration = SignedDuration::from_hours(24);
    match generation.retry_at {
        Some(at) if at > now.time && at.duration_since(now.time) <= LONGEST => Decision::Later {
            at: Some(at),
            hold: generation.hold,
        },
        _ => Decision::Now(step),
    }
}

fn decide_absent(generations: &[Generation], reason: RevokeReason, now: Now) -> Decision {
    let mut decision = Decision::Settled { next: None };
    for generation in generations.iter().filter(|generation| is_live(generation)) {
        let number = generation.number;
        let step = match generation.state {
            State::Planned | State::Keyed => Step::Abandon(number),
            State::Sending => Step::Settle(number),
            _ => Step::Revoke(number, reason),
        };
        match act(generation, step, now) {
            Decision::Now(step) => return Decision::Now(step),
            later => decision = later,
        }
    }
    decision
}

fn decide_present(
    snapshot: &Snapshot,
    device: &Device,
    delivered: &Delivered,
    config: &Config,
    now: Now,
) -> Decision {
    let generations = &snapshot.generations;
    let wanted = Spec::of(device);
    let live = || generations.iter().filter(|generation| is_live(generation));
    // What may have been sent comes first: until it is known, nothing else is sent.
    if let Some(open) = live().find(|generation| generation.state == State::Sending) {
        let is_wanted = !open.leaked && open.spec.is_as(&wanted);
        let step = match is_wanted {
            true => Step::Resume(open.number),
            false => Step::Settle(open.number),
        };
        return act(open, step, now);
    }
    let current = live().rfind(|generation| generation.state == State::Verified);
    let is_after_current =
        |generation: &&Generation| current.is_none_or(|current| generation.number > current.number);
    let open = live().rfind(is_after_current);
    if let Some(open) = open {
        // A clock that is not the service's may be far ahead: by it nothing has expired.
        let is_expired = now.is_service_time && open.is_expired(now.time);
        let is_wanted = open.spec.is_as(&wanted);
        let has_question = question(open).is_some();
        // A lost key may be restored, until an operator asks for a new certificate.
        let may_come_back = open.hold == Some(Hold::KeyLost)
            && !snapshot.ask.is_some_and(Ask::rotates)
            && matches!(open.state, State::Issued | State::Written);
        let is_usable =
            !open.leaked && !is_expired && is_wanted && (!has_question || may_come_back);
        let number = open.number;
        match open.state {
            State::Planned | State::Keyed if !is_usable => {
                return act(open, Step::Abandon(number), now);
            }
            State::Planned => return act(open, Step::MakeKey(number), now),
            State::Keyed => return act(open, Step::Send(number), now),
            _ if is_usable => {
                let step = match open.state {
                    State::Issued => Step::Write(number),
                    State::Written => Step::Deploy(number),
                    _ => Step::Verify(number),
                };
                return act(open, step, now);
            }
            _ if is_expired => {
                return act(open, Step::Revoke(number, RevokeReason::Expired), now);
            }
            // Nothing uses it, and nothing will.
            State::Issued | State::Written if !open.hook_started && !is_wanted && !has_question => {
                return act(open, Step::Revoke(number, RevokeReason::Outdated), now);
            }
            // A device may use it, or an operator is to decide: another one is made beside it.
            _ => {}
        }
    }
    let reason = reason_to_begin(snapshot, current, open, &wanted, delivered, config, now);
    let question = open
        .and_then(question)
        .or_else(|| current.and_then(question));
    // An operator who asks for a new certificate has decided.
    let unanswered = question.filter(|_| !snapshot.ask.is_some_and(Ask::rotates));
    let begin = reason.map(|reason| begin(reason, generations, unanswered, delivered, config, now));
    if let Some(Decision::Now(step)) = begin {
        return Decision::Now(step);
    }
    // What was replaced.
    let mut next = None;
    if let Some(current) = current {
        for old in live().filter(|old| old.number < current.number) {
            // It is not recorded of one that was replaced after the backup of this journal.
            let known = old
                .revoke_at
                .or_else(|| revoke_at(current, &config.renew).filter(|_| !is_watched(current)));
            match known {
                // A clock that is not the service's revokes nothing.
                Some(at) if at <= now.time && now.is_service_time => {
                    match act(old, Step::Revoke(old.number, RevokeReason::Replaced), now) {
                        Decision::Now(step) => return Decision::Now(step),
                        Decision::Later { at, .. } => next = earlier(next, at),
                        _ => {}
                    }
                }
                at => next = earlier(next, at),
            }
        }
        next = earlier(next, due(&snapshot.name, current, &config.renew));
    }
    match (begin, question.filter(|hold| *hold != Hold::Watched)) {
        (Some(later), _) => later,
        (None, Some(hold)) => Decision::Later {
            at: next,
            hold: Some(hold),
        },
        (None, None) => Decision::Settled { next },
    }
}

/// What an operator is to decide about a generation.
fn question(generation: &Generation) -> Option<Hold> {
    generation.hold.filter(|hold| hold.needs_operator())
}

/// Whether a generation can be begun now.
fn begin(
    reason: Reason,
    generations: &[Generation],
    question: Option<Hold>,
    delivered: &Delivered,
    config: &Config,
    now: Now,
) -> Decision {
    if question.is_some() {
        return Decision::Later {
            at: None,
            hold: question,
        };
    }
    let needs_csr = match delivered {
        Delivered::NotNeeded => false,
        Delivered::Missing => true,
        Delivered::Csr(sha256) => {
            // A key that has leaked is never used again.
            let has_leaked = users(generations, sha256).any(|generation| generation.leaked);
            has_leaked || (!config.renew.reuse_csr && was_used(generations, sha256))
        }
    };
    if needs_csr {
        return Decision::Later {
            at: None,
            hold: Some(Hold::Csr),
        };
    }
    // What was given up after it failed is not begun again at once.
    match generations.last() {
        Some(newest) if newest.state == State::Abandoned => act(newest, Step::Begin(reason), now),
        _ => Decision::Now(Step::Begin(reason)),
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// When what a generation has replaced is to be revoked.
fn revoke_at(current: &Generation, config: &RenewConfig) -> Option<Timestamp> {
    let grace = SignedDuration::try_from(config.grace).unwrap_or(SignedDuration::MAX);
    let at = current.verified_at?.checked_add(grace);
    Some(at.unwrap_or(Timestamp::MAX))
}

fn is_watched(generation: &Generation) -> bool {
    generation.hold == Some(Hold::Watched)
}

/// The generations that were made from a CSR.
fn users<'a>(
    generations: &'a [Generation],
    sha256: &'a str,
) -> impl Iterator<Item = &'a Generation> {
    generations
        .iter()
        .filter(move |generation| generation.csr_sha256.as_deref() == Some(sha256))
}

/// Whether a CSR has led to a certificate, or may lead to one. What was given up did not.
fn was_used(generations: &[Generation], sha256: &str) -> bool {
    users(generations, sha256).any(|generation| generation.state != State::Abandoned)
}

/// Why a new generation is needed, if it is.
fn reason_to_begin(
    snapshot: &Snapshot,
    current: Option<&Generation>,
    open: Option<&Generation>,
    wanted: &Spec,
    delivered: &Delivered,
    config: &Config,
    now: Now,
) -> Option<Reason> {
    let newest = snapshot.generations.last();
    let Some(current) = current else {
        return Some(match newest {
            None => Reason::New,
            Some(newest) if newest.leaked => Reason::Leaked,
            Some(newest) if newest.state == State::Abandoned => newest.reason,
            Some(newest) if !newest.spec.is_as(wanted) => newest.spec.difference(wanted),
            Some(_) => match snapshot.ask {
                Some(_) => Reason::Asked,
                None => Reason::Lost,
            },
        });
    };
    // A device may use one that is outdated by now; what replaces it is for the same reason.
    let compared = open.unwrap_or(current);
    if !compared.spec.is_as(wanted) {
        return Some(compared.spec.difference(wanted));
    }
    if snapshot.ask.is_some_and(Ask::rotates) {
        return Some(Reason::Asked);
    }
    if current.leaked {
        return Some(Reason::Leaked);
    }
    if now.is_service_time && current.is_expired(now.time) {
        return Some(Reason::Lost);
    }
    if let Delivered::Csr(sha256) = delivered
        && current.csr_sha256.is_some()
        && !was_used(&snapshot.generations, sha256)
    {
        return Some(Reason::NewCsr);
    }
    is_due(&snapshot.name, current, &config.renew, now).then_some(Reason::Time)
}

/// Whether a certificate is to be renewed.
fn is_due(name: &DeviceName, generation: &Generation, config: &RenewConfig, now: Now) -> bool {
    let Some(due) = due(name, generation, config).filter(|due| *due <= now.time) else {
        return false;
    };
    if now.is_service_time || generation.reason == Reason::Adopted {
        return true;
    }
    // A clock that is ahead would find a new certificate due again at once. By this clock it must have been in use as long.
    let (Some(begin), Some(verified)) = (generation.not_before, generation.verified_at) else {
        return true;
    };
    let since = verified.checked_add(due.duration_since(begin));
    since.is_ok_and(|since| since <= now.time)
}

/// When a certificate is to be renewed: after a share of its lifetime, and before that by a part of the jitter that the
/// name decides. `None` if its lifetime is unknown.
pub(crate) fn due(
    name: &DeviceName,
    generation: &Generation,
    config: &RenewConfig,
) -> Option<Timestamp> {
    let (begin, end) = (generation.not_before?, generation.not_after?);
    let lifetime = end.duration_since(begin).as_secs_f64();
    let share = (config.at - config.jitter * fraction(name)).clamp(0.0, 1.0);
    let after = SignedDuration::try_from_secs_f64(lifetime * share).ok()?;
    begin.checked_add(after).ok()
}

/// A number from 0 to below 1 that depends on the name alone.
pub(crate) fn fraction(name: &DeviceName) -> f64 {
    let digest = Sha256::digest(name.as_str().to_ascii_lowercase());
    let first: [u8; 4] = [digest[0], digest[1], digest[2], digest[3]];
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

/// Chooses the zone of a new generation: that of the row, the default, or one of all by the name, so that each gets a part
/// of the fleet according to its quota.
pub(crate) fn choose_zone<'a>(device: &'a Device, config: &'a Config) -> Option<&'a str> {
    if let Some(zone) = device.zone.as_deref().or(config.devices.zone.as_deref()) {
        return Some(zone);
    }
    let is_known = config.zones.values().all(|zone| zone.quota.is_some());
    let weight = |quota: Option<u64>| match is_known {
        true => quota.unwrap_or(0) as f64,
        false => 1.0,
    };
    let all: f64 = config.zones.values().map(|zone| weight(zone.quota)).sum();
    let mut place = fraction(&device.name) * all;
    for (name, zone) in &config.zones {
        let own = weight(zone.quota);
        if place < own {
            return Some(name);
        }
        place -= own;
    }
    config.zones.keys().next_back().map(String::as_str)
}

/// Whether a device gets its certificate in any zone that has a place.
pub(crate) fn may_be_anywhere(device: &Device, config: &Config) -> bool {
    device.zone.is_none() && config.devices.zone.is_none()
}

/// Returns the id of the zone with this name.
pub(crate) fn zone_id<'a>(name: &str, config: &'a Config) -> Option<&'a ZoneId> {
    config.zones.get(name).map(|zone| &zone.id)
}

impl Spec {
    /// Returns what a device's certificate is made from.
    pub fn of(device: &Device) -> Self {
        let key = match &device.key {
            DeviceKey::Generated(algorithm) => algorithm.to_string(),
            DeviceKey::Csr(_) => CSR.to_owned(),
        };
        Self {
            subject: serde_json::to_string(&device.subject).unwrap_or_default(),
            key,
            days: device.validity_days,
        }
    }

    /// Whether both ask for the same. The subject of a device's own CSR is its own.
    fn is_as(&self, wanted: &Self) -> bool {
        // Of one that was taken over before it had a row, nothing is known: it is as good as any until it is due.
        if self.days == 0 {
            return true;
        }
        let is_own = self.key == CSR && wanted.key == CSR;
        self.key == wanted.key
            && self.days == wanted.days
            && (is_own || self.subject == wanted.subject)
    }

    fn difference(&self, wanted: &Self) -> Reason {
        if self.key != wanted.key {
            Reason::KeyChanged
        } else if self.subject != wanted.subject && self.key != CSR {
            Reason::SubjectChanged
        } else {
            Reason::ValidityChanged
        }
    }
}

/// The algorithm of a key that the device has made.
pub(crate) const CSR: &str = "csr";

#[cfg(test)]
mod tests;
