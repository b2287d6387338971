//! Pauses deployment when it fails everywhere: then devices are tried one by one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What the last deployments came to.
pub(crate) struct Gate {
    max_failures: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many failed in a row.
    failures: u32,
    /// While it is paused, when the next device is tried.
    next_try: Option<Instant>,
    is_trying: bool,
}

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// A deployment that may begin.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    is_done: bool,
}

impl Gate {
    pub(crate) fn new(max_failures: u32) -> Self {
        Self {
            max_failures,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While deployment is paused, lets the next device be tried at once.
    pub(crate) fn try_now(&self) {
        self.state().next_try = None;
    }

    /// Lets a deployment begin, unless it is paused and it is not time for the next try.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let mut state = self.state();
        if state.failures >= self.max_failures {
            let is_time = state.next_try.is_none_or(|at| at <= Instant::now());
            if state.is_trying || !is_time {
                return None;
            }
            state.is_trying = true;
        }
        Some(Pass {
            gate: self,
            is_done: false,
        })
    }
}

impl Pass<'_> {
    pub(super) fn succeeded(mut self) {
        self.is_done = true;
        *self.gate.state() = State::default();
    }

    pub(super) fn failed(mut self) {
        self.is_done = true;
        let mut state = self.gate.state();
        state.failures = state.failures.saturating_add(1);
        state.is_trying = false;
        let beyond = state.failures.saturating_sub(self.gate.max_failures);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << beyond.min(10))
            .min(MAX_PAUSE);
        state.next_try = Some(Instant::now() + pause);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.gate.state().is_trying = false;
        }
    }
}

#[cfg(test)]
mod tests;
