//! The settings of a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::Client;
use super::base_url::{BaseUrl, CLOUDFLARE, PLAIN_HTTP_VARIABLE};
use super::http;
use crate::context::Shared;
use crate::error::Result;
use crate::error::input::{InvalidInput, quote};
use crate::issue::registry::IssueRegistry;
use crate::list::unreadable::LastUnreadable;
use crate::lookup::queue::LookupQueue;
use crate::observe::{CallHook, CallSummary};
use crate::transport::auth::{Auth, Credentials};
use crate::transport::exchange::Stack;
use crate::transport::rate_limit::{Limiter, RateLimit};
use crate::transport::retry::{RetryBudget, RetryPolicy};
use crate::transport::{HttpTransport, Transport};
use crate::wait::queue::PollQueue;

/// Builds a [`Client`].
///
/// # Examples
///
/// ```
/// use shieldcert::{Client, RetryPolicy};
///
/// let client = Client::builder()
///     .token("Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY")
///     .base_url("http://127.0.0.1:8787/client/v4")
///     .retry(RetryPolicy::default().max_attempts(6))
///     .build()?;
/// assert_eq!(client.base_url(), "http://127.0.0.1:8787/client/v4");
/// # Ok::<_, shieldcert::Error>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    token: Option<SecretString>,
    email_and_key: Option<(String, SecretString)>,
    /// Why the environment gave no credentials.
    missing: Option<&'static str>,
    base_url: Option<String>,
    allows_plain_http: bool,
    ca_file: Option<PathBuf>,
    stack: HttpStack,
    retry: RetryPolicy,
    rate_limit: RateLimit,
    on_call: CallHook,
}

/// What sends the requests.
#[derive(Default)]
enum HttpStack {
    #[default]
    Default,
    #[cfg(feature = "reqwest")]
    Client(reqwest::Client),
    #[cfg(feature = "reqwest")]
    Builder(Box<reqwest::ClientBuilder>),
    Transport(Arc<dyn Transport>),
}

impl Client {
    /// Creates a client from environment variables, as Cloudflare's own clients read them.
    ///
    /// They are `CLOUDFLARE_API_TOKEN`, or `CLOUDFLARE_EMAIL` with `CLOUDFLARE_API_KEY`; and `CLOUDFLARE_BASE_URL` for
    /// another service than Cloudflare's. `SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1` is
    /// [`danger_plain_http_to_any_host`](ClientBuilder::danger_plain_http_to_any_host).
    ///
    /// # Errors
    /// Returns an error that names the variable if one is missing, or the setting if its value is invalid.
    pub fn from_env() -> Result<Self> {
        ClientBuilder::from_env()?.build()
    }

    /// Creates a client with an API token and the default settings.
    ///
    /// # Errors
    /// Returns an error if the token is not one that a header can hold.
    pub fn new(token: impl Into<String>) -> Result<Self> {
        Self::builder().token(token).build()
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl ClientBuilder {
    /// Creates a builder from environment variables; see [`Client::from_env`].
    ///
    /// Credentials that come from elsewhere can be set on it: that they are missing is an error of
    /// [`build`](Self::build).
    ///
    /// # Errors
    /// Returns an error that names the variable if one has an invalid value.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use shieldcert::ClientBuilder;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let token = std::fs::read_to_string("/run/credentials/token")?;
    /// let client = ClientBuilder::from_env()?.token(token.trim()).build()?; // CLOUDFLARE_BASE_URL
    /// # let _ = client;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let allows_plain_http = match variable(PLAIN_HTTP_VARIABLE).as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => {
                let problem = format!("{} is neither 1 nor 0", quote(other));
                return Err(InvalidInput::new(PLAIN_HTTP_VARIABLE, problem).into());
            }
        };
        let mut builder = Self {
            base_url: variable("CLOUDFLARE_BASE_URL"),
            allows_plain_http,
            ..Self::default()
        };
        if let Some(token) = variable("CLOUDFLARE_API_TOKEN") {
            builder.token = Some(token.into());
            return Ok(builder);
        }
        match (variable("CLOUDFLARE_EMAIL"), variable("CLOUDFLARE_API_KEY")) {
            (Some(email), Some(key)) => builder.email_and_key = Some((email, key.into())),
            (Some(_), None) => {
                builder.missing = Some(
                    "CLOUDFLARE_EMAIL is set but CLOUDFLARE_API_KEY is not; set both, or better \
                     CLOUDFLARE_API_TOKEN alone",
                );
            }
            (None, Some(_)) => {
                builder.missing = Some(
                    "CLOUDFLARE_API_KEY is set but CLOUDFLARE_EMAIL is not; set both, or better \
                     CLOUDFLARE_API_TOKEN alone",
                );
            }
            (None, None) => {
                builder.missing = Some(
                    "CLOUDFLARE_API_TOKEN is not set; set it to a token with the permission \
                     \"SSL and Certificates: Edit\"",
                );
            }
        }
        Ok(builder)
    }

    /// Authenticates with an API token, the preferred way. The token is wiped from memory when the client is dropped.
    ///
    /// Of this and [`email_and_key`](Self::email_and_key), the last call wins. Where a response repeats the token, errors
    /// and traces show `(redacted)` instead, unless it has fewer than 16 characters, which can occur by chance.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into().into());
        self.email_and_key = None;
        self
    }

    /// Authenticates with a user's email and global API key.
    pub fn email_and_key(mut self, email: impl Into<String>, key: impl Into<String>) -> Self {
        self.email_and_key = Some((email.into(), key.into().into()));
        self.token = None;
        self
    }

    /// Sets the base URL of the service, `/client/v4` included. Default: `https://api.cloudflare.com/client/v4`.
    ///
    /// It must be https. Plain http is accepted to this machine only (`localhost`, `127.0.0.1`, `[::1]`) and bypasses
    /// every proxy.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Allows a base URL of plain http on any host, such as `http://emulator:8787/client/v4` in a test network of
    /// containers.
    ///
    /// The credentials are sent unencrypted: whoever is on the way can read them. Never give it a real token.
    pub fn danger_plain_http_to_any_host(mut self) -> Self {
        self.allows_plain_http = true;
        self
    }

    /// Trusts the CAs of this file too, in PEM, such as that of a proxy that breaks TLS open.
    ///
    /// The system's roots stay trusted. On Linux, `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them, as for OpenSSL and
    /// curl. It is for the default HTTP stack: an HTTP client of your own brings its own roots.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sends with a reqwest client of your own, with its pool, proxies and root certificates.
    ///
    /// It requires a token. A reqwest client follows redirects by default, which can't be seen from outside; it removes
    /// `Authorization` on the way to another host, but not the headers of [`email_and_key`](Self::email_and_key). With
    /// those, use [`http_builder`](Self::http_builder).
    #[cfg(feature = "reqwest")]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.stack = HttpStack::Client(client);
        self
    }

    /// Sends with a reqwest client that is built from this builder, with redirects switched off.
    ///
    /// The builder must bring its own TLS: in this crate's dependency tree reqwest has none.
    #[cfg(feature = "reqwest")]
    pub fn http_builder(mut self, builder: reqwest::ClientBuilder) -> Self {
        self.stack = HttpStack::Builder(Box::new(builder));
        self
    }

    /// Sends through a transport of your own: a layer, or a server in this process.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.stack = HttpStack::Transport(transport);
        self
    }

    /// Sets how often and for how long calls are retried. An operation can override it.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets how much of the service's rate limit this client and its clones use together.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = limit;
        self
    }

    /// Calls `hook` after each call to the service, for metrics.
    ///
    /// The hook runs on the task that made the call, so it should return quickly. A call whose future is dropped is
    /// not reported.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use shieldcert::Client;
    ///
    /// let attempts = Arc::new(AtomicU64::new(0));
    /// let counter = attempts.clone();
    /// let client = Client::builder()
    ///     .token("Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY")
    ///     .on_call(move |call| {
    ///         counter.fetch_add(call.attempts.into(), Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// # let _ = client;
    /// # Ok::<_, shieldcert::Error>(())
    /// ```
    pub fn on_call(mut self, hook: impl Fn(&CallSummary) + Send + Sync + 'static) -> Self {
        self.on_call = CallHook::new(hook);
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    /// Returns an error that names the setting that is missing or invalid.
    pub fn build(self) -> Result<Client> {
        let credentials = match (self.token, self.email_and_key) {
            (Some(token), _) => Credentials::token(token)?,
            (None, Some((email, key))) => Credentials::email_and_key(email, key)?,
            (None, None) => {
                let problem = self.missing.unwrap_or(
                    "there are none; give an API token (`token`), or an email and key (`email_and_key`)",
                );
                return Err(InvalidInput::new("credentials", problem).into());
            }
        };
        let base = self.base_url.as_deref().unwrap_or(CLOUDFLARE);
        let base = BaseUrl::parse(base, self.allows_plain_http)?;
        let extra_roots = match (&self.ca_file, &self.stack) {
            (None, _) => Vec::new(),
            (Some(path), HttpStack::Default) => http::read_roots(path)?,
            (Some(_), _) => {
                let problem =
                    "it is for the default HTTP stack; give the CA to your own HTTP client";
                return Err(InvalidInput::new("CA file", problem).into());
            }
        };
        let transport: Arc<dyn Transport> = match self.stack {
            HttpStack::Default => Arc::new(HttpTransport::new(http::default_client(
                &base,
                extra_roots,
            )?)),
            #[cfg(feature = "reqwest")]
            HttpStack::Builder(builder) => Arc::new(HttpTransport::new(http::build(*builder)?)),
            #[cfg(feature = "reqwest")]
            HttpStack::Client(client) => {
                if matches!(credentials, Credentials::EmailAndKey { .. }) {
                    return Err(InvalidInput::new(
                        "HTTP client",
                        "your own client can't be used with an email and key, which it would send along on a \
                         redirect; use an API token, or give its builder to `http_builder`",
                    )
                    .into());
                }
                Arc::new(HttpTransport::new(client))
            }
            HttpStack::Transport(transport) => transport,
        };
        let limiter = Limiter::new(self.rate_limit, base.is_cloudflare());
        let redactor = credentials.redactor();
        let auth = Auth::new(&credentials, base.scheme, base.authority, transport)?;
        Ok(Client::from_shared(Arc::new(Shared {
            base_url: base.text,
            stack: Arc::new(Stack {
                transport: Arc::new(auth),
                limiter,
                retry_budget: RetryBudget::new(),
                clock: Arc::default(),
                redactor,
                on_call: self.on_call,
                base_path: base.path,
            }),
            retry: self.retry,
            polls: PollQueue::new(),
            unreadable: LastUnreadable::default(),
            lookups: LookupQueue::default(),
            issues: IssueRegistry::default(),
        })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("base_url", &self.base_url)
            .field("retry", &self.retry)
            .field("rate_limit", &self.rate_limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_the_official_clients_read_it() {
        let build = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> = variables
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect();
            let find = |name: &str| {
                let found = variables.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            };
            ClientBuilder::from_variables(find)?.build()
        };
        let client = build(&[("CLOUDFLARE_API_TOKEN", "t")]).expect("a client");
        assert_eq!(client.base_url(), CLOUDFLARE);
        let client = build(&[
            ("CLOUDFLARE_EMAIL", "a@example.com"),
            ("CLOUDFLARE_API_KEY", "k"),
            ("CLOUDFLARE_BASE_URL", "http://localhost:1"),
        ]);
        assert_eq!(client.expect("a client").base_url(), "http://localhost:1");
        // Credentials from elsewhere do for those that are missing.
        let elsewhere = ClientBuilder::from_variables(|name| {
            (name == "CLOUDFLARE_BASE_URL").then(|| "http://localhost:2".to_owned())
        });
        let client = elsewhere.expect("a builder").token("t").build();
        assert_eq!(client.expect("a client").base_url(), "http://localhost:2");
        let container = [
            ("CLOUDFLARE_API_TOKEN", "t"),
            ("CLOUDFLARE_BASE_URL", "http://emulator:8787"),
        ];
        let refused = build(&container).expect_err("is plain http").to_string();
        assert!(
            refused.contains("SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1"),
            "{refused}"
        );
        let allowed = [&container[..], &[(PLAIN_HTTP_VARIABLE, "1")]].concat();
        let client = build(&allowed).expect("is allowed");
        assert_eq!(client.base_url(), "http://emulator:8787");
        let refusals = [
            &[][..],
            &[(PLAIN_HTTP_VARIABLE, "yes")],
            &[("CLOUDFLARE_API_TOKEN", "")],
            &[("CLOUDFLARE_EMAIL", "a")],
            &[("CLOUDFLARE_API_KEY", "k")],
            &[("CLOUDFLARE_API_TOKEN", "t\n")],
        ]
        .map(|variables| build(variables).expect_err("is refused").to_string());
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        credentials: CLOUDFLARE_API_TOKEN is not set; set it to a token with the permission "SSL and Certificates: Edit"
        SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST: "yes" is neither 1 nor 0
        credentials: CLOUDFLARE_API_TOKEN is not set; set it to a token with the permission "SSL and Certificates: Edit"
        credentials: CLOUDFLARE_EMAIL is set but CLOUDFLARE_API_KEY is not; set both, or better CLOUDFLARE_API_TOKEN alone
        credentials: CLOUDFLARE_API_KEY is set but CLOUDFLARE_EMAIL is not; set both, or better CLOUDFLARE_API_TOKEN alone
        API token: it has a line break; remove it, for example where the credential is read from a file
        "#);
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn an_own_http_client_is_not_trusted_with_the_global_key() {
        let own = || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
            builder.build().expect("a client")
        };
        let token = Client::builder().token("t").http_client(own());
        token.build().expect("a token is allowed");
        let key = Client::builder().email_and_key("a@example.com", "k");
        let error = key.http_client(own()).build().expect_err("is refused");
        assert!(error.to_string().contains("http_builder"), "{error}");
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let build = |name: &str| {
            let builder = Client::builder()
                .token("t")
                .ca_file(folder.path().join(name));
            let error = builder.build().expect_err(name).to_string();
            error.replace(&*folder.path().to_string_lossy(), "FOLDER")
        };
        std::fs::write(folder.path().join("empty.pem"), "").expect("is written");
        let key = include_str!("../../tests/data/openssl-p256.key.pem");
        std::fs::write(folder.path().join("key.pem"), key).expect("is written");
        let errors = ["none.pem", "empty.pem", "key.pem"].map(build);
        insta::assert_snapshot!(errors.join("\n"), @"
        CA file: FOLDER/none.pem: no such file or directory
        CA file: FOLDER/empty.pem: certificate: it is not PEM; it must have a line `-----BEGIN CERTIFICATE-----` and a line `-----END CERTIFICATE-----`
        CA file: FOLDER/key.pem: it holds no certificate
        ");
    }

    #[test]
    fn credentials_are_required() {
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
