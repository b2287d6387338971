//! The JSON Schemas of the rows, which are published with the command line. Users' programs rely on them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::*;

/// Holds a schema to the type that is printed, and the type's list of fields to both.
///
/// With `SHIELDCERT_UPDATE_SCHEMAS=1` it writes the schema.
fn check<R: JsonSchema>(name: &str, fields: &[&str]) {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let schema = generator.root_schema_for::<R>();
    let schema = serde_json::to_value(schema).expect("a schema is JSON");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shieldcert-cli/schemas");
    let path = format!("{folder}/{name}.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    if std::env::var_os("SHIELDCERT_UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).expect("is written");
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        text,
        "{path} is stale: run the test again with SHIELDCERT_UPDATE_SCHEMAS=1"
    );
    let Value::Object(properties) = &schema["properties"] else {
        panic!("{schema}");
    };
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    let mut properties: Vec<_> = properties.keys().map(String::as_str).collect();
    properties.sort_unstable();
    assert_eq!(fields, properties, "FIELDS of {name}");
}

#[test]
fn the_schemas_are_those_of_the_rows() {
    check::<ApplyRow>("apply", ApplyRow::FIELDS);
    check::<FailedRow>("failed", FailedRow::FIELDS);
    check::<GenerationRow>("generation", GenerationRow::FIELDS);
    check::<PlanRow>("plan", PlanRow::FIELDS);
    check::<PlanSummaryRow>("plan_summary", PlanSummaryRow::FIELDS);
}
