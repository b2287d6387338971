//! The error of every operation: what happened, to which call, and what to do next.

pub(crate) mod api;
pub(crate) mod call;
pub(crate) mod input;
mod unknown;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use shieldcert_api::codes;
use shieldcert_api::transport::{TransportError, TransportErrorKind};

use self::api::ApiMessage;
use self::call::Call;
use self::input::InvalidInput;
use crate::certificate::id::CertificateId;
use crate::certificate::status::Status;
use crate::issue::intent::IssueIntent;
use crate::lookup::unclear::UnclearRecord;

/// The result of everything that calls the service or writes a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of every operation.
///
/// Match on a variant where the kind matters, or use a predicate ([`is_not_found`](Self::is_not_found),
/// [`is_rate_limited`](Self::is_rate_limited) and so on). The `Display` form is complete: it holds the deepest cause
/// once, so `source` returns nothing that it has not said. No secret is in the `Display` or `Debug` form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that was given to this crate, or a certificate in a record, is invalid. No request is unclear.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),

    /// The API responded that the call failed.
    #[error("{}", api::describe(call, messages))]
    #[non_exhaustive]
    Api {
        /// The call that failed.
        call: Box<Call>,
        /// What the API says about it, most important first. Never empty.
        messages: Vec<ApiMessage>,
    },

    /// The service, or a gateway in front of it, sent a response that is not one of the API.
    #[error("{call}: {problem}{}", BodyPreview(body))]
    #[non_exhaustive]
    InvalidResponse {
        /// The call.
        call: Box<Call>,
        /// What is wrong with the response.
        problem: String,
        /// The response body.
        body: Bytes,
    },

    /// No response arrived.
    #[error("{call}: {cause}")]
    #[non_exhaustive]
    Transport {
        /// The call.
        call: Box<Call>,
        /// What broke.
        cause: TransportError,
    },

    /// The rate limit blocks for longer than the call may wait. The last attempt was not sent.
    #[error(
        "{call}: not sent, because the rate limit is used up for another {}, longer than the call may wait; \
         retry after that",
        WholeSeconds(*wait)
    )]
    #[non_exhaustive]
    RateLimited {
        /// The call.
        call: Box<Call>,
        /// How long the service takes no requests.
        wait: Duration,
    },

    /// A certificate may or may not have been issued: nothing shows which.
    ///
    /// Before you issue again for the same CSR, look for the certificate: [`Issue::resume`](crate::Issue::resume) with the
    /// intent finds it, or issues if it is absent; [`Zone::find_by_csr`](crate::Zone::find_by_csr) only looks.
    #[error("{}", unknown::describe(intent, cause, records, problem.as_deref()))]
    #[non_exhaustive]
    OutcomeUnknown {
        /// What is needed to resume.
        intent: Box<IssueIntent>,
        /// What happened to the last send.
        cause: Box<Error>,
        /// The records that may be the certificate. A person who knows better can name them with
        /// [`Issue::known`](crate::Issue::known), and resume.
        records: Vec<UnclearRecord>,
        /// Why the zone could not be read, if so.
        problem: Option<String>,
    },

    /// The service returned a certificate that does not match the request.
    #[error(
        "the service returned a certificate that does not match the request{}: {problem}",
        OptionalId(id)
    )]
    #[non_exhaustive]
    WrongCertificate {
        /// The id of the certificate that was returned, if it has one.
        id: Option<CertificateId>,
        /// What does not match.
        problem: String,
    },

    /// Somebody else moved the certificate the other way while this client waited.
    #[error(
        "certificate {id} was to become {wanted} but is {seen}: somebody else moved it the other way"
    )]
    #[non_exhaustive]
    Overtaken {
        /// The certificate.
        id: CertificateId,
        /// The status that was waited for.
        wanted: Status,
        /// The status that was seen.
        seen: Status,
    },

    /// The status was not reached within the timeout. The transition may still be in progress, and the service may have
    /// acted on a request that the timeout cut off. To wait, revoke or reactivate again is safe.
    #[error(
        "certificate {id} was to become {wanted} but is {last} after {}{}; trying again is safe",
        WholeSeconds(*waited),
        LastFailure(cause)
    )]
    #[non_exhaustive]
    NotSettled {
        /// The certificate.
        id: CertificateId,
        /// What was waited for.
        wanted: WaitTarget,
        /// The status that was seen last. Unknown if none was.
        last: Status,
        /// How long this client waited.
        waited: Duration,
        /// Why the last request failed, if it did.
        cause: Option<Box<Error>>,
    },

    /// A private key does not belong to the certificate that it was combined with.
    #[error(
        "this private key does not belong to the certificate{}: their public keys differ; \
         use the key that the CSR was made with",
        OptionalText(subject)
    )]
    #[non_exhaustive]
    KeyMismatch {
        /// The certificate's id or common name, if it has one.
        subject: Option<String>,
    },

    /// A file could not be written. What was there before is unchanged.
    #[error("can't write {} ({})", path.display(), IoCause(cause))]
    #[non_exhaustive]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
}

/// What a wait is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitTarget {
    /// Either settled status, active or revoked.
    Settled,
    /// This status.
    Status(Status),
}

impl fmt::Display for WaitTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("settled"),
            Self::Status(status) => status.fmt(f),
        }
    }
}

impl Error {
    pub(crate) fn invalid_response(
        call: Call,
        problem: impl Into<String>,
        body: impl Into<Bytes>,
    ) -> Self {
        Self::InvalidResponse {
            call: Box::new(call),
            problem: problem.into(),
            body: body.into(),
        }
    }

    /// Returns the call that failed, if the error is about one.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Api { call, .. }
            | Self::InvalidResponse { call, .. }
            | Self::RateLimited { call, .. }
            | Self::Transport { call, .. } => Some(call),
            Self::OutcomeUnknown { cause, .. } => cause.call(),
            _ => None,
        }
    }

    /// Returns the HTTP status of the response.
    pub fn status(&self) -> Option<StatusCode> {
        self.call()?.status
    }

    /// Returns the response's `cf-ray` header, which Cloudflare's support asks for.
    pub fn ray_id(&self) -> Option<&str> {
        self.call()?.ray_id.as_deref()
    }

    /// Returns how long to wait before the next request, as the service asked (`Retry-After`) or the rate limit demands.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            Self::OutcomeUnknown { cause, .. } => cause.retry_after(),
            Self::NotSettled { cause, .. } => cause.as_ref()?.retry_after(),
            _ => self.call()?.retry_after,
        }
    }

    /// Returns what the API says about the failure.
    pub fn messages(&self) -> &[ApiMessage] {
        match self {
            Self::Api { messages, .. } => messages,
            Self::OutcomeUnknown { cause, .. } => cause.messages(),
            _ => &[],
        }
    }

    /// Whether the API named this code, as an error or as the cause of one.
    pub fn has_code(&self, code: i64) -> bool {
        self.messages().iter().any(|message| message.has_code(code))
    }

    /// Whether something that was given to this crate, or a certificate in a record, is invalid.
    pub fn is_invalid_input(&self) -> bool {
        matches!(self, Self::InvalidInput(_))
    }

    /// Whether the API says that there is no such certificate or no such zone.
    ///
    /// It is not if the API could not route the call (codes 7000 and 7003), since then the base URL or an id is wrong,
    /// nor if a gateway responded in the API's place.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { call, .. } if call.status == Some(StatusCode::NOT_FOUND))
            && !self.has_code(codes::INVALID_IDENTIFIER)
            && !self.has_code(codes::NO_ROUTE)
    }

    /// Whether the API says that the credentials are wrong or lack the permission.
    pub fn is_not_allowed(&self) -> bool {
        let statuses = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        let is_refused = matches!(self, Self::Api { call, .. }
            if call.status.is_some_and(|status| statuses.contains(&status)));
        is_refused || self.has_code(codes::AUTHENTICATION) || self.has_code(codes::INVALID_HEADERS)
    }

    /// Whether the rate limit is used up.
    pub fn is_rate_limited(&self) -> bool {
        matches!(self, Self::RateLimited { .. })
            || self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether the zone holds as many active certificates as its quota allows.
    pub fn is_quota_reached(&self) -> bool {
        self.has_code(codes::QUOTA_REACHED)
    }

    /// Whether a timeout passed, of a call or of a wait.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::NotSettled { .. } => true,
            Self::Transport { cause, .. } => matches!(
                cause.kind(),
                TransportErrorKind::TimedOut | TransportErrorKind::DeadlinePassed
            ),
            Self::OutcomeUnknown { cause, .. } => cause.is_timeout(),
            _ => false,
        }
    }

    /// Whether the service may have acted on the call although it failed.
    ///
    /// It certainly did not if the API itself refused the call with a code and a status below 500, or if nothing was
    /// sent.
    pub fn is_ambiguous(&self) -> bool {
        let is_unclear = match self {
            Self::OutcomeUnknown { .. } => true,
            Self::Transport { cause, .. } => !matches!(
                cause.kind(),
                TransportErrorKind::NotConnected
                    | TransportErrorKind::ProxyRefused
                    | TransportErrorKind::NotSent
                    | TransportErrorKind::DeadlinePassed
            ),
            Self::Api { .. } | Self::InvalidResponse { .. } => !self.is_refusal(),
            // A poll changes nothing.
            Self::NotSettled { cause, .. } => cause.as_ref().is_some_and(|cause| {
                let is_poll = |call: &Call| call.method == Method::GET;
                !cause.call().is_some_and(is_poll) && cause.is_ambiguous()
            }),
            _ => false,
        };
        is_unclear || self.call().is_some_and(|call| call.earlier_unclear)
    }

    /// Whether the API clearly refused the last attempt. A gateway's 4XX is no refusal, nor is a 5XX, whatever it says.
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Api { call, messages } = self else {
            return false;
        };
        match call.status {
            Some(StatusCode::TOO_MANY_REQUESTS) => true,
            // Of a gateway: nginx's "client closed request", and "too early".
            Some(StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY) => false,
            Some(status) if status.as_u16() == 499 || status.is_server_error() => false,
            // 0 is no code of the API.
            _ => messages
                .iter()
                .any(|message| message.code.is_some_and(|code| code != 0)),
        }
    }

    /// Whether the same call can succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { cause, .. } => !matches!(
                cause.kind(),
                TransportErrorKind::NotSent
                    | TransportErrorKind::ProxyRefused
                    | TransportErrorKind::TooLarge(_)
            ),
            Self::Api { call, .. } => call.is_transient(),
            // A success that is no response of the API may be one the next time.
            Self::InvalidResponse { call, .. } => call.is_transient() || call.is_success(),
            Self::RateLimited { .. } | Self::NotSettled { .. } => true,
            _ => false,
        }
    }
}

/// The start of a body, short enough for one line.
pub(crate) struct BodyPreview<'a>(pub(crate) &'a Bytes);

impl fmt::Display for BodyPreview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LEN: usize = 200;
        if self.0.is_empty() {
            return Ok(());
        }
        let start = String::from_utf8_lossy(&self.0[..self.0.len().min(MAX_LEN)]);
        let ellipsis = if self.0.len() > MAX_LEN { "…" } else { "" };
        write!(f, "; body: {start:?}{ellipsis}")
    }
}

/// A duration, rounded up. What nobody waits for is no number: `Retry-After` can be any.
struct WholeSeconds(Duration);

const YEAR: Duration = Duration::from_secs(365 * 86_400);

impl fmt::Display for WholeSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > YEAR {
            return f.write_str("more than a year");
        }
        let more = u64::from(self.0.subsec_nanos() > 0);
        write!(f, "{}s", self.0.as_secs() + more)
    }
}

struct LastFailure<'a>(&'a Option<Box<Error>>);

impl fmt::Display for LastFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(cause) => write!(f, " (the last request failed: {cause})"),
            None => Ok(()),
        }
    }
}

struct OptionalId<'a>(&'a Option<CertificateId>);

impl fmt::Display for OptionalId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, " (id {id})"),
            None => Ok(()),
        }
    }
}

struct OptionalText<'a>(&'a Option<String>);

impl fmt::Display for OptionalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, " {text}"),
            None => Ok(()),
        }
    }
}

/// The text of an I/O error without the number that the standard library adds.
pub(crate) struct IoCause<'a>(pub(crate) &'a io::Error);

impl fmt::Display for IoCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.split_once(" (os error ") {
            Some((text, _)) => f.write_str(&text.to_ascii_lowercase()),
            None => f.write_str(&text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use serde_json::{Value, json};

    use super::*;

    fn call(status: Option<u16>) -> Call {
        let mut call = Call::new(Method::GET, "/zones/z/client_certificates".into());
        call.status = status.and_then(|status| StatusCode::from_u16(status).ok());
        call.ray_id = status.map(|_| "8f1".into());
        call.attempts = 2;
        call
    }

    fn api(status: u16, envelope: Value) -> Error {
        Error::Api {
            call: Box::new(call(Some(status))),
            messages: ApiMessage::read_all(&envelope),
        }
    }

    #[test]
    fn every_kind_of_error_shows_what_happened_to_what_and_what_to_do() {
        let id = || -> CertificateId {
            "7bf7f70c-7600-42e1-81c4-e4c0da9aa515"
                .parse()
                .expect("an id")
        };
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let transport = || {
            TransportError::new(TransportErrorKind::NotConnected, None)
                .with_host("api.cloudflare.com:443")
        };
        let errors = [
            Error::from(InvalidInput::new(
                "zone id",
                "\"x\" has 1 character; give 32 hex digits",
            )),
            api(
                400,
                json!({ "errors": [{ "code": 6003, "message": "Invalid request headers",
                    "error_chain": [{ "code": 6111, "message": "Invalid format for Authorization header" }] }] }),
            ),
            api(
                400,
                json!({ "errors": [{ "code": 1445, "message": "quota" }] }),
            ),
            api(429, json!({ "errors": [{ "message": "slow down" }] })),
            Error::invalid_response(
                call(Some(502)),
                "the response is HTML",
                "<html>bad gateway</html>",
            ),
            Error::invalid_response(call(Some(200)), "the response is empty", ""),
            Error::Transport {
                call: Box::new(call(None)),
                cause: TransportError::new(TransportErrorKind::NotConnected, Some(refused.into()))
                    .with_host("127.0.0.1:8787"),
            },
            Error::OutcomeUnknown {
                intent: Box::new(
                    serde_json::from_value(json!({
                        "csr_sha256": "ab12", "validity_days": 365, "sent_after": null, "sent_before": null,
                        "known": [], "key_is_new": false
                    }))
                    .expect("an intent"),
                ),
                cause: Box::new(Error::Transport {
                    call: Box::new(call(None)),
                    cause: transport(),
                }),
                records: vec![UnclearRecord {
                    id: Some(id()),
                    problem: "it is valid for 30 days, and 365 were asked for".into(),
                }],
                problem: Some("the deadline has passed".into()),
            },
            Error::WrongCertificate {
                id: Some(id()),
                problem: "its public key is not the CSR's".into(),
            },
            Error::Overtaken {
                id: id(),
                wanted: Status::Revoked,
                seen: Status::Active,
            },
            Error::NotSettled {
                id: id(),
                wanted: WaitTarget::Status(Status::Revoked),
                last: Status::PendingRevocation,
                waited: Duration::from_secs(300),
                cause: None,
            },
            Error::NotSettled {
                id: id(),
                wanted: WaitTarget::Settled,
                last: Status::from(""),
                waited: Duration::from_secs(5),
                cause: Some(Box::new(Error::RateLimited {
                    call: Box::new(Call::new(Method::DELETE, "/zones/z".into())),
                    wait: Duration::from_secs(86_400),
                })),
            },
            Error::KeyMismatch {
                subject: Some("sensor-001".into()),
            },
            Error::Write {
                path: "ids/sensor-001.pem".into(),
                cause: io::Error::from(io::ErrorKind::StorageFull),
            },
        ];
        for error in &errors {
            assert!(
                error.source().is_none(),
                "the chain repeats nothing: {error}"
            );
        }
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @r#"
        zone id: "x" has 1 character; give 32 hex digits
        GET /zones/z/client_certificates returned 400 (2 attempts, ray 8f1): Invalid request headers (code 6003), caused by: Invalid format for Authorization header (code 6111). Check the API token, or the email and key
        GET /zones/z/client_certificates returned 400 (2 attempts, ray 8f1): quota (code 1445). Revoke certificates that are no longer needed, which frees their place at once, or ask Cloudflare for a larger quota
        GET /zones/z/client_certificates returned 429 (2 attempts, ray 8f1): slow down. The rate limit counts every token and dashboard session of the user; wait for some minutes
        GET /zones/z/client_certificates returned 502 (2 attempts, ray 8f1): the response is HTML; body: "<html>bad gateway</html>"
        GET /zones/z/client_certificates returned 200 (2 attempts, ray 8f1): the response is empty
        GET /zones/z/client_certificates (2 attempts): could not connect to 127.0.0.1:8787 (connection refused)
        it is unknown whether a certificate was issued for the CSR with SHA-256 ab12 (GET /zones/z/client_certificates (2 attempts): could not connect to api.cloudflare.com:443); the deadline has passed; 7bf7f70c-7600-42e1-81c4-e4c0da9aa515: it is valid for 30 days, and 365 were asked for; resume with the intent of this error, or look for it with `find_by_csr`, before you issue again
        the service returned a certificate that does not match the request (id 7bf7f70c-7600-42e1-81c4-e4c0da9aa515): its public key is not the CSR's
        certificate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 was to become revoked but is active: somebody else moved it the other way
        certificate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 was to become revoked but is pending_revocation after 300s; trying again is safe
        certificate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 was to become settled but is unknown after 5s (the last request failed: DELETE /zones/z: not sent, because the rate limit is used up for another 86400s, longer than the call may wait; retry after that); trying again is safe
        this private key does not belong to the certificate sensor-001: their public keys differ; use the key that the CSR was made with
        can't write ids/sensor-001.pem (no storage space)
        "#);
    }

    #[test]
    fn errors_of_any_shape_are_read() {
        for (errors, code, message) in [
            (
                json!([{ "code": "1445", "message": "quota" }]),
                Some(1445),
                "quota",
            ),
            (json!([{ "message": null }]), None, ""),
            (json!(["plain text"]), None, "plain text"),
            (
                json!({ "code": 1, "message": "one, not in a list" }),
                Some(1),
                "one, not in a list",
            ),
            (json!([17]), None, "17"),
        ] {
            let read = ApiMessage::read_all(&json!({ "errors": errors }));
            assert_eq!(
                (read[0].code, read[0].message.as_str()),
                (code, message),
                "{errors}"
            );
        }
        assert!(ApiMessage::read_all(&json!({ "errors": null })).is_empty());
        assert!(ApiMessage::read_all(&json!([])).is_empty());
    }

    #[test]
    fn an_endless_chain_is_cut_off() {
        let mut error = json!({ "code": 1 });
        for _ in 0..100 {
            error = json!({ "code": 1, "error_chain": [error] });
        }
        let messages = ApiMessage::read_all(&json!({ "errors": [error] }));
        assert_eq!(messages[0].to_string().matches("caused by").count(), 4);
    }

    #[test]
    fn predicates_follow_status_and_code() {
        let coded = |status, code: i64| api(status, json!({ "errors": [{ "code": code }] }));
        assert!(coded(404, 1000).is_not_found());
        assert!(coded(403, 1000).is_not_allowed());
        assert!(coded(429, 1000).is_rate_limited() && coded(429, 1000).is_retryable());
        assert!(coded(400, 1445).is_quota_reached());
        assert!(!coded(400, 1000).is_retryable());
    }

    #[test]
    fn only_a_response_of_the_api_says_what_exists_and_what_is_allowed() {
        for status in [403, 404] {
            let page = Error::invalid_response(call(Some(status)), "a page", "");
            assert!(!page.is_not_found() && !page.is_not_allowed(), "{page}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_api_itself_is_unambiguous() {
        let coded = |status| api(status, json!({ "errors": [{ "code": 1445 }] }));
        let uncoded = |status| api(status, json!({ "errors": [{ "message": "no" }] }));
        let zero = |status| api(status, json!({ "errors": [{ "code": 0 }] }));
        let page = |status| Error::invalid_response(call(Some(status)), "a page", "");
        for (status, is_ambiguous) in [
            (200, false),
            (302, false),
            (400, false),
            (404, false),
            (408, true),
            (425, true),
            (429, false),
            (499, true),
            (500, true),
            (503, true),
        ] {
            assert_eq!(coded(status).is_ambiguous(), is_ambiguous, "{status}");
            assert_eq!(uncoded(status).is_ambiguous(), status != 429, "{status}");
            assert_eq!(zero(status).is_ambiguous(), status != 429, "{status}");
            assert!(page(status).is_ambiguous(), "{status}");
        }
        let blocked = |earlier_unclear| {
            let mut call = call(None);
            call.earlier_unclear = earlier_unclear;
            let call = Box::new(call);
            let wait = Duration::from_secs(9);
            Error::RateLimited { call, wait }
        };
        assert!(!blocked(false).is_ambiguous() && blocked(true).is_ambiguous());
        assert!(blocked(false).is_rate_limited() && blocked(false).is_retryable());
        assert_eq!(blocked(false).retry_after(), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_bad_identifier_and_a_wrong_base_url_are_told_apart() {
        let described = [&[7003][..], &[7003, 7000], &[7000, 7003], &[7000]].map(|codes| {
            let errors: Vec<_> = codes
                .iter()
                .map(|code| json!({ "code": code, "message": "no route" }))
                .collect();
            let error = api(404, json!({ "errors": errors }));
            assert!(!error.is_not_found(), "{error}");
            error.to_string()
        });
        insta::assert_snapshot!(described.join("\n"), @"
        GET /zones/z/client_certificates returned 404 (2 attempts, ray 8f1): no route (code 7003). Check the zone and certificate id; a domain name is no zone id
        GET /zones/z/client_certificates returned 404 (2 attempts, ray 8f1): no route (code 7003); no route (code 7000). Check the zone and certificate id; a domain name is no zone id
        GET /zones/z/client_certificates returned 404 (2 attempts, ray 8f1): no route (code 7000); no route (code 7003). Check the zone and certificate id; a domain name is no zone id
        GET /zones/z/client_certificates returned 404 (2 attempts, ray 8f1): no route (code 7000). Check the base URL: it ends in /client/v4
        ");
    }
}
