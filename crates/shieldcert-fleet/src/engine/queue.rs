//! The order in which devices get their turn under the budget.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::journal::{Reason, Snapshot, State};
use crate::policy::{RevokeReason, Step};

/// Which devices come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Revocations of leaked keys.
    Leaked,
    /// Renewals, the one with the least time left first.
    Renewal,
    /// Devices that are absent.
    Absent,
    /// Devices without a certificate, in the order of the manifest.
    New,
    /// Revocations of certificates that were replaced.
    Routine,
}

/// A device that gets its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) class: Class,
    /// What decides within the class: when the certificate expires, or the place in the manifest.
    pub(crate) key: i64,
    pub(crate) device: i64,
    /// Whether a request may have been sent, so that most of its time is spent waiting.
    pub(crate) is_open: bool,
}

impl Task {
    pub(crate) fn of(snapshot: &Snapshot, device: i64, step: &Step) -> Self {
        let newest = snapshot.generations.last();
        let expires = || {
            let verified = snapshot
                .generations
                .iter()
                .rev()
                .find(|generation| generation.state == State::Verified);
            verified.and_then(|generation| generation.not_after)
        };
        let class = match step {
            Step::Revoke(_, RevokeReason::Leaked) => Class::Leaked,
            // Its certificate, if there is one, is to be revoked first of all.
            Step::Settle(number) if is_leaked(snapshot, *number) => Class::Leaked,
            Step::Revoke(_, RevokeReason::Absent | RevokeReason::Asked) | Step::Settle(_) => {
                Class::Absent
            }
            Step::Revoke(..) | Step::Abandon(_) => Class::Routine,
            Step::Begin(Reason::New) => Class::New,
            Step::Begin(_) => Class::Renewal,
            _ => match newest.map(|newest| newest.reason) {
                Some(Reason::New) | None => Class::New,
                Some(_) => Class::Renewal,
            },
        };
        let key = match class {
            // Without a certificate it is the most urgent one.
            Class::Renewal => expires().map_or(i64::MIN, Timestamp::as_second),
            // What was begun is finished first.
            Class::New if newest.is_some() => i64::MIN,
            _ => device,
        };
        Self {
            class,
            key,
            device,
            is_open: matches!(step, Step::Resume(_) | Step::Settle(_)),
        }
    }
}

fn is_leaked(snapshot: &Snapshot, number: u32) -> bool {
    let mut generations = snapshot.generations.iter();
    generations.any(|generation| generation.number == number && generation.leaked)
}

/// The devices of a run.
pub(super) struct Queue(Mutex<Lines>);

struct Lines {
    main: VecDeque<Task>,
    routine: VecDeque<Task>,
    taken: u64,
}

/// Routine revocations get every tenth turn, so that places in the quota become free.
const ROUTINE_SHARE: u64 = 10;

impl Queue {
    pub(super) fn new(mut tasks: Vec<Task>) -> Self {
        tasks.sort_unstable();
        let routine = tasks.split_off(tasks.partition_point(|task| task.class < Class::Routine));
        Self(Mutex::new(Lines {
            main: tasks.into(),
            routine: routine.into(),
            taken: 0,
        }))
    }

    /// Nobody gets a turn any more.
    pub(super) fn clear(&self) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.main.clear();
        lines.routine.clear();
    }

    pub(super) fn next(&self) -> Option<Task> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.taken += 1;
        let is_routine_turn = lines.taken.is_multiple_of(ROUTINE_SHARE);
        let (first, second) = match is_routine_turn {
            true => (lines.routine.pop_front(), &mut lines.main),
            false => (lines.main.pop_front(), &mut lines.routine),
        };
        first.or_else(|| second.pop_front())
    }
}

#[cfg(test)]
mod tests;
