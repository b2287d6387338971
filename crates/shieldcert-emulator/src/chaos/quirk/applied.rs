//! What the quirks change in one request.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::kind::{BeyondEnd, Kind, Record, Total};
use crate::chaos::operation::Operation;
use crate::core::random::Random;
use crate::settings::Order;

/// Which records are odd depends on their ids and on this alone.
const SEED: u64 = 0x6f64_6421;

/// The quirks that were drawn for a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    kinds: Vec<Kind>,
    records: Vec<RecordQuirk>,
}

#[derive(Debug, Clone, Copy)]
struct RecordQuirk {
    record: Record,
    share: f64,
    number: u64,
}

impl Applied {
    pub(super) fn add(&mut self, kind: Kind) {
        self.kinds.push(kind);
    }

    pub(super) fn add_record(&mut self, record: Record, share: f64, number: u64) {
        self.records.push(RecordQuirk {
            record,
            share,
            number,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.records.is_empty()
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The first quirk that this returns something for.
    pub(crate) fn find<T>(&self, select: impl Fn(Kind) -> Option<T>) -> Option<T> {
        self.kinds.iter().copied().find_map(select)
    }

    pub(crate) fn cap(&self) -> Option<u64> {
        self.find(|kind| match kind {
            Kind::Cap(records) => Some(records),
            _ => None,
        })
    }

    pub(crate) fn cut(&self) -> Option<usize> {
        self.find(|kind| match kind {
            Kind::Cut(records) => usize::try_from(records).ok(),
            _ => None,
        })
    }

    pub(crate) fn beyond_end(&self) -> Option<BeyondEnd> {
        self.find(|kind| match kind {
            Kind::BeyondEnd(response) => Some(response),
            _ => None,
        })
    }

    pub(crate) fn total(&self) -> Option<Total> {
        self.find(|kind| match kind {
            Kind::Total(total) => Some(total),
            _ => None,
        })
    }

    pub(crate) fn order(&self) -> Option<Order> {
        self.find(|kind| match kind {
            Kind::Order(order) => Some(order),
            _ => None,
        })
    }

    pub(crate) fn lag(&self) -> Option<Duration> {
        self.find(|kind| match kind {
            Kind::Lag(time) => Some(time),
            _ => None,
        })
    }

    /// Changes the records of a response to this operation. None if that changes nothing.
    pub(crate) fn alter(
        &self,
        operation: Operation,
        ca_pem: impl FnOnce() -> String,
        body: &[u8],
    ) -> Option<Vec<u8>> {
        if self.records.is_empty() {
            return None;
        }
        let ca_pem = &ca_pem();
        let mut envelope: Value = serde_json::from_slice(body).ok()?;
        match &mut envelope["result"] {
            Value::Array(records) => {
                for record in records {
                    self.alter_record(operation, ca_pem, record);
                }
            }
            record @ Value::Object(_) => self.alter_record(operation, ca_pem, record),
            _ => return None,
        }
        serde_json::to_vec(&envelope).ok()
    }

    fn alter_record(&self, operation: Operation, ca_pem: &str, record: &mut Value) {
        let id = record["id"].as_str().unwrap_or_default();
        let id = Uuid::try_parse(id).unwrap_or_default();
        for quirk in &self.records {
            let is_odd = quirk.share >= 1.0 || {
                let random = Random::from_seed_part(SEED ^ quirk.number, id.as_u128());
                random.fraction() < quirk.share
            };
            if is_odd {
                quirk.record.alter(operation, ca_pem, id, record);
            }
        }
    }
}
