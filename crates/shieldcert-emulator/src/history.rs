//! What came and what became of it, to be read back.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

/// More than this is forgotten, oldest first.
const KEPT: usize = 10_000;

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Seconds since the emulator was made.
    pub at: f64,
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub path: String,
    /// The HTTP status of the service's own answer; none where it did not act, or has yet to.
    pub status: Option<u16>,
    /// The fault that struck, by its name in a chaos specification.
    pub fault: Option<&'static str>,
}

/// Keeps the last events.
#[derive(Debug)]
pub(crate) struct History {
    started: Instant,
    events: Mutex<VecDeque<Event>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            events: Mutex::default(),
        }
    }

    pub(crate) fn add(
        &self,
        method: &http::Method,
        path: &str,
        status: Option<u16>,
        fault: Option<&'static str>,
    ) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(Event {
            at: self.started.elapsed().as_secs_f64(),
            method: method.to_string(),
            path: path.to_owned(),
            status,
            fault,
        });
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().cloned().collect()
    }
}
