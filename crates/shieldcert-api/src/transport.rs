//! The seam of the generated client: every request leaves through a [`Transport`].
//!
//! The default is [`HttpTransport`], on reqwest. Another transport can replace it: a layer that adds credentials or
//! retries, or a server in the same process, without a socket. Requests and responses are held in memory as a whole.
//! The API's bodies are small, so a layer can send a request again, and a response that breaks off is an error here
//! instead of half a page further up.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use crate::gzip;

/// A boxed future that is [`Send`], so that [`Transport`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends one request and returns its complete response, whatever the status.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use shieldcert_api::transport::{BoxFuture, Transport, TransportError};
///
/// /// Responds to every request with an empty list.
/// struct EmptyList;
///
/// impl Transport for EmptyList {
///     fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
///         let body = Bytes::from_static(b"{\"success\":true,\"result\":[]}");
///         Box::pin(async { Ok(http::Response::new(body)) })
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let api = shieldcert_api::Client::with_transport("http://in.process", Arc::new(EmptyList));
/// let page = api.list_client_certificates().zone_id("z".to_string()).send().await?;
/// assert_eq!(page.into_inner().result.map(|list| list.len()), Some(0));
/// # Ok::<_, shieldcert_api::Error<shieldcert_api::types::ApiResponseCommonFailure>>(())
/// # }).unwrap();
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute and whose extensions hold the [`Operation`].
    ///
    /// # Errors
    /// Returns a [`TransportError`] if there is no complete response. Its kind says how far the request got.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request. The service may have acted on it.
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

/// Names the API operation of a request, such as `list_client_certificates`. For transports of your own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation(pub &'static str);

/// The reason why a [`Transport`] returned no response.
///
/// The `Display` form holds the kind, the host where that helps, and the deepest cause. [`cause`](Self::cause) gives
/// the cause for downcasting; `source` returns nothing, so that no error report prints the cause twice.
#[derive(Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    host: Option<String>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// How far a request got before its [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection was made: the service has not seen the request.
    NotConnected,
    /// A proxy refused to connect to the service, which has not seen the request. To try again is of no use.
    ProxyRefused,
    /// The request was rejected by this process before anything was sent.
    NotSent,
    /// The deadline passed before anything was sent.
    DeadlinePassed,
    /// A timeout passed. The service may have acted on the request.
    TimedOut,
    /// The connection broke after the request may have left. The service may have acted on it.
    Interrupted,
    /// The response is larger than the limit, in bytes. The service has acted on the request.
    TooLarge(usize),
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("could not connect"),
            Self::ProxyRefused => f.write_str("the proxy refused to connect"),
            Self::NotSent => f.write_str("the request could not be sent"),
            Self::DeadlinePassed => f.write_str("the deadline passed before the request was sent"),
            Self::TimedOut => f.write_str("timed out before the response was complete"),
            Self::Interrupted => {
                f.write_str("the connection broke before the response was complete")
            }
            Self::TooLarge(limit) => write!(f, "the response is larger than {limit} bytes"),
        }
    }
}

impl TransportError {
    /// Creates an error of this kind with its cause, if one is known.
    pub fn new(kind: TransportErrorKind, cause: Option<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            host: None,
            cause,
        }
    }

    /// Names the host and port that the request was for.
    #[must_use]
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Returns how far the request got.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Returns the cause, for downcasting. The `Display` form already holds its text.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// Finds the transport's error in an error that the generated client returned.
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

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        let is_about_host = matches!(
            self.kind,
            TransportErrorKind::NotConnected | TransportErrorKind::ProxyRefused
        );
        if let Some(host) = self.host.as_ref().filter(|_| is_about_host) {
            write!(f, " to {host}")?;
        }
        if let Some(cause) = &self.cause {
            let mut deepest: &dyn StdError = &**cause;
            while let Some(deeper) = deepest.source() {
                deepest = deeper;
            }
            write!(f, " ({})", describe(deepest))?;
        }
        Ok(())
    }
}

impl StdError for TransportError {}

/// The text of an error. The number that `std::io::Error` puts in parentheses behind it tells a person nothing.
fn describe(error: &dyn StdError) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_ascii_lowercase(),
        None => text,
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self::new(kind, None)
    }
}

/// The default transport: HTTP with reqwest.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    body_limit: usize,
}

impl HttpTransport {
    /// The default of [`body_limit`](Self::body_limit): 8 MiB. A page of 50 certificates has about 200 KiB.
    pub const DEFAULT_BODY_LIMIT: usize = 8 << 20;

    /// Creates a transport that sends with `client`, with its pool, TLS settings and timeouts.
    pub fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            body_limit: Self::DEFAULT_BODY_LIMIT,
        }
    }

    /// Sets the largest response body that is read, in bytes. A larger one is an error.
    #[must_use]
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
        let host = request.uri().authority().cloned();
        let classify = |error| {
            let error = classify(error);
            match &host {
                Some(host) => error.with_host(host.as_str()),
                None => error,
            }
        };
        let request = into_reqwest(request)?;
        let response = self.client.execute(request).await.map_err(&classify)?;
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
            Some(chunk) => chunk.map(Some).map_err(&classify),
            None => Ok(None),
        };
        // Most bodies come in one chunk, which is not copied.
        let first = next(0).await?.unwrap_or_default();
        let Some(second) = next(first.len()).await? else {
            return self.decode(parts, first);
        };
        // A wrong Content-Length must not reserve memory that the body never fills.
        let expected = announced.map_or(0, |length| length.min(1 << 20) as usize);
        let mut whole = BytesMut::with_capacity(expected);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = next(whole.len()).await? {
            whole.extend_from_slice(&chunk);
        }
        self.decode(parts, whole.freeze())
    }

    /// Returns the response, with its body decoded.
    fn decode(
        &self,
        mut parts: http::response::Parts,
        body: Bytes,
    ) -> Result<http::Response<Bytes>, TransportError> {
        match gzip::decode(&mut parts.headers, body, self.body_limit) {
            Ok(Some(body)) => Ok(http::Response::from_parts(parts, body)),
            Ok(None) => Err(TransportErrorKind::TooLarge(self.body_limit).into()),
            Err(cause) => {
                let cause = Some(cause.into());
                Err(TransportError::new(TransportErrorKind::Interrupted, cause))
            }
        }
    }
}

/// The URL that the generated client built. It travels as an extension of the request, because parsing it again takes
/// some 10,000 instructions.
#[derive(Clone)]
pub(crate) struct BuiltUrl(pub(crate) Arc<reqwest::Url>);

impl BuiltUrl {
    /// Whether the request still goes to this URL. A layer may have redirected it.
    fn matches(&self, uri: &http::Uri) -> bool {
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

pub(crate) fn into_reqwest(
    mut request: http::Request<Bytes>,
) -> Result<reqwest::Request, TransportError> {
    let built = request.extensions_mut().remove::<BuiltUrl>();
    let Some(built) = built.filter(|built| built.matches(request.uri())) else {
        return reqwest::Request::try_from(request).map_err(classify);
    };
    let url = Arc::unwrap_or_clone(built.0);
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

pub(crate) fn classify(error: reqwest::Error) -> TransportError {
    if let Some(problem) = find_proxy_refusal(&error) {
        return TransportError::new(TransportErrorKind::ProxyRefused, Some(problem.into()));
    }
    let kind = if error.is_connect() {
        TransportErrorKind::NotConnected
    } else if error.is_timeout() {
        TransportErrorKind::TimedOut
    } else if error.is_builder() {
        TransportErrorKind::NotSent
    } else {
        TransportErrorKind::Interrupted
    };
    // The caller's error names the path; the URL would only repeat it.
    TransportError::new(kind, Some(Box::new(error.without_url())))
}

/// Says why a proxy refused to connect, if one did, and what to do.
///
/// hyper-util's error is told by its text: its type is of a crate that reqwest does not re-export. It names no status
/// but 407.
fn find_proxy_refusal(error: &reqwest::Error) -> Option<&'static str> {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.to_string().as_str() {
            "tunnel error: proxy authorization required" => {
                return Some(
                    "it wants credentials: put them into its URL, for example \
                     HTTPS_PROXY=http://user:password@proxy:3128",
                );
            }
            "tunnel error: unsuccessful" => {
                return Some(
                    "allow the host in the proxy, or exempt it with the environment variable NO_PROXY",
                );
            }
            _ => cause = error.source(),
        }
    }
    None
}

/// The shared [`Transport`] that the generated client holds.
#[derive(Clone)]
pub struct Seam(pub(crate) Arc<dyn Transport>);

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A transport may hold credentials.
        f.write_str("Seam")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_host_and_the_deepest_cause_once() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = TransportError::new(TransportErrorKind::NotConnected, Some(refused.into()))
            .with_host("127.0.0.1:1");
        assert_eq!(
            error.to_string(),
            "could not connect to 127.0.0.1:1 (connection refused)"
        );
        assert!(error.source().is_none(), "the chain would repeat it");
        assert!(error.cause().is_some());
    }
}
