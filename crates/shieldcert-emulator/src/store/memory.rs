//! The zones in memory. The lock is held for as long as it takes to look something up, never across a signature
//! or an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Found, Seed, Stretch, ZoneId};
use crate::authority::hex;
use crate::emulator::Order;
use crate::paging::Selection;
use crate::transition::{Change, Refusal, Status, Transition};

/// The certificates of every zone.
#[derive(Default)]
pub(crate) struct Memory {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    zones: HashMap<ZoneId, Zone>,
    /// Where the certificate with each fingerprint is.
    fingerprints: HashMap<String, (ZoneId, usize)>,
}

#[derive(Default)]
struct Zone {
    /// In the order in which they were issued.
    records: Vec<Record>,
    /// Where each id is in `records`.
    places: HashMap<Uuid, usize>,
    /// Places in `records`, by id, so that a page in that order is a slice too. Brought up to date by whoever
    /// asks for that order: most never do.
    by_id: Vec<usize>,
    /// How many are, or are about to be, active.
    active: usize,
}

impl Held {
    fn put(
        &mut self,
        zone_id: ZoneId,
        id: Uuid,
        certificate: Arc<ClientCertificate>,
        transition: Transition,
    ) {
        let zone = self.zones.entry(zone_id).or_default();
        let place = zone.records.len();
        if let Some(fingerprint) = &certificate.fingerprint_sha256 {
            self.fingerprints
                .insert(fingerprint.clone(), (zone_id, place));
        }
        zone.active += usize::from(transition.is_towards_active());
        zone.places.insert(id, place);
        zone.records.push(Record {
            id,
            certificate,
            transition,
        });
    }
}

struct Record {
    id: Uuid,
    certificate: Arc<ClientCertificate>,
    transition: Transition,
}

impl Record {
    fn found(&self, now: Instant) -> Found {
        (self.certificate.clone(), self.transition.status(now))
    }
}

impl Memory {
    /// Keeps a certificate that has just been issued, if that leaves no more active ones than `quota`.
    pub(crate) fn insert(
        &self,
        zone: ZoneId,
        id: Uuid,
        certificate: Arc<ClientCertificate>,
        quota: Option<usize>,
    ) -> bool {
        let mut held = self.lock();
        let active = held.zones.get(&zone).map_or(0, |zone| zone.active);
        if quota.is_some_and(|quota| active >= quota) {
            return false;
        }
        held.put(zone, id, certificate, Transition::issued());
        true
    }

    /// Keeps many at once, if the zone holds so many before.
    pub(crate) fn insert_all(
        &self,
        zone: ZoneId,
        before: usize,
        seeds: &[Seed],
        now: Instant,
        delay: Duration,
    ) -> bool {
        let mut held = self.lock();
        if held.zones.get(&zone).map_or(0, |zone| zone.records.len()) != before {
            return false;
        }
        for seed in seeds {
            let transition = Transition::at(seed.status, now, delay);
            held.put(zone, seed.id, seed.certificate.clone(), transition);
        }
        true
    }

    /// How many certificates the zone holds.
    pub(crate) fn len(&self, zone: ZoneId) -> usize {
        let held = self.lock();
        held.zones.get(&zone).map_or(0, |zone| zone.records.len())
    }

    /// How many certificates of the zone are, or are about to be, active.
    pub(crate) fn active(&self, zone: ZoneId) -> usize {
        self.lock().zones.get(&zone).map_or(0, |zone| zone.active)
    }

    /// The status of the certificate with this SHA-256, if any zone has it.
    pub(crate) fn status_by_fingerprint(&self, sha256: &[u8], now: Instant) -> Option<Status> {
        let held = self.lock();
        let (zone, place) = held.fingerprints.get(&hex(sha256))?;
        let record = held.zones.get(zone)?.records.get(*place)?;
        Some(record.transition.status(now))
    }

    /// The certificate with this id, if the zone has it.
    pub(crate) fn get(&self, zone: ZoneId, id: Uuid, now: Instant) -> Option<Found> {
        let held = self.lock();
        let zone = held.zones.get(&zone)?;
        let place = *zone.places.get(&id)?;
        Some(zone.records[place].found(now))
    }

    /// Changes where a certificate is going, if the zone has it and nothing speaks against it.
    pub(crate) fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        now: Instant,
        change: Change,
        delay: Duration,
    ) -> Option<Result<Found, Refusal>> {
        let mut held = self.lock();
        let zone = held.zones.get_mut(&zone)?;
        let place = *zone.places.get(&id)?;
        let record = &mut zone.records[place];
        let before = record.transition.is_towards_active();
        if let Err(refusal) = change.allowed(record.transition.status(now), zone.active) {
            return Some(Err(refusal));
        }
        record.transition.turn(change.target(), now, delay);
        match (before, record.transition.is_towards_active()) {
            (true, false) => zone.active -= 1,
            (false, true) => zone.active += 1,
            _ => {}
        }
        Some(Ok(record.found(now)))
    }

    /// One stretch of the zone's list. Without a status, its cost is the stretch's, wherever it starts.
    pub(crate) fn list(
        &self,
        zone: ZoneId,
        selection: &Selection,
        order: Order,
        now: Instant,
    ) -> Stretch {
        let mut held = self.lock();
        let Some(zone) = held.zones.get_mut(&zone) else {
            return Stretch::default();
        };
        let all = zone.records.len();
        if order == Order::ById && zone.by_id.len() < all {
            zone.by_id.extend(zone.by_id.len()..all);
            zone.by_id.sort_by_key(|place| zone.records[*place].id);
        }
        let zone = &*zone;
        let record = |index: usize| {
            let place = match order {
                Order::NewestFirst => all - 1 - index,
                Order::OldestFirst => index,
                Order::ById => zone.by_id[index],
            };
            &zone.records[place]
        };
        let offset = usize::try_from(selection.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(selection.limit).unwrap_or(usize::MAX);
        let Some(status) = selection.status else {
            let (start, end) = (offset.min(all), offset.saturating_add(limit).min(all));
            return Stretch {
                certificates: (start..end).map(|index| record(index).found(now)).collect(),
                all,
                matching: all,
            };
        };
        let mut matches = (0..all)
            .map(record)
            .filter(|record| record.transition.status(now) == status);
        let skipped = matches.by_ref().take(offset).count();
        let certificates: Vec<_> = matches
            .by_ref()
            .take(limit)
            .map(|record| record.found(now))
            .collect();
        let matching = skipped + certificates.len() + matches.count();
        Stretch {
            certificates,
            all,
            matching,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // No change leaves the map half made, so one after a panic elsewhere is as good as any other.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
