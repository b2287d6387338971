//! Records that are odd.

use jiff::Timestamp;
use num_bigint::BigUint;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::kind::{Certificate, Csr, Notation, Record, Time};
use super::odd_id::odd_id;
use crate::chaos::operation::Operation;

/// How many characters a line of re-encoded PEM has. The usual number is 64.
const PEM_WIDTH: usize = 76;

impl Record {
    /// Changes a record of a response to this operation.
    pub(super) fn alter(self, operation: Operation, ca_pem: &str, id: Uuid, record: &mut Value) {
        let is_read = matches!(operation, Operation::List | Operation::Get);
        // Null if a quirk before this one made it so.
        let Value::Object(fields) = record else {
            return;
        };
        match self {
            Self::Csr {
                form,
                in_lists_alone,
            } => {
                let is_list = operation == Operation::List;
                if if in_lists_alone { is_list } else { is_read } {
                    alter_csr(form, fields);
                }
            }
            Self::Certificate(form) => alter_certificate(form, ca_pem, fields),
            Self::Serial(notation) => alter_bytes(notation, "serial_number", fields),
            Self::Fingerprint(notation) => alter_bytes(notation, "fingerprint_sha256", fields),
            Self::Time { field, form } => alter_time(form, field, fields),
            Self::NoId if is_read => {
                fields.remove("id");
            }
            Self::OddId => set(fields, "id", odd_id(id)),
            Self::Null if is_read => *record = Value::Null,
            Self::Nested if is_read => {
                for (name, value) in fields {
                    if value.is_string() && name != "id" {
                        *value = json!({ "value": value.take() });
                    }
                }
            }
            Self::NoId | Self::Null | Self::Nested => {}
        }
    }
}

fn set(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

fn alter_csr(form: Csr, fields: &mut Map<String, Value>) {
    let Some(pem) = text(fields, "csr") else {
        return;
    };
    let base64 = || -> String {
        pem.lines()
            .filter(|line| !line.starts_with("-----"))
            .collect()
    };
    let value = match form {
        Csr::Missing => {
            fields.remove("csr");
            return;
        }
        Csr::Null => Value::Null,
        Csr::Bare => base64().into(),
        Csr::Escaped => pem.replace("\r\n", "\n").replace('\n', "\\n").into(),
        Csr::Reencoded => {
            let base64 = base64();
            let lines: Vec<_> = base64
                .as_bytes()
                .chunks(PEM_WIDTH)
                .map(String::from_utf8_lossy)
                .collect();
            let label = "NEW CERTIFICATE REQUEST";
            let lines = lines.join("\n");
            format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n").into()
        }
    };
    set(fields, "csr", value);
}

fn alter_certificate(form: Certificate, ca_pem: &str, fields: &mut Map<String, Value>) {
    let Some(pem) = text(fields, "certificate") else {
        return;
    };
    let value = match form {
        Certificate::Missing => {
            fields.remove("certificate");
            return;
        }
        Certificate::Null => Value::Null,
        Certificate::Chain => format!("{pem}{ca_pem}").into(),
        Certificate::ReversedChain => format!("{ca_pem}{pem}").into(),
    };
    set(fields, "certificate", value);
}

fn alter_bytes(notation: Notation, name: &str, fields: &mut Map<String, Value>) {
    let Some(hex) = text(fields, name) else {
        return;
    };
    let separate = |separator: &str| {
        let pairs: Vec<_> = hex
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect();
        pairs.join(separator)
    };
    let value = match notation {
        Notation::ZeroX => format!("0x{hex}"),
        Notation::Blanks => separate(" "),
        Notation::Colons => separate(":"),
        Notation::Upper => hex.to_ascii_uppercase(),
        Notation::Decimal => match BigUint::parse_bytes(hex.as_bytes(), 16) {
            Some(number) => number.to_string(),
            None => return,
        },
        Notation::Sha256 => format!("sha256:{hex}"),
    };
    set(fields, name, value);
}

fn alter_time(form: Time, name: &str, fields: &mut Map<String, Value>) {
    let Some(time) = text(fields, name) else {
        return;
    };
    let value = match form {
        Time::Missing => {
            fields.remove(name);
            return;
        }
        Time::Null => Value::Null,
        Time::Go => match time.parse::<Timestamp>() {
            Ok(time) => time
                .strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
                .to_string()
                .into(),
            Err(_) => return,
        },
    };
    set(fields, name, value);
}
