//! Reads certificates from the envelopes of responses.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use shieldcert_api::types;

use super::ClientCertificate;
use super::id::CertificateId;
use super::unreadable::UnreadableRecord;
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
const NO_USABLE_ID: &str = "a record of the list has no usable id";

impl Envelope for types::ClientCertificateResponseSingle {
    type Content = ClientCertificate;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self) -> Result<ClientCertificate, String> {
        let record = self.result.ok_or(NO_CERTIFICATE)?;
        ClientCertificate::from_record(record)
            .map_err(|_| "the certificate in the response has no usable id".to_owned())
    }

    fn read_leniently(envelope: &Members<'_>) -> Result<ClientCertificate, String> {
        let raw = present(envelope, "result").ok_or(NO_CERTIFICATE)?;
        read_record(raw).map_err(|unreadable| unreadable.problem().to_owned())
    }
}

impl Envelope for types::ClientCertificateResponseCollection {
    type Content = RecordPage;

    fn success(&self) -> Option<bool> {
        self.success
    }

    fn read(self) -> Result<RecordPage, String> {
        let total_count = self
            .result_info
            .and_then(|info| info.total_count?.try_into().ok());
        let records = self.result.unwrap_or_default().into_iter().map(|record| {
            // Serialized before it is consumed, for the rare record without a usable id.
            let is_odd = record
                .id
                .as_deref()
                .is_none_or(|id| id.parse::<CertificateId>().is_err());
            let json = is_odd.then(|| serde_json::to_vec(&record));
            ClientCertificate::from_record(record).map_err(|_| {
                let json = json.and_then(Result::ok).unwrap_or_default();
                UnreadableRecord::new(NO_USABLE_ID, json)
            })
        });
        Ok(RecordPage {
            records: records.collect(),
            total_count,
        })
    }

    fn read_leniently(envelope: &Members<'_>) -> Result<RecordPage, String> {
        let records = match present(envelope, "result") {
            None => Vec::new(),
            Some(raw) => serde_json::from_str::<Vec<&RawValue>>(raw.get())
                .map_err(|_| "the `result` of the response is not a list")?,
        };
        let total_count = present(envelope, "result_info")
            .and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok())
            .and_then(|info| {
                let total = info.get("total_count")?;
                let float = || total.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0);
                total.as_u64().or_else(|| Some(float()? as u64))
            });
        Ok(RecordPage {
            records: records.into_iter().map(read_record).collect(),
            total_count,
        })
    }
}

/// Reads a record member by member.
///
/// A scalar of an unexpected type is converted to text, or from the text of a number. What still does not fit is kept
/// as an unknown member.
fn read_record(raw: &RawValue) -> Result<ClientCertificate, UnreadableRecord> {
    let unreadable = |problem: &str| UnreadableRecord::new(problem, raw.get().as_bytes().to_vec());
    let members: Members<'_> = serde_json::from_str(raw.get())
        .map_err(|_| unreadable("a record of the list is not an object"))?;
    let mut fitting = Vec::new();
    let mut odd = Vec::new();
    for (name, value) in members {
        match fit(&name, value.get()) {
            Some(member) => fitting.push(member),
            None => {
                tracing::warn!(
                    name,
                    value = value.get(),
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
