//! Certificates in memory. The lock is held for a look-up, never across a signature or an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use uuid::Uuid;

use super::record::{Found, NewCertificate, Page, ZoneId};
use super::selection::Selection;
use crate::core::clock::Clock;
use crate::core::refusal::Refusal;
use crate::core::status::{Change, Status, Transition};
use crate::settings::Order;

/// The certificates of every zone.
pub(crate) struct Memory {
    clock: Arc<Clock>,
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
    /// Places in `records`, sorted by id. Updated when a list in that order is asked for, which is rare.
    by_id: Vec<usize>,
    /// How many are or will be active.
    active: usize,
}

impl Held {
    fn insert(
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
        zone.active += usize::from(transition.holds_slot());
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
    fn found(&self, now: Duration) -> Found {
        (self.certificate.clone(), self.transition.status(now))
    }
}

impl Memory {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            held: Mutex::default(),
        }
    }

    pub(super) fn clear(&self) {
        *self.lock() = Held::default();
    }

    pub(super) fn insert(
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
        held.insert(zone, id, certificate, Transition::issued());
        true
    }

    pub(super) fn insert_all(
        &self,
        zone: ZoneId,
        held_before: usize,
        certificates: &[NewCertificate],
        delay: Duration,
    ) -> bool {
        let mut held = self.lock();
        if held.zones.get(&zone).map_or(0, |zone| zone.records.len()) != held_before {
            return false;
        }
        let now = self.clock.now();
        for new in certificates {
            let transition = Transition::with_status(new.status, now, delay);
            held.insert(zone, new.id, new.certificate.clone(), transition);
        }
        true
    }

    pub(super) fn len(&self, zone: ZoneId) -> usize {
        let held = self.lock();
        held.zones.get(&zone).map_or(0, |zone| zone.records.len())
    }

    pub(super) fn active(&self, zone: ZoneId) -> usize {
        self.lock().zones.get(&zone).map_or(0, |zone| zone.active)
    }

    pub(super) fn status_by_fingerprint(&self, sha256: &[u8]) -> Option<Status> {
        let held = self.lock();
        let (zone, place) = held.fingerprints.get(&hex::encode(sha256))?;
        let record = held.zones.get(zone)?.records.get(*place)?;
        Some(record.transition.status(self.clock.now()))
    }

    pub(super) fn get(&self, zone: ZoneId, id: Uuid) -> Option<Found> {
        let held = self.lock();
        let zone = held.zones.get(&zone)?;
        let place = *zone.places.get(&id)?;
        Some(zone.records[place].found(self.clock.now()))
    }

    pub(super) fn change(
        &self,
        zone: ZoneId,
        id: Uuid,
        change: Change,
        delay: Duration,
    ) -> Option<Result<Found, Refusal>> {
        let mut held = self.lock();
        let zone = held.zones.get_mut(&zone)?;
        let place = *zone.places.get(&id)?;
        let record = &mut zone.records[place];
        let now = self.clock.now();
        let before = record.transition.holds_slot();
        if let Err(refusal) = change.check(record.transition.status(now), zone.active) {
            return Some(Err(refusal));
        }
        record.transition.change(change.target(), now, delay);
        match (before, record.transition.holds_slot()) {
            (true, false) => zone.active -= 1,
            (false, true) => zone.active += 1,
            _ => {}
        }
        Some(Ok(record.found(now)))
    }

    /// Without a status filter, the cost is that of the page alone, wherever it is.
    pub(super) fn list(&self, zone: ZoneId, selection: &Selection, order: Order) -> Page {
        let mut held = self.lock();
        let now = self.clock.now();
        let Some(zone) = held.zones.get_mut(&zone) else {
            return Page::default();
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
            return Page {
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
        Page {
            certificates,
            all,
            matching,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every change is complete before the lock is released, so a poisoned lock holds nothing broken.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
