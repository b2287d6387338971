//! What the handlers share: the service, and what is in front of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Credentials;
use super::history::HistoryLog;
use super::rate_limit::RateLimiter;
use crate::chaos::{Chaos, Fault, Operation, Queue, Script, ScriptedFault};
use crate::core::populate::populate;
use crate::core::random::Random;
use crate::core::service::Service;
use crate::core::store::ZoneId;
use crate::error::Error;

/// An emulator, without the handles to it.
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    credentials: Credentials,
    limiter: Option<RateLimiter>,
    history: HistoryLog,
    faults: Mutex<Faults>,
    /// Faults are drawn from a source of their own, so that they change no id.
    chaos_random: Random,
    /// How often the emulator was reset.
    generation: AtomicU64,
    initial: Initial,
}

/// What a reset goes back to.
struct Initial {
    chaos: Chaos,
    /// How many certificates each zone is populated with.
    populations: Vec<(ZoneId, usize)>,
    /// Where the draws of ids and serial numbers begin, if they come from a seed.
    random_position: Option<u64>,
}

struct Faults {
    script: Queue,
    chaos: Chaos,
}

impl App {
    pub(crate) fn new(
        service: Arc<Service>,
        credentials: Credentials,
        limiter: Option<RateLimiter>,
        chaos: Chaos,
        chaos_random: Random,
        is_seeded: bool,
    ) -> Self {
        Self {
            credentials,
            limiter,
            history: HistoryLog::default(),
            faults: Mutex::new(Faults {
                script: Queue::default(),
                chaos: chaos.clone(),
            }),
            chaos_random,
            generation: AtomicU64::new(0),
            initial: Initial {
                chaos,
                populations: Vec::new(),
                random_position: is_seeded.then(|| service.random.position()),
            },
            service,
        }
    }

    /// Populates a zone, now and after each reset.
    pub(crate) async fn populate(&mut self, zone: ZoneId, count: usize) -> Result<(), Error> {
        let populated = populate(&self.service, zone, count).await;
        populated.map_err(Error::Populate)?;
        self.initial.populations.push((zone, count));
        Ok(())
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn limiter(&self) -> Option<&RateLimiter> {
        self.limiter.as_ref()
    }

    pub(crate) fn history(&self) -> &HistoryLog {
        &self.history
    }

    /// The fault of a request for this operation. The script goes before chance.
    pub(crate) fn next_fault(&self, requested: Option<Operation>) -> Option<Fault> {
        let mut faults = self.lock();
        match faults.script.take(requested) {
            Some(fault) => Some(fault),
            None => faults.chaos.draw(&self.chaos_random),
        }
    }

    /// A random number from 0 to 1, from the source of faults.
    pub(crate) fn draw_fraction(&self) -> f64 {
        self.chaos_random.fraction()
    }

    pub(crate) fn chaos(&self) -> Chaos {
        self.lock().chaos.clone()
    }

    /// Sets the faults by chance, and restarts their draws.
    pub(crate) fn set_chaos(&self, chaos: Chaos) {
        let mut faults = self.lock();
        self.chaos_random.rewind(0);
        faults.chaos = chaos;
    }

    pub(crate) fn append_script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        self.lock().script.append(rules);
    }

    pub(crate) fn replace_script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        let mut faults = self.lock();
        faults.script.clear();
        faults.script.append(rules);
    }

    pub(crate) fn pending_script(&self) -> Script {
        self.lock().script.pending()
    }

    /// How often the emulator was reset: work for an earlier generation is not done anymore.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) async fn reset(&self) -> Result<(), Error> {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.replace_script([]);
        self.set_chaos(self.initial.chaos.clone());
        self.service.clock.reset();
        if let Some(limiter) = &self.limiter {
            limiter.reset();
        }
        self.service.store.clear().await.map_err(Error::Reset)?;
        if let Some(position) = self.initial.random_position {
            self.service.random.rewind(position);
        }
        for (zone, count) in &self.initial.populations {
            let populated = populate(&self.service, *zone, *count).await;
            populated.map_err(Error::Populate)?;
        }
        self.history.clear();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
