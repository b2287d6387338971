//! Credentials: bearer tokens, and email addresses with their keys.

use std::fmt;

use http::header::{AUTHORIZATION, HeaderMap};
use ring::hmac;

use super::envelope::{CredentialHeader, Failure};

const EMAIL_HEADER: &str = "x-auth-email";
const KEY_HEADER: &str = "x-auth-key";

/// What a credential must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The credentials that are accepted. If there are none, every well-formed one is.
#[derive(Clone)]
pub(crate) struct Credentials {
    // Only tags of the secrets are kept: there is nothing to leak, and comparing takes the same time for every wrong
    // one. The key need not be secret for that.
    key: hmac::Key,
    known: Vec<Known>,
}

#[derive(Clone)]
struct Known {
    tag: hmac::Tag,
    access: Access,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.known.len())
    }
}

/// A credential of a request or of a setting.
enum Presented<'a> {
    Token(&'a str),
    Key { email: &'a str, key: &'a str },
}

impl Presented<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Token(token) => [b"token\0", token.as_bytes()].concat(),
            // Neither part can hold a zero byte: see `is_word`.
            Self::Key { email, key } => {
                [b"key\0", email.as_bytes(), b"\0", key.as_bytes()].concat()
            }
        }
    }
}

impl Credentials {
    pub(crate) fn new() -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, b"shieldcert-emulator"),
            known: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Accepts `token`. The error says what is wrong with it, and does not show it.
    pub(crate) fn add_token(&mut self, token: &str, access: Access) -> Result<(), &'static str> {
        if !is_word(token) {
            return Err("a token is empty or has characters other than visible ASCII");
        }
        self.add(&Presented::Token(token), access);
        Ok(())
    }

    /// Accepts `key` together with `email`.
    pub(crate) fn add_key(&mut self, email: &str, key: &str) -> Result<(), &'static str> {
        if !is_email(email) {
            return Err("an email address has no @, or characters other than visible ASCII");
        }
        if !is_word(key) {
            return Err("a key is empty or has characters other than visible ASCII");
        }
        self.add(&Presented::Key { email, key }, Access::Write);
        Ok(())
    }

    fn add(&mut self, presented: &Presented<'_>, access: Access) {
        let tag = hmac::sign(&self.key, &presented.bytes());
        self.known.push(Known { tag, access });
    }

    /// Checks that a request with these headers may do this.
    pub(crate) fn check(&self, headers: &HeaderMap, access: Access) -> Result<(), Failure> {
        let presented = parse_credential(headers)?;
        if self.is_empty() {
            return Ok(());
        }
        let bytes = presented.bytes();
        let known = self
            .known
            .iter()
            .find(|known| hmac::verify(&self.key, &bytes, known.tag.as_ref()).is_ok())
            .ok_or(Failure::Authentication)?;
        if access == Access::Write && known.access == Access::Read {
            return Err(Failure::NotPermitted);
        }
        Ok(())
    }
}

fn parse_credential(headers: &HeaderMap) -> Result<Presented<'_>, Failure> {
    let email = header(headers, EMAIL_HEADER);
    let key = header(headers, KEY_HEADER);
    let authorization = header(headers, AUTHORIZATION.as_str());
    if authorization.is_none() && (email.is_some() || key.is_some()) {
        let email = email.flatten().filter(|email| is_email(email));
        let email = email.ok_or(Failure::InvalidHeader(CredentialHeader::AuthEmail))?;
        let key = key.flatten().filter(|key| is_word(key));
        let key = key.ok_or(Failure::InvalidHeader(CredentialHeader::AuthKey))?;
        return Ok(Presented::Key { email, key });
    }
    authorization
        .flatten()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_matches(' '))
        .filter(|token| is_word(token))
        .map(Presented::Token)
        .ok_or(Failure::InvalidHeader(CredentialHeader::Authorization))
}

/// None if the header is missing; `Some(None)` if it is there twice or is not text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(match values.next() {
        None => first.to_str().ok(),
        Some(_) => None,
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_email(text: &str) -> bool {
    is_word(text) && text.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).expect("a header's value"),
            );
        }
        headers
    }

    fn credentials() -> Credentials {
        let mut credentials = Credentials::new();
        credentials
            .add_token("writer", Access::Write)
            .expect("a token");
        credentials
            .add_token("reader", Access::Read)
            .expect("a token");
        credentials.add_key("ann@example.com", "k1").expect("a key");
        credentials
    }

    fn outcome(
        credentials: &Credentials,
        pairs: &[(&'static str, &[u8])],
        access: Access,
    ) -> (u16, i64, i64) {
        match credentials.check(&headers(pairs), access) {
            Ok(()) => (200, 0, 0),
            Err(failure) => {
                let error = failure.into_error();
                let cause = error.cause.map_or(0, |cause| cause.code);
                (error.status.as_u16(), error.code, cause)
            }
        }
    }

    type Row = (&'static [(&'static str, &'static [u8])], (u16, i64, i64));

    const ALLOWED: (u16, i64, i64) = (200, 0, 0);
    const MALFORMED: (u16, i64, i64) = (400, 6003, 6111);
    const WRONG: (u16, i64, i64) = (403, 10000, 0);

    #[test]
    fn each_header_has_its_outcome() {
        let table: &[Row] = &[
            (&[("authorization", b"Bearer writer")], ALLOWED),
            (&[("authorization", b"bearer  writer")], ALLOWED),
            (&[("authorization", b"Bearer reader")], (403, 9109, 0)),
            (&[("authorization", b"Bearer wrong")], WRONG),
            (&[("authorization", b"Bearer write")], WRONG),
            (&[("authorization", b"Bearer writers")], WRONG),
            (&[], MALFORMED),
            (&[("authorization", b"")], MALFORMED),
            (&[("authorization", b"Bearer")], MALFORMED),
            (&[("authorization", b"Bearer ")], MALFORMED),
            (&[("authorization", b"writer")], MALFORMED),
            (&[("authorization", b"Basic writer")], MALFORMED),
            (&[("authorization", b"Bearer writer x")], MALFORMED),
            (&[("authorization", b"Bearer w\xfftoken")], MALFORMED),
            (
                &[
                    ("authorization", b"Bearer writer"),
                    ("authorization", b"Bearer writer"),
                ],
                MALFORMED,
            ),
            (
                &[("x-auth-email", b"ann@example.com"), ("x-auth-key", b"k1")],
                ALLOWED,
            ),
            (
                &[("x-auth-email", b"ann@example.com"), ("x-auth-key", b"k2")],
                WRONG,
            ),
            (
                &[("x-auth-email", b"bob@example.com"), ("x-auth-key", b"k1")],
                WRONG,
            ),
            (&[("x-auth-email", b"ann@example.com")], (400, 6003, 6103)),
            (&[("x-auth-key", b"k1")], (400, 6003, 6102)),
            (
                &[("x-auth-email", b"ann"), ("x-auth-key", b"k1")],
                (400, 6003, 6102),
            ),
            (
                &[
                    ("authorization", b"Bearer wrong"),
                    ("x-auth-email", b"ann@example.com"),
                    ("x-auth-key", b"k1"),
                ],
                WRONG,
            ),
        ];
        for (pairs, expected) in table {
            assert_eq!(
                outcome(&credentials(), pairs, Access::Write),
                *expected,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn a_read_only_token_may_read() {
        let reader: &[(&'static str, &[u8])] = &[("authorization", b"Bearer reader")];
        assert_eq!(outcome(&credentials(), reader, Access::Read), ALLOWED);
    }

    #[test]
    fn without_credentials_any_well_formed_one_is_accepted() {
        let open = Credentials::new();
        let pairs: &[(&'static str, &[u8])] = &[("authorization", b"Bearer whatever")];
        assert_eq!(outcome(&open, pairs, Access::Write), ALLOWED);
        let pairs: &[(&'static str, &[u8])] = &[("x-auth-email", b"a@b"), ("x-auth-key", b"k")];
        assert_eq!(outcome(&open, pairs, Access::Write), ALLOWED);
        assert_eq!(outcome(&open, &[], Access::Write), MALFORMED);
    }

    #[test]
    fn a_token_is_not_a_key() {
        let mut credentials = Credentials::new();
        credentials.add_key("a@b", "token").expect("a key");
        let pairs: &[(&'static str, &[u8])] = &[("authorization", b"Bearer token")];
        assert_eq!(outcome(&credentials, pairs, Access::Read), WRONG);
    }

    #[test]
    fn malformed_credentials_are_refused_and_not_shown() {
        let mut credentials = credentials();
        for token in ["", "two words", "line\n", "é", "nul\0"] {
            assert!(
                credentials.add_token(token, Access::Write).is_err(),
                "{token:?}"
            );
        }
        assert!(credentials.add_key("nobody", "k").is_err());
        assert!(credentials.add_key("a@b", "").is_err());
        assert_eq!(format!("{credentials:?}"), "Credentials(3)");
    }
}
