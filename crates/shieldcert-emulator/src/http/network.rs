//! What is between a client and the service: the faults that its requests meet, and its rate limit.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::observe::Observation;
use super::rate_limit::RateLimiter;
use crate::chaos::quirk::{Applied, Quirks};
use crate::chaos::{Chaos, Fault, Operation, Queue, Script, ScriptedFault};
use crate::core::random::Random;
use crate::settings::RateLimit;

/// Not the stream that ids are drawn from.
const FAULT_STREAM: u64 = 0x6368_616f_7321;

pub(crate) type Observer = dyn Fn(&Observation<'_>) + Send + Sync;

/// The network of one client, or of every client that has none of its own.
pub(crate) struct Network {
    /// 0 for the emulator's own, and from 1 for connections.
    id: u64,
    /// The emulator's own network. Its script goes first, and its other faults are the default.
    parent: Option<Arc<Network>>,
    limiter: RateLimiter,
    state: Mutex<State>,
}

struct State {
    script: Queue,
    /// None for the parent's.
    chaos: Option<Chaos>,
    /// None for the parent's.
    quirks: Option<Quirks>,
    seed: u64,
    /// Faults are drawn from a source of their own, so that they change no id.
    random: Random,
    observer: Option<Arc<Observer>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({})", self.id)
    }
}

impl Network {
    /// The network of every client that has none of its own.
    pub(crate) fn shared(
        limit: Option<RateLimit>,
        chaos: Chaos,
        quirks: Quirks,
        seed: u64,
    ) -> Self {
        let network = Self::new(0, None, limit, Some(chaos), seed);
        network.set_quirks(quirks);
        network
    }

    /// The network of one client, without a limit.
    pub(crate) fn connect(parent: &Arc<Self>, id: u64) -> Self {
        // Two connections must not meet the same faults.
        let seed = parent.lock().seed ^ id.rotate_left(32);
        Self::new(id, Some(parent.clone()), None, None, seed)
    }

    fn new(
        id: u64,
        parent: Option<Arc<Self>>,
        limit: Option<RateLimit>,
        chaos: Option<Chaos>,
        seed: u64,
    ) -> Self {
        Self {
            id,
            parent,
            limiter: RateLimiter::new(limit),
            state: Mutex::new(State {
                script: Queue::default(),
                chaos,
                quirks: None,
                seed,
                random: Random::from_seed(seed ^ FAULT_STREAM),
                observer: None,
            }),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    /// The fault of a request for this operation. Scripts go before chance.
    pub(crate) fn next_fault(&self, requested: Option<Operation>) -> Option<Fault> {
        let parent = self.parent.as_deref();
        if let Some(fault) = parent.and_then(|parent| parent.lock().script.take(requested)) {
            return Some(fault);
        }
        let mut state = self.lock();
        if let Some(fault) = state.script.take(requested) {
            return Some(fault);
        }
        match (&state.chaos, parent) {
            (Some(chaos), _) => chaos.draw(requested, &state.random),
            (None, Some(parent)) => parent.lock().chaos.as_ref()?.draw(requested, &state.random),
            (None, None) => None,
        }
    }

    /// Draws the quirks of a request, which a fault may add one to.
    pub(crate) fn draw_quirks(&self, fault: Option<&Fault>) -> Applied {
        let state = self.lock();
        let mut applied = match (&state.quirks, self.parent.as_deref()) {
            (Some(quirks), _) => quirks.draw(&state.random),
            (None, Some(parent)) => match &parent.lock().quirks {
                Some(quirks) => quirks.draw(&state.random),
                None => Applied::default(),
            },
            (None, None) => Applied::default(),
        };
        if let Some(quirk) = fault.and_then(Fault::quirk) {
            // The number of no other quirk.
            quirk.add_to(&mut applied, u64::MAX, &state.random);
        }
        applied
    }

    /// A random number from 0 to 1, from the source of faults.
    pub(crate) fn draw_fraction(&self) -> f64 {
        self.lock().random.fraction()
    }

    pub(crate) fn chaos(&self) -> Chaos {
        self.lock().chaos.clone().unwrap_or_default()
    }

    /// Sets the faults by chance, and restarts their draws.
    pub(crate) fn set_chaos(&self, chaos: Chaos) {
        let mut state = self.lock();
        state.random.rewind(0);
        state.chaos = Some(chaos);
    }

    pub(crate) fn quirks(&self) -> Quirks {
        self.lock().quirks.clone().unwrap_or_default()
    }

    pub(crate) fn set_quirks(&self, quirks: Quirks) {
        self.lock().quirks = Some(quirks);
    }

    pub(crate) fn set_seed(&self, seed: u64) {
        let mut state = self.lock();
        state.seed = seed;
        state.random = Random::from_seed(seed ^ FAULT_STREAM);
    }

    pub(crate) fn append_script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        self.lock().script.append(rules);
    }

    pub(crate) fn replace_script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        let mut state = self.lock();
        state.script.clear();
        state.script.append(rules);
    }

    pub(crate) fn pending_script(&self) -> Script {
        self.lock().script.pending()
    }

    pub(crate) fn set_observer(&self, observer: Arc<Observer>) {
        self.lock().observer = Some(observer);
    }

    pub(crate) fn observer(&self) -> Option<Arc<Observer>> {
        self.lock().observer.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
