//! An emulator that listens on a socket.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::edge;
use crate::emulator::Emulator;
use crate::error::Error;
use crate::http::CA_PATH;
use crate::settings::BASE_PATH;
use crate::tls;
use crate::tls::listener::{TlsListener, set_nodelay};

/// How long requests in flight may take to end at a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// An [`Emulator`] that serves HTTP until it is shut down or dropped.
///
/// [`EmulatorBuilder::start`](crate::EmulatorBuilder::start) makes one. It dereferences to [`Emulator`].
#[derive(Debug)]
pub struct RunningEmulator {
    emulator: Emulator,
    address: SocketAddr,
    is_tls: bool,
    // Dropping it stops the server.
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    edge: Option<Edge>,
}

/// The edge's server, which stops with its handle.
#[derive(Debug)]
struct Edge {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Edge {
    async fn start(emulator: &Emulator, address: SocketAddr) -> Result<Self, Error> {
        let (listener, address) = listen(address).await?;
        let service = emulator.app.service.clone();
        let server = tokio::spawn(async move {
            if let Err(error) = edge::serve(listener, service).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the edge stopped");
            }
        });
        Ok(Self { address, server })
    }
}

/// Serves until the other end of the channel is dropped.
async fn serve<L>(listener: L, router: Router, stopped: oneshot::Receiver<()>)
where
    L: Listener<Addr: Debug>,
{
    let serve = axum::serve(listener, router).with_graceful_shutdown(async {
        // An error means that the handle was dropped.
        let _ = stopped.await;
    });
    if let Err(error) = serve.await {
        tracing::error!(%error, "the server stopped");
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening
        .await
        .map_err(|source| Error::listen(address, source))
}

impl RunningEmulator {
    pub(crate) async fn start(
        emulator: Emulator,
        address: SocketAddr,
        is_tls: bool,
        edge: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let (listener, address) = listen(address).await?;
        let edge = match edge {
            Some(address) => Some(Edge::start(&emulator, address).await?),
            None => None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let router = emulator.router();
        let server = match is_tls {
            true => {
                let acceptor =
                    tls::acceptor(&emulator.app.service, address.ip(), None).map_err(Error::Tls)?;
                let listener = TlsListener::start(listener, address, acceptor);
                tokio::spawn(serve(listener, router, stopped))
            }
            false => {
                let listener = listener.tap_io(|stream| set_nodelay(stream));
                tokio::spawn(serve(listener, router, stopped))
            }
        };
        Ok(Self {
            emulator,
            address,
            is_tls,
            stop,
            server,
            edge,
        })
    }

    /// The address of the server. Its port is the actual one if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for clients, such as `http://127.0.0.1:8787/client/v4`. With [TLS](crate::EmulatorBuilder::tls) it
    /// begins with `https`.
    pub fn base_url(&self) -> String {
        format!("{}{BASE_PATH}", self.origin())
    }

    /// Where the CA's certificate can be read, in PEM.
    pub fn ca_url(&self) -> String {
        format!("{}{CA_PATH}", self.origin())
    }

    fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The address of the edge, if one is served.
    pub fn edge_address(&self) -> Option<SocketAddr> {
        self.edge.as_ref().map(|edge| edge.address)
    }

    /// Stops listening, waits for the requests in flight, at most half a second, and closes the database.
    ///
    /// # Cancel safety
    /// Dropping the future stops the server too, without waiting for requests.
    pub async fn shutdown(self) {
        drop(self.stop);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.server)
            .await
            .is_err()
        {
            tracing::warn!("some requests did not end in time");
        }
        // The edge reads the store too.
        drop(self.edge);
        self.emulator.app.service.store.close().await;
    }
}

impl Deref for RunningEmulator {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}
