//! The emulator as a client's transport, without a socket.

use std::fmt;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use shieldcert_api::transport::{BoxFuture, Transport, TransportError, TransportErrorKind};
use tower::ServiceExt;

/// Sends requests straight into an emulator in the same process: no socket, no port, no real time.
///
/// Only the path of a request's URI counts, so any base URL will do that ends in the API's path;
/// [`BASE_URL`](Self::BASE_URL) is one. Dropping the future of a request stops its work where it stands, as the
/// end of a connection does.
#[derive(Clone)]
pub struct EmulatorTransport {
    pub(crate) router: Router,
}

impl EmulatorTransport {
    /// A base URL for a client that sends through an emulator. Its host does not exist, by RFC 2606.
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
            let response = match self.router.clone().oneshot(request.map(Body::from)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| {
                TransportError::new(TransportErrorKind::Interrupted, Some(Box::new(error)))
            })?;
            Ok(http::Response::from_parts(parts, body.to_bytes()))
        })
    }
}
