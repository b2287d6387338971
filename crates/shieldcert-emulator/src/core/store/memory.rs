//! Certificates in memory. The lock is held for a look-up, never across a signature or an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shieldcert_api::types::ClientCertificate;
use uuid::Uuid;

use super::record::{Found, NewCertificate, Page, ZoneId};
use super::selection::{Selection, View};
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
    /// Places in `records` in other orders. Updated when a list in that order is asked for, which is rare.
    sorted: HashMap<Order, Vec<usize>>,
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
        stored_at: Duration,
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
            stored_at,
            past: Vec::new(),
        });
    }
}

struct Record {
    id: Uuid,
    certificate: Arc<ClientCertificate>,
    transition: Transition,
    stored_at: Duration,
    /// Earlier transitions, oldest first, and when each was replaced.
    past: Vec<(Duration, Transition)>,
}

impl Record {
    fn status(&self, at: Duration) -> Status {
        let past = self.past.iter().find(|(until, _)| at < *until);
        let transition = past.map_or(self.transition, |(_, transition)| *transition);
        transition.status(at)
    }

    fn found(&self, at: Duration) -> Found {
        (self.certificate.clone(), self.status(at))
    }
}

impl Zone {
    /// Brings the places in this order up to date.
    fn sort(&mut self, order: Order) {
        let records = &self.records;
        let places = self.sorted.entry(order).or_default();
        if places.len() == records.len() {
            return;
        }
        places.extend(places.len()..records.len());
        match order {
            // The order of the records, or its reverse.
            Order::NewestFirst | Order::OldestFirst => {}
            Order::ById => places.sort_by_key(|place| records[*place].id),
            Order::ByName => {
                places.sort_by_key(|place| (&records[*place].certificate.common_name, *place));
            }
            // They are in RFC 3339, in UTC: the order of the texts is that of the times.
            Order::ByExpiry => {
                places.sort_by_key(|place| (&records[*place].certificate.expires_on, *place));
            }
        }
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
        let now = self.clock.now();
        held.insert(zone, id, certificate, Transition::issued(), now);
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
            // Lagging replicas show them too, as if they had been there for years.
            let stored_at = Duration::ZERO;
            held.insert(zone, new.id, new.certificate.clone(), transition, stored_at);
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

    pub(super) fn get(&self, zone: ZoneId, id: Uuid, as_of: Option<Duration>) -> Option<Found> {
        let held = self.lock();
        let zone = held.zones.get(&zone)?;
        let record = &zone.records[*zone.places.get(&id)?];
        let at = as_of.unwrap_or_else(|| self.clock.now());
        (record.stored_at <= at).then(|| record.found(at))
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
        let past = record.transition;
        if record.transition.change(change.target(), now, delay) {
            record.past.push((now, past));
        }
        match (before, record.transition.holds_slot()) {
            (true, false) => zone.active -= 1,
            (false, true) => zone.active += 1,
            _ => {}
        }
        Some(Ok(record.found(now)))
    }

    /// Without a status filter, the cost is that of the page alone, wherever it is.
    pub(super) fn list(&self, zone: ZoneId, selection: &Selection, view: View) -> Page {
        let mut held = self.lock();
        let now = view.as_of.unwrap_or_else(|| self.clock.now());
        let Some(zone) = held.zones.get_mut(&zone) else {
            return Page::default();
        };
        let is_by_age = matches!(view.order, Order::NewestFirst | Order::OldestFirst);
        if !is_by_age {
            zone.sort(view.order);
        }
        let zone = &*zone;
        // They are in the order in which they were stored.
        let all = match view.as_of {
            None => zone.records.len(),
            Some(at) => zone
                .records
                .partition_point(|record| record.stored_at <= at),
        };
        let sorted = zone.sorted.get(&view.order).map_or(&[][..], Vec::as_slice);
        let visible: Vec<usize>;
        let sorted = if is_by_age || all == sorted.len() {
            sorted
        } else {
            visible = sorted
                .iter()
                .copied()
                .filter(|place| *place < all)
                .collect();
            &visible
        };
        let record = |index: usize| {
            let place = match view.order {
                Order::NewestFirst => all - 1 - index,
                Order::OldestFirst => index,
                Order::ById | Order::ByName | Order::ByExpiry => sorted[index],
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
            .filter(|record| record.status(now) == status);
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
