//! What is known of a fleet without asking the service.

use jiff::Timestamp;
use serde::Serialize;

use crate::engine::delivered;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::journal::{Ask, Counts, Hold, Snapshot, State};
use crate::load::load;
use crate::name::DeviceName;
use crate::policy::{Decision, Now, decide, due};

/// What is known of a fleet without asking the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// What the journal holds.
    #[serde(flatten)]
    pub counts: Counts,
    /// When the next certificate is to be renewed, which may be past.
    pub next_renewal: Option<Timestamp>,
    /// When the first of the certificates in use expires, which may be past.
    pub next_expiry: Option<Timestamp>,
    /// The newest time of the service that a run has seen.
    pub service_time: Option<Timestamp>,
    /// The process that works on the fleet. 0 if it has not said which it is.
    pub worker: Option<u32>,
}

/// A device that failed, or waits for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Held {
    /// The device.
    pub device: DeviceName,
    /// The number of its generation. `None` if none was begun.
    pub generation: Option<u32>,
    /// How far the generation is.
    pub state: Option<State>,
    /// What it waits for.
    pub hold: Hold,
    /// What went wrong.
    pub problem: Option<String>,
    /// When it is tried again. `None`: in the next run.
    pub retry_at: Option<Timestamp>,
}

impl Held {
    /// Returns what a device waits for, by its newest generation that waits, or else by what comes next for it. `None`: it
    /// waits for nothing.
    pub fn of(snapshot: &Snapshot, decision: &Decision) -> Option<Self> {
        let held = snapshot.generations.iter().rev().find_map(|generation| {
            // What was replaced is revoked after its grace period, whatever is missing of it.
            let is_replaced = |hold: &Hold| hold.needs_operator() && generation.revoke_at.is_some();
            let hold = (generation.hold)
                .filter(|hold| generation.state != State::Revoked && !is_replaced(hold))?;
            Some((generation, hold))
        });
        let device = snapshot.name.clone();
        match (held, decision) {
            (
                _,
                Decision::Later {
                    hold: Some(Hold::Paused),
                    ..
                },
            ) => Some(Self {
                device,
                generation: None,
                state: None,
                hold: Hold::Paused,
                problem: held.and_then(|(generation, _)| generation.problem.clone()),
                retry_at: None,
            }),
            (Some((generation, hold)), _) => Some(Self {
                device,
                generation: Some(generation.number),
                state: Some(generation.state),
                hold,
                problem: generation.problem.clone(),
                retry_at: generation.retry_at,
            }),
            (
                None,
                Decision::Later {
                    at,
                    hold: Some(hold),
                },
            ) => Some(Self {
                device,
                generation: None,
                state: None,
                hold: *hold,
                problem: None,
                retry_at: *at,
            }),
            _ => None,
        }
    }

    /// Returns that a device waits for something, where no more is known of it.
    pub fn without_generation(device: DeviceName, hold: Hold, problem: Option<String>) -> Self {
        Self {
            device,
            generation: None,
            state: None,
            hold,
            problem,
            retry_at: None,
        }
    }
}

impl Fleet {
    /// Reads what is known of the fleet from its journal. `each` gets when each certificate in use expires. Another process
    /// may work on the fleet.
    ///
    /// # Errors
    /// Returns an error if there is no journal, or it can't be read.
    pub fn status(&self, mut each: impl FnMut(Option<Timestamp>)) -> Result<Status> {
        let journal = self.journal()?;
        let mut status = Status {
            counts: journal.counts()?,
            service_time: journal.service_time()?,
            worker: self.worker(),
            ..Status::default()
        };
        journal.each_current(|name, generation| {
            let due = due(name, generation, &self.config.renew);
            status.next_renewal = status.next_renewal.into_iter().chain(due).min();
            let expires = generation.not_after;
            status.next_expiry = status.next_expiry.into_iter().chain(expires).min();
            each(expires);
        })?;
        Ok(status)
    }

    /// Calls `each` with every device of the manifest and of the journal. Another process may work on the fleet.
    ///
    /// # Errors
    /// Returns an error if the manifest has problems, or the journal can't be read.
    pub fn devices(&self, each: impl FnMut(Snapshot)) -> Result<()> {
        let journal = self.journal()?;
        load(&journal, &self.folder, &self.config)?;
        journal.each_device(each)
    }

    /// Calls `each` with every device that failed, or waits for something. What is unmanaged is left out.
    ///
    /// # Errors
    /// Returns an error if the manifest has problems, or the journal can't be read.
    pub fn held(&self, mut each: impl FnMut(Held)) -> Result<()> {
        let journal = self.journal()?;
        let now = Now {
            time: journal.time_of_record()?,
            is_service_time: false,
        };
        load(&journal, &self.folder, &self.config)?;
        journal.each_device(|snapshot| {
            if snapshot.device.is_none() && snapshot.ask.is_none() {
                return;
            }
            let delivered = delivered(&self.folder, snapshot.device.as_ref());
            let decision = decide(&snapshot, &delivered, &self.config, now);
            if let Some(held) = Held::of(&snapshot, &decision) {
                each(held);
            }
        })
    }

    /// Asks for something for these devices. Whoever works on the fleet does it, or the next run. Returns how many devices
    /// the journal knows.
    ///
    /// # Errors
    /// Returns an error if the journal can't be written. Nothing was asked for then.
    pub fn ask<'a>(
        &self,
        ask: Ask,
        devices: impl IntoIterator<Item = &'a DeviceName>,
    ) -> Result<u64> {
        let journal = self.journal()?;
        let at = journal.time_of_record()?;
        journal.ask(ask, devices, at)
    }
}

impl Fleet {
    /// Has steps that failed, and wait for their next try, tried again at once, such as a deploy command that was mended.
    /// Whoever works on the fleet does it, or the next run. Returns of how many devices.
    ///
    /// # Errors
    /// Returns an error if the journal can't be written. Nothing is tried again then.
    pub fn retry_now(&self, selects: impl Fn(&DeviceName) -> bool) -> Result<u64> {
        if !self.folder.journal().exists() {
            return Ok(0);
        }
        let journal = self.journal()?;
        let at = journal.time_of_record()?;
        journal.retry_now(selects, at)
    }
}

impl Snapshot {
    /// Returns whether the journal knows the device.
    pub fn is_known(&self) -> bool {
        self.id.is_some()
    }
}
