//! The polls of a client that are collected to be made together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::certificate::ClientCertificate;
use crate::certificate::id::{CertificateId, ZoneId};

/// Polls happen at multiples of this, so that they coincide.
const GRID: Duration = Duration::from_millis(500);

/// The pending polls of a client, by zone. Shared by its clones.
pub(crate) struct PollQueue {
    started: Instant,
    pending: Mutex<HashMap<ZoneId, Vec<Poll>>>,
}

/// A wait that wants to know the status of a certificate.
pub(super) struct Poll {
    pub(super) id: CertificateId,
    pub(super) reply: oneshot::Sender<ClientCertificate>,
}

impl PollQueue {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<ZoneId, Vec<Poll>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a poll. Returns whether it is the first one of the zone, and the receiver of its reply.
    pub(super) fn push(
        &self,
        zone: &ZoneId,
        id: &CertificateId,
    ) -> (bool, oneshot::Receiver<ClientCertificate>) {
        let (reply, receiver) = oneshot::channel();
        let mut pending = self.pending();
        let polls = pending.entry(zone.clone()).or_default();
        polls.push(Poll {
            id: id.clone(),
            reply,
        });
        (polls.len() == 1, receiver)
    }

    /// Takes all polls of a zone.
    pub(super) fn take(&self, zone: &ZoneId) -> Vec<Poll> {
        self.pending().remove(zone).unwrap_or_default()
    }

    /// Returns the time of a poll that is due in `delay`, moved to the grid.
    pub(super) fn next_poll(&self, delay: Duration) -> Instant {
        let next = Instant::now() + delay;
        if delay < GRID {
            return next;
        }
        let grid = GRID.as_millis();
        let since = next.saturating_duration_since(self.started).as_millis();
        let on_grid = since.div_ceil(grid) * grid;
        let on_grid = u64::try_from(on_grid).map(Duration::from_millis);
        on_grid.map_or(next, |on_grid| self.started + on_grid)
    }
}
