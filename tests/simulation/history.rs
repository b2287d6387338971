//! What happened in a seed, in order, and which promises were broken.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Clones share what they hold.
#[derive(Clone)]
pub(super) struct History {
    started: Instant,
    /// Whether lines are kept. Writing them takes longer than much of what they tell about.
    is_kept: bool,
    events: Arc<Mutex<Events>>,
}

#[derive(Default)]
struct Events {
    lines: Vec<String>,
    broken: Vec<String>,
}

impl History {
    pub(super) fn new(is_kept: bool) -> Self {
        Self {
            started: Instant::now(),
            is_kept,
            events: Arc::default(),
        }
    }

    pub(super) fn add(&self, line: impl Display) {
        if !self.is_kept {
            return;
        }
        let at = self.started.elapsed().as_secs_f64();
        self.lock().lines.push(format!("{at:9.3}  {line}"));
    }

    pub(super) fn broken(&self, promise: impl Display) {
        self.add(format_args!("BROKEN: {promise}"));
        self.lock().broken.push(promise.to_string());
    }

    /// Takes the lines, and the broken promises.
    pub(super) fn take(&self) -> (Vec<String>, Vec<String>) {
        let Events { lines, broken } = std::mem::take(&mut *self.lock());
        (lines, broken)
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
