//! The clients of a fleet: one a budget, since a client holds the rate limit of its requests.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shieldcert::{Client, ClientBuilder, RateLimit, Zone, ZoneId};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::folder::Folder;

/// How clients are made: with which base URL, transport and trusted CAs.
#[derive(Clone)]
pub struct Connector {
    builder: Arc<dyn Fn() -> shieldcert::Result<ClientBuilder> + Send + Sync>,
    has_credentials: bool,
}

impl Connector {
    /// Creates a connector from a function that returns a builder. It is called for each budget, which adds its token.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::Client;
    /// use shieldcert_fleet::Connector;
    ///
    /// let connector = Connector::new(|| Ok(Client::builder()));
    /// # let _ = connector;
    /// ```
    pub fn new(
        builder: impl Fn() -> shieldcert::Result<ClientBuilder> + Send + Sync + 'static,
    ) -> Self {
        Self {
            builder: Arc::new(builder),
            has_credentials: false,
        }
    }

    /// Says that the builder has credentials. Then the budgets' tokens are not read.
    #[must_use]
    pub fn with_credentials(mut self) -> Self {
        self.has_credentials = true;
        self
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("has_credentials", &self.has_credentials)
            .finish_non_exhaustive()
    }
}

/// The budgets of a fleet.
pub(crate) struct Budgets {
    connector: Connector,
    folder: Folder,
    config: Arc<Config>,
    meter: Arc<Meter>,
    clients: Mutex<BTreeMap<String, Connected>>,
    /// How often a token was replaced.
    replacements: AtomicU64,
    /// How much of each budget this process uses, where others use the rest.
    share: f64,
}

#[derive(Clone)]
struct Connected {
    client: Client,
    /// The token's digest: enough to know another one.
    token: Option<[u8; 32]>,
}

tokio::task_local! {
    /// How many requests were sent within the current [`count_requests`].
    static SENT: Cell<u64>;
}

/// Awaits something, and returns also how many requests it has sent.
pub(crate) async fn count_requests<T>(work: impl Future<Output = T>) -> (T, u64) {
    let counting = async {
        let done = work.await;
        (done, SENT.with(Cell::get))
    };
    SENT.scope(Cell::new(0), counting).await
}

/// What all requests of a run have in common.
#[derive(Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    /// How long requests wait for the rate limit, in milliseconds, as last reported.
    waits: Mutex<Option<Duration>>,
}

impl Meter {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Takes the wait for the rate limit that began last.
    pub(crate) fn take_wait(&self) -> Option<Duration> {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Budgets {
    pub(crate) fn new(connector: Connector, folder: Folder, config: Arc<Config>) -> Self {
        Self {
            connector,
            folder,
            config,
            meter: Arc::default(),
            clients: Mutex::default(),
            replacements: AtomicU64::new(0),
            share: 1.0,
        }
    }

    /// Uses only this share of each budget.
    pub(crate) fn with_share(self, share: f64) -> Self {
        Self { share, ..self }
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<String, Connected>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the budget of a zone.
    pub(crate) fn of_zone(&self, zone: &ZoneId) -> Option<&str> {
        let zone = self
            .config
            .zones
            .values()
            .find(|config| config.id == *zone)?;
        Some(&zone.budget)
    }

    /// A handle of a zone. Its token is read the first time.
    pub(crate) async fn zone(&self, zone: &ZoneId) -> Result<Zone> {
        let Some(budget) = self.of_zone(zone) else {
            return Err(Error::Zone {
                zone: zone.clone(),
                problem:
                    "it is not in fleet.toml, and the journal has certificates in it; add it again"
                        .to_owned(),
            });
        };
        if let Some(connected) = self.clients().get(budget) {
            return Ok(connected.client.zone(zone.clone()));
        }
        let connected = self.connect(budget).await?;
        let mut clients = self.clients();
        let connected = clients.entry(budget.to_owned()).or_insert(connected);
        Ok(connected.client.zone(zone.clone()))
    }

    /// How often a token was replaced until now.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::SeqCst)
    }

    /// Reads the token of a zone's budget again, after the service refused it. Returns whether there is another one than
    /// that of a request that began after so many replacements.
    pub(crate) async fn read_token_again(&self, zone: &ZoneId, replacements: u64) -> Result<bool> {
        let Some(budget) = self.of_zone(zone) else {
            return Ok(false);
        };
        if self.connector.has_credentials {
            return Ok(false);
        }
        // Another request was refused, too, and has had it replaced.
        if self.replacements() > replacements {
            return Ok(true);
        }
        let connected = self.connect(budget).await?;
        let mut clients = self.clients();
        let is_other = clients
            .get(budget)
            .is_none_or(|present| present.token != connected.token);
        if is_other {
            clients.insert(budget.to_owned(), connected);
            self.replacements.fetch_add(1, Ordering::SeqCst);
        }
        Ok(is_other || self.replacements() > replacements)
    }

    async fn connect(&self, budget: &str) -> Result<Connected> {
        let Some(config) = self.config.budgets.get(budget) else {
            return Err(Error::Token {
                budget: budget.to_owned(),
                problem: "it is not in fleet.toml; add [budgets.NAME]".to_owned(),
            });
        };
        let mut builder = (self.connector.builder)()?;
        let mut token = None;
        if !self.connector.has_credentials {
            let text = config.token.read(budget, &self.folder).await?;
            token = Some(Sha256::digest(&text).into());
            builder = builder.token(text);
        }
        let waits = self.meter.clone();
        let limit = RateLimit::default()
            .reserve_share(config.reserve_share)
            .own_share(self.share)
            .on_wait(move |wait| {
                *waits.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait);
            });
        let meter = self.meter.clone();
        let client = builder
            .rate_limit(limit)
            .on_call(move |call| {
                let attempts = call.attempts.into();
                meter.requests.fetch_add(attempts, Ordering::Relaxed);
                let _ = SENT.try_with(|sent| sent.set(sent.get() + attempts));
            })
            .build()?;
        Ok(Connected { client, token })
    }

    /// Whether the service says that hardly anything is left of the rate limit of a zone's budget.
    pub(crate) fn is_used_up(&self, zone: &ZoneId) -> bool {
        let clients = self.clients();
        let connected = self.of_zone(zone).and_then(|budget| clients.get(budget));
        let left = connected.and_then(|connected| connected.client.requests_left());
        left.is_some_and(|left| left.requests < left.quota / 20)
    }

    /// The newest time that the service has said, and whether it has said one.
    pub(crate) fn service_time(&self) -> Option<Timestamp> {
        let clients = self.clients();
        clients
            .values()
            .filter_map(|connected| connected.client.service_time())
            .max()
    }
}
