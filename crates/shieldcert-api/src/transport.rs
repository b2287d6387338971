//! The one seam: every request of the generated client leaves through a [`Transport`].
//!
//! The default is [`HttpTransport`], on reqwest. Another one can stand in its place: a layer that
//! adds credentials or retries, or a server in the same process, without a socket. Requests and
//! answers are whole, in memory: the API's bodies are small, a layer can send a request again, and
//! an answer that breaks off is an error here and not half a page further up.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use progenitor_client::{ClientHooks, OperationInfo};

use crate::Client;

/// A future that can be sent between threads, boxed so that [`Transport`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one request and returns its whole answer, whatever its status.
///
/// ```
/// use bytes::Bytes;
/// use shieldcert_api::transport::{BoxFuture, Transport, TransportError};
///
/// /// Answers everything with an empty list.
/// struct Nothing;
///
/// impl Transport for Nothing {
///     fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
///         Box::pin(async { Ok(http::Response::new(Bytes::from_static(b"{\"success\":true,\"result\":[]}"))) })
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let api = shieldcert_api::Client::with_transport("http://in.process", std::sync::Arc::new(Nothing));
/// let page = api.list_client_certificates().zone_id("z".to_string()).send().await?;
/// assert_eq!(page.into_inner().result.map(|list| list.len()), Some(0));
/// # Ok::<_, shieldcert_api::Error<shieldcert_api::types::ApiResponseCommonFailure>>(())
/// # }).unwrap();
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute and whose extensions hold the [`Operation`].
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        (**self).send(request)
    }
}

/// Which operation of the spec a request belongs to, by its operation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(pub &'static str);

/// What kept a [`Transport`] from returning an answer.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct TransportError {
    kind: TransportErrorKind,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// How far a request came before its [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection was made: the service has not seen the request.
    NotConnected,
    /// The request was refused on this side, before anything was sent.
    NotSent,
    /// Time ran out. The service may have acted on the request.
    TimedOut,
    /// The connection broke after the request may have left. The service may have acted on it.
    Interrupted,
    /// The answer is larger than the limit, in bytes. The service has acted on the request.
    TooLarge(usize),
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("could not connect"),
            Self::NotSent => f.write_str("the request could not be sent"),
            Self::TimedOut => f.write_str("no complete answer in time"),
            Self::Interrupted => f.write_str("the connection broke before the answer was complete"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
        }
    }
}

impl TransportError {
    /// An error of this kind, with what caused it if anything did.
    pub fn new(kind: TransportErrorKind, source: Option<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source }
    }

    /// How far the request came.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Finds the transport's error in what the generated client returned.
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut error = Some(error);
        while let Some(current) = error {
            if let Some(found) = current.downcast_ref::<Self>() {
                return Some(found);
            }
            error = current.source();
        }
        None
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self::new(kind, None)
    }
}

/// The default transport: HTTP by reqwest.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    body_limit: usize,
}

impl HttpTransport {
    /// The largest answer read unless [`body_limit`](Self::body_limit) says otherwise: 8 MiB.
    ///
    /// A page of 50 certificates is about 200 KiB.
    pub const BODY_LIMIT: usize = 8 << 20;

    /// Sends with `client`: its pool, its TLS settings, its time-outs.
    pub fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            body_limit: Self::BODY_LIMIT,
        }
    }

    /// The largest answer that is read, in bytes; a larger one is an error.
    pub fn body_limit(self, bytes: usize) -> Self {
        Self {
            body_limit: bytes,
            ..self
        }
    }

    async fn exchange(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let request = sendable(request)?;
        let response = self.client.execute(request).await.map_err(classified)?;
        let announced = response.content_length();
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        if announced.is_some_and(|length| length > self.body_limit as u64) {
            return Err(TransportErrorKind::TooLarge(self.body_limit).into());
        }
        let mut chunks = http_body_util::BodyDataStream::new(body);
        let mut next = async |read: usize| match chunks.next().await {
            Some(Ok(chunk)) if read + chunk.len() > self.body_limit => {
                Err(TransportErrorKind::TooLarge(self.body_limit).into())
            }
            Some(chunk) => chunk.map(Some).map_err(classified),
            None => Ok(None),
        };
        // Most come in one piece, which need not be copied.
        let first = next(0).await?.unwrap_or_default();
        let Some(second) = next(first.len()).await? else {
            return Ok(http::Response::from_parts(parts, first));
        };
        // A lying Content-Length must not reserve memory that the body never fills.
        let expected = announced.map_or(0, |length| length.min(1 << 20) as usize);
        let mut whole = BytesMut::with_capacity(expected);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = next(whole.len()).await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(http::Response::from_parts(parts, whole.freeze()))
    }
}

/// The URL as it was composed. It goes along as an extension, for parsing it anew takes some 10,000 instructions.
#[derive(Clone)]
struct Composed(Arc<reqwest::Url>);

impl Composed {
    /// Whether this still is where the request goes.
    fn is(&self, uri: &http::Uri) -> bool {
        let parts = [
            uri.scheme_str().unwrap_or_default(),
            "://",
            uri.authority().map_or("", |authority| authority.as_str()),
            uri.path_and_query().map_or("", |path| path.as_str()),
        ];
        let url = Some(self.0.as_str());
        let rest = parts
            .iter()
            .fold(url, |rest, part| rest?.strip_prefix(part));
        rest == Some("")
    }
}

fn sendable(mut request: http::Request<Bytes>) -> Result<reqwest::Request, TransportError> {
    let composed = request.extensions_mut().remove::<Composed>();
    let Some(composed) = composed.filter(|composed| composed.is(request.uri())) else {
        return reqwest::Request::try_from(request).map_err(classified);
    };
    let url = Arc::unwrap_or_clone(composed.0);
    let (parts, body) = request.into_parts();
    let mut request = reqwest::Request::new(parts.method, url);
    *request.headers_mut() = parts.headers;
    *request.body_mut() = Some(body.into());
    Ok(request)
}

impl Transport for HttpTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

fn classified(error: reqwest::Error) -> TransportError {
    let kind = if error.is_connect() {
        TransportErrorKind::NotConnected
    } else if error.is_timeout() {
        TransportErrorKind::TimedOut
    } else if error.is_builder() {
        TransportErrorKind::NotSent
    } else {
        TransportErrorKind::Interrupted
    };
    // The URL is the caller's to name; in a chain of causes it only repeats itself.
    TransportError::new(kind, Some(Box::new(error.without_url())))
}

/// What the generated client holds to send its requests: a shared [`Transport`].
#[derive(Clone)]
pub struct Seam(Arc<dyn Transport>);

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A transport may hold credentials.
        f.write_str("Seam")
    }
}

impl Client {
    /// A client that sends through `transport`, to paths below `base_url` (no slash at the end).
    pub fn with_transport(base_url: &str, transport: Arc<dyn Transport>) -> Self {
        Self::new_with_client(base_url, COMPOSER.clone(), Seam(transport))
    }
}

/// The generated client composes its requests with a reqwest client. Nothing is ever sent with this
/// one, so it knows no root certificates and costs nothing.
static COMPOSER: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .build()
        .expect("a client without settings that can be wrong")
});

impl ClientHooks<Seam> for Client {
    async fn exec(
        &self,
        mut request: reqwest::Request,
        info: &OperationInfo,
    ) -> reqwest::Result<reqwest::Response> {
        // The generator adds the document's version as a header. The spec knows of no such header.
        request.headers_mut().remove("api-version");
        let operation = Operation(info.operation_id);
        let outcome = match composed(request, operation) {
            Ok(request) => self.inner.0.send(request).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(response) => Ok(response.into()),
            Err(error) => Err(carried(error).await),
        }
    }
}

fn composed(
    request: reqwest::Request,
    operation: Operation,
) -> Result<http::Request<Bytes>, TransportError> {
    let composed = Composed(Arc::new(request.url().clone()));
    let request = http::Request::<reqwest::Body>::try_from(request).map_err(classified)?;
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(operation);
    parts.extensions.insert(composed);
    // The API's bodies are JSON, which the generated client has in memory.
    let body = match body.as_bytes() {
        Some(bytes) => Bytes::copy_from_slice(bytes),
        None => return Err(TransportErrorKind::NotSent.into()),
    };
    Ok(http::Request::from_parts(parts, body))
}

/// The hook has to return a reqwest error, and reqwest makes one of another only where a body fails
/// to arrive. [`TransportError::find`] gets it out again.
async fn carried(error: TransportError) -> reqwest::Error {
    let failing = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(error)));
    let response = http::Response::new(reqwest::Body::wrap_stream(failing));
    match reqwest::Response::from(response).bytes().await {
        Err(error) => error.without_url(),
        Ok(_) => unreachable!("a body whose first and only chunk is an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all";

    fn request() -> http::Request<Bytes> {
        let composed_of = reqwest::Request::new(http::Method::GET, URL.parse().expect("a URL"));
        let request = composed(composed_of, Operation("list"));
        request.expect("can be composed")
    }

    #[test]
    fn a_request_goes_where_it_was_composed_for() {
        let sent = sendable(request()).expect("can be sent");
        assert_eq!(sent.url().as_str(), URL);
    }

    /// A layer in between may send it elsewhere: what was composed must not undo that.
    #[test]
    fn a_request_that_was_turned_goes_where_it_was_turned_to() {
        for other in [
            "http://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all",
            "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=al",
            "https://api.example.com:8443/client/v4/zones/z%2Fy?page=2&status=all&more",
            "https://api.example.com/client/v4/zones/z%2Fy?page=2&status=all",
            "https://127.0.0.1/",
        ] {
            let mut turned = request();
            *turned.uri_mut() = other.parse().expect("a URI");
            let sent = sendable(turned).expect("can be sent");
            assert_eq!(sent.url().as_str(), other);
        }
    }
}
