//! Credentials, and the one host that they are sent to.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use secrecy::{ExposeSecret, SecretString};

use super::redact::Redactor;
use super::{BoxFuture, Transport, TransportError, TransportErrorKind};
use crate::error::input::InvalidInput;

const X_AUTH_EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const X_AUTH_KEY: HeaderName = HeaderName::from_static("x-auth-key");

/// The credentials of a client. They are wiped from memory when dropped, and `Debug` shows no secret.
#[derive(Clone)]
pub(crate) enum Credentials {
    Token(SecretString),
    EmailAndKey { email: String, key: SecretString },
}

impl Credentials {
    pub(crate) fn token(token: SecretString) -> Result<Self, InvalidInput> {
        check("API token", token.expose_secret())?;
        Ok(Self::Token(token))
    }

    pub(crate) fn email_and_key(email: String, key: SecretString) -> Result<Self, InvalidInput> {
        check("email", &email)?;
        check("API key", key.expose_secret())?;
        Ok(Self::EmailAndKey { email, key })
    }

    fn headers(&self) -> Result<HeaderMap, InvalidInput> {
        let header_value = |text: &str| {
            let value = HeaderValue::from_str(text);
            let mut value =
                value.map_err(|_| InvalidInput::new("credentials", "they fit in no header"))?;
            value.set_sensitive(true);
            Ok::<_, InvalidInput>(value)
        };
        let mut headers = HeaderMap::new();
        match self {
            Self::Token(token) => {
                let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
                headers.insert(AUTHORIZATION, header_value(bearer.expose_secret())?);
            }
            Self::EmailAndKey { email, key } => {
                headers.insert(X_AUTH_EMAIL, header_value(email)?);
                headers.insert(X_AUTH_KEY, header_value(key.expose_secret())?);
            }
        }
        Ok(headers)
    }

    /// Returns what removes the secret from texts.
    pub(crate) fn redactor(&self) -> Redactor {
        let (Self::Token(secret) | Self::EmailAndKey { key: secret, .. }) = self;
        Redactor::new(secret)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::EmailAndKey { .. } => "EmailAndKey",
        })
    }
}

/// Checks a credential. The message says what is wrong and shows no part of it.
fn check(what: &'static str, text: &str) -> Result<(), InvalidInput> {
    let problem = if text.is_empty() {
        "it is empty; give one"
    } else if text.starts_with("Bearer ") {
        "it starts with \"Bearer \"; give the token alone"
    } else if text.contains(['\n', '\r']) {
        "it has a line break; remove it, for example where the credential is read from a file"
    } else if text.starts_with(' ') || text.ends_with(' ') {
        "it starts or ends with a space; remove it"
    } else if !text.chars().all(|c| c.is_ascii_graphic()) {
        "it has a space, a control character or a non-ASCII character, which no credential has"
    } else {
        return Ok(());
    };
    Err(InvalidInput::new(what, problem))
}

/// Adds the credentials to requests to the base URL's host, and refuses requests to other hosts.
pub(crate) struct Auth<T> {
    headers: HeaderMap,
    scheme: Scheme,
    authority: Authority,
    inner: T,
}

impl<T: Transport> Auth<T> {
    pub(crate) fn new(
        credentials: &Credentials,
        scheme: Scheme,
        authority: Authority,
        inner: T,
    ) -> Result<Self, InvalidInput> {
        Ok(Self {
            headers: credentials.headers()?,
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
            let cause = "it is to another host than the base URL's".into();
            let error = TransportError::new(TransportErrorKind::NotSent, Some(cause));
            return Box::pin(async { Err(error) });
        }
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        self.inner.send(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn unusable_credentials_are_refused_without_showing_them() {
        let tokens = [
            "",
            "s3cret\n",
            "s3cret\r\nX-Evil: 1",
            " s3cret",
            "s3c ret",
            "s3crét",
        ];
        let mut messages = tokens
            .map(|token| {
                let error = Credentials::token(token.into()).expect_err(token);
                assert!(!format!("{error} {error:?}").contains("s3c"), "{error}");
                error.to_string()
            })
            .to_vec();
        let key = Credentials::email_and_key("a@b.c".into(), "k\n".into());
        messages.push(key.expect_err("a line break").to_string());
        let email = Credentials::email_and_key(String::new(), "k".into());
        messages.push(email.expect_err("no email").to_string());
        insta::assert_snapshot!(messages.join("\n"), @"
        API token: it is empty; give one
        API token: it has a line break; remove it, for example where the credential is read from a file
        API token: it has a line break; remove it, for example where the credential is read from a file
        API token: it starts or ends with a space; remove it
        API token: it has a space, a control character or a non-ASCII character, which no credential has
        API token: it has a space, a control character or a non-ASCII character, which no credential has
        API key: it has a line break; remove it, for example where the credential is read from a file
        email: it is empty; give one
        ");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = Credentials::token("s3cret".into()).expect("a token");
        let key = Credentials::email_and_key("a@b.c".into(), "s3cret".into()).expect("a key");
        assert!(!format!("{token:?} {key:?}").contains("s3cret"));
    }

    #[derive(Default)]
    struct Recorder(Mutex<Vec<http::Request<Bytes>>>);

    impl Transport for Recorder {
        fn send(
            &self,
            request: http::Request<Bytes>,
        ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
            self.0.lock().expect("not poisoned").push(request);
            Box::pin(async { Ok(http::Response::default()) })
        }
    }

    #[tokio::test]
    async fn only_the_base_urls_host_gets_requests() {
        let recorder = std::sync::Arc::new(Recorder::default());
        let auth = Auth::new(
            &Credentials::token("s3cret".into()).expect("a token"),
            Scheme::HTTPS,
            Authority::from_static("api.example.com"),
            recorder.clone(),
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
        assert!(recorder.0.lock().expect("not poisoned").is_empty());
        let request = http::Request::get("https://api.example.com/x")
            .body(Bytes::new())
            .expect("a request");
        auth.send(request).await.expect("is sent");
        let requests = recorder.0.lock().expect("not poisoned");
        let value = &requests[0].headers()[AUTHORIZATION];
        assert!(value.is_sensitive() && value.as_bytes() == b"Bearer s3cret");
        assert!(!format!("{:?}", requests[0]).contains("s3cret"));
    }
}
