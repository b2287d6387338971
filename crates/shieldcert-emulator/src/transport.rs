//! The emulator as a client's transport, without a socket.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::HeaderValue;
use http::header::DATE;
use http_body_util::BodyExt;
use shieldcert_api::transport::{BoxFuture, Transport, TransportError, TransportErrorKind};
use tower::ServiceExt;

use crate::http::network::Network;

/// Sends requests to an emulator in the same process, without a socket or a port.
///
/// Only the path of a request's URI counts, so any base URL works that ends in the API's path;
/// [`BASE_URL`](Self::BASE_URL) is one.
///
/// # Cancel safety
/// Dropping the future of a request stops the work on it, as the end of a connection does.
#[derive(Clone)]
pub struct EmulatorTransport {
    pub(crate) router: Router,
    /// None for the emulator's own.
    pub(crate) network: Option<Arc<Network>>,
}

impl EmulatorTransport {
    /// A base URL for a client. Its host can't exist, by RFC 2606.
    pub const BASE_URL: &str = "https://emulator.invalid/client/v4";
}

impl fmt::Debug for EmulatorTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmulatorTransport")
    }
}

impl Transport for EmulatorTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let mut request = request.map(Body::from);
            if let Some(network) = &self.network {
                request.extensions_mut().insert(network.clone());
            }
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (mut parts, body) = response.into_parts();
            // A quirk: there is none. It is empty for servers, which would add one.
            if parts.headers.get(DATE).is_some_and(HeaderValue::is_empty) {
                parts.headers.remove(DATE);
            }
            let body = body.collect().await.map_err(|error| {
                let kind = match is_refused(&error) {
                    true => TransportErrorKind::NotConnected,
                    false => TransportErrorKind::Interrupted,
                };
                TransportError::new(kind, Some(Box::new(error)))
            })?;
            Ok(http::Response::from_parts(parts, body.to_bytes()))
        })
    }
}

/// Whether a body failed because a fault refused the connection.
fn is_refused(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}
