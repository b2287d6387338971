//! What the handlers share: the service, and what is in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::auth::Credentials;
use super::history::HistoryLog;
use super::network::Network;
use super::rate_limit::Left;
use crate::chaos::{Chaos, Quirks};
use crate::core::populate::populate;
use crate::core::service::Service;
use crate::core::store::ZoneId;
use crate::error::Error;

/// An emulator, without the handles to it.
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    credentials: Credentials,
    control_credentials: Credentials,
    history: HistoryLog,
    /// The network of every client that has no connection of its own.
    network: Arc<Network>,
    /// How many connections were made.
    connections: AtomicU64,
    /// How often the emulator was reset.
    generation: AtomicU64,
    initial: Initial,
    warned_of_limit: AtomicBool,
}

/// What a reset goes back to.
struct Initial {
    chaos: Chaos,
    quirks: Quirks,
    /// How many certificates each zone is populated with.
    populations: Vec<(ZoneId, usize)>,
    /// Where the draws of ids and serial numbers begin, if they come from a seed.
    random_position: Option<u64>,
}

impl App {
    pub(crate) fn new(
        service: Arc<Service>,
        credentials: Credentials,
        control_credentials: Credentials,
        network: Network,
        is_seeded: bool,
    ) -> Self {
        let (chaos, quirks) = (network.chaos(), network.quirks());
        Self {
            credentials,
            control_credentials,
            history: HistoryLog::default(),
            network: Arc::new(network),
            connections: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            initial: Initial {
                chaos,
                quirks,
                populations: Vec::new(),
                random_position: is_seeded.then(|| service.random.position()),
            },
            warned_of_limit: AtomicBool::new(false),
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

    /// What the control endpoints accept. If there are none, everybody may use them.
    pub(crate) fn control_credentials(&self) -> &Credentials {
        &self.control_credentials
    }

    pub(crate) fn history(&self) -> &HistoryLog {
        &self.history
    }

    /// Says once what refuses the requests of a test suite from now on.
    pub(crate) fn warn_of_limit(&self, left: Option<Left>) {
        if let Some(left) = left
            && !self.warned_of_limit.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                limit = %left.limit(),
                "the rate limit is used up, and requests are refused for the length of its window; \
                 --rate-limit off lifts it"
            );
        }
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// A new client's network.
    pub(crate) fn connect(&self) -> Arc<Network> {
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(Network::connect(&self.network, id))
    }

    /// How often the emulator was reset: work for an earlier generation is not done anymore.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) async fn reset(&self) -> Result<(), Error> {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.network.replace_script([]);
        self.network.set_chaos(self.initial.chaos.clone());
        self.network.set_quirks(self.initial.quirks.clone());
        self.service.clock.reset();
        self.network.limiter().reset();
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
}
