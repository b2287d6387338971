//! The records of a zone that can't be read, as its last list showed them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::certificate::id::ZoneId;

/// Keys of records, see [`hash`](super::dedup::hash).
pub(crate) type Keys = HashSet<u128>;

/// The keys of each zone's last complete list. Shared by the clones of a client.
#[derive(Default)]
pub(crate) struct LastUnreadable(Mutex<HashMap<ZoneId, Arc<Keys>>>);

impl LastUnreadable {
    fn zones(&self) -> MutexGuard<'_, HashMap<ZoneId, Arc<Keys>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, zone: &ZoneId, keys: Keys) {
        self.zones().insert(zone.clone(), Arc::new(keys));
    }

    pub(crate) fn get(&self, zone: &ZoneId) -> Arc<Keys> {
        self.zones().get(zone).cloned().unwrap_or_default()
    }
}
