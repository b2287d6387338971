//! Reading answers: strictly by the generated types first, and loosely where they don't fit, so
//! that no value in one record costs the caller another record.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use shieldcert_api::types;

use super::exchange::Record;
use crate::certificate::ClientCertificate;
use crate::error::{ApiMessage, Call, Error, Result};

/// An answer's envelope, as the generated types have it.
pub(crate) trait Envelope: Sized {
    /// What the caller wants of it.
    type Answer;

    fn success(&self) -> Option<bool>;

    /// Says what is wrong where there is no answer in it.
    fn read(self) -> Result<Self::Answer, String>;

    /// The same from JSON that does not fit the generated types.
    fn read_loosely(envelope: &Members<'_>) -> Result<Self::Answer, String>;
}

/// The members of a JSON object, unread.
pub(crate) type Members<'a> = BTreeMap<String, &'a RawValue>;

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Records {
    /// In the service's order. What can't be read stands in its place, as the service wrote it.
    pub(crate) records: Vec<Result<ClientCertificate, Unreadable>>,
    /// As the service counts; with or without the filter.
    pub(crate) total_count: Option<u64>,
}

/// A record that is not a certificate with an id.
#[derive(Debug)]
pub(crate) struct Unreadable {
    problem: String,
    raw: Bytes,
}

impl Unreadable {
    pub(crate) fn into_error(self, call: &Call) -> Error {
        Error::Answer {
            call: Box::new(call.clone()),
            problem: self.problem,
            body: self.raw,
        }
    }
}

const NO_CERTIFICATE: &str = "the answer holds no certificate";

impl Envelope for types::ClientCertificateResponseSingle {
    type Answer = ClientCertificate;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self) -> Result<ClientCertificate, String> {
        let wire = self.result.ok_or(NO_CERTIFICATE)?;
        wire.try_into()
            .map_err(|error: Error| format!("the answer's certificate has no usable id ({error})"))
    }

    fn read_loosely(envelope: &Members<'_>) -> Result<ClientCertificate, String> {
        let raw = present(envelope, "result").ok_or(NO_CERTIFICATE)?;
        certificate(raw).map_err(|unreadable| unreadable.problem)
    }
}

impl Envelope for types::ClientCertificateResponseCollection {
    type Answer = Records;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self) -> Result<Records, String> {
        let total_count = self
            .result_info
            .and_then(|info| info.total_count?.try_into().ok());
        let records = self.result.unwrap_or_default().into_iter().map(|wire| {
            // Written down before it is consumed, for the rare record without an id.
            let raw = wire.id.is_none().then(|| serde_json::to_vec(&wire));
            ClientCertificate::try_from(wire).map_err(|error| Unreadable {
                problem: format!("a record of the list has no usable id ({error})"),
                raw: raw.and_then(Result::ok).unwrap_or_default().into(),
            })
        });
        Ok(Records {
            records: records.collect(),
            total_count,
        })
    }

    fn read_loosely(envelope: &Members<'_>) -> Result<Records, String> {
        let records = match present(envelope, "result") {
            None => Vec::new(),
            Some(raw) => serde_json::from_str::<Vec<&RawValue>>(raw.get())
                .map_err(|_| "the answer's `result` is not a list")?,
        };
        let total_count = present(envelope, "result_info")
            .and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok())
            .and_then(|info| {
                let total = info.get("total_count")?;
                let float = || total.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0);
                total.as_u64().or_else(|| Some(float()? as u64))
            });
        Ok(Records {
            records: records.into_iter().map(certificate).collect(),
            total_count,
        })
    }
}

fn present<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.get(name).copied().filter(|raw| raw.get() != "null")
}

/// Reads a record member by member: what does not fit as it is may fit as text, or as the number
/// in a text, and otherwise is left out.
fn certificate(raw: &RawValue) -> Result<ClientCertificate, Unreadable> {
    let unreadable = |problem: String| Unreadable {
        problem,
        raw: Bytes::copy_from_slice(raw.get().as_bytes()),
    };
    let members: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| unreadable("a record of the list is not an object".to_owned()))?;
    let mut fitting = Vec::new();
    for (name, value) in members {
        match fit(&name, value.get()) {
            Some(member) => fitting.push(member),
            None => tracing::warn!(
                name,
                value = value.get(),
                "left out a member of a certificate's record: it is of an unexpected type"
            ),
        }
    }
    let wire: types::ClientCertificate = read(&format!("{{{}}}", fitting.join(",")))
        .ok_or_else(|| unreadable("a record of the list can't be read".to_owned()))?;
    wire.try_into().map_err(|error: Error| {
        unreadable(format!("a record of the list has no usable id ({error})"))
    })
}

/// The member as a piece of JSON that the generated type takes.
fn fit(name: &str, value: &str) -> Option<String> {
    let key = Value::from(name).to_string();
    let as_text = || Value::from(value).to_string();
    let in_text = || serde_json::from_str::<String>(value).unwrap_or_default();
    let scalar = !value.starts_with(['{', '[']);
    [
        Some(value.to_owned()),
        scalar.then(as_text),
        scalar.then(in_text),
    ]
    .into_iter()
    .flatten()
    .map(|value| format!("{key}:{value}"))
    .find(|member| read::<types::ClientCertificate>(&format!("{{{member}}}")).is_some())
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

/// Makes of an operation's outcome what its caller gets.
///
/// `read` is what the generated client read, where it could. Returns the call too, for what a
/// caller finds wrong with the answer later.
pub(crate) fn conclude<E: Envelope>(read: Option<E>, record: Record) -> Result<(E::Answer, Call)> {
    let call = record.call;
    let body = match record.outcome {
        Ok(body) => body,
        Err(source) => {
            return Err(Error::Transport {
                call: Box::new(call),
                source,
            });
        }
    };
    let wrong = |call: Call, problem: String, body: Bytes| Error::Answer {
        call: Box::new(call),
        problem,
        body,
    };
    let succeeded = call.status.is_some_and(|status| status.is_success());
    if succeeded
        && let Some(envelope) = read
        && envelope.success() != Some(false)
    {
        return match envelope.read() {
            Ok(answer) => Ok((answer, call)),
            Err(problem) => Err(wrong(call, problem, body)),
        };
    }
    let Ok(members) = serde_json::from_slice::<Members<'_>>(&body) else {
        return Err(wrong(call, problem_of(&body), body));
    };
    let says_no = members
        .get("success")
        .is_some_and(|raw| raw.get() == "false");
    if succeeded && !says_no {
        return match E::read_loosely(&members) {
            Ok(answer) => Ok((answer, call)),
            Err(problem) => Err(wrong(call, problem, body)),
        };
    }
    let errors = members.get("errors").map(|raw| raw.get());
    let errors = errors
        .and_then(|raw| Value::deserialize(&mut serde_json::Deserializer::from_str(raw)).ok());
    let messages = ApiMessage::read_all(&serde_json::json!({ "errors": errors }));
    if messages.is_empty() {
        return Err(wrong(
            call,
            "the answer says that it failed, but not why".to_owned(),
            body,
        ));
    }
    Err(Error::Api {
        call: Box::new(call),
        messages,
    })
}

fn problem_of(body: &Bytes) -> String {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        "the answer is empty".to_owned()
    } else if start.starts_with(b"<") {
        "the answer is HTML, so it comes from a gateway and not from the API".to_owned()
    } else {
        match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => "the answer is JSON, but not the API's envelope".to_owned(),
            Err(error) if error.is_eof() => "the answer is JSON that breaks off".to_owned(),
            Err(_) => "the answer is not JSON".to_owned(),
        }
    }
}
