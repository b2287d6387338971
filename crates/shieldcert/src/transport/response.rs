//! Reads the envelope of a response.
//!
//! The generated types are tried first. If they don't fit, the envelope is read member by member, so that no value in
//! one record costs the caller another record.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::exchange::Outcome;
use crate::error::api::ApiMessage;
use crate::error::call::Call;
use crate::error::{Error, Result};

/// The envelope of an operation's response, as the generated types have it.
pub(crate) trait Envelope: Sized {
    /// What the envelope holds for the caller.
    type Content;

    fn success(&self) -> Option<bool>;

    /// Returns the content, or says what is wrong.
    fn read(self) -> Result<Self::Content, String>;

    /// Reads the content from an envelope that does not fit the generated types.
    fn read_leniently(envelope: &Members<'_>) -> Result<Self::Content, String>;
}

/// The members of a JSON object, unparsed.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Returns a member that is there and not null.
pub(crate) fn present<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.get(name).copied().filter(|raw| raw.get() != "null")
}

/// Turns the outcome of a call into the content of its response, or an error.
///
/// `parsed` is the envelope as the generated client read it, if it could. The call is returned for errors that are
/// found later.
pub(crate) fn read<E: Envelope>(parsed: Option<E>, outcome: Outcome) -> Result<(E::Content, Call)> {
    let call = outcome.call;
    let body = match outcome.body {
        Ok(body) => body,
        Err(cause) => {
            return Err(Error::Transport {
                call: Box::new(call),
                cause,
            });
        }
    };
    let succeeded = call.status.is_some_and(|status| status.is_success());
    if succeeded
        && let Some(envelope) = parsed
        && envelope.success() != Some(false)
    {
        return match envelope.read() {
            Ok(content) => Ok((content, call)),
            Err(problem) => Err(Error::invalid_response(call, problem, body)),
        };
    }
    let Ok(members) = serde_json::from_slice::<Members<'_>>(&body) else {
        return Err(Error::invalid_response(call, describe(&body), body));
    };
    let is_failure = members
        .get("success")
        .is_some_and(|raw| raw.get() == "false");
    if succeeded && !is_failure {
        return match E::read_leniently(&members) {
            Ok(content) => Ok((content, call)),
            Err(problem) => Err(Error::invalid_response(call, problem, body)),
        };
    }
    let errors = members.get("errors").map(|raw| raw.get());
    let errors = errors
        .and_then(|raw| Value::deserialize(&mut serde_json::Deserializer::from_str(raw)).ok());
    let messages = ApiMessage::read_all(&serde_json::json!({ "errors": errors }));
    if messages.is_empty() {
        let problem = "the response says that the call failed, but not why";
        return Err(Error::invalid_response(call, problem, body));
    }
    Err(Error::Api {
        call: Box::new(call),
        messages,
    })
}

/// Says what is wrong with a body that is no envelope.
fn describe(body: &Bytes) -> &'static str {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        "the response is empty"
    } else if start.starts_with(b"<") {
        "the response is HTML, so it comes from a gateway and not from the API"
    } else {
        match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => "the response is JSON, but not an envelope of the API",
            Err(error) if error.is_eof() => "the response is JSON that breaks off",
            Err(_) => "the response is not JSON",
        }
    }
}
