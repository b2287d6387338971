//! The places of zones for new devices.

use std::collections::BTreeMap;

use shieldcert::ZoneId;

/// The places for new devices in the zones whose quota is known: what is neither held nor kept for renewals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<ZoneId, Place>);

/// The places of a zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    quota: u64,
    /// What may be active, or become so.
    pub(crate) held: u64,
    /// What renewals take that are due before what they replace is revoked.
    pub(crate) kept: u64,
}

impl Place {
    pub(crate) fn new(quota: u64) -> Self {
        Self {
            quota,
            held: 0,
            kept: 0,
        }
    }

    fn is_free(&self) -> bool {
        self.held + self.kept < self.quota
    }

    /// Why a new device gets none.
    pub(crate) fn problem(&self, zone: &ZoneId) -> String {
        let Self {
            quota, held, kept, ..
        } = self;
        format!(
            "zone {zone}: {held} of its quota of {quota} are held, and {kept} kept for renewals; revoke what is not needed, \
             raise quota in fleet.toml if the zone has more, or add a zone"
        )
    }
}

impl Places {
    pub(crate) fn new(places: BTreeMap<ZoneId, Place>) -> Self {
        Self(places)
    }

    pub(crate) fn get(&self, zone: &ZoneId) -> Option<&Place> {
        self.0.get(zone)
    }

    /// Whether a new device can have a place, as far as the quota is known.
    pub(crate) fn has_place(&self, zone: &ZoneId) -> bool {
        self.get(zone).is_none_or(Place::is_free)
    }

    /// Takes a place for a new device. Returns whether there was one.
    pub(crate) fn take(&mut self, zone: &ZoneId) -> bool {
        let Some(place) = self.0.get_mut(zone) else {
            return true;
        };
        let is_free = place.is_free();
        place.held += u64::from(is_free);
        is_free
    }

    /// A certificate was revoked, or not issued after all.
    pub(crate) fn give_back(&mut self, zone: &ZoneId) {
        if let Some(place) = self.0.get_mut(zone) {
            place.held = place.held.saturating_sub(1);
        }
    }
}
