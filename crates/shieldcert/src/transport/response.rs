//! Reads the envelope of a response.
//!
//! The generated types are tried first. If they don't fit, the envelope is read member by member, so that no value in
//! one record costs the caller another record.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::page;
use super::redact::Redactor;
use crate::error::api::ApiMessage;
use crate::error::call::Call;
use crate::error::{Error, Result};

/// The envelope of an operation's response, as the generated types have it.
pub(crate) trait Envelope: Sized {
    /// What the envelope holds for the caller.
    type Content;

    fn success(&self) -> Option<bool>;

    /// Returns the content, or says what is wrong.
    fn read(self, redactor: &Redactor) -> Result<Self::Content, String>;

    /// Returns the content of a success without a body (204), if the operation can do without.
    fn read_nothing() -> Option<Self::Content> {
        None
    }

    /// Reads the content from an envelope that does not fit the generated types.
    fn read_leniently(envelope: &Members<'_>, redactor: &Redactor)
    -> Result<Self::Content, String>;
}

/// The members of a JSON object, unparsed.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Returns a member that is there and not null.
pub(crate) fn present<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.get(name).copied().filter(|raw| raw.get() != "null")
}

/// What a response says.
pub(crate) struct Reading<T> {
    pub(crate) result: Result<T>,
    /// Whether the response is an envelope of the API, and not something of a gateway.
    pub(crate) is_envelope: bool,
}

/// Reads a response.
///
/// `parsed` is the envelope as the generated client read it, if it could.
pub(crate) fn read<E: Envelope>(
    parsed: Option<E>,
    call: &Call,
    body: Bytes,
    redactor: &Redactor,
) -> Reading<E::Content> {
    let invalid = |problem: &str, body: Bytes| {
        let body = redactor.redact_bytes(body);
        Err(Error::invalid_response(call.clone(), problem, body))
    };
    if call.is_success()
        && let Some(envelope) = parsed
        && envelope.success() != Some(false)
    {
        return Reading {
            is_envelope: envelope.success().is_some(),
            result: envelope
                .read(redactor)
                .or_else(|problem| invalid(&problem, body)),
        };
    }
    if call.status == Some(StatusCode::NO_CONTENT)
        && let Some(content) = E::read_nothing()
    {
        return Reading {
            is_envelope: false,
            result: Ok(content),
        };
    }
    let Ok(members) = serde_json::from_slice::<Members<'_>>(&body) else {
        let problem = page::describe(call.status, &body);
        return Reading {
            is_envelope: false,
            result: invalid(&problem, body),
        };
    };
    let success = members.get("success").map(|raw| raw.get());
    let is_envelope = matches!(success, Some("true" | "false"));
    if call.is_success() && success != Some("false") {
        let content = E::read_leniently(&members, redactor);
        return Reading {
            is_envelope,
            result: content.or_else(|problem| invalid(&problem, body.clone())),
        };
    }
    let mut messages = read_messages(&members);
    if messages.is_empty() {
        let problem = "the response says that the call failed, but not why";
        return Reading {
            is_envelope,
            result: invalid(problem, body.clone()),
        };
    }
    for message in &mut messages {
        message.redact(redactor);
    }
    Reading {
        is_envelope,
        result: Err(Error::Api {
            call: Box::new(call.clone()),
            messages,
        }),
    }
}

fn read_messages(members: &Members<'_>) -> Vec<ApiMessage> {
    let errors = members.get("errors").map(|raw| raw.get());
    let errors = errors
        .and_then(|raw| Value::deserialize(&mut serde_json::Deserializer::from_str(raw)).ok());
    ApiMessage::read_all(&serde_json::json!({ "errors": errors }))
}
