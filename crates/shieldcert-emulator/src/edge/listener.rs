//! TLS handshakes, each on its own task, so that a slow client does not delay others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How many connections may wait between their handshake and the server.
const BACKLOG: usize = 64;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts TLS connections.
pub(super) struct EdgeListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl EdgeListener {
    pub(super) fn start(
        mut listener: TcpListener,
        address: SocketAddr,
        acceptor: TlsAcceptor,
    ) -> Self {
        let (handshaken, ready) = mpsc::channel(BACKLOG);
        let accepting = tokio::spawn(async move {
            loop {
                // Axum's listener logs failures and accepts again.
                let (stream, address) = Listener::accept(&mut listener).await;
                let (acceptor, handshaken) = (acceptor.clone(), handshaken.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => drop(handshaken.send((stream, address)).await),
                        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed at the edge"),
                        Err(_) => tracing::debug!("a handshake timed out at the edge"),
                    }
                });
            }
        });
        Self {
            ready,
            address,
            accepting,
        }
    }
}

impl Drop for EdgeListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for EdgeListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The accepting task ended, as it does at a shutdown: nothing comes anymore.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The certificate that the client of a connection presented, in DER.
#[derive(Clone)]
pub(super) struct Presented(pub(super) Option<Arc<[u8]>>);

impl Connected<IncomingStream<'_, EdgeListener>> for Presented {
    fn connect_info(stream: IncomingStream<'_, EdgeListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let first = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Self(first.map(|certificate| certificate.as_ref().into()))
    }
}
