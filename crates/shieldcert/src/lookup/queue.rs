//! The look-ups of a client that wait to be made together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard, oneshot};

use super::needle::{Findings, Needle};
use crate::certificate::id::ZoneId;

/// Shared by the clones of a client.
#[derive(Default)]
pub(crate) struct LookupQueue(Mutex<HashMap<ZoneId, Arc<Line>>>);

impl LookupQueue {
    pub(crate) fn line(&self, zone: &ZoneId) -> Arc<Line> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(zone.clone()).or_default().clone()
    }
}

/// The look-ups of a zone.
#[derive(Default)]
pub(crate) struct Line {
    turn: Turn<()>,
    waiting: Mutex<Vec<Waiting>>,
}

/// A look-up that waits.
pub(super) struct Waiting {
    pub(super) needle: Arc<Needle>,
    pub(super) depth: Depth,
    reply: oneshot::Sender<Findings>,
}

/// What a look-up is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// It can only find. It reads both ends of the list.
    Early,
    /// It can show that the certificate is absent.
    Complete,
}

impl Line {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self, needle: Arc<Needle>, depth: Depth) -> oneshot::Receiver<Findings> {
        let (reply, receiver) = oneshot::channel();
        self.waiting().push(Waiting {
            needle,
            depth,
            reply,
        });
        receiver
    }

    pub(super) async fn take_turn(&self) -> TurnGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes all that still wait for a reply.
    pub(super) fn take_waiting(&self) -> Vec<Waiting> {
        let mut waiting = std::mem::take(&mut *self.waiting());
        waiting.retain(|waiting| !waiting.reply.is_closed());
        waiting
    }
}

impl Waiting {
    pub(super) fn reply(self, findings: Findings) {
        // Who was dropped needs no reply.
        let _ = self.reply.send(findings);
    }
}
