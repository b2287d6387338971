//! Builds an emulator.

use std::net::{Ipv4Addr, SocketAddr};
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::chaos::{Chaos, Quirks};
use crate::core::ca::Ca;
use crate::core::clock::Clock;
use crate::core::random::Random;
use crate::core::service::Service;
#[cfg(feature = "sqlite")]
use crate::core::store::sqlite::{Sqlite, StoredCa};
use crate::core::store::{Store, ZoneId};
use crate::emulator::Emulator;
use crate::error::Error;
use crate::http::app::App;
use crate::http::auth::{Access, Credentials};
use crate::http::network::Network;
use crate::server::RunningEmulator;
use crate::settings::{EdgeRule, IdStyle, Order, RateLimit, Settings, TotalCount};

impl Emulator {
    /// Starts with the default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }
}

/// The settings of an [`Emulator`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`, `open` or `start` is called"]
pub struct EmulatorBuilder {
    listen: SocketAddr,
    is_tls: bool,
    edge: Option<SocketAddr>,
    credentials: Credentials,
    // Setters can't fail, so `build` reports the first credential that can't be used.
    credential_error: Option<&'static str>,
    control_credentials: Credentials,
    seed: Option<u64>,
    clock_start: Option<SystemTime>,
    rate_limit: Option<RateLimit>,
    #[cfg(feature = "sqlite")]
    db: Option<PathBuf>,
    /// Zones, and how many certificates each is populated with.
    populations: Vec<(String, usize)>,
    chaos: Chaos,
    quirks: Quirks,
    chaos_seed: Option<u64>,
    settings: Settings,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            is_tls: false,
            edge: None,
            credentials: Credentials::new(),
            credential_error: None,
            control_credentials: Credentials::new(),
            seed: None,
            clock_start: None,
            rate_limit: None,
            #[cfg(feature = "sqlite")]
            db: None,
            populations: Vec::new(),
            chaos: Chaos::default(),
            quirks: Quirks::default(),
            chaos_seed: None,
            settings: Settings::default(),
        }
    }
}

impl EmulatorBuilder {
    /// Sets the address that [`start`](Self::start) listens on. The default is 127.0.0.1 with any free port.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Has [`start`](Self::start) serve the mTLS edge on this address. There is none by default.
    ///
    /// The edge asks clients for a certificate, responds with what a Worker would see of it, and responds 403 where
    /// an API Shield rule would block. Its own certificate is for `localhost`, `127.0.0.1`, `::1` and each
    /// [`tls_name`](Self::tls_name), signed by the emulator's CA.
    pub fn edge(mut self, address: SocketAddr) -> Self {
        self.edge = Some(address);
        self
    }

    /// Sets the rule by which the edge admits certificates. By default it blocks those that are revoked.
    pub fn edge_rule(mut self, rule: EdgeRule) -> Self {
        self.settings.edge_rule = rule;
        self
    }

    /// Has [`start`](Self::start) serve the API over TLS. The default is plain HTTP.
    ///
    /// The certificate is for `localhost`, `127.0.0.1`, `::1` and each [`tls_name`](Self::tls_name), signed by the
    /// emulator's CA, which [`RunningEmulator::ca_url`] serves.
    pub fn tls(mut self, served: bool) -> Self {
        self.is_tls = served;
        self
    }

    /// Adds a host name or an IP address to the certificates of the API and of the edge, such as the name of a container.
    /// May be repeated. The address that they listen on is in them already, unless it is unspecified (`0.0.0.0`).
    pub fn tls_name(mut self, name: impl Into<String>) -> Self {
        self.settings.tls_names.push(name.into());
        self
    }

    /// Accepts this bearer token, for reading and writing. May be repeated.
    ///
    /// Without any token or key, every well-formed credential is accepted.
    pub fn token(mut self, token: impl AsRef<str>) -> Self {
        let added = self.credentials.add_token(token.as_ref(), Access::Write);
        self.note(added)
    }

    /// Accepts this bearer token, for reading alone. May be repeated.
    pub fn read_only_token(mut self, token: impl AsRef<str>) -> Self {
        let added = self.credentials.add_token(token.as_ref(), Access::Read);
        self.note(added)
    }

    /// Accepts this key of the user with this email address (`X-Auth-Key`, `X-Auth-Email`). May be repeated.
    pub fn key(mut self, email: impl AsRef<str>, key: impl AsRef<str>) -> Self {
        let added = self.credentials.add_key(email.as_ref(), key.as_ref());
        self.note(added)
    }

    fn note(mut self, added: Result<(), &'static str>) -> Self {
        self.credential_error = self.credential_error.or(added.err());
        self
    }

    /// Sets how long a revocation or reactivation stays pending, by the emulator's clock. The default is 2 seconds.
    pub fn transition_delay(mut self, delay: Duration) -> Self {
        self.settings.transition_delay = delay;
        self
    }

    /// Sets whether a certificate that is settled as revoked may be reactivated. It may by default.
    ///
    /// One that is still `pending_revocation` always may.
    pub fn reactivate_revoked(mut self, allowed: bool) -> Self {
        self.settings.reactivate_revoked = allowed;
        self
    }

    /// Sets the order of lists. The default is newest first.
    pub fn order(mut self, order: Order) -> Self {
        self.settings.order = order;
        self
    }

    /// Sets what `total_count` counts. The default is every certificate of the zone.
    pub fn total_count(mut self, total_count: TotalCount) -> Self {
        self.settings.total_count = total_count;
        self
    }

    /// Sets how certificate ids are written. The default is with hyphens.
    pub fn ids(mut self, style: IdStyle) -> Self {
        self.settings.ids = style;
        self
    }

    /// Refuses requests past this limit, and says in every response what is left of it. The default is no limit.
    ///
    /// [`RateLimit::default`] is the service's own: 1,200 requests in 300 seconds.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Limits how many certificates of a zone may be active; more are refused with code 1445. The default is no
    /// quota.
    ///
    /// Revoking frees a slot at once.
    pub fn quota(mut self, certificates: usize) -> Self {
        self.settings.quota = Some(certificates);
        self
    }

    /// Keeps everything in this SQLite file, the CA and its key included, and goes on from what is in it.
    ///
    /// The file is made if it does not exist, readable by its owner alone. Certificates and transitions follow the
    /// machine's clock, unless [`clock_start`](Self::clock_start) is set, so that several emulators can share a
    /// file. How far the clock was moved is not kept, nor are script, faults, quirks and history. Needs
    /// [`start`](Self::start) or [`open`](Self::open).
    #[cfg(feature = "sqlite")]
    pub fn db(mut self, path: impl Into<PathBuf>) -> Self {
        self.db = Some(path.into());
        self
    }

    /// Adds this time to every request. The default is none.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Sets the faults that are injected by chance. There are none by default.
    ///
    /// [`Emulator::script`] injects faults in order.
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Sets how this service differs from a well-behaved one. It does not by default.
    ///
    /// Some quirks need the store in memory; [`Quirks`] says which.
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// Draws faults from this seed, so that the same requests in the same order meet the same ones.
    ///
    /// The default is [`seed`](Self::seed), or else a random seed, which is logged.
    pub fn chaos_seed(mut self, seed: u64) -> Self {
        self.chaos_seed = Some(seed);
        self
    }

    /// Serves the control endpoints, to everybody who can connect. They are not served by default, and without a
    /// [secret](Self::control_secret) only on a loopback address.
    ///
    /// Bodies are plain text, but for certificates and the history, which are JSON.
    ///
    /// | request to `/__shieldcert` | what it does |
    /// | --- | --- |
    /// | `GET /script` | returns the rules that still have faults to inject |
    /// | `PUT /script` | replaces the script, one rule a line: `create: lose-response` |
    /// | `POST /script` | appends rules to the script |
    /// | `DELETE /script` | empties the script |
    /// | `GET /chaos`, `PUT /chaos` | returns and sets the faults by chance: `lose-response=5%, html=1%` |
    /// | `GET /quirks`, `PUT /quirks` | returns and sets the quirks: `cap=25, total=missing` |
    /// | `POST /zones/ZONE/client_certificates` | adds a certificate, or a list of them, and returns their records: [`Fixture`](crate::Fixture) |
    /// | `GET /history` | returns the last 10,000 requests and their faults, in JSON |
    /// | `POST /reset` | does what [`Emulator::reset`] does; a database is emptied, for all that share it |
    /// | `GET /clock` | returns the emulator's time, in RFC 3339 |
    /// | `POST /clock` | moves the clock forward: `advance=1h`, `advance=30d` |
    pub fn control(mut self, served: bool) -> Self {
        self.settings.control = served;
        self
    }

    /// Serves the control endpoints, also on other addresses than loopback ones, to who presents this secret as a bearer
    /// token. May be repeated.
    pub fn control_secret(mut self, secret: impl AsRef<str>) -> Self {
        let added = self
            .control_credentials
            .add_token(secret.as_ref(), Access::Write);
        self.settings.control = true;
        self.note(added)
    }

    /// Draws ids, serial numbers and rays from this seed, so that the same requests in the same order get the same
    /// ones. They are unpredictable by default.
    ///
    /// Keys and signatures, and so fingerprints, differ all the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what time it is when the emulator is built. The default is the machine's time.
    ///
    /// From there the clock goes on with tokio's, which does not count the time that the machine sleeps, and can be
    /// [advanced](Emulator::advance).
    pub fn clock_start(mut self, time: SystemTime) -> Self {
        self.clock_start = Some(time);
        self
    }

    /// Fills a zone with certificates, as if a fleet had had them for years, until it holds `count`.
    ///
    /// Ids, serial numbers, subjects, validities and statuses are the same each time: most are active, some are
    /// revoked, few are pending and settle after the transition delay. They were issued over the last two years
    /// for 30 to 3,650 days, so some are expired. A zone that holds as many already stays as it is. All cores sign.
    /// Needs [`start`](Self::start) or [`open`](Self::open).
    pub fn populate(mut self, zone_id: impl Into<String>, count: usize) -> Self {
        self.populations.push((zone_id.into(), count));
        self
    }

    /// Builds the emulator, with its CA, and without a socket.
    ///
    /// # Errors
    /// If a credential can't be used, the CA can't be made, or a setting needs [`open`](Self::open): a database, or
    /// a zone to populate.
    pub fn build(self) -> Result<Emulator, Error> {
        #[cfg(feature = "sqlite")]
        if self.db.is_some() {
            return Err(Error::NeedsAsync("a database"));
        }
        if !self.populations.is_empty() {
            return Err(Error::NeedsAsync("a populated zone"));
        }
        let parts = Parts::new(&self)?;
        Ok(Emulator::new(self.assemble(parts, None)))
    }

    /// Builds the emulator without a socket, with its database and its populated zones.
    ///
    /// # Errors
    /// If a credential, a zone id or the database can't be used, or the CA or a certificate can't be made.
    ///
    /// # Cancel safety
    /// Dropping the future leaves a valid database, with a zone that may be populated in part.
    pub async fn open(mut self) -> Result<Emulator, Error> {
        let mut populations = Vec::new();
        for (zone, count) in std::mem::take(&mut self.populations) {
            match ZoneId::parse(&zone) {
                Some(zone) => populations.push((zone, count)),
                None => return Err(Error::Zone(zone)),
            }
        }
        let mut app = self.open_store().await?;
        for (zone, count) in populations {
            app.populate(zone, count).await?;
        }
        Ok(Emulator::new(app))
    }

    async fn open_store(self) -> Result<App, Error> {
        let parts = Parts::new(&self)?;
        #[cfg(feature = "sqlite")]
        if let Some(path) = &self.db {
            self.check_memory()?;
            let mut parts = parts;
            let failed = |cause| Error::Database {
                path: path.clone(),
                cause,
            };
            let sqlite = Sqlite::open(path, parts.clock.clone());
            let sqlite = sqlite.await.map_err(failed)?;
            let (id, certificate, private_key) = parts.ca.to_parts();
            let new = StoredCa {
                id,
                certificate,
                private_key,
            };
            let stored = sqlite.ca(new).await.map_err(failed)?;
            parts.ca = Ca::from_parts(stored.id, stored.certificate, &stored.private_key)?;
            let total = sqlite.total().await.map_err(failed)?;
            if let (Some(seed), 1..) = (self.seed, total) {
                // The ids and serial numbers that were drawn before are in the file.
                parts.random = Random::from_seed_part(seed, total.into());
            }
            return Ok(self.assemble(parts, Some(Store::Sqlite(sqlite))));
        }
        Ok(self.assemble(parts, None))
    }

    /// Refuses settings that need the store in memory.
    #[cfg(feature = "sqlite")]
    fn check_memory(&self) -> Result<(), Error> {
        if self.settings.order.needs_memory() {
            return Err(Error::NeedsMemory("this order of lists"));
        }
        let quirk = self.quirks.needs_memory();
        quirk.map_or(Ok(()), |name| Err(Error::NeedsMemory(name)))
    }

    /// Puts the parts together, with a store in memory unless one is given.
    fn assemble(self, parts: Parts, store: Option<Store>) -> App {
        let service = Service {
            store: store.unwrap_or_else(|| Store::in_memory(parts.clock.clone())),
            ca: parts.ca,
            random: parts.random,
            clock: parts.clock,
            settings: self.settings,
        };
        App::new(
            Arc::new(service),
            self.credentials,
            self.control_credentials,
            Network::shared(self.rate_limit, self.chaos, self.quirks, parts.chaos_seed),
            self.seed.is_some(),
        )
    }

    /// Builds the emulator and serves it over HTTP, on the current tokio runtime.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if the address can't be listened on, or is not a loopback address and
    /// [`control`](Self::control) is set without a secret.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open). Nothing listens afterwards.
    pub async fn start(self) -> Result<RunningEmulator, Error> {
        let (address, is_tls, edge) = (self.listen, self.is_tls, self.edge);
        let is_open = self.settings.control && self.control_credentials.is_empty();
        if is_open && !address.ip().is_loopback() {
            return Err(Error::PublicControl(address));
        }
        RunningEmulator::start(self.open().await?, address, is_tls, edge).await
    }
}

/// What is made before the store is opened.
struct Parts {
    random: Random,
    chaos_seed: u64,
    clock: Arc<Clock>,
    ca: Ca,
}

impl Parts {
    fn new(builder: &EmulatorBuilder) -> Result<Self, Error> {
        if let Some(problem) = builder.credential_error {
            return Err(Error::Credential(problem));
        }
        let random = |seed: Option<u64>| match seed {
            Some(seed) => Ok(Random::from_seed(seed)),
            None => Random::from_system().map_err(|_| Error::Random),
        };
        let chaos_seed = match builder.chaos_seed.or(builder.seed) {
            Some(seed) => seed,
            None => u64::from(u32::from_be_bytes(random(None)?.bytes())),
        };
        let has_faults = builder.chaos != Chaos::default() || !builder.quirks.is_empty();
        if has_faults || builder.settings.control {
            tracing::info!(chaos_seed, "faults are drawn from this seed");
        }
        let random = random(builder.seed)?;
        let clock = Arc::new(clock(builder));
        let ca = Ca::new(random.uuid(), random.bytes(), clock.unix_seconds())?;
        Ok(Self {
            random,
            chaos_seed,
            clock,
            ca,
        })
    }
}

/// Processes that share a database need the machine's clock. Everything else goes on with tokio's, which a test can
/// pause.
fn clock(builder: &EmulatorBuilder) -> Clock {
    #[cfg(feature = "sqlite")]
    if builder.db.is_some() && builder.clock_start.is_none() {
        return Clock::wall();
    }
    Clock::starting_at(builder.clock_start.unwrap_or_else(SystemTime::now))
}
