//! A client's own connection to an emulator.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use shieldcert_api::transport::{BoxFuture, Transport, TransportError};

use crate::chaos::{Chaos, Quirks, Script, ScriptedFault};
use crate::http::network::Network;
use crate::http::observe::Observation;
use crate::settings::RateLimit;
use crate::transport::EmulatorTransport;

/// A transport with faults, quirks and a rate limit of its own. Clones share them.
///
/// [`Emulator::connect`](crate::Emulator::connect) makes one. Without settings it has the emulator's faults by chance
/// and its quirks, drawn for itself, and no rate limit. [`EmulatorTransport`] says how it sends requests.
///
/// ```
/// use std::time::Duration;
/// use shieldcert_emulator::{Emulator, RateLimit};
///
/// let emulator = Emulator::builder().build()?;
/// let phone = emulator
///     .connect()
///     .chaos("lose-response=20%".parse()?)
///     .seed(7)
///     .rate_limit(RateLimit::new(10, Duration::from_secs(60)));
/// let server = emulator.connect();
/// assert_ne!(phone.id(), server.id());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a connection does nothing until a client uses it"]
pub struct Connection {
    transport: EmulatorTransport,
    network: Arc<Network>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.network.id())
    }
}

impl Connection {
    pub(crate) fn new(transport: EmulatorTransport, network: Arc<Network>) -> Self {
        let transport = EmulatorTransport {
            network: Some(network.clone()),
            ..transport
        };
        Self { transport, network }
    }

    /// The connection's number, from 1. The history has it, and 0 for requests without a connection.
    pub fn id(&self) -> u64 {
        self.network.id()
    }

    /// Sets the faults that are injected by chance. The default is the emulator's.
    pub fn chaos(self, chaos: Chaos) -> Self {
        self.set_chaos(chaos);
        self
    }

    /// Sets how the service behaves towards this client. The default is the emulator's quirks.
    pub fn quirks(self, quirks: Quirks) -> Self {
        self.set_quirks(quirks);
        self
    }

    /// Draws faults from this seed. The default is drawn from the emulator's seed and the connection's number.
    pub fn seed(self, seed: u64) -> Self {
        self.network.set_seed(seed);
        self
    }

    /// Counts the connection's requests against this limit, and no other. The default is no limit.
    pub fn rate_limit(self, limit: RateLimit) -> Self {
        self.network.limiter().set_limit(limit);
        self
    }

    /// Calls a function at everything that happens to the connection's requests, late commits included.
    ///
    /// It is called on the task that serves the request, so it must not block.
    pub fn observe(self, observer: impl Fn(&Observation<'_>) + Send + Sync + 'static) -> Self {
        self.network.set_observer(Arc::new(observer));
        self
    }

    /// Sets the faults that are injected by chance from now on, and restarts their draws from the seed.
    pub fn set_chaos(&self, chaos: Chaos) {
        self.network.set_chaos(chaos);
    }

    /// Sets how the service behaves towards this client from now on.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.network.set_quirks(quirks);
    }

    /// Appends rules to the connection's script.
    ///
    /// The [emulator's script](crate::Emulator::script) goes first: a request that met one of its faults is not counted
    /// by this one.
    pub fn script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        self.network.append_script(rules);
    }

    /// The rules of the connection's script that still have faults to inject.
    pub fn pending_script(&self) -> Script {
        self.network.pending_script()
    }
}

impl Transport for Connection {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        self.transport.send(request)
    }
}
