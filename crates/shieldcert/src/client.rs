//! The client: who calls, which service, and how patiently.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use reqwest::Url;
use secrecy::SecretString;

use crate::certificate::ZoneId;
use crate::error::{Error, Result};
use crate::lookout::Lookout;
use crate::transport::auth::{Auth, Credentials};
use crate::transport::exchange::Limits;
use crate::transport::rate_limit::{Limiter, RateLimit};
use crate::transport::retry::{RetryBudget, RetryPolicy};
use crate::transport::{HttpTransport, Transport};
use crate::zone::Zone;

/// Cloudflare's API.
pub(crate) const BASE_URL: &str = "https://api.cloudflare.com/client/v4";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the API. Cheap to clone: clones share one connection pool and one rate limit.
///
/// ```no_run
/// # async fn example() -> shieldcert::Result<()> {
/// use shieldcert::{Client, ZoneId};
///
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
    inner: Arc<Inner>,
}

struct Inner {
    base_url: String,
    base_path: Arc<str>,
    transport: Arc<dyn Transport>,
    limits: Arc<Limits>,
    lookout: Lookout,
    retry: RetryPolicy,
}

impl Client {
    /// A client with what the environment says, as Cloudflare's own clients read it.
    ///
    /// `CLOUDFLARE_API_TOKEN`, or `CLOUDFLARE_EMAIL` with `CLOUDFLARE_API_KEY`; and
    /// `CLOUDFLARE_BASE_URL` where the service is not Cloudflare's. Fails with [`Error::Input`] where
    /// they are missing or wrong.
    pub fn from_env() -> Result<Self> {
        ClientBuilder::from_env()?.build()
    }

    /// A client with an API token and the default settings.
    pub fn new(token: impl Into<SecretString>) -> Result<Self> {
        Self::builder().token(token).build()
    }

    /// To set more than the token.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The zone's client certificates. Nothing is sent: whether the zone exists shows when it is used.
    pub fn zone(&self, id: ZoneId) -> Zone {
        Zone::new(self.clone(), id)
    }

    /// The service that this client talks to.
    pub fn base_url(&self) -> &str {
        &self.inner.base_url
    }

    pub(crate) fn base_path(&self) -> Arc<str> {
        self.inner.base_path.clone()
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        self.inner.transport.clone()
    }

    pub(crate) fn lookout(&self) -> &Lookout {
        &self.inner.lookout
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        self.inner.limits.clone()
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.inner.retry
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.inner.base_url)
            .field("retry", &self.inner.retry)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Client`].
///
/// ```
/// use shieldcert::{Client, RetryPolicy};
///
/// let client = Client::builder()
///     .token("Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY")
///     .base_url("http://127.0.0.1:8787/client/v4")
///     .retry(RetryPolicy::default().attempts(6))
///     .build()?;
/// assert_eq!(client.base_url(), "http://127.0.0.1:8787/client/v4");
/// # Ok::<_, shieldcert::Error>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct ClientBuilder {
    token: Option<SecretString>,
    email_and_key: Option<(String, SecretString)>,
    base_url: Option<String>,
    way: Way,
    retry: RetryPolicy,
    rate_limit: RateLimit,
}

/// What carries the requests.
#[derive(Default)]
enum Way {
    #[default]
    Default,
    Http(reqwest::Client),
    HttpBuilder(Box<reqwest::ClientBuilder>),
    Transport(Arc<dyn Transport>),
}

impl ClientBuilder {
    /// Starts from what the environment says; see [`Client::from_env`].
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let mut builder = Self {
            base_url: variable("CLOUDFLARE_BASE_URL"),
            ..Self::default()
        };
        if let Some(token) = variable("CLOUDFLARE_API_TOKEN") {
            builder.token = Some(token.into());
            return Ok(builder);
        }
        builder.email_and_key = match (variable("CLOUDFLARE_EMAIL"), variable("CLOUDFLARE_API_KEY"))
        {
            (Some(email), Some(key)) => Some((email, key.into())),
            (Some(_), None) => {
                return Err(Error::input(
                    "credentials",
                    "CLOUDFLARE_EMAIL is set but CLOUDFLARE_API_KEY is not; set both, or better CLOUDFLARE_API_TOKEN alone",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::input(
                    "credentials",
                    "CLOUDFLARE_API_KEY is set but CLOUDFLARE_EMAIL is not; set both, or better CLOUDFLARE_API_TOKEN alone",
                ));
            }
            (None, None) => {
                return Err(Error::input(
                    "credentials",
                    "CLOUDFLARE_API_TOKEN is not set; set it to a token with the permission \
                     \"SSL and Certificates: Edit\"",
                ));
            }
        };
        Ok(builder)
    }

    /// Calls with an API token. The preferred way.
    pub fn token(mut self, token: impl Into<SecretString>) -> Self {
        self.token = Some(token.into());
        self.email_and_key = None;
        self
    }

    /// Calls with a user's email and global API key.
    pub fn email_and_key(mut self, email: impl Into<String>, key: impl Into<SecretString>) -> Self {
        self.email_and_key = Some((email.into(), key.into()));
        self.token = None;
        self
    }

    /// The service, in place of `https://api.cloudflare.com/client/v4`.
    ///
    /// It must be https; plain http is taken only to this machine (`localhost`, `127.0.0.1`, `[::1]`),
    /// and goes through no proxy.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sends with a reqwest client of your own: its pool, proxies, root certificates.
    ///
    /// Only together with a token. A reqwest client follows redirects unless told otherwise, which
    /// nobody can see from outside; it takes `Authorization` off on the way to another host, but not
    /// the headers of [`email_and_key`](Self::email_and_key). With those, use
    /// [`http_builder`](Self::http_builder).
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.way = Way::Http(client);
        self
    }

    /// Sends with a reqwest client made of this builder, after redirects have been switched off.
    ///
    /// It must bring its own TLS: reqwest has none unless one of its features says so.
    pub fn http_builder(mut self, builder: reqwest::ClientBuilder) -> Self {
        self.way = Way::HttpBuilder(Box::new(builder));
        self
    }

    /// Sends through a transport of your own: a layer, or a server in this process.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.way = Way::Transport(transport);
        self
    }

    /// How often and how long calls are tried, unless the call says otherwise.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How much of the service's rate limit this client and its clones use, all together.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = limit;
        self
    }

    /// The client. Fails with [`Error::Input`] naming the setting that is wrong.
    pub fn build(self) -> Result<Client> {
        let credentials = match (self.token, self.email_and_key) {
            (Some(token), _) => Credentials::token(token)?,
            (None, Some((email, key))) => Credentials::email_and_key(email, key)?,
            (None, None) => {
                return Err(Error::input(
                    "credentials",
                    "there are none; give an API token, or an email and key",
                ));
            }
        };
        let base = BaseUrl::parse(self.base_url.as_deref().unwrap_or(BASE_URL))?;
        let transport: Arc<dyn Transport> = match self.way {
            Way::Default => Arc::new(HttpTransport::new(default_http(&base)?)),
            Way::HttpBuilder(builder) => Arc::new(HttpTransport::new(built(*builder)?)),
            Way::Http(client) => {
                if matches!(credentials, Credentials::EmailAndKey { .. }) {
                    return Err(Error::input(
                        "HTTP client",
                        "one of your own can't be used with an email and key, which it would take along on \
                         a redirect; use an API token, or give its builder to `http_builder`",
                    ));
                }
                Arc::new(HttpTransport::new(client))
            }
            Way::Transport(transport) => transport,
        };
        let is_cloudflare = base.text == BASE_URL;
        let transport = Auth::new(credentials, base.scheme, base.authority, transport)?;
        let transport = Arc::new(transport);
        Ok(Client {
            inner: Arc::new(Inner {
                base_url: base.text,
                base_path: base.path.into(),
                transport,
                lookout: Lookout::new(),
                limits: Arc::new(Limits {
                    rate: Limiter::new(self.rate_limit, is_cloudflare),
                    retries: RetryBudget::new(),
                }),
                retry: self.retry,
            }),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("base_url", &self.base_url)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// A base URL that credentials may be sent to.
struct BaseUrl {
    /// Without a slash at the end.
    text: String,
    path: String,
    scheme: Scheme,
    authority: Authority,
    is_loopback: bool,
}

impl BaseUrl {
    fn parse(given: &str) -> Result<Self> {
        let wrong = |problem: String| Error::input("base URL", problem);
        let url = Url::parse(given).map_err(|error| {
            wrong(format!(
                "{given:?} is not a URL ({error}); it must look like {BASE_URL:?}"
            ))
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated in the message: it may be a secret.
            return Err(wrong(
                "holds a user name or password; credentials are given apart".into(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(format!(
                "{given:?} holds a query or a fragment; take it off"
            )));
        }
        let is_loopback = is_loopback(&url);
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback => Scheme::HTTP,
            "http" => {
                return Err(wrong(format!(
                    "{given:?} would send the credentials unencrypted; use https, or http to this machine alone"
                )));
            }
            _ => {
                return Err(wrong(format!(
                    "{given:?} is neither https nor http; it must look like {BASE_URL:?}"
                )));
            }
        };
        let text = url.as_str().trim_end_matches('/').to_owned();
        let authority = text
            .parse::<http::Uri>()
            .ok()
            .and_then(|uri| uri.authority().cloned())
            .ok_or_else(|| wrong(format!("{given:?} names no host")))?;
        Ok(Self {
            path: url.path().trim_end_matches('/').to_owned(),
            text,
            scheme,
            authority,
            is_loopback,
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn default_http(base: &BaseUrl) -> Result<reqwest::Client> {
    let unusable = |error: rustls::Error| {
        Error::input(
            "TLS",
            format!("the system's root certificates can't be used ({error})"),
        )
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let mut tls = if base.scheme == Scheme::HTTP {
        // What is only spoken to in plain http needs no roots, and loading them takes longer than many a call.
        tls.with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    } else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(unusable)?;
        // Not a danger: the platform's verifier is how rustls is told to trust what the system trusts.
        tls.dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("shieldcert/", env!("CARGO_PKG_VERSION")));
    if base.is_loopback {
        // A proxy would take plain http off this machine, and could not come back to it.
        builder = builder.no_proxy();
    }
    built(builder)
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::input("HTTP client", format!("can't be built ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_with(url: &str) -> Result<Client> {
        Client::builder().token("s3cret").base_url(url).build()
    }

    #[test]
    fn base_urls_that_would_leak_or_mislead_are_refused() {
        for (url, expected) in [
            ("api.cloudflare.com/client/v4", "is not a URL"),
            ("", "is not a URL"),
            ("http://api.cloudflare.com/client/v4", "unencrypted"),
            ("http://127.0.0.1.example.com/", "unencrypted"),
            ("http://localhost.example.com/", "unencrypted"),
            ("http://10.0.0.1/", "unencrypted"),
            ("ftp://api.cloudflare.com/", "neither https nor http"),
            ("file:///etc/passwd", "neither https nor http"),
            (
                "https://user:s3cret@api.cloudflare.com/",
                "user name or password",
            ),
            ("https://api.cloudflare.com/?a=1", "query or a fragment"),
        ] {
            let error = built_with(url).expect_err(url);
            assert!(error.to_string().starts_with("base URL: "), "{error}");
            assert!(error.to_string().contains(expected), "{url}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn https_anywhere_and_http_to_this_machine_are_taken() {
        for (url, expected) in [
            (BASE_URL, BASE_URL),
            ("https://api.example.com/", "https://api.example.com"),
            (
                "http://127.0.0.1:8787/client/v4/",
                "http://127.0.0.1:8787/client/v4",
            ),
            ("http://localhost:8787", "http://localhost:8787"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ] {
            let client = built_with(url).expect(url);
            assert_eq!(client.base_url(), expected);
        }
    }

    #[test]
    fn the_environment_is_read_as_the_official_clients_read_it() {
        let build = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> = variables
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            ClientBuilder::from_variables(|name| {
                variables
                    .iter()
                    .find(|(k, _)| k == name)
                    .map(|(_, v)| v.clone())
            })?
            .build()
        };
        let message =
            |variables: &[(&str, &str)]| build(variables).expect_err("is refused").to_string();
        let client = build(&[("CLOUDFLARE_API_TOKEN", "t")]).expect("a client");
        assert_eq!(client.base_url(), BASE_URL);
        let client = build(&[
            ("CLOUDFLARE_EMAIL", "a@example.com"),
            ("CLOUDFLARE_API_KEY", "k"),
            ("CLOUDFLARE_BASE_URL", "http://localhost:1"),
        ])
        .expect("a client");
        assert_eq!(client.base_url(), "http://localhost:1");
        assert!(message(&[]).contains("CLOUDFLARE_API_TOKEN is not set"));
        assert!(
            message(&[("CLOUDFLARE_API_TOKEN", "")]).contains("CLOUDFLARE_API_TOKEN is not set")
        );
        assert!(message(&[("CLOUDFLARE_EMAIL", "a")]).contains("CLOUDFLARE_API_KEY is not"));
        assert!(message(&[("CLOUDFLARE_API_KEY", "k")]).contains("CLOUDFLARE_EMAIL is not"));
        assert!(message(&[("CLOUDFLARE_API_TOKEN", "t\n")]).contains("line break"));
    }

    #[test]
    fn an_http_client_of_ones_own_is_not_trusted_with_the_global_key() {
        let own = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(
                    rustls::ClientConfig::builder_with_provider(Arc::new(
                        rustls::crypto::ring::default_provider(),
                    ))
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
                )
                .build()
                .expect("a client")
        };
        Client::builder()
            .token("t")
            .http_client(own())
            .build()
            .expect("a token is fine");
        let error = Client::builder()
            .email_and_key("a@example.com", "k")
            .http_client(own())
            .build()
            .expect_err("is refused");
        assert!(error.to_string().contains("http_builder"), "{error}");
    }

    #[test]
    fn without_credentials_there_is_no_client() {
        let error = Client::builder().build().expect_err("none");
        assert!(error.to_string().contains("there are none"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let builder = Client::builder().token("s3cret");
        assert!(!format!("{builder:?}").contains("s3cret"));
        assert!(!format!("{:?}", builder.build().expect("a client")).contains("s3cret"));
    }
}
