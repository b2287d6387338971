//! Making an emulator: its settings, and the handle to it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use uuid::Uuid;

use crate::auth::{Access, Credentials};
use crate::authority::Authority;
use crate::chaos::Chaos;
use crate::clock::Clock;
use crate::error::Error;
use crate::history::{Event, History};
use crate::random::Random;
use crate::rate_limit::{Meter, RateLimit};
use crate::routes;
use crate::server::RunningEmulator;
use crate::service::{Service, Settings};
#[cfg(feature = "sqlite")]
use crate::store::sqlite::{KeptCa, Sqlite};
use crate::store::{Store, ZoneId};
use crate::transport::EmulatorTransport;

/// In which order a list has its certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The one issued last comes first.
    #[default]
    NewestFirst,
    /// The one issued first comes first.
    OldestFirst,
    /// By id, which has nothing to do with when a certificate was issued.
    ById,
}

/// What `total_count` counts in the answer to a list with a status filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TotalCount {
    /// Every certificate of the zone, as the published document says.
    #[default]
    Unfiltered,
    /// The certificates that match the filter.
    Filtered,
}

/// How certificate ids are written. Both ways are understood in requests, whatever is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdStyle {
    /// A UUID with hyphens, 36 characters: what a documented real answer has.
    #[default]
    Hyphenated,
    /// 32 hex digits: as many as the published document allows.
    Hex,
}

impl IdStyle {
    pub(crate) fn write(self, id: Uuid) -> String {
        match self {
            Self::Hyphenated => id.hyphenated().to_string(),
            Self::Hex => id.simple().to_string(),
        }
    }
}

/// The service in this process. Cheap to clone; clones share everything.
///
/// It has no socket: requests come in through its [`router`](Self::router) or its
/// [`transport`](Self::transport). [`EmulatorBuilder::start`] makes one that listens.
///
/// ```
/// use std::sync::Arc;
/// use shieldcert_emulator::{Emulator, EmulatorTransport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let emulator = Emulator::builder().token("secret").build()?;
/// let api = shieldcert_api::Client::with_transport(EmulatorTransport::BASE_URL, Arc::new(emulator.transport()));
/// let zone = "023e105f4ecef8ad9ca31a8372d0c353".to_owned();
/// let answer = api.list_client_certificates().zone_id(zone).send().await;
/// assert!(answer.is_err(), "no token was sent");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Emulator {
    pub(crate) service: Arc<Service>,
    router: Router,
    ca_pem: Arc<str>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emulator")
    }
}

impl Emulator {
    /// Starts with the default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// The CA's certificate in PEM, which every certificate that is issued verifies against.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The last requests, oldest first, and what became of them.
    pub fn history(&self) -> Vec<Event> {
        self.service.history.events()
    }

    /// Changes which faults strike from now on, drawn from the start of the seed again.
    pub fn set_chaos(&self, chaos: Chaos) {
        self.service.set_chaos(chaos);
    }

    /// The service as an axum router, with its routes below `/client/v4`.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The service as a transport of the generated client.
    pub fn transport(&self) -> EmulatorTransport {
        EmulatorTransport {
            router: self.router(),
        }
    }
}

/// The settings of an [`Emulator`].
#[derive(Debug, Clone)]
#[must_use = "a builder makes nothing until `build` or `start` is called"]
pub struct EmulatorBuilder {
    listen: SocketAddr,
    edge: Option<SocketAddr>,
    credentials: Credentials,
    // Setters can't fail: the first credential that can't be used is reported by `build`.
    credential_error: Option<&'static str>,
    seed: Option<u64>,
    clock_start: Option<SystemTime>,
    rate_limit: Option<RateLimit>,
    #[cfg(feature = "sqlite")]
    db: Option<std::path::PathBuf>,
    /// How many certificates each of these zones is filled up to.
    seeds: Vec<(String, usize)>,
    chaos: Chaos,
    chaos_seed: Option<u64>,
    settings: Settings,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            edge: None,
            credentials: Credentials::new(),
            credential_error: None,
            seed: None,
            clock_start: None,
            rate_limit: None,
            #[cfg(feature = "sqlite")]
            db: None,
            seeds: Vec::new(),
            chaos: Chaos::default(),
            chaos_seed: None,
            settings: Settings {
                transition_delay: Duration::from_secs(2),
                reactivate_revoked: true,
                order: Order::default(),
                total_count: TotalCount::default(),
                ids: IdStyle::default(),
                sign_inline: false,
                quota: None,
                latency: Duration::ZERO,
                control: false,
            },
        }
    }
}

impl EmulatorBuilder {
    /// Where [`start`](Self::start) listens. 127.0.0.1 with any free port unless set.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Has [`start`](Self::start) serve the mTLS edge too, on this address.
    ///
    /// It asks clients for a certificate, answers with what a Worker would see of it, and answers 403 where
    /// an API Shield rule would block. Its own certificate is for `localhost`, `127.0.0.1` and `::1`, signed
    /// by the emulator's CA.
    pub fn edge(mut self, address: SocketAddr) -> Self {
        self.edge = Some(address);
        self
    }

    /// Accepts this bearer token, for reading and writing. May be repeated.
    ///
    /// Without any token or key, every well-formed credential is accepted; with one, only those that were named.
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

    /// How long a revocation or reactivation stays pending, by tokio's clock. 2 seconds unless set.
    pub fn transition_delay(mut self, delay: Duration) -> Self {
        self.settings.transition_delay = delay;
        self
    }

    /// Whether a certificate that is settled as revoked may be reactivated. Yes unless set.
    ///
    /// One that is still `pending_revocation` always may.
    pub fn reactivate_revoked(mut self, allowed: bool) -> Self {
        self.settings.reactivate_revoked = allowed;
        self
    }

    /// The order of lists. Newest first unless set.
    pub fn order(mut self, order: Order) -> Self {
        self.settings.order = order;
        self
    }

    /// What `total_count` counts. Every certificate of the zone unless set.
    pub fn total_count(mut self, total_count: TotalCount) -> Self {
        self.settings.total_count = total_count;
        self
    }

    /// How certificate ids are written. With hyphens unless set.
    pub fn ids(mut self, style: IdStyle) -> Self {
        self.settings.ids = style;
        self
    }

    /// Refuses requests past this limit, and says in every answer what is left of it. No limit unless set.
    ///
    /// [`RateLimit::default`] is the service's own: 1,200 requests in 300 seconds.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// The most certificates of a zone that may be active at once; further ones are refused with code 1445.
    ///
    /// Revoking frees a place at once. No quota unless set.
    pub fn quota(mut self, certificates: usize) -> Self {
        self.settings.quota = Some(certificates);
        self
    }

    /// Keeps everything in this SQLite file, the CA and its key included, and goes on from what is in it.
    ///
    /// The file is made if it is not there, readable by its owner alone. Transitions follow the machine's clock.
    /// [`start`](Self::start) and [`open`](Self::open) open it.
    #[cfg(feature = "sqlite")]
    pub fn db(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.db = Some(path.into());
        self
    }

    /// How long every request is on its way, there and back together. No time unless set.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Which faults strike requests; see [`chaos`](crate::chaos). None unless set.
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Draws faults from this seed, so that the same requests in the same order meet the same ones.
    pub fn chaos_seed(mut self, seed: u64) -> Self {
        self.chaos_seed = Some(seed);
        self
    }

    /// Serves `GET` and `PUT /__shieldcert/chaos` and `GET /__shieldcert/history`, to whoever can connect. Only on a
    /// loopback address, and not unless set.
    pub fn control(mut self, served: bool) -> Self {
        self.settings.control = served;
        self
    }

    /// Draws ids, serial numbers and rays from this seed, so that the same calls in the same order get the same
    /// ones. Unpredictable unless set.
    ///
    /// Keys and signatures, and so fingerprints, differ all the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What time it is when the emulator is made, for the dates in certificates, which then go on with tokio's
    /// clock. The machine's time unless set.
    pub fn clock_start(mut self, time: SystemTime) -> Self {
        self.clock_start = Some(time);
        self
    }

    /// Signs on the thread that serves the request, instead of on one for blocking work.
    ///
    /// For simulations on one thread, where the order of events must follow from the seed alone.
    pub fn sign_inline(mut self, inline: bool) -> Self {
        self.settings.sign_inline = inline;
        self
    }

    /// Fills a zone up to so many certificates, as if a fleet had had them for years, before the first request.
    ///
    /// Ids, serial numbers, subjects, validities and statuses are the same each time: most are active, some are
    /// revoked, few are pending and settle after the transition delay. They were issued over the last two years
    /// for 30 to 3,650 days, so that some are expired. A zone that holds as many already is left as it is.
    /// [`start`](Self::start) and [`open`](Self::open) do it, on all cores.
    pub fn seed_certificates(mut self, zone_id: impl Into<String>, count: usize) -> Self {
        self.seeds.push((zone_id.into(), count));
        self
    }

    /// Makes the emulator, with its CA, and without a socket.
    ///
    /// # Errors
    /// A credential can't be used, the CA could not be made, or something is set that takes [`open`](Self::open):
    /// a database, or certificates to begin with.
    pub fn build(self) -> Result<Emulator, Error> {
        #[cfg(feature = "sqlite")]
        if self.db.is_some() {
            return Err(Error::TakesOpen("a database"));
        }
        if !self.seeds.is_empty() {
            return Err(Error::TakesOpen("certificates to begin with"));
        }
        let parts = Parts::new(&self)?;
        Ok(self.assembled(parts, Store::default()))
    }

    /// Makes the emulator without a socket, as [`build`](Self::build) does, with its database and the certificates
    /// it begins with.
    ///
    /// # Errors
    /// A credential, a zone's id or the database can't be used, or the CA or a certificate could not be made.
    pub async fn open(mut self) -> Result<Emulator, Error> {
        let mut seeds = Vec::new();
        for (zone, count) in std::mem::take(&mut self.seeds) {
            match ZoneId::parse(&zone) {
                Some(zone) => seeds.push((zone, count)),
                None => return Err(Error::Zone(zone)),
            }
        }
        let emulator = self.stored().await?;
        for (zone, count) in seeds {
            let service = emulator.service.clone();
            service.fill(zone, count).await.map_err(Error::Seed)?;
        }
        Ok(emulator)
    }

    async fn stored(self) -> Result<Emulator, Error> {
        let parts = Parts::new(&self)?;
        #[cfg(feature = "sqlite")]
        if let Some(path) = &self.db {
            let mut parts = parts;
            let sqlite = Sqlite::open(path, parts.clock).await?;
            let failed = |source| Error::Database {
                path: path.clone(),
                source,
            };
            let (id, certificate, private_key) = parts.authority.parts();
            let new = KeptCa {
                id,
                certificate,
                private_key,
            };
            let kept = sqlite.ca(new).await.map_err(failed)?;
            parts.authority = Authority::from_parts(kept.id, kept.certificate, &kept.private_key)?;
            let issued = sqlite.issued().await.map_err(failed)?;
            if let (Some(seed), 1..) = (self.seed, issued) {
                // Those that were drawn before are in the file.
                parts.random = Random::seeded_part(seed, issued.into());
            }
            return Ok(self.assembled(parts, Store::Sqlite(sqlite)));
        }
        Ok(self.assembled(parts, Store::default()))
    }

    fn assembled(self, parts: Parts, store: Store) -> Emulator {
        let Parts {
            random,
            chaos_random,
            clock,
            authority,
        } = parts;
        let ca_pem = authority.pem().into();
        let service = Arc::new(Service {
            credentials: self.credentials,
            authority,
            random,
            clock,
            store,
            meter: self.rate_limit.map(Meter::new),
            history: History::new(),
            chaos: Mutex::new(self.chaos),
            chaos_random,
            settings: self.settings,
        });
        Emulator {
            router: routes::router(service.clone()),
            service,
            ca_pem,
        }
    }

    /// Makes the emulator and serves it over HTTP, on the runtime that this is called on.
    ///
    /// # Errors
    /// As [`open`](Self::open), or the address can't be listened on.
    pub async fn start(self) -> Result<RunningEmulator, Error> {
        let (address, edge) = (self.listen, self.edge);
        if self.settings.control && !address.ip().is_loopback() {
            return Err(Error::ControlInPublic(address));
        }
        RunningEmulator::start(self.open().await?, address, edge).await
    }
}

/// What is made before the store is there.
struct Parts {
    random: Random,
    chaos_random: Random,
    clock: Clock,
    authority: Authority,
}

impl Parts {
    fn new(builder: &EmulatorBuilder) -> Result<Self, Error> {
        if let Some(why) = builder.credential_error {
            return Err(Error::Credential(why));
        }
        let drawn = |seed: Option<u64>| match seed {
            Some(seed) => Ok(Random::seeded(seed)),
            None => Random::system().map_err(|_| Error::Random),
        };
        let random = drawn(builder.seed)?;
        // Another stream than the one that ids are drawn from.
        let chaos_seed = match builder.chaos_seed.or(builder.seed) {
            Some(seed) => seed,
            None => u64::from(u32::from_be_bytes(drawn(None)?.bytes())),
        };
        if builder.chaos != Chaos::default() || builder.settings.control {
            tracing::info!(chaos_seed, "faults are drawn from this seed");
        }
        let chaos_random = Random::seeded(chaos_seed ^ 0x6368_616f_7321);
        let clock = builder.clock_start.map_or(Clock::Wall, Clock::starting_at);
        let authority = Authority::new(random.uuid(), random.bytes(), clock.unix_seconds())?;
        Ok(Self {
            random,
            chaos_random,
            clock,
            authority,
        })
    }
}
