//! The JSON Schema of a row, in `schemas/`. Users' programs rely on it, so it changes only where the reader does.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::*;
use crate::manifest::column::Column;
use crate::manifest::row::Row;

fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    serde_json::to_value(generator.root_schema_for::<Row>()).expect("a schema is JSON")
}

/// With `SHIELDCERT_UPDATE_SCHEMAS=1` it writes the schema.
#[test]
fn the_schema_is_that_of_the_rows() {
    let schema = schema();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/device.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    if std::env::var_os("SHIELDCERT_UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &text).expect("is written");
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        text,
        "{path} is stale: run the test again with SHIELDCERT_UPDATE_SCHEMAS=1"
    );
    let Value::Object(properties) = &schema["properties"] else {
        panic!("{schema}");
    };
    let properties: BTreeSet<_> = properties.keys().map(String::as_str).collect();
    assert_eq!(properties, Column::names().collect());
}

#[test]
fn the_schema_takes_and_refuses_what_the_reader_does() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let long = "x".repeat(65);
    for (row, is_valid) in [
        (json!({"name": "a"}), true),
        (
            json!({"name": "a", "days": null, "key": null, "labels": null, "state": null}),
            true,
        ),
        (
            json!({"name": "a@b.c+d-e_f", "state": "absent", "labels": ["é-1"]}),
            true,
        ),
        (
            json!({"name": "a", "key": "rsa-4096", "days": 36_500, "country": "DE"}),
            true,
        ),
        (json!({"name": "a", "zone": "north", "csr": "a.csr"}), true),
        (json!({}), false),
        (json!({"name": null}), false),
        (json!({"name": ""}), false),
        (json!({"name": "a b"}), false),
        (json!({"name": "a."}), false),
        (json!({"name": long}), false),
        (json!({"name": "a", "dyas": 1}), false),
        (json!({"name": "a", "state": "gone"}), false),
        (json!({"name": "a", "key": "rsa"}), false),
        (json!({"name": "a", "days": 0}), false),
        (json!({"name": "a", "days": 36_501}), false),
        (json!({"name": "a", "days": "1"}), false),
        (json!({"name": "a", "country": "de"}), false),
        (json!({"name": "a", "organization": long}), false),
        (json!({"name": "a", "organization": ""}), false),
        (json!({"name": "a", "csr": ""}), false),
        (json!({"name": "a", "output": "ids/a.pem"}), true),
        (json!({"name": "a", "output": ""}), false),
        (json!({"name": "a", "labels": "one"}), false),
        (json!({"name": "a", "labels": ["one two"]}), false),
        (json!({"name": "a", "labels": ["one,two"]}), false),
        (json!({"name": "a", "labels": [""]}), false),
        (json!(["a"]), false),
    ] {
        assert_eq!(validator.is_valid(&row), is_valid, "{row}");
        let read = read(Jsonl, row.to_string());
        assert_eq!(read[0].is_ok(), is_valid, "{row}: {read:?}");
    }
    // Every algorithm that the schema names is one.
    for name in schema()["properties"]["key"]["enum"]
        .as_array()
        .expect("an enum")
    {
        let row = json!({"name": "a", "key": name});
        assert!(read(Jsonl, row.to_string())[0].is_ok(), "{row}");
    }
}
