//! What is to be done, and what it takes: a survey of every device.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shieldcert::ZoneId;

use crate::config::{Config, MaxRevoke};
use crate::engine::{Task, delivered};
use crate::error::Result;
use crate::folder::Folder;
use crate::journal::{Hold, Journal, Reason, Snapshot, State};
use crate::name::DeviceName;
use crate::places::{Place, Places};
use crate::policy::{
    Decision, Now, RevokeReason, Step, choose_zone, decide, due, may_be_anywhere, zone_id,
};

/// What is to be done for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// It gets its first certificate.
    Issue,
    /// It gets a new certificate.
    Renew,
    /// What was begun is finished.
    Continue,
    /// A certificate is revoked.
    Revoke,
    /// Nothing, until what it waits for is there.
    Wait,
    /// Nothing: it is as it should be.
    Leave,
    /// Nothing: it is in the journal alone.
    Unmanaged,
}

impl Action {
    /// Whether something is done for the device.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            Self::Issue | Self::Renew | Self::Continue | Self::Revoke
        )
    }
}

/// What is to be done for a device, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanEntry {
    /// The device.
    pub device: DeviceName,
    /// What is to be done.
    pub action: Action,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When something is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// When its certificate expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The zone of the certificate that is made or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneId>,
}

/// What is to be done in a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// When it was made, by the service's time.
    pub at: Timestamp,
    /// Whether the service has said its time. Otherwise it is this machine's, and nothing is revoked by it.
    pub is_service_time: bool,
    /// How many devices the manifest has.
    pub devices: u64,
    /// How many devices there are for each action.
    pub actions: BTreeMap<Action, u64>,
    /// How many renewals there are for each reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// How many devices wait for what.
    pub holds: BTreeMap<Hold, u64>,
    /// How many devices would be left without a verified certificate by revocations.
    pub left_without: u64,
    /// How many such revocations need no confirmation.
    pub max_revoke: u64,
    /// The least number of requests that it takes.
    pub requests: u64,
    /// How long that takes under the rate limit, in seconds.
    pub seconds: u64,
    /// The zones.
    pub zones: BTreeMap<ZoneId, ZonePlan>,
    /// How many renewals are due in each of the next twelve months, by `2026-11`, those that are due now left out.
    pub renewals: BTreeMap<String, u64>,
    /// When something is due next.
    pub next: Option<Timestamp>,
}

/// What is to be done in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ZonePlan {
    /// How many certificates of this journal may be active.
    pub active: u64,
    /// How many are to be issued.
    pub issue: u64,
    /// How many are to be revoked.
    pub revoke: u64,
    /// The quota, where it is known.
    pub quota: Option<u64>,
    /// How many places of the quota are kept for renewals that are due now or within the grace period.
    pub kept: u64,
    /// How many new devices get no certificate, because the rest of the quota has no place for them.
    pub blocked: u64,
    /// Why the zone can't be used at present.
    pub problem: Option<String>,
}

/// A plan, and the devices that have something to do, in no order.
pub(crate) struct Survey {
    pub(crate) plan: Plan,
    pub(crate) tasks: Vec<Task>,
    /// How many new devices get a certificate in each zone that has a quota.
    pub(crate) places: Places,
}

/// Counts the places for new devices.
fn count_places(journal: &Journal, folder: &Folder, config: &Config, now: Now) -> Result<Places> {
    let zones = config.zones.values();
    let quotas = zones.filter_map(|zone| Some((zone.id.clone(), zone.quota?)));
    let mut places: BTreeMap<_, _> = quotas.map(|(id, quota)| (id, Place::new(quota))).collect();
    if places.is_empty() {
        return Ok(Places::new(places));
    }
    let horizon = renewals_until(config, now);
    journal.each_device(|snapshot| {
        for generation in &snapshot.generations {
            let Some(place) = places.get_mut(&generation.zone) else {
                continue;
            };
            if generation.may_be_active() || generation.state == State::Sending {
                place.held += 1;
            } else if matches!(generation.state, State::Planned | State::Keyed)
                && generation.reason != Reason::New
                && snapshot.device.is_some()
            {
                place.kept += 1;
            }
        }
        let Some(device) = &snapshot.device else {
            return;
        };
        let delivered = delivered(folder, Some(device));
        let is_renewed = match decide(&snapshot, &delivered, config, now) {
            Decision::Now(Step::Begin(reason)) => reason != Reason::New,
            Decision::Settled { .. } => {
                let verified = snapshot
                    .generations
                    .iter()
                    .rfind(|generation| generation.state == State::Verified);
                verified
                    .and_then(|verified| due(&snapshot.name, verified, &config.renew))
                    .is_some_and(|due| due <= horizon)
            }
            _ => false,
        };
        let zone = choose_zone(device, config).and_then(|name| zone_id(name, config));
        if let Some(place) = zone
            .filter(|_| is_renewed)
            .and_then(|zone| places.get_mut(zone))
        {
            place.kept += 1;
        }
    })?;
    for surplus in journal.surplus()? {
        if let Some(place) = places.get_mut(&surplus.zone) {
            place.held += 1;
        }
    }
    Ok(Places::new(places))
}

/// Until when renewals take a place before the certificates of this run's renewals are revoked.
fn renewals_until(config: &Config, now: Now) -> Timestamp {
    const LONGEST: Duration = Duration::from_secs(30 * 86_400);
    let grace = SignedDuration::try_from(config.renew.grace.min(LONGEST)).unwrap_or_default();
    now.time.checked_add(grace).unwrap_or(Timestamp::MAX)
}

/// The zone in which a new device is to get its first certificate by this step. `None`: it is another step, or another
/// device.
fn zone_of_new<'a>(snapshot: &'a Snapshot, step: &Step, config: &'a Config) -> Option<&'a ZoneId> {
    match step {
        Step::Begin(Reason::New) => {
            let device = snapshot.device.as_ref()?;
            choose_zone(device, config).and_then(|name| zone_id(name, config))
        }
        Step::MakeKey(number) | Step::Send(number) => {
            let mut generations = snapshot.generations.iter();
            let generation = generations.find(|generation| generation.number == *number)?;
            (generation.reason == Reason::New).then_some(&generation.zone)
        }
        _ => None,
    }
}

/// Decides for every device of the manifest that was loaded, and of the journal.
pub(crate) fn survey(
    journal: &Journal,
    folder: &Folder,
    config: &Config,
    now: Now,
    mut each: impl FnMut(PlanEntry),
) -> Result<Survey> {
    let mut survey = Survey {
        plan: Plan {
            at: now.time,
            is_service_time: now.is_service_time,
            ..Plan::default()
        },
        tasks: Vec::new(),
        places: count_places(journal, folder, config, now)?,
    };
    let mut places = survey.places.clone();
    for zone in config.zones.values() {
        let quota = zone.quota;
        survey.plan.zones.insert(
            zone.id.clone(),
            ZonePlan {
                quota,
                kept: places.get(&zone.id).map_or(0, |place| place.kept),
                ..ZonePlan::default()
            },
        );
    }
    journal.each_device(|snapshot| {
        let delivered = delivered(folder, snapshot.device.as_ref());
        let decision = decide(&snapshot, &delivered, config, now);
        let blocked_in = blocked_in(&snapshot, &decision, config, &mut places);
        let entry = survey
            .plan
            .add(&snapshot, &decision, config, now, blocked_in.clone());
        // What is blocked is recorded, once.
        let is_recorded = blocked_in.is_some()
            && (snapshot.generations.last()).is_some_and(|newest| newest.hold == Some(Hold::Quota));
        if let (Decision::Now(step), Some(device)) = (&decision, snapshot.id)
            && !is_recorded
        {
            survey.tasks.push(Task::of(&snapshot, device, step));
        }
        each(entry);
    })?;
    survey.plan.finish(config);
    Ok(survey)
}

/// The zone whose quota has no place for a new device. `None` if the device is not new, or gets one, which is taken.
fn blocked_in(
    snapshot: &Snapshot,
    decision: &Decision,
    config: &Config,
    places: &mut Places,
) -> Option<ZoneId> {
    let Decision::Now(step) = decision else {
        return None;
    };
    let zone = zone_of_new(snapshot, step, config)?;
    if places.take(zone) {
        return None;
    }
    let device = snapshot.device.as_ref()?;
    let others = config.zones.values().map(|other| &other.id);
    let mut others = others.filter(|_| may_be_anywhere(device, config));
    match others.any(|other| places.take(other)) {
        true => None,
        false => Some(zone.clone()),
    }
}

impl Plan {
    pub(crate) fn add(
        &mut self,
        snapshot: &Snapshot,
        decision: &Decision,
        config: &Config,
        now: Now,
        blocked_in: Option<ZoneId>,
    ) -> PlanEntry {
        self.devices += u64::from(snapshot.device.is_some());
        let verified = snapshot
            .generations
            .iter()
            .rev()
            .find(|generation| generation.state == State::Verified);
        for generation in &snapshot.generations {
            let is_active =
                generation.state.may_have_certificate() && generation.certificate.is_some();
            if is_active {
                self.zones
                    .entry(generation.zone.clone())
                    .or_default()
                    .active += 1;
            }
        }
        let mut entry = PlanEntry {
            device: snapshot.name.clone(),
            action: Action::Leave,
            reason: None,
            hold: None,
            due: None,
            expires: verified.and_then(|generation| generation.not_after),
            zone: None,
        };
        match (decision, blocked_in) {
            (_, Some(zone)) => {
                entry.action = Action::Wait;
                entry.hold = Some(Hold::Quota);
                *self.holds.entry(Hold::Quota).or_default() += 1;
                self.zones.entry(zone.clone()).or_default().blocked += 1;
                entry.zone = Some(zone);
            }
            (Decision::Now(step), None) => {
                self.add_step(&mut entry, snapshot, step, config);
                // What kept it from being done the last time, and may again.
                entry.hold = snapshot
                    .generations
                    .iter()
                    .rev()
                    .find_map(|generation| generation.hold);
                if let Some(hold) = entry.hold {
                    *self.holds.entry(hold).or_default() += 1;
                }
            }
            (Decision::Later { at, hold }, None) => {
                entry.action = Action::Wait;
                (entry.due, entry.hold) = (*at, *hold);
                if let Some(hold) = hold {
                    *self.holds.entry(*hold).or_default() += 1;
                }
                self.next = self.next.into_iter().chain(*at).min();
            }
            (Decision::Settled { next }, None) => {
                entry.due = *next;
                self.next = self.next.into_iter().chain(*next).min();
                let renewal =
                    verified.and_then(|verified| due(&snapshot.name, verified, &config.renew));
                self.add_renewal(renewal, now);
            }
            (Decision::Unmanaged, None) => entry.action = Action::Unmanaged,
        }
        *self.actions.entry(entry.action).or_default() += 1;
        entry
    }

    fn add_step(
        &mut self,
        entry: &mut PlanEntry,
        snapshot: &Snapshot,
        step: &Step,
        config: &Config,
    ) {
        let generation = |number: u32| {
            snapshot
                .generations
                .iter()
                .find(|generation| generation.number == number)
        };
        match step {
            Step::Begin(reason) => {
                entry.action = match reason {
                    Reason::New => Action::Issue,
                    _ => Action::Renew,
                };
                entry.reason = Some(reason.as_str());
                let zone = snapshot
                    .device
                    .as_ref()
                    .and_then(|device| choose_zone(device, config))
                    .and_then(|name| zone_id(name, config));
                entry.zone = zone.cloned();
                if let Some(zone) = zone {
                    self.zones.entry(zone.clone()).or_default().issue += 1;
                }
                if *reason != Reason::New {
                    *self.reasons.entry(reason.as_str()).or_default() += 1;
                }
                self.requests += 1;
            }
            Step::Revoke(number, reason) => {
                entry.action = Action::Revoke;
                entry.reason = Some(reason.as_str());
                entry.zone = generation(*number).map(|generation| generation.zone.clone());
                // Every certificate of the device goes.
                let count = match reason.leaves_none() {
                    true => snapshot
                        .generations
                        .iter()
                        .filter(|generation| generation.certificate.is_some())
                        .count(),
                    false => 1,
                };
                if let Some(zone) = &entry.zone {
                    self.zones.entry(zone.clone()).or_default().revoke += count as u64;
                }
                self.requests += count as u64;
                self.left_without += u64::from(leaves_without(snapshot, *reason));
            }
            Step::Settle(_) => {
                entry.action = Action::Revoke;
                self.requests += 1;
                self.left_without += u64::from(leaves_without(snapshot, RevokeReason::Absent));
            }
            Step::MakeKey(number) | Step::Send(number) | Step::Resume(number) => {
                entry.action = Action::Continue;
                entry.zone = generation(*number).map(|generation| generation.zone.clone());
                if let Some(zone) = &entry.zone {
                    self.zones.entry(zone.clone()).or_default().issue += 1;
                }
                self.requests += 1;
            }
            Step::Write(_) | Step::Deploy(_) | Step::Verify(_) | Step::Abandon(_) => {
                entry.action = Action::Continue
            }
        }
    }

    fn add_renewal(&mut self, due: Option<Timestamp>, now: Now) {
        const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);
        let Some(due) = due.filter(|due| *due > now.time && due.duration_since(now.time) < YEAR)
        else {
            return;
        };
        *self.renewals.entry(month(due)).or_default() += 1;
    }

    pub(crate) fn finish(&mut self, config: &Config) {
        self.max_revoke = match config.limits.max_revoke {
            MaxRevoke::Count(count) => count,
            MaxRevoke::Share(share) => ((self.devices as f64 * share) as u64).max(10),
        };
        self.seconds = seconds(self.requests, config);
    }

    /// How long it takes under the rate limit.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How many devices have something to do.
    pub fn changes(&self) -> u64 {
        let changes = self.actions.iter().filter(|(action, _)| action.is_change());
        changes.map(|(_, count)| count).sum()
    }
}

/// How many requests a second a budget has: 1,200 in 300 seconds, as documented.
pub(crate) const RATE: f64 = 4.0;

/// How many seconds so many requests take under the rate limit.
pub(crate) fn seconds(requests: u64, config: &Config) -> u64 {
    let budgets = config.budgets.values();
    let rate: f64 = budgets
        .map(|budget| RATE * (1.0 - budget.reserve_share))
        .sum();
    (requests as f64 / rate.max(f64::MIN_POSITIVE)) as u64
}

/// Whether a revocation takes the last verified certificate of a device. What an operator asked for was confirmed then.
fn leaves_without(snapshot: &Snapshot, reason: RevokeReason) -> bool {
    let has_verified = snapshot
        .generations
        .iter()
        .any(|generation| generation.state == State::Verified && generation.revoke_at.is_none());
    reason == RevokeReason::Absent && has_verified
}

fn month(time: Timestamp) -> String {
    let date = jiff::tz::TimeZone::UTC.to_datetime(time).date();
    format!("{:04}-{:02}", date.year(), date.month())
}
