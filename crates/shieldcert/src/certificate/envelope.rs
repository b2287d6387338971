//! Reads certificates from the envelopes of responses.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use shieldcert_api::types;

use super::ClientCertificate;
use super::id::CertificateId;
use super::unreadable::UnreadableRecord;
use crate::transport::redact::Redactor;
use crate::transport::response::{Envelope, Members, present};

/// One page of a list as the service sent it.
#[derive(Debug)]
pub(crate) struct RecordPage {
    /// In the service's order.
    pub(crate) records: Vec<Result<ClientCertificate, UnreadableRecord>>,
    /// As the service counts, with or without the filter.
    pub(crate) total_count: Option<u64>,
}

const NO_CERTIFICATE: &str = "the response holds no certificate";
const NO_RECORDS: &str = "the response holds no list of certificates";
const NO_USABLE_ID: &str = "a record of the list has no usable id";

impl Envelope for types::ClientCertificateResponseSingle {
    type Content = ClientCertificate;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self, _: &Redactor) -> Result<ClientCertificate, String> {
        let record = self.result.ok_or(NO_CERTIFICATE)?;
        ClientCertificate::from_record(record)
            .map_err(|_| "the certificate in the response has no usable id".to_owned())
    }

    fn read_leniently(
        envelope: &Members<'_>,
        redactor: &Redactor,
    ) -> Result<ClientCertificate, String> {
        let raw = present(envelope, "result").ok_or(NO_CERTIFICATE)?;
        read_record(raw, redactor).map_err(|unreadable| unreadable.problem().to_owned())
    }
}

/// The response to a change. The service may say that it has acted, and leave the certificate out.
#[derive(Debug)]
pub(crate) struct Change(pub(crate) types::ClientCertificateResponseSingle);

impl Envelope for Change {
    type Content = Option<ClientCertificate>;

    fn success(&self) -> Option<bool> {
        self.0.success
    }

    fn read(self, redactor: &Redactor) -> Result<Self::Content, String> {
        match (&self.0.result, self.0.success) {
            (None, Some(true)) => Ok(None),
            _ => self.0.read(redactor).map(Some),
        }
    }

    fn read_nothing() -> Option<Self::Content> {
        Some(None)
    }

    fn read_leniently(
        envelope: &Members<'_>,
        redactor: &Redactor,
    ) -> Result<Self::Content, String> {
        let says_success = envelope
            .get("success")
            .is_some_and(|raw| raw.get() == "true");
        if says_success && present(envelope, "result").is_none() {
            return Ok(None);
        }
        types::ClientCertificateResponseSingle::read_leniently(envelope, redactor).map(Some)
    }
}

impl Envelope for types::ClientCertificateResponseCollection {
    type Content = RecordPage;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self, redactor: &Redactor) -> Result<RecordPage, String> {
        let count = |count: Option<i64>| count.and_then(|count| count.try_into().ok());
        let (total_count, own_count) = match self.result_info {
            Some(info) => (count(info.total_count), count(info.count)),
            None => (None, None),
        };
        let records = match self.result {
            Some(records) => records,
            None => no_records(total_count, own_count)?,
        };
        let records = records.into_iter().map(|record| {
            // Serialized before it is consumed, for the rare record without a usable id.
            let is_usable = record
                .id
                .as_deref()
                .is_some_and(|id| CertificateId::check(id).is_ok());
            let json = (!is_usable).then(|| serde_json::to_vec(&record));
            ClientCertificate::from_record(record).map_err(|_| {
                let json = json.and_then(Result::ok).unwrap_or_default();
                UnreadableRecord::new(NO_USABLE_ID, redactor.redact_bytes(json.into()))
            })
        });
        Ok(RecordPage {
            records: records.collect(),
            total_count,
        })
    }

    fn read_leniently(envelope: &Members<'_>, redactor: &Redactor) -> Result<RecordPage, String> {
        let info = present(envelope, "result_info")
            .and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let count = |name| {
            let count = info.as_ref()?.get(name)?;
            let float = || count.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0);
            count.as_u64().or_else(|| Some(float()? as u64))
        };
        let total_count = count("total_count");
        let records = match envelope.get("result").map(|raw| raw.get()) {
            None | Some("null") => no_records(total_count, count("count"))?,
            Some(records) => serde_json::from_str::<Vec<&RawValue>>(records)
                .map_err(|_| "the `result` of the response is not a list")?,
        };
        let records = records.into_iter();
        Ok(RecordPage {
            records: records
                .map(|record| read_record(record, redactor))
                .collect(),
            total_count,
        })
    }
}

/// Reads `result: null`, which is an empty list only where the service says that it is.
fn no_records<T>(total_count: Option<u64>, own_count: Option<u64>) -> Result<Vec<T>, String> {
    if total_count == Some(0) && own_count.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    Err(NO_RECORDS.to_owned())
}

/// Reads a record member by member.
///
/// A scalar of an unexpected type is converted to text, or from the text of a number. What still does not fit is kept
/// as an unknown member.
fn read_record(raw: &RawValue, redactor: &Redactor) -> Result<ClientCertificate, UnreadableRecord> {
    let unreadable = |problem: &str| {
        let json = Bytes::copy_from_slice(raw.get().as_bytes());
        UnreadableRecord::new(problem, redactor.redact_bytes(json))
    };
    let members: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| unreadable("a record of the list is not an object"))?;
    let mut fitting = Vec::new();
    let mut odd = Vec::new();
    for (name, value) in members {
        match fit(&name, value.get()) {
            Some(member) => fitting.push(member),
            None => {
                tracing::warn!(
                    name = %redactor.redact(&name),
                    value = %redactor.redact(value.get()),
                    "a member of a certificate's record has an unexpected type"
                );
                odd.push((name, value));
            }
        }
    }
    let mut record: types::ClientCertificate = parse(&format!("{{{}}}", fitting.join(",")))
        .ok_or_else(|| unreadable("a record of the list can't be read"))?;
    for (name, value) in odd {
        record
            .extra
            .insert(name, parse(value.get()).unwrap_or_default());
    }
    ClientCertificate::from_record(record).map_err(|_| unreadable(NO_USABLE_ID))
}

/// Returns the member as JSON that the generated type accepts.
fn fit(name: &str, value: &str) -> Option<String> {
    let key = Value::from(name).to_string();
    let as_text = || Value::from(value).to_string();
    let from_text = || serde_json::from_str::<String>(value).unwrap_or_default();
    let is_scalar = !value.starts_with(['{', '[']);
    [
        Some(value.to_owned()),
        is_scalar.then(as_text),
        is_scalar.then(from_text),
    ]
    .into_iter()
    .flatten()
    .map(|value| format!("{key}:{value}"))
    .find(|member| parse::<types::ClientCertificate>(&format!("{{{member}}}")).is_some())
}

fn parse<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}
