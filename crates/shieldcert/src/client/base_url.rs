//! The base URL: which service the credentials may be sent to.

use http::uri::{Authority, Scheme};
use url::{Host, Url};

use crate::error::input::{InvalidInput, quote};

/// Cloudflare's API.
pub(super) const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

/// The environment variable that allows plain http to any host.
pub(super) const PLAIN_HTTP_VARIABLE: &str = "SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST";

/// A base URL that credentials may be sent to.
pub(super) struct BaseUrl {
    /// Without a slash at the end.
    pub(super) text: String,
    pub(super) path: String,
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) is_loopback: bool,
}

impl BaseUrl {
    /// Parses a URL. Plain http is for this machine only, unless it is allowed to any host.
    pub(super) fn parse(text: &str, allows_plain_http: bool) -> Result<Self, InvalidInput> {
        let invalid = |problem: String| InvalidInput::new("base URL", problem);
        let url = Url::parse(text).map_err(|error| {
            invalid(format!(
                "{} is not a URL ({error}); give one like {CLOUDFLARE:?}",
                quote(text)
            ))
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            // The message does not repeat the URL, which may hold a secret.
            return Err(invalid(
                "it has a user name or password; remove them and give the credentials to the client builder"
                    .into(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(format!(
                "{} has a query or a fragment; remove it",
                quote(text)
            )));
        }
        let is_loopback = is_loopback(&url);
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" if is_loopback || allows_plain_http => Scheme::HTTP,
            "http" => {
                return Err(invalid(format!(
                    "{} would send the credentials unencrypted; use https, or http to this machine only (for an \
                     emulator with worthless credentials in another container: {PLAIN_HTTP_VARIABLE}=1)",
                    quote(text)
                )));
            }
            _ => {
                return Err(invalid(format!(
                    "{} is neither https nor http; give one like {CLOUDFLARE:?}",
                    quote(text)
                )));
            }
        };
        let normalized = url.as_str().trim_end_matches('/').to_owned();
        let authority = normalized
            .parse::<http::Uri>()
            .ok()
            .and_then(|uri| uri.authority().cloned())
            .ok_or_else(|| invalid(format!("{} names no host", quote(text))))?;
        Ok(Self {
            path: url.path().trim_end_matches('/').to_owned(),
            text: normalized,
            scheme,
            authority,
            is_loopback,
        })
    }

    pub(super) fn is_cloudflare(&self) -> bool {
        self.text == CLOUDFLARE
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_would_leak_or_mislead_are_refused() {
        let messages = [
            "api.cloudflare.com/client/v4",
            "",
            "http://api.cloudflare.com/client/v4",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "ftp://api.cloudflare.com/",
            "file:///etc/passwd",
            "https://user:s3cret@api.cloudflare.com/",
            "https://api.cloudflare.com/?a=1",
        ]
        .map(|url| BaseUrl::parse(url, false).err().expect(url).to_string());
        assert!(!messages.concat().contains("s3cret"));
        insta::assert_snapshot!(messages.join("\n"), @r#"
        base URL: "api.cloudflare.com/client/v4" is not a URL (relative URL without a base); give one like "https://api.cloudflare.com/client/v4"
        base URL: "" is not a URL (relative URL without a base); give one like "https://api.cloudflare.com/client/v4"
        base URL: "http://api.cloudflare.com/client/v4" would send the credentials unencrypted; use https, or http to this machine only (for an emulator with worthless credentials in another container: SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1)
        base URL: "http://127.0.0.1.example.com/" would send the credentials unencrypted; use https, or http to this machine only (for an emulator with worthless credentials in another container: SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1)
        base URL: "http://localhost.example.com/" would send the credentials unencrypted; use https, or http to this machine only (for an emulator with worthless credentials in another container: SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1)
        base URL: "http://10.0.0.1/" would send the credentials unencrypted; use https, or http to this machine only (for an emulator with worthless credentials in another container: SHIELDCERT_DANGER_PLAIN_HTTP_TO_ANY_HOST=1)
        base URL: "ftp://api.cloudflare.com/" is neither https nor http; give one like "https://api.cloudflare.com/client/v4"
        base URL: "file:///etc/passwd" is neither https nor http; give one like "https://api.cloudflare.com/client/v4"
        base URL: it has a user name or password; remove them and give the credentials to the client builder
        base URL: "https://api.cloudflare.com/?a=1" has a query or a fragment; remove it
        "#);
    }

    #[test]
    fn https_anywhere_and_http_to_this_machine_are_accepted() {
        for (url, expected) in [
            (CLOUDFLARE, CLOUDFLARE),
            ("https://api.example.com/", "https://api.example.com"),
            (
                "http://127.0.0.1:8787/client/v4/",
                "http://127.0.0.1:8787/client/v4",
            ),
            ("http://localhost:8787", "http://localhost:8787"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ] {
            assert_eq!(BaseUrl::parse(url, false).expect(url).text, expected);
        }
        let container = "http://emulator:8787/client/v4";
        let allowed = BaseUrl::parse(container, true).expect("is allowed");
        assert_eq!(allowed.text, container);
        assert!(!allowed.is_loopback);
    }
}
