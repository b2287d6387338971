//! Credentials, and the one host they are sent to.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

use super::{BoxFuture, Transport, TransportError, TransportErrorKind};
use crate::error::{Error, Result};

const X_AUTH_EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const X_AUTH_KEY: HeaderName = HeaderName::from_static("x-auth-key");

/// Who calls. Wiped from memory when dropped; `Debug` shows no secret.
#[derive(Clone)]
pub(crate) enum Credentials {
    Token(SecretString),
    EmailAndKey { email: String, key: SecretString },
}

impl Credentials {
    pub(crate) fn token(token: SecretString) -> Result<Self> {
        check("API token", token.expose_secret())?;
        Ok(Self::Token(token))
    }

    pub(crate) fn email_and_key(email: String, key: SecretString) -> Result<Self> {
        check("email", &email)?;
        check("API key", key.expose_secret())?;
        Ok(Self::EmailAndKey { email, key })
    }

    /// The headers that carry them.
    fn headers(&self) -> Result<HeaderMap> {
        let secret = |text: &str| {
            let value = HeaderValue::from_str(text);
            let mut value = value.map_err(|_| Error::input("credential", "fits in no header"))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        let mut headers = HeaderMap::new();
        match self {
            Self::Token(token) => {
                let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
                headers.insert(AUTHORIZATION, secret(bearer.expose_secret())?);
            }
            Self::EmailAndKey { email, key } => {
                headers.insert(X_AUTH_EMAIL, secret(email)?);
                headers.insert(X_AUTH_KEY, secret(key.expose_secret())?);
            }
        }
        Ok(headers)
    }

    /// The answer without the secret, should whoever answered repeat it: what is answered ends up in
    /// errors and logs.
    ///
    /// A success is left as it is where the secret is so short that it may stand there by chance, as one for an
    /// emulator does: a token `active` would change every status.
    fn redacted(&self, answer: http::Response<Bytes>) -> http::Response<Bytes> {
        let (Self::Token(secret) | Self::EmailAndKey { key: secret, .. }) = self;
        let secret = secret.expose_secret().as_bytes();
        if answer.status().is_success() && secret.len() < SHORTEST_REAL {
            return answer;
        }
        answer.map(|body| without(body, secret))
    }
}

/// The service's own tokens have 40 characters and its keys 37.
const SHORTEST_REAL: usize = 20;

fn without(body: Bytes, secret: &[u8]) -> Bytes {
    if memmem::find(&body, secret).is_none() {
        return body;
    }
    let mut redacted = Vec::with_capacity(body.len());
    let mut rest = 0;
    for place in memmem::find_iter(&body, secret) {
        redacted.extend_from_slice(&body[rest..place]);
        redacted.extend_from_slice(b"(redacted)");
        rest = place + secret.len();
    }
    redacted.extend_from_slice(&body[rest..]);
    redacted.into()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::EmailAndKey { .. } => "EmailAndKey",
        })
    }
}

/// The message names what is wrong and never shows any of it.
fn check(what: &'static str, text: &str) -> Result<()> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.contains(['\n', '\r']) {
        "holds a line break; take it off, for instance where it is read from a file"
    } else if text.starts_with(' ') || text.ends_with(' ') {
        "starts or ends with a space; take it off"
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        "holds a character that no credential has (a space, a control character, or one beyond ASCII)"
    } else {
        return Ok(());
    };
    Err(Error::input(what, problem))
}

/// Adds the credentials to requests to the base URL's host, and refuses every other.
pub(crate) struct Auth<T> {
    credentials: Credentials,
    /// Made once: every request carries the same.
    headers: HeaderMap,
    scheme: Scheme,
    authority: Authority,
    inner: T,
}

impl<T: Transport> Auth<T> {
    pub(crate) fn new(
        credentials: Credentials,
        scheme: Scheme,
        authority: Authority,
        inner: T,
    ) -> Result<Self> {
        Ok(Self {
            headers: credentials.headers()?,
            credentials,
            scheme,
            authority,
            inner,
        })
    }
}

impl<T: Transport> Transport for Auth<T> {
    fn send(
        &self,
        mut request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let uri = request.uri();
        if uri.scheme() != Some(&self.scheme) || uri.authority() != Some(&self.authority) {
            let source = "the request is to another host than the base URL's".into();
            let error = TransportError::new(TransportErrorKind::NotSent, Some(source));
            return Box::pin(async { Err(error) });
        }
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Box::pin(async {
            let response = self.inner.send(request).await?;
            Ok(self.credentials.redacted(response))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn credentials_that_no_header_can_carry_are_refused_without_showing_them() {
        for (token, expected) in [
            ("", "is empty"),
            ("s3cret\n", "holds a line break"),
            ("s3cret\r\nX-Evil: 1", "holds a line break"),
            (" s3cret", "starts or ends with a space"),
            ("s3c ret", "holds a character"),
            ("s3crét", "holds a character"),
        ] {
            let error = Credentials::token(token.into()).expect_err(token);
            assert!(error.to_string().starts_with("API token: "), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(
                token.is_empty() || !format!("{error} {error:?}").contains("s3c"),
                "{error}"
            );
        }
        let error = Credentials::email_and_key("a@b.c".into(), "k\n".into()).expect_err("key");
        assert!(error.to_string().starts_with("API key: "), "{error}");
        assert!(Credentials::email_and_key(String::new(), "k".into()).is_err());
    }

    #[test]
    fn a_success_is_changed_by_a_secret_that_is_like_no_other_text_alone() {
        let body = || http::Response::new(Bytes::from_static(b"active 0123456789abcdef0123456789"));
        for (secret, expected) in [
            ("active", &b"active 0123456789abcdef0123456789"[..]),
            ("0123456789abcdef0123456789", b"active (redacted)"),
        ] {
            let token = Credentials::token(secret.into()).expect("a token");
            assert_eq!(token.redacted(body()).into_body(), expected);
        }
    }

    #[test]
    fn an_answer_that_repeats_the_secret_is_redacted() {
        let token = Credentials::token("s3cret".into()).expect("a token");
        for (body, expected) in [
            ("", ""),
            ("nothing here", "nothing here"),
            ("s3cret", "(redacted)"),
            (
                "<p>Bearer s3cret</p> s3crets3cret s3cre",
                "<p>Bearer (redacted)</p> (redacted)(redacted) s3cre",
            ),
        ] {
            let refused = http::Response::builder().status(403);
            let refused = refused.body(Bytes::from_static(body.as_bytes()));
            let redacted = token.redacted(refused.expect("a response"));
            assert_eq!(redacted.into_body(), expected);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = Credentials::token("s3cret".into()).expect("a token");
        let key = Credentials::email_and_key("a@b.c".into(), "s3cret".into()).expect("a key");
        assert!(!format!("{token:?} {key:?}").contains("s3cret"));
    }

    #[derive(Default)]
    struct Seen(Mutex<Vec<http::Request<Bytes>>>);

    impl Transport for Seen {
        fn send(
            &self,
            request: http::Request<Bytes>,
        ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
            self.0.lock().expect("not poisoned").push(request);
            Box::pin(async { Ok(http::Response::default()) })
        }
    }

    #[tokio::test]
    async fn only_the_base_urls_host_is_sent_anything() {
        let seen = std::sync::Arc::new(Seen::default());
        let auth = Auth::new(
            Credentials::token("s3cret".into()).expect("a token"),
            Scheme::HTTPS,
            Authority::from_static("api.example.com"),
            seen.clone(),
        )
        .expect("fits in a header");
        for uri in [
            "https://evil.example.com/",
            "https://api.example.com:444/",
            "http://api.example.com/",
            "https://api.example.com@evil.example.com/",
        ] {
            let request = http::Request::get(uri)
                .body(Bytes::new())
                .expect("a request");
            let error = auth.send(request).await.expect_err(uri);
            assert_eq!(error.kind(), TransportErrorKind::NotSent);
        }
        assert!(seen.0.lock().expect("not poisoned").is_empty());
        let request = http::Request::get("https://api.example.com/x")
            .body(Bytes::new())
            .expect("a request");
        auth.send(request).await.expect("is sent");
        let seen = seen.0.lock().expect("not poisoned");
        let value = &seen[0].headers()[AUTHORIZATION];
        assert!(value.is_sensitive() && value.as_bytes() == b"Bearer s3cret");
        assert!(!format!("{:?}", seen[0]).contains("s3cret"));
    }
}
