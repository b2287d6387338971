//! The look-ups of a client that wait to be made together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, MutexGuard as TurnGuard, oneshot};
use tokio::time::Instant;

use super::needle::{Findings, Needle};
use crate::certificate::id::ZoneId;
use crate::transport::deadline::deadline_after;

/// How many early look-ups begin in a zone within a settle window. One request alone makes no more.
const MAX_EARLY: usize = 4;

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
    history: Mutex<History>,
}

/// What keeps many unclear requests from looking for one certificate each.
#[derive(Default)]
struct History {
    /// When the last early look-ups began.
    early: Vec<Instant>,
    /// When the last one began that has read everything.
    complete: Option<Instant>,
    /// When the unclear requests settle that are being recovered.
    settling: Vec<Instant>,
}

/// An unclear request that is being recovered.
#[must_use]
pub(crate) struct Settling {
    line: Arc<Line>,
    at: Instant,
}

impl Drop for Settling {
    fn drop(&mut self) {
        let mut history = self.line.history();
        if let Some(index) = history.settling.iter().position(|at| *at == self.at) {
            history.settling.swap_remove(index);
        }
    }
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

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a request is being recovered that settles then, until the value is dropped.
    pub(crate) fn settling(self: Arc<Self>, at: Instant) -> Settling {
        self.history().settling.push(at);
        Settling { line: self, at }
    }

    /// Returns when the requests have settled that settle soon after this one, so that one look-up serves them all.
    pub(crate) fn settled_together(&self, settled: Instant, settle_window: Duration) -> Instant {
        let latest = deadline_after(settled, settle_window / 2).unwrap_or(settled);
        let history = self.history();
        let others = history.settling.iter().filter(|at| **at <= latest);
        others.copied().fold(settled, Instant::max)
    }

    /// Whether one more early look-up may begin. False if there were enough of them within the settle window.
    pub(crate) fn try_begin_early(&self, settle_window: Duration) -> bool {
        let now = Instant::now();
        let early = &mut self.history().early;
        early.retain(|began| now.saturating_duration_since(*began) < settle_window);
        let may_begin = early.len() < MAX_EARLY;
        if may_begin {
            early.push(now);
        }
        may_begin
    }

    /// Returns when the next complete look-up may begin, if that is not now.
    pub(super) fn next_complete(&self, settle_window: Duration) -> Option<Instant> {
        let next = self.history().complete?.checked_add(settle_window)?;
        (Instant::now() < next).then_some(next)
    }

    pub(super) fn note_complete(&self, began: Instant) {
        self.history().complete = Some(began);
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
