//! The client: the credentials, the service, and how patiently it is called.

mod base_url;
pub(crate) mod builder;
mod http;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::certificate::id::ZoneId;
use crate::context::{Context, Shared};
use crate::transport::rate_limit::RequestsLeft;
use crate::zone::Zone;

/// A client of the API. Cheap to clone: clones share one connection pool and one rate limit.
///
/// # Examples
///
/// ```no_run
/// use shieldcert::{Client, ZoneId};
///
/// # async fn example() -> shieldcert::Result<()> {
/// let client = Client::from_env()?; // CLOUDFLARE_API_TOKEN
/// let zone = client.zone(ZoneId::from_env()?); // CLOUDFLARE_ZONE_ID
/// let mut certificates = zone.list().stream();
/// while let Some(certificate) = certificates.try_next().await? {
///     println!("{} {}", certificate.id(), certificate.status());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns a handle to the zone's client certificates.
    ///
    /// Nothing is sent: whether the zone exists shows in the first operation.
    pub fn zone(&self, id: ZoneId) -> Zone {
        Zone::new(Context::new(self.shared.clone(), id))
    }

    /// Returns the base URL of the service.
    pub fn base_url(&self) -> &str {
        &self.shared.base_url
    }

    /// Returns the service's time: the newest `Date` header of its responses, plus the time since then by the
    /// monotonic clock. `None` before the first response that has one.
    ///
    /// Use it in place of the local clock, for example to decide what has expired: devices, containers and virtual
    /// machines are off by minutes to hours. Its resolution is one second.
    pub fn service_time(&self) -> Option<Timestamp> {
        self.shared.stack.clock.now()
    }

    /// Returns what is left of the service's rate limit: what it last said. Of several limits, the one with the smallest
    /// share left. `None` if it has not said that yet, or the window that it said it of is over.
    pub fn requests_left(&self) -> Option<RequestsLeft> {
        self.shared.stack.limiter.left()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.shared.base_url)
            .field("retry", &self.shared.retry)
            .finish_non_exhaustive()
    }
}
