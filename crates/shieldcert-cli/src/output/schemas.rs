//! The JSON Schemas of what is printed, in `schemas/`. What users' programs rely on changes only where they do.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::row::Row;

/// Holds a schema to the type that is printed, and the type's list of fields to both.
///
/// With `SHIELDCERT_UPDATE_SCHEMAS=1` it writes the schema.
pub(crate) fn check<R: Row + JsonSchema>(name: &str) {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let schema = generator.root_schema_for::<R>();
    let schema = serde_json::to_value(schema).expect("a schema is JSON");
    let path = format!("{}/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    if std::env::var_os("SHIELDCERT_UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).expect("is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written, text,
        "{path} is stale: run the test again with SHIELDCERT_UPDATE_SCHEMAS=1"
    );
    let Value::Object(properties) = &schema["properties"] else {
        panic!("{schema}");
    };
    let mut fields = R::FIELDS.to_vec();
    fields.sort_unstable();
    let mut properties: Vec<_> = properties.keys().map(String::as_str).collect();
    properties.sort_unstable();
    assert_eq!(fields, properties, "FIELDS of {name}");
    assert!(R::LONG_FIELDS.iter().all(|name| fields.contains(name)));
}
