//! Changes to what a response says.

use num_bigint::BigUint;
use serde_json::Value;
use uuid::Uuid;

use crate::settings::IdStyle;

/// What is changed in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    UnknownStatus,
    NullFields,
    DecimalSerials,
    OtherIds,
    Reorder,
}

const SUBJECT_FIELDS: [&str; 6] = [
    "common_name",
    "country",
    "location",
    "organization",
    "organizational_unit",
    "state",
];

impl Alteration {
    /// Changes the certificates of a body. None if the body has none.
    pub(crate) fn alter(self, body: &[u8]) -> Option<Vec<u8>> {
        let mut envelope: Value = serde_json::from_slice(body).ok()?;
        match &mut envelope["result"] {
            Value::Array(certificates) => {
                if self == Self::Reorder {
                    certificates.reverse();
                }
                certificates
                    .iter_mut()
                    .for_each(|certificate| self.alter_certificate(certificate));
            }
            Value::Object(_) => self.alter_certificate(&mut envelope["result"]),
            _ => return None,
        }
        serde_json::to_vec(&envelope).ok()
    }

    fn alter_certificate(self, certificate: &mut Value) {
        match self {
            Self::UnknownStatus => certificate["status"] = "archived".into(),
            Self::NullFields => {
                for field in SUBJECT_FIELDS {
                    certificate[field] = Value::Null;
                }
            }
            Self::DecimalSerials => {
                let hex = certificate["serial_number"].as_str().unwrap_or_default();
                if let Some(serial) = BigUint::parse_bytes(hex.as_bytes(), 16) {
                    certificate["serial_number"] = serial.to_string().into();
                }
            }
            Self::OtherIds => {
                let id = certificate["id"].as_str().unwrap_or_default();
                if let Ok(uuid) = Uuid::parse_str(id) {
                    let other = match id.contains('-') {
                        true => IdStyle::Hex,
                        false => IdStyle::Hyphenated,
                    };
                    certificate["id"] = other.format(uuid).into();
                }
            }
            Self::Reorder => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alter(alteration: Alteration, body: &Value) -> Value {
        let altered = alteration.alter(body.to_string().as_bytes());
        serde_json::from_slice(&altered.expect("is altered")).expect("JSON")
    }

    #[test]
    fn each_alteration_changes_its_fields_alone() {
        let serial = "17518db2ec8f3f2ff9d76fc4c0f2ad1ff7a4b2bf";
        let id = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";
        let one = json!({
            "success": true,
            "result": { "id": id, "status": "active", "serial_number": serial, "state": "HH" },
        });
        for (alteration, field, expected) in [
            (Alteration::UnknownStatus, "status", json!("archived")),
            (Alteration::NullFields, "state", Value::Null),
            (
                Alteration::DecimalSerials,
                "serial_number",
                json!("133125491807048566702511881710663822279115584191"),
            ),
            (Alteration::OtherIds, "id", json!(id.replace('-', ""))),
        ] {
            let altered = alter(alteration, &one);
            assert_eq!(altered["result"][field], expected);
            assert_eq!(altered["success"], true);
            let others = ["id", "status", "serial_number", "state"];
            for other in others.iter().filter(|other| **other != field) {
                assert_eq!(altered["result"][other], one["result"][other], "{other}");
            }
        }
        let list = json!({ "result": [{ "id": "a" }, { "id": "b" }] });
        assert_eq!(alter(Alteration::Reorder, &list)["result"][0]["id"], "b");
    }

    #[test]
    fn a_body_without_certificates_stays_as_it_is() {
        assert_eq!(Alteration::UnknownStatus.alter(b"{\"result\":null}"), None);
        assert_eq!(Alteration::UnknownStatus.alter(b"nonsense"), None);
    }
}
