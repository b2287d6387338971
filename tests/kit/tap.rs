//! A transport that records requests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response};
use shieldcert::{BoxFuture, Transport, TransportError};

type Before = dyn Fn(Request<Bytes>) -> BoxFuture<'static, Request<Bytes>> + Send + Sync;
type After = dyn Fn(Response<Bytes>) -> Response<Bytes> + Send + Sync;

/// Wraps a transport and records the requests that go through it. Clones share the record.
///
/// For what a test can't do with the emulator's script, history and mocks.
#[derive(Clone)]
pub struct Tap {
    inner: Arc<dyn Transport>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    before: Option<Arc<Before>>,
    after: Option<Arc<After>>,
}

impl Tap {
    /// Wraps a transport.
    pub fn new(inner: impl Transport) -> Self {
        Self {
            inner: Arc::new(inner),
            requests: Arc::default(),
            before: None,
            after: None,
        }
    }

    /// Responds to every request with a copy of this response.
    pub fn responding(response: Response<Bytes>) -> Self {
        Self::new(Canned(response))
    }

    /// Runs a function before each request is sent. What it returns is sent.
    #[must_use]
    pub fn before(
        self,
        before: impl Fn(Request<Bytes>) -> BoxFuture<'static, Request<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            before: Some(Arc::new(before)),
            ..self
        }
    }

    /// Runs a function after each response. What it returns is what the client gets.
    #[must_use]
    pub fn after(
        self,
        after: impl Fn(Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self {
            after: Some(Arc::new(after)),
            ..self
        }
    }

    /// Returns the requests so far, as the client made them, in order.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many requests had this method.
    pub fn count(&self, method: Method) -> usize {
        let requests = self.requests.lock();
        let requests = requests.unwrap_or_else(PoisonError::into_inner);
        requests
            .iter()
            .filter(|request| request.method() == method)
            .count()
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

impl Transport for Tap {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        Box::pin(async move {
            let request = match &self.before {
                Some(before) => before(request).await,
                None => request,
            };
            let response = self.inner.send(request).await?;
            Ok(match &self.after {
                Some(after) => after(response),
                None => response,
            })
        })
    }
}

struct Canned(Response<Bytes>);

impl Transport for Canned {
    fn send(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let response = self.0.clone();
        Box::pin(async { Ok(response) })
    }
}
