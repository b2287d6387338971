//! A year of a fleet in simulated time: the policy decides, and a modelled service takes as many requests as the rate limit
//! allows. No key is made and nothing is sent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shieldcert::{CertificateId, KeyAlgorithm, ZoneId};

use crate::config::Config;
use crate::engine::{Class, Task};
use crate::journal::{Generation, Reason, Snapshot, Spec, State};
use crate::manifest::{Device, DeviceKey, DeviceState, DeviceSubject};
use crate::name::DeviceName;
use crate::plan::RATE;
use crate::policy::{Decision, Delivered, Now, Step, choose_zone, decide, zone_id};

/// What a year of a fleet looks like.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// How many devices there are.
    pub devices: u64,
    /// The year as it is planned.
    pub plan: Year,
    /// The same year with no request for two days, from the beginning of the busiest day after the first issue.
    pub outage: Year,
    /// The same year with every key leaked in its middle.
    pub leak: Year,
}

/// A year of a fleet.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Year {
    /// The requests of each day.
    pub days: Vec<Day>,
    /// The most requests of a day after the first issue.
    pub peak: u64,
    /// When that day is, from 0.
    pub peak_day: usize,
    /// How many hours it takes until each device has its first certificate.
    pub first_issue_hours: u64,
    /// In how many hours of the year the rate limit is used up, after the first issue.
    pub limited_hours: u64,
    /// The most hours that a renewal or revocation waits for the rate limit, after the first issue.
    pub longest_wait_hours: u64,
    /// How many certificates expire before they are renewed.
    pub expired: u64,
    /// How many hours it takes after what has happened until every device has a good certificate again.
    pub recovery_hours: Option<u64>,
}

/// The requests of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Day {
    /// How many certificates are issued.
    pub issued: u64,
    /// How many are revoked.
    pub revoked: u64,
}

impl Day {
    /// All requests.
    pub fn requests(self) -> u64 {
        self.issued + self.revoked
    }
}

/// A device of the model. There may be millions.
#[derive(Clone)]
pub(crate) struct Modelled {
    name: DeviceName,
    validity_days: u32,
    zone: Option<Arc<str>>,
    /// At most two: the one in use, and the one before it.
    certificates: Vec<Certificate>,
}

/// A certificate of the model. Times are in seconds.
#[derive(Clone, Copy)]
struct Certificate {
    number: u32,
    not_before: i64,
    not_after: i64,
    revoke_at: Option<i64>,
    is_leaked: bool,
    is_revoked: bool,
}

/// What happens to the fleet.
#[derive(Clone, Copy)]
enum Event {
    None,
    /// No request for two days, from this hour on.
    Outage(u64),
    /// Every key leaks in this hour.
    Leak(u64),
}

const HOURS: u64 = 365 * 24;
const OUTAGE_HOURS: u64 = 48;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Routine revocations get every tenth request.
const ROUTINE_SHARE: u64 = 10;

/// Runs the year of these devices, three times.
pub(crate) fn forecast(devices: Vec<Modelled>, config: &Config, start: Timestamp) -> Forecast {
    let run = |event: Event| Model::new(devices.clone(), config, start).run(event);
    let plan = run(Event::None);
    let peak = plan.peak_day as u64 * 24;
    Forecast {
        devices: devices.len() as u64,
        outage: run(Event::Outage(peak)),
        leak: run(Event::Leak(HOURS / 2)),
        plan,
    }
}

/// Returns devices of a fleet that does not exist yet.
pub(crate) fn imagine(count: u64, config: &Config) -> Vec<Modelled> {
    (0..count)
        .filter_map(|number| {
            Some(Modelled {
                name: format!("device-{number:07}").parse().ok()?,
                validity_days: config.devices.validity_days,
                zone: None,
                certificates: Vec::new(),
            })
        })
        .collect()
}

/// What counts of the generations that there are: the newest one that is verified.
fn verified(generations: &[Generation]) -> Option<Certificate> {
    let newest = generations
        .iter()
        .rev()
        .find(|generation| generation.state == State::Verified)?;
    Some(Certificate {
        number: newest.number,
        not_before: newest.not_before?.as_second(),
        not_after: newest.not_after?.as_second(),
        revoke_at: None,
        is_leaked: newest.leaked,
        is_revoked: false,
    })
}

struct Model<'a> {
    devices: Vec<Modelled>,
    config: &'a Config,
    start: Timestamp,
    /// When a device has something to do: hours since the start, and its place.
    events: BinaryHeap<Reverse<(u64, usize)>>,
    /// What waits for the rate limit, by budget.
    lines: BTreeMap<String, Lines>,
    year: Year,
    /// How many devices have no certificate yet.
    without: u64,
}

#[derive(Default)]
struct Lines {
    /// With the hour in which it was due.
    main: BinaryHeap<Reverse<(Task, u64)>>,
    routine: VecDeque<(Task, u64)>,
    taken: u64,
}

impl<'a> Model<'a> {
    fn new(devices: Vec<Modelled>, config: &'a Config, start: Timestamp) -> Self {
        let without = devices
            .iter()
            .filter(|device| device.certificates.is_empty())
            .count() as u64;
        Self {
            events: (0..devices.len())
                .map(|place| Reverse((0, place)))
                .collect(),
            lines: config
                .budgets
                .keys()
                .map(|budget| (budget.clone(), Lines::default()))
                .collect(),
            year: Year {
                days: vec![Day::default(); (HOURS / 24) as usize],
                ..Year::default()
            },
            devices,
            config,
            start,
            without,
        }
    }

    fn run(mut self, event: Event) -> Year {
        let mut recovered = None;
        for hour in 0..HOURS {
            if let Event::Leak(at) = event
                && at == hour
            {
                self.leak(hour);
            }
            self.collect(hour);
            let is_down =
                matches!(event, Event::Outage(at) if (at..at + OUTAGE_HOURS).contains(&hour));
            let is_limited = match is_down {
                true => false,
                false => self.send(hour),
            };
            if self.without > 0 {
                self.year.first_issue_hours = hour + 1;
            } else if is_limited {
                self.year.limited_hours += 1;
            }
            let happened = match event {
                Event::None => None,
                Event::Outage(at) => Some(at + OUTAGE_HOURS),
                Event::Leak(at) => Some(at),
            };
            // Until nothing but routine waits.
            if let Some(happened) = happened.filter(|happened| *happened <= hour) {
                let is_busy = self.lines.values().any(|lines| !lines.main.is_empty());
                if is_busy || recovered.is_none() {
                    recovered = Some(hour + 1 - happened);
                } else if self.year.recovery_hours.is_none() {
                    self.year.recovery_hours = recovered;
                }
            }
        }
        let after = (self.year.first_issue_hours / 24 + 1) as usize;
        let peak = self
            .year
            .days
            .iter()
            .enumerate()
            .skip(after)
            .max_by_key(|(place, day)| (day.requests(), Reverse(*place)));
        if let Some((place, day)) = peak {
            (self.year.peak, self.year.peak_day) = (day.requests(), place);
        }
        self.year
    }

    fn now(&self, hour: u64) -> Now {
        let after = HOUR
            .checked_mul(i32::try_from(hour).unwrap_or(i32::MAX))
            .unwrap_or_default();
        Now {
            time: self.start.checked_add(after).unwrap_or(self.start),
            is_service_time: true,
        }
    }

    /// Decides for every device that has something to do in this hour.
    fn collect(&mut self, hour: u64) {
        while self
            .events
            .peek()
            .is_some_and(|Reverse((at, _))| *at <= hour)
        {
            let Some(Reverse((_, place))) = self.events.pop() else {
                break;
            };
            self.decide(place, hour);
        }
    }

    fn decide(&mut self, place: usize, hour: u64) {
        let now = self.now(hour);
        let snapshot = self.devices[place].snapshot(self.config);
        match decide(&snapshot, &Delivered::NotNeeded, self.config, now) {
            Decision::Now(step) => {
                let task = Task::of(&snapshot, i64::try_from(place).unwrap_or(i64::MAX), &step);
                let budget = snapshot
                    .device
                    .as_ref()
                    .and_then(|device| choose_zone(device, self.config))
                    .and_then(|zone| self.config.zones.get(zone))
                    .map(|zone| &zone.budget);
                let Some(lines) = budget.and_then(|budget| self.lines.get_mut(budget)) else {
                    return;
                };
                match task.class {
                    Class::Routine => lines.routine.push_back((task, hour)),
                    _ => lines.main.push(Reverse((task, hour))),
                }
            }
            Decision::Settled { next: Some(next) } | Decision::Later { at: Some(next), .. } => {
                let hours = next.duration_since(self.start).as_secs().div_euclid(3600) + 1;
                let hours = u64::try_from(hours).unwrap_or_default().max(hour + 1);
                if hours < HOURS {
                    self.events.push(Reverse((hours, place)));
                }
            }
            _ => {}
        }
    }

    /// Sends what the rate limit allows in an hour. Returns whether it was used up.
    fn send(&mut self, hour: u64) -> bool {
        let mut is_limited = false;
        let budgets: Vec<String> = self.lines.keys().cloned().collect();
        for budget in budgets {
            let reserve = self
                .config
                .budgets
                .get(&budget)
                .map_or(0.0, |budget| budget.reserve_share);
            let mut left = (RATE * 3600.0 * (1.0 - reserve)) as u64;
            while left > 0 {
                let Some((task, due)) = self.lines.get_mut(&budget).and_then(Lines::next) else {
                    break;
                };
                if self.without == 0 {
                    self.year.longest_wait_hours = self.year.longest_wait_hours.max(hour - due);
                }
                left -= self.perform(usize::try_from(task.device).unwrap_or_default(), hour);
            }
            is_limited |= left == 0
                && self
                    .lines
                    .get(&budget)
                    .is_some_and(|lines| !lines.is_empty());
        }
        is_limited
    }

    /// Does the next step of a device, which may be another one than when it began to wait. Returns how many requests it
    /// takes.
    fn perform(&mut self, place: usize, hour: u64) -> u64 {
        let now = self.now(hour);
        let snapshot = self.devices[place].snapshot(self.config);
        let Decision::Now(step) = decide(&snapshot, &Delivered::NotNeeded, self.config, now) else {
            return 0;
        };
        let day = &mut self.year.days[(hour / 24) as usize];
        match step {
            Step::Begin(_) => {
                day.issued += 1;
                let has_valid = snapshot
                    .generations
                    .iter()
                    .any(|generation| !generation.is_expired(now.time));
                if snapshot.generations.is_empty() {
                    self.without = self.without.saturating_sub(1);
                } else if !has_valid {
                    self.year.expired += 1;
                }
                self.devices[place].renew(self.config, now.time);
            }
            Step::Revoke(number, _) => {
                day.revoked += 1;
                self.devices[place].revoke(number);
            }
            _ => return 0,
        }
        self.decide(place, hour);
        1
    }

    fn leak(&mut self, hour: u64) {
        for place in 0..self.devices.len() {
            for certificate in &mut self.devices[place].certificates {
                certificate.is_leaked = true;
            }
            self.events.push(Reverse((hour, place)));
        }
        // What waited is decided again.
        for lines in self.lines.values_mut() {
            *lines = Lines::default();
        }
    }
}

impl Lines {
    fn next(&mut self) -> Option<(Task, u64)> {
        self.taken += 1;
        if self.taken.is_multiple_of(ROUTINE_SHARE)
            && let Some(routine) = self.routine.pop_front()
        {
            return Some(routine);
        }
        let main = self.main.pop().map(|Reverse(main)| main);
        main.or_else(|| self.routine.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.main.is_empty() && self.routine.is_empty()
    }
}

impl Modelled {
    /// A device of the manifest that is to be present.
    pub(crate) fn of(snapshot: Snapshot) -> Option<Self> {
        let device = snapshot.device?;
        (device.state == DeviceState::Present).then(|| Self {
            name: device.name,
            validity_days: device.validity_days,
            zone: device.zone.map(Arc::from),
            certificates: verified(&snapshot.generations).into_iter().collect(),
        })
    }

    /// What the policy decides about.
    fn snapshot(&self, config: &Config) -> Snapshot {
        let device = Device {
            name: self.name.clone(),
            state: DeviceState::Present,
            subject: DeviceSubject::default(),
            // A device that makes its key delivers its CSR in time.
            key: DeviceKey::Generated(KeyAlgorithm::EcdsaP256),
            validity_days: self.validity_days,
            zone: self.zone.as_deref().map(str::to_owned),
            labels: Vec::new(),
            output: None,
        };
        let zone = choose_zone(&device, config).and_then(|zone| zone_id(zone, config));
        let generations = zone.map(|zone| {
            let spec = Spec::of(&device);
            let generations = self.certificates.iter();
            generations
                .map(|certificate| certificate.to_generation(zone, &spec))
                .collect()
        });
        Snapshot {
            id: None,
            name: self.name.clone(),
            device: Some(device),
            ask: None,
            generations: generations.unwrap_or_default(),
        }
    }

    fn renew(&mut self, config: &Config, now: Timestamp) {
        let now = now.as_second();
        let grace = i64::try_from(config.renew.grace.as_secs()).unwrap_or(i64::MAX);
        self.certificates.retain(|old| !old.is_revoked);
        for old in &mut self.certificates {
            old.revoke_at = Some(now.saturating_add(grace));
        }
        self.certificates.push(Certificate {
            number: self.certificates.last().map_or(1, |last| last.number + 1),
            not_before: now,
            not_after: now + 86_400 * i64::from(self.validity_days),
            revoke_at: None,
            is_leaked: false,
            is_revoked: false,
        });
    }

    fn revoke(&mut self, number: u32) {
        let newest = self.certificates.last().map(|last| last.number);
        for certificate in &mut self.certificates {
            certificate.is_revoked |= certificate.number == number;
        }
        // The newest one says why there is another.
        self.certificates
            .retain(|certificate| !certificate.is_revoked || Some(certificate.number) == newest);
    }
}

impl Certificate {
    fn to_generation(self, zone: &ZoneId, spec: &Spec) -> Generation {
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        Generation {
            state: match self.is_revoked {
                true => State::Revoked,
                false => State::Verified,
            },
            certificate: "modelled".parse::<CertificateId>().ok(),
            not_before: Some(time(self.not_before)),
            not_after: Some(time(self.not_after)),
            revoke_at: self.revoke_at.map(time),
            leaked: self.is_leaked,
            hook_started: true,
            ..Generation::planned(self.number, Reason::New, zone.clone(), spec.clone())
        }
    }
}
