//! Which requests came, and what happened to them.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::chaos::Operation;

/// How many events are kept. The oldest are dropped.
const MAX_EVENTS: usize = 10_000;

/// A request, and what happened to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Seconds since the emulator was made, by its clock.
    pub at: f64,
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub path: String,
    /// The operation that the request asks for. None if it asks for none.
    pub operation: Option<Operation>,
    /// The HTTP status of the service's own response. None if the service did not act, or acts later.
    pub status: Option<u16>,
    /// The name of the fault that was injected.
    pub fault: Option<&'static str>,
    /// The number of the [`Connection`](crate::Connection). 0 if the request came without one.
    pub connection: u64,
    /// Whether the rate limiter counted the request past the quota, which begins a block.
    pub over_quota: bool,
}

/// The last 10,000 requests to an emulator, oldest first.
///
/// It dereferences to a slice of [`Event`]s.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// How many requests were for this operation.
    pub fn count(&self, operation: Operation) -> usize {
        let meant = |event: &&Event| operation.includes(event.operation);
        self.events.iter().filter(meant).count()
    }
}

impl Deref for History {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.events
    }
}

impl IntoIterator for History {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

/// Keeps the last events.
#[derive(Debug, Default)]
pub(crate) struct HistoryLog {
    events: Mutex<VecDeque<Event>>,
}

impl HistoryLog {
    pub(crate) fn add(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
    }

    pub(crate) fn snapshot(&self) -> History {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        History {
            events: events.iter().cloned().collect(),
        }
    }

    pub(crate) fn clear(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clear();
    }
}
