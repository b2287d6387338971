//! The one error of this crate: what happened, to which call, and what to do next.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::certificate::{CertificateId, Status};
use crate::transport::{TransportError, TransportErrorKind};

/// The outcome of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
///
/// Match on it where the kinds matter, or ask one of the predicates ([`is_not_found`](Self::is_not_found),
/// [`is_rate_limited`](Self::is_rate_limited), …). Nothing in it, or in its `Debug` form, is secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something given to this crate is not what it must be. Nothing was sent.
    #[error("{what}: {problem}")]
    Input {
        /// What was given: "zone id", "CSR", "base URL", …
        what: &'static str,
        /// What is wrong with it, and the way out.
        problem: String,
    },

    /// The service answered that the call failed.
    #[error("{}", display_api(call, messages))]
    Api {
        /// The call that failed.
        call: Box<Call>,
        /// What the service says about it, most telling first. Can be empty.
        messages: Vec<ApiMessage>,
    },

    /// The service, or a gateway in front of it, answered something that can't be understood.
    #[error("{call}: {problem}; the answer starts {}", Start(body))]
    Answer {
        /// The call that was answered.
        call: Box<Call>,
        /// What is wrong with the answer.
        problem: String,
        /// The body as it came.
        body: Bytes,
    },

    /// No answer came.
    #[error("{call}: {source}")]
    Transport {
        /// The call that was not answered.
        call: Box<Call>,
        /// What broke.
        source: TransportError,
    },

    /// The call may or may not have issued a certificate: no answer came that says which.
    ///
    /// Don't issue again for the same CSR before [`Zone::find_by_csr`](crate::Zone::find_by_csr) has
    /// looked for it.
    #[error(
        "it is not known whether a certificate was issued for the CSR with SHA-256 {csr_sha256}; \
         look for it with `find_by_csr` before issuing again"
    )]
    OutcomeUnknown {
        /// SHA-256 of the CSR's DER, in hex.
        csr_sha256: String,
        /// What happened to the call.
        #[source]
        source: Box<Error>,
    },

    /// The service returned a certificate that does not answer what was asked.
    #[error(
        "the service returned a certificate that was not asked for{}: {problem}",
        In(id)
    )]
    WrongCertificate {
        /// The certificate that was returned, where it has an id.
        id: Option<CertificateId>,
        /// What does not fit.
        problem: String,
    },

    /// A transition was overtaken: somebody moved the certificate the other way.
    #[error(
        "certificate {id} was to become {wanted} but is {seen}: somebody else moved it the other way"
    )]
    Overtaken {
        /// The certificate.
        id: CertificateId,
        /// The status it was to reach.
        wanted: Status,
        /// The status it was seen in.
        seen: Status,
    },

    /// A status was not reached in time. The transition may still be under way: waiting again is safe.
    #[error(
        "certificate {id} was to become {wanted} within {waited:?} but is {last}; waiting again is safe"
    )]
    NotSettled {
        /// The certificate.
        id: CertificateId,
        /// What was waited for.
        wanted: Awaited,
        /// The status it was last seen in.
        last: Status,
        /// How long was waited.
        waited: Duration,
    },

    /// A certificate's key is not the key it was put together with.
    #[error("{0}")]
    KeyMismatch(String),

    /// A file could not be written. What stood there before still does.
    #[error("can't write {path}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// What a wait was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Either settled status.
    Settled,
    /// This one.
    Status(Status),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("settled"),
            Self::Status(status) => status.fmt(f),
        }
    }
}

/// A call to the service, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// The path, without the base URL and the query.
    pub path: String,
    /// The HTTP status of the last answer, if one came.
    pub status: Option<StatusCode>,
    /// The `cf-ray` header of the last answer, which Cloudflare's support asks for.
    pub ray_id: Option<String>,
    /// How often the request was sent.
    pub attempts: u32,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(status) = self.status {
            write!(f, " was answered {}", status.as_u16())?;
        }
        let mut details = Vec::new();
        if self.attempts > 1 {
            details.push(format!("{} attempts", self.attempts));
        }
        if let Some(ray) = &self.ray_id {
            details.push(format!("ray {ray}"));
        }
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        Ok(())
    }
}

/// An error as the service states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiMessage {
    /// The API's number for this kind of error. 10000 is an authentication error, for instance.
    pub code: Option<i64>,
    /// What happened, for a person.
    pub message: String,
    /// What led to it, nearest first.
    pub error_chain: Vec<ApiMessage>,
    /// Where the error is explained.
    pub documentation_url: Option<String>,
    /// What in the request the error is about, as a JSON pointer.
    pub pointer: Option<String>,
}

impl ApiMessage {
    /// Reads the errors of an envelope, whatever shape they are in: nothing is worse than an error
    /// that hides behind an error in its own format.
    pub(crate) fn read_all(envelope: &Value) -> Vec<Self> {
        match envelope.get("errors") {
            Some(Value::Array(errors)) => errors.iter().map(|error| Self::read(error, 0)).collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(error) => vec![Self::read(error, 0)],
        }
    }

    fn read(error: &Value, depth: usize) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        if !error.is_object() {
            return Self {
                message: error
                    .as_str()
                    .map_or_else(|| error.to_string(), str::to_owned),
                ..Self::default()
            };
        }
        let code = error.get("code");
        Self {
            code: code
                .and_then(|code| code.as_i64().or_else(|| code.as_str()?.trim().parse().ok())),
            message: text(error.get("message")).unwrap_or_default(),
            // The service nests one level deep; a hostile answer may nest for ever.
            error_chain: match error.get("error_chain") {
                Some(Value::Array(causes)) if depth < 4 => causes
                    .iter()
                    .map(|cause| Self::read(cause, depth + 1))
                    .collect(),
                _ => Vec::new(),
            },
            documentation_url: text(error.get("documentation_url")),
            pointer: text(error.pointer("/source/pointer")),
        }
    }
}

impl fmt::Display for ApiMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.message.is_empty()) {
            (Some(code), false) => write!(f, "{} (code {code})", self.message)?,
            (Some(code), true) => write!(f, "code {code}")?,
            (None, false) => f.write_str(&self.message)?,
            (None, true) => f.write_str("an error without a number or a text")?,
        }
        for cause in &self.error_chain {
            write!(f, ", caused by: {cause}")?;
        }
        Ok(())
    }
}

fn display_api(call: &Call, messages: &[ApiMessage]) -> String {
    let mut text = call.to_string();
    for (index, message) in messages.iter().enumerate() {
        text.push_str(if index == 0 { ": " } else { "; " });
        text.push_str(&message.to_string());
    }
    if let Some(way_out) = way_out(call, messages) {
        text.push_str(". ");
        text.push_str(way_out);
    }
    text
}

/// What a person can do about the errors that people meet.
fn way_out(call: &Call, messages: &[ApiMessage]) -> Option<&'static str> {
    let by_code = messages.iter().find_map(|message| match message.code? {
        codes::AUTHENTICATION | codes::INVALID_HEADERS => {
            Some("Check the API token, or the email and key")
        }
        codes::NOT_PERMITTED => {
            Some("Give the token the permission \"SSL and Certificates: Edit\" for this zone")
        }
        codes::NO_ROUTE => Some("Check the zone id and the certificate id"),
        codes::QUOTA_REACHED => {
            Some("Revoke certificates that are no longer needed, which frees their place at once, or ask for a larger quota")
        }
        _ => None,
    });
    by_code.or(match call.status {
        Some(StatusCode::TOO_MANY_REQUESTS) => {
            Some("The rate limit counts every token and dashboard session of the user; wait before trying again")
        }
        _ => None,
    })
}

/// The API's error numbers that this crate knows.
pub(crate) mod codes {
    pub(crate) const INVALID_HEADERS: i64 = 6003;
    pub(crate) const NO_ROUTE: i64 = 7003;
    pub(crate) const AUTHENTICATION: i64 = 10000;
    pub(crate) const NOT_PERMITTED: i64 = 9109;
    pub(crate) const QUOTA_REACHED: i64 = 1445;
}

impl Error {
    pub(crate) fn input(what: &'static str, problem: impl Into<String>) -> Self {
        Self::Input {
            what,
            problem: problem.into(),
        }
    }

    /// The call that failed, where the error came of one.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Api { call, .. } | Self::Answer { call, .. } | Self::Transport { call, .. } => {
                Some(call)
            }
            Self::OutcomeUnknown { source, .. } => source.call(),
            _ => None,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> Option<StatusCode> {
        self.call()?.status
    }

    /// The answer's `cf-ray`, which Cloudflare's support asks for.
    pub fn ray_id(&self) -> Option<&str> {
        self.call()?.ray_id.as_deref()
    }

    /// What the service says about the failure.
    pub fn messages(&self) -> &[ApiMessage] {
        match self {
            Self::Api { messages, .. } => messages,
            Self::OutcomeUnknown { source, .. } => source.messages(),
            _ => &[],
        }
    }

    /// Whether the service named this number, as an error or as the cause of one.
    pub fn has_code(&self, code: i64) -> bool {
        fn any(messages: &[ApiMessage], code: i64) -> bool {
            messages
                .iter()
                .any(|message| message.code == Some(code) || any(&message.error_chain, code))
        }
        any(self.messages(), code)
    }

    /// What was given to this crate is wrong; nothing was sent.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Input { .. })
    }

    /// There is no such certificate, or no such zone.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// The credentials are wrong, or may not do this.
    pub fn is_not_allowed(&self) -> bool {
        matches!(
            self.status(),
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        ) || self.has_code(codes::AUTHENTICATION)
            || self.has_code(codes::INVALID_HEADERS)
    }

    /// The rate limit is used up.
    pub fn is_rate_limited(&self) -> bool {
        self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// The zone holds as many active certificates as it may.
    pub fn is_quota_reached(&self) -> bool {
        self.has_code(codes::QUOTA_REACHED)
    }

    /// Time ran out, on a call or on a wait.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::NotSettled { .. } => true,
            Self::Transport { source, .. } => source.kind() == TransportErrorKind::TimedOut,
            Self::OutcomeUnknown { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// The service may have acted on the call although it failed.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::OutcomeUnknown { .. } => true,
            Self::Transport { source, .. } => !matches!(
                source.kind(),
                TransportErrorKind::NotConnected | TransportErrorKind::NotSent
            ),
            // A gateway's 4XX is a refusal too, even one that can't be read; a redirect did nothing.
            Self::Api { call, .. } | Self::Answer { call, .. } => {
                call.status.is_none_or(|status| {
                    status.is_success()
                        || status.is_server_error()
                        || status == StatusCode::REQUEST_TIMEOUT
                })
            }
            _ => false,
        }
    }

    /// The same call can succeed later, as it is.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !matches!(
                source.kind(),
                TransportErrorKind::NotSent | TransportErrorKind::TooLarge(_)
            ),
            Self::Api { call, .. } | Self::Answer { call, .. } => {
                call.status.is_some_and(is_passing)
            }
            Self::NotSettled { .. } => true,
            _ => false,
        }
    }
}

/// The statuses of a service that may answer otherwise in a moment.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// The start of a body, short enough for a line.
struct Start<'a>(&'a Bytes);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        if self.0.is_empty() {
            return f.write_str("and ends empty");
        }
        let start = String::from_utf8_lossy(&self.0[..self.0.len().min(SHOWN)]);
        let ellipsis = if self.0.len() > SHOWN { "…" } else { "" };
        write!(f, "{start:?}{ellipsis}")
    }
}

struct In<'a>(&'a Option<CertificateId>);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn api(status: u16, envelope: Value) -> Error {
        Error::Api {
            call: Box::new(Call {
                method: Method::GET,
                path: "/zones/z/client_certificates".into(),
                status: StatusCode::from_u16(status).ok(),
                ray_id: Some("8f1".into()),
                attempts: 2,
            }),
            messages: ApiMessage::read_all(&envelope),
        }
    }

    #[test]
    fn an_api_error_names_call_status_ray_code_cause_and_way_out() {
        let error = api(
            400,
            json!({ "errors": [{ "code": 6003, "message": "Invalid request headers",
                "error_chain": [{ "code": 6111, "message": "Invalid format for Authorization header" }] }] }),
        );
        assert_eq!(
            error.to_string(),
            "GET /zones/z/client_certificates was answered 400 (2 attempts, ray 8f1): \
             Invalid request headers (code 6003), caused by: Invalid format for Authorization header (code 6111). \
             Check the API token, or the email and key"
        );
        assert!(error.has_code(6111) && error.is_not_allowed());
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
    fn a_chain_that_nests_for_ever_ends() {
        let mut error = json!({ "code": 1 });
        for _ in 0..100 {
            error = json!({ "code": 1, "error_chain": [error] });
        }
        let text = ApiMessage::read(&error, 0).to_string();
        assert_eq!(text.matches("caused by").count(), 4);
    }

    #[test]
    fn predicates_follow_status_and_code() {
        assert!(api(404, json!({})).is_not_found());
        assert!(api(403, json!({})).is_not_allowed());
        assert!(api(429, json!({})).is_rate_limited());
        assert!(api(429, json!({})).is_retryable());
        assert!(!api(429, json!({})).is_ambiguous());
        assert!(api(502, json!({})).is_ambiguous());
        assert!(api(400, json!({ "errors": [{ "code": 1445 }] })).is_quota_reached());
        assert!(!api(400, json!({})).is_retryable());
    }
}
