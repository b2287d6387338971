//! What a server in front of an API makes of a client certificate: one request with it, and one without.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shieldcert::http::StatusCode;
use shieldcert::http::uri::Authority;
use shieldcert::rustls::client::ResolvesClientCert;
use shieldcert::rustls::pki_types::CertificateDer;
use shieldcert::rustls::pki_types::pem::PemObject;
use shieldcert::rustls::sign::CertifiedKey;
use shieldcert::rustls::{self, ClientConfig, SignatureScheme};
use shieldcert::{Identity, reqwest};

use crate::failure::{Failure, Result};
use crate::output::check::CheckResult;

const HTTPS_PORT: u16 = 443;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    authority: Authority,
    path: String,
}

impl Target {
    fn url(&self) -> String {
        format!("https://{}{}", self.authority, self.path)
    }

    /// The host with the port that is used.
    fn host(&self) -> String {
        let port = self.authority.port_u16().unwrap_or(HTTPS_PORT);
        format!("{}:{port}", self.authority.host())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const FORM: &str =
            "write HOST, HOST:PORT or HOST:PORT/PATH, such as api.example.com:8443/health";
        let text = text.strip_prefix("https://").unwrap_or(text);
        let (authority, path) = match text.find('/') {
            Some(place) => text.split_at(place),
            None => (text, "/"),
        };
        let authority: Authority = authority.parse().map_err(|_| FORM)?;
        let has_odd_port = authority.as_str() != authority.host() && authority.port_u16().is_none();
        let has_odd_path = path.contains(|c: char| !c.is_ascii_graphic() || c == '#');
        match authority.host().is_empty() || has_odd_port || has_odd_path {
            true => Err(FORM.to_owned()),
            false => Ok(Self {
                authority,
                path: path.to_owned(),
            }),
        }
    }
}

/// What is known of the certificate that is presented.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented {
    pub(super) is_revoked: bool,
    /// Whether it is not expired.
    pub(super) is_valid: bool,
}

/// What the server did.
#[derive(Debug)]
pub(super) struct Edge {
    with: Response,
    without: Response,
    /// Whether it asked for a client certificate.
    has_asked: bool,
}

/// What came of a request.
#[derive(Debug)]
enum Response {
    Status(StatusCode),
    /// The TLS alert with which the client was refused.
    Alert(String),
    /// The server's own certificate is not trusted.
    Untrusted(String),
    Failed(String),
}

impl Edge {
    pub(super) async fn connect(
        target: &Target,
        identity: &Identity,
        ca_file: Option<&Path>,
    ) -> Result<Self> {
        let roots = match ca_file {
            Some(path) => read_roots(path)?,
            None => Vec::new(),
        };
        let mut config = identity.rustls_client_config_with_extra_roots(roots)?;
        let own = config.client_auth_cert_resolver.clone();
        let asked = Arc::new(AtomicBool::new(false));
        let resolver = |inner| -> Arc<dyn ResolvesClientCert> {
            let asked = asked.clone();
            Arc::new(Watched { inner, asked })
        };
        config.client_auth_cert_resolver = resolver(Some(own));
        let with = get(target, config.clone()).await?;
        config.client_auth_cert_resolver = resolver(None);
        // A resumed session would present the certificate of the first.
        config.resumption = rustls::client::Resumption::disabled();
        let without = get(target, config).await?;
        Ok(Self {
            with,
            without,
            has_asked: asked.load(Ordering::Relaxed),
        })
    }

    /// Returns the result, what was found, and what to do.
    pub(super) fn judge(
        &self,
        target: &Target,
        presented: Presented,
    ) -> (CheckResult, String, Option<String>) {
        let host = target.host();
        let fix = |text: &str| Some(text.to_owned());
        let status = match &self.with {
            Response::Failed(problem) => {
                let detail = format!("{host} can't be reached: {problem}");
                return (
                    CheckResult::Failed,
                    detail,
                    fix("check host, port and network"),
                );
            }
            Response::Untrusted(problem) => {
                let detail = format!("the certificate of {host} itself is not trusted: {problem}");
                return (
                    CheckResult::Failed,
                    detail,
                    fix("check the host, or give the server's CA with --ca-file"),
                );
            }
            Response::Alert(alert) => {
                let detail = format!("{host} refuses the certificate ({alert})");
                return (CheckResult::Failed, detail, self.fix_of_refusal(presented));
            }
            Response::Status(status) => *status,
        };
        if !self.has_asked {
            let detail = format!("{host} does not ask for a client certificate");
            return (
                CheckResult::Failed,
                detail,
                Some(format!(
                    "enable mTLS for {} in the zone's client certificate settings, or check the host",
                    target.authority.host()
                )),
            );
        }
        if status == StatusCode::FORBIDDEN {
            let detail = format!("{host} refuses the certificate ({status})");
            return (CheckResult::Failed, detail, self.fix_of_refusal(presented));
        }
        if status.is_server_error() {
            let detail =
                format!("{host} failed ({status}), which shows nothing of the certificate");
            return (CheckResult::Unknown, detail, fix("try again once it works"));
        }
        if presented.is_revoked {
            let detail = format!("{host} lets it in ({status}), although it is revoked");
            return (
                CheckResult::Failed,
                detail,
                fix("let the mTLS rule block `cf.tls_client_auth.cert_revoked` too"),
            );
        }
        let without = match &self.without {
            Response::Alert(alert) => alert.clone(),
            Response::Status(StatusCode::FORBIDDEN) => StatusCode::FORBIDDEN.to_string(),
            Response::Status(status) if status.is_client_error() || status.is_server_error() => {
                status.to_string()
            }
            Response::Status(open) => {
                let detail = format!(
                    "{host} lets it in ({status}), and a client without a certificate too ({open})"
                );
                return (
                    CheckResult::Warning,
                    detail,
                    fix(
                        "block `not cf.tls_client_auth.cert_verified` with an mTLS rule, unless the path is open on purpose",
                    ),
                );
            }
            Response::Untrusted(problem) | Response::Failed(problem) => problem.clone(),
        };
        let detail = format!(
            "{host} lets it in ({status}), and no client without a certificate ({without})"
        );
        (CheckResult::Ok, detail, None)
    }

    fn fix_of_refusal(&self, presented: Presented) -> Option<String> {
        if presented.is_revoked || !presented.is_valid {
            // That was said.
            return None;
        }
        let is_open = matches!(self.without, Response::Status(status) if status.is_success());
        Some(match is_open {
            true => "a client without a certificate is let in: look at the firewall events of the zone for the rule that blocks this one".to_owned(),
            false => "check that the host belongs to the account that issued it, and look at the zone's firewall events for the rule".to_owned(),
        })
    }
}

/// Hands out a client certificate, or none, and notes that it was asked for.
#[derive(Debug)]
struct Watched {
    inner: Option<Arc<dyn ResolvesClientCert>>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Watched {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.as_ref()?.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.has_certs())
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(path).map_err(|error| Failure::input(path, &error))?;
    let invalid =
        |problem: String| Failure::usage(format!("--ca-file {}: {problem}", path.display()));
    let roots: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| invalid(error.to_string()))?;
    match roots.is_empty() {
        true => Err(invalid("it holds no certificate".to_owned())),
        false => Ok(roots),
    }
}

async fn get(target: &Target, mut tls: ClientConfig) -> Result<Response> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("shieldcert/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::failed(format!("the HTTP client can't be built: {error}")))?;
    Ok(match client.get(target.url()).send().await {
        Ok(response) => Response::Status(response.status()),
        Err(error) => describe(&error),
    })
}

/// Why a request failed: the deepest cause, which of them is TLS's.
fn describe(error: &reqwest::Error) -> Response {
    let mut deepest: &(dyn StdError + 'static) = error;
    while let Some(source) = source_of(deepest) {
        deepest = source;
    }
    match deepest.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::AlertReceived(alert)) => {
            Response::Alert(format!("TLS alert {alert:?}"))
        }
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            Response::Untrusted(error.to_string())
        }
        _ if error.is_timeout() => Response::Failed("it does not respond in time".to_owned()),
        _ => Response::Failed(deepest.to_string()),
    }
}

/// An I/O error's source is that of the error in it, which it leaves out.
fn source_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return Some(inner);
    }
    match error.downcast_ref::<rustls::Error>() {
        // What its own causes say, it says.
        Some(_) => None,
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_host_and_the_rest_has_defaults() {
        for (text, expected) in [
            ("api.example.com", Some("https://api.example.com/")),
            ("localhost:8443", Some("https://localhost:8443/")),
            (
                "https://[::1]:8443/health?deep=1",
                Some("https://[::1]:8443/health?deep=1"),
            ),
            ("", None),
            (":443", None),
            ("me@host", None),
            ("host:port", None),
            ("host/a b", None),
            ("http://host", None),
        ] {
            let target = text.parse::<Target>().ok().map(|target| target.url());
            assert_eq!(target.as_deref(), expected, "{text:?}");
        }
        for (text, expected) in [
            ("api.example.com/health", "api.example.com:443"),
            ("https://localhost:8443", "localhost:8443"),
            ("[::1]", "[::1]:443"),
        ] {
            let target: Target = text.parse().expect("a target");
            assert_eq!(target.host(), expected, "{text:?}");
        }
    }
}
