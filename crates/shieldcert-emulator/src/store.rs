//! What the zones hold, in memory.
//!
//! Everything that is kept goes through [`Store`]'s few methods, which know nothing of HTTP or of X.509. Its lock is
//! held for as long as it takes to look something up, never across a signature or an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shieldcert_api::types::ClientCertificate;
use tokio::time::Instant;
use uuid::Uuid;

use crate::authority::hex;
use crate::emulator::Order;
use crate::paging::Selection;
use crate::transition::{Status, Transition};

/// A zone's id: 32 hex digits, of either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ZoneId(u128);

impl ZoneId {
    /// None where `text` is not 32 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

/// A certificate as it is returned, its status apart.
pub(crate) type Found = (Arc<ClientCertificate>, Status);

/// A stretch of a list.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) certificates: Vec<Found>,
    /// How many certificates the zone holds.
    pub(crate) all: usize,
    /// How many of them have the status that was asked for; only counted when it is to be counted.
    pub(crate) matching: Option<usize>,
}

/// The certificates of every zone.
#[derive(Default)]
pub(crate) struct Store {
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
    /// Places in `records`, by id, so that a page in that order is a slice too.
    by_id: Vec<(Uuid, usize)>,
    /// How many are, or are about to be, active.
    active: usize,
}

struct Record {
    certificate: Arc<ClientCertificate>,
    transition: Transition,
}

impl Record {
    fn found(&self, now: Instant) -> Found {
        (self.certificate.clone(), self.transition.status(now))
    }
}

impl Store {
    /// Keeps a certificate that has just been issued, if that leaves no more active ones than `quota`.
    pub(crate) fn insert(
        &self,
        zone: ZoneId,
        id: Uuid,
        certificate: Arc<ClientCertificate>,
        quota: Option<usize>,
    ) -> bool {
        let mut held = self.lock();
        let Held {
            zones,
            fingerprints,
        } = &mut *held;
        let zone_id = zone;
        let zone = zones.entry(zone).or_default();
        if quota.is_some_and(|quota| zone.active >= quota) {
            return false;
        }
        zone.active += 1;
        let place = zone.records.len();
        if let Some(fingerprint) = &certificate.fingerprint_sha256 {
            fingerprints.insert(fingerprint.clone(), (zone_id, place));
        }
        zone.records.push(Record {
            certificate,
            transition: Transition::issued(),
        });
        zone.places.insert(id, place);
        let sorted = zone.by_id.partition_point(|(other, _)| *other < id);
        zone.by_id.insert(sorted, (id, place));
        true
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

    /// Shows the certificate's transition to `change`, with how many of the zone are active, and keeps what
    /// that makes of it.
    pub(crate) fn change<E>(
        &self,
        zone: ZoneId,
        id: Uuid,
        now: Instant,
        change: impl FnOnce(&mut Transition, usize) -> Result<(), E>,
    ) -> Option<Result<Found, E>> {
        let mut held = self.lock();
        let zone = held.zones.get_mut(&zone)?;
        let place = *zone.places.get(&id)?;
        let record = &mut zone.records[place];
        let before = record.transition.is_towards_active();
        if let Err(error) = change(&mut record.transition, zone.active) {
            return Some(Err(error));
        }
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
        count_matching: bool,
        now: Instant,
    ) -> Stretch {
        let held = self.lock();
        let Some(zone) = held.zones.get(&zone) else {
            return Stretch {
                certificates: Vec::new(),
                all: 0,
                matching: Some(0),
            };
        };
        let all = zone.records.len();
        let record = |index: usize| {
            let place = match order {
                Order::NewestFirst => all - 1 - index,
                Order::OldestFirst => index,
                Order::ById => zone.by_id[index].1,
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
                matching: Some(all),
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
        let matching = count_matching.then(|| skipped + certificates.len() + matches.count());
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
