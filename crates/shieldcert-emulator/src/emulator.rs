//! The handle to an emulator.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use shieldcert_api::types::ClientCertificate;

use crate::chaos::{Chaos, Quirks, Script, ScriptedFault};
use crate::connection::Connection;
use crate::core::store::ZoneId;
use crate::error::Error;
use crate::fixture::Fixture;
use crate::http::app::App;
use crate::http::history::History;
use crate::http::router;
use crate::transport::EmulatorTransport;

/// The service in this process. It is cheap to clone; clones share everything.
///
/// It has no socket: requests come in through its [`router`](Self::router) or its
/// [`transport`](Self::transport). [`EmulatorBuilder::start`](crate::EmulatorBuilder::start) makes one that listens.
///
/// ```
/// use std::sync::Arc;
/// use shieldcert_emulator::{Emulator, EmulatorTransport, Fault, Operation, ScriptedFault};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let emulator = Emulator::builder().token("secret").build()?;
/// emulator.script([ScriptedFault::next(Operation::List, Fault::status(503))]);
///
/// let transport = Arc::new(emulator.transport());
/// let api = shieldcert_api::Client::with_transport(EmulatorTransport::BASE_URL, transport);
/// let zone = "023e105f4ecef8ad9ca31a8372d0c353".to_owned();
/// let response = api.list_client_certificates().zone_id(zone).send().await;
/// assert!(response.is_err(), "the script responded 503");
/// assert_eq!(emulator.history().count(Operation::List), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Emulator {
    pub(crate) app: Arc<App>,
    router: Router,
    ca_pem: Arc<str>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emulator")
    }
}

impl Emulator {
    pub(crate) fn new(app: App) -> Self {
        let app = Arc::new(app);
        Self {
            ca_pem: app.service.ca.pem().into(),
            router: router(app.clone()),
            app,
        }
    }

    /// The CA's certificate in PEM. Every certificate that the emulator issues verifies against it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The last 10,000 requests, oldest first, and what happened to them.
    ///
    /// Requests that did not reach the service because of a fault are included.
    ///
    /// ```
    /// use shieldcert_emulator::{Emulator, Operation};
    ///
    /// let emulator = Emulator::builder().build()?;
    /// assert_eq!(emulator.history().count(Operation::Create), 0);
    /// # Ok::<_, shieldcert_emulator::Error>(())
    /// ```
    pub fn history(&self) -> History {
        self.app.history().snapshot()
    }

    /// Appends rules to the script of faults.
    ///
    /// A rule counts requests from now on, and goes before [chaos](Self::set_chaos). [`ScriptedFault`] says which
    /// requests it applies to.
    ///
    /// ```
    /// use std::time::Duration;
    /// use shieldcert_emulator::{Emulator, Fault, Operation, Script, ScriptedFault};
    ///
    /// let emulator = Emulator::builder().build()?;
    /// emulator.script([
    ///     ScriptedFault::next(Operation::Create, Fault::lose_response()),
    ///     ScriptedFault::nth(Operation::Get, 2, Fault::stall(Duration::from_secs(5))).times(3),
    /// ]);
    /// emulator.script("any@*: respond=503 retry-after=30".parse::<Script>()?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn script(&self, rules: impl IntoIterator<Item = ScriptedFault>) {
        self.app.network().append_script(rules);
    }

    /// The rules of the script that still have faults to inject, as if they were added now.
    ///
    /// A test can assert that this is empty: that every fault was injected.
    pub fn pending_script(&self) -> Script {
        self.app.network().pending_script()
    }

    /// Removes the rules of the script.
    pub fn clear_script(&self) {
        self.app.network().replace_script([]);
    }

    /// Sets the faults that are injected by chance, and restarts their draws from the seed.
    pub fn set_chaos(&self, chaos: Chaos) {
        self.app.network().set_chaos(chaos);
    }

    /// Sets how the service differs from a well-behaved one from now on.
    ///
    /// With a database, requests fail while there is a quirk that needs the store in memory.
    ///
    /// ```
    /// use shieldcert_emulator::Emulator;
    ///
    /// let emulator = Emulator::builder().build()?;
    /// emulator.set_quirks("cap=25, total=missing".parse()?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quirks(&self, quirks: Quirks) {
        self.app.network().set_quirks(quirks);
    }

    /// What time it is for the emulator.
    pub fn now(&self) -> SystemTime {
        let now = UNIX_EPOCH.checked_add(self.app.service.clock.now());
        now.unwrap_or(UNIX_EPOCH)
    }

    /// Moves the emulator's clock forward.
    ///
    /// That settles transitions, ends windows of the rate limit, and wakes up what waits by the clock: latency,
    /// stalls and late commits. New certificates and the `Date` header have the new time. The clock of another
    /// process with the same database does not move.
    ///
    /// ```
    /// use std::time::Duration;
    /// use shieldcert_emulator::Emulator;
    ///
    /// let emulator = Emulator::builder().build()?;
    /// let before = emulator.now();
    /// emulator.advance(Duration::from_secs(3600));
    /// assert!(emulator.now() >= before + Duration::from_secs(3600));
    /// # Ok::<_, shieldcert_emulator::Error>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        self.app.service.clock.advance(by);
    }

    /// Goes back to how the emulator started.
    ///
    /// Deletes every certificate and populates the zones again, empties script and history, ends the window of the
    /// rate limit, cancels late commits, undoes every [`advance`](Self::advance), and restores the faults by chance
    /// and the quirks that were set first, with their draws. With a [seed](crate::EmulatorBuilder::seed), ids and serial numbers
    /// are drawn again too. The CA stays, so what clients trust stays valid. Requests in flight may still act.
    ///
    /// [Connections](Self::connect) keep their faults and limits.
    ///
    /// In a database it deletes every certificate, those of earlier runs and of other processes included.
    ///
    /// ```
    /// use shieldcert_emulator::Emulator;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), shieldcert_emulator::Error> {
    /// let emulator = Emulator::builder().build()?;
    /// // … a test …
    /// emulator.reset().await?;
    /// assert!(emulator.history().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the certificates can't be deleted, or populating fails.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the emulator partly reset. Reset it again.
    pub async fn reset(&self) -> Result<(), Error> {
        self.app.reset().await
    }

    /// Adds a certificate to a zone, as if it had been issued before.
    ///
    /// # Errors
    /// If the zone id or the fixture can't be used, or the store fails.
    ///
    /// # Cancel safety
    /// After the future is dropped, the certificate may have been added.
    pub async fn add(
        &self,
        zone_id: impl AsRef<str>,
        fixture: Fixture,
    ) -> Result<ClientCertificate, Error> {
        let zone_id = zone_id.as_ref();
        let zone = ZoneId::parse(zone_id).ok_or_else(|| Error::Zone(zone_id.to_owned()))?;
        fixture.add(&self.app.service, zone).await
    }

    /// The service as an axum router, with its routes below `/client/v4`.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The service as a transport of the generated client.
    pub fn transport(&self) -> EmulatorTransport {
        EmulatorTransport {
            router: self.router(),
            network: None,
        }
    }

    /// A connection for one client, with faults and a rate limit of its own.
    pub fn connect(&self) -> Connection {
        Connection::new(self.transport(), self.app.connect())
    }
}
