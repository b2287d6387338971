//! What the commands of a fleet print.

pub(crate) mod adopted;
pub(crate) mod device;
pub(crate) mod finding;
pub(crate) mod forecast;
pub(crate) mod generation;
pub(crate) mod history;
pub(crate) mod plan;
pub(crate) mod renewed;
pub(crate) mod status;
pub(crate) mod summary;

use serde::Serialize;
use serde_json::Value;

/// The word that stands for a value in every format.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
