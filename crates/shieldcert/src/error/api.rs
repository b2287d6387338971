//! Errors as the API states them, and what a person can do about them.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde_json::Value;
use shieldcert_api::codes;

use super::call::Call;
use crate::transport::redact::Redactor;

/// An error as the API states it in its envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiMessage {
    /// The API's number for this kind of error; 10000 is an authentication error, for example.
    pub code: Option<i64>,
    /// What happened, for a person.
    pub message: String,
    /// What led to it, nearest cause first.
    pub error_chain: Vec<ApiMessage>,
    /// Where the error is documented.
    pub documentation_url: Option<String>,
    /// The part of the request that the error is about, as a JSON pointer.
    pub pointer: Option<String>,
}

impl ApiMessage {
    /// The service nests one level deep. A hostile response may nest without end.
    const MAX_DEPTH: usize = 4;

    /// Reads the errors of an envelope in whatever shape they are, so that no error hides behind its own format.
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
            error_chain: match error.get("error_chain") {
                Some(Value::Array(causes)) if depth < Self::MAX_DEPTH => causes
                    .iter()
                    .map(|cause| Self::read(cause, depth + 1))
                    .collect(),
                _ => Vec::new(),
            },
            documentation_url: text(error.get("documentation_url")),
            pointer: text(error.pointer("/source/pointer")),
        }
    }

    /// Removes the client's secret.
    pub(crate) fn redact(&mut self, redactor: &Redactor) {
        let redact = |text: &mut String| *text = redactor.redact(text).into_owned();
        redact(&mut self.message);
        self.documentation_url.iter_mut().for_each(redact);
        self.pointer.iter_mut().for_each(redact);
        for cause in &mut self.error_chain {
            cause.redact(redactor);
        }
    }

    /// Whether the error, or one that led to it, has this code.
    pub(crate) fn has_code(&self, code: i64) -> bool {
        self.code == Some(code) || self.error_chain.iter().any(|cause| cause.has_code(code))
    }
}

impl fmt::Display for ApiMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.message.is_empty()) {
            (Some(code), false) => write!(f, "{} (code {code})", self.message)?,
            (Some(code), true) => write!(f, "code {code}")?,
            (None, false) => f.write_str(&self.message)?,
            (None, true) => f.write_str("an error without a code or a message")?,
        }
        for cause in &self.error_chain {
            write!(f, ", caused by: {cause}")?;
        }
        Ok(())
    }
}

/// The text of a failed call: the call, the API's messages and a hint.
pub(super) fn describe(call: &Call, messages: &[ApiMessage]) -> String {
    let mut text = call.to_string();
    for (index, message) in messages.iter().enumerate() {
        text.push_str(if index == 0 { ": " } else { "; " });
        text.push_str(&message.to_string());
    }
    if let Some(hint) = hint(call, messages) {
        text.push_str(". ");
        text.push_str(&hint);
    }
    text
}

/// What a person can do about the errors that people meet.
fn hint(call: &Call, messages: &[ApiMessage]) -> Option<Cow<'static, str>> {
    let has_code = |code| messages.iter().any(|message| message.has_code(code));
    let hint = if has_code(codes::AUTHENTICATION) || has_code(codes::INVALID_HEADERS) {
        "Check the API token, or the email and key"
    } else if has_code(codes::NOT_PERMITTED) {
        "Give the token the permission \"SSL and Certificates: Edit\" for this zone"
    } else if has_code(codes::QUOTA_REACHED) {
        "Revoke certificates that are no longer needed, which frees their place at once, \
         or ask Cloudflare for a larger quota"
    } else if has_code(codes::INVALID_IDENTIFIER) {
        "Check the zone and certificate id; a domain name is no zone id"
    } else if has_code(codes::NO_ROUTE) {
        "Check the base URL: it ends in /client/v4"
    } else if call.status == Some(StatusCode::TOO_MANY_REQUESTS) {
        let wait = match call.retry_after {
            Some(wait) => format!("wait for {} s", wait.as_secs_f64().ceil()),
            None => "wait for some minutes".to_owned(),
        };
        return Some(
            format!("The rate limit counts every token and dashboard session of the user; {wait}")
                .into(),
        );
    } else {
        return None;
    };
    Some(hint.into())
}
