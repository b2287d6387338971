//! Writes a fragment as YAML that reads well.

use anyhow::{Context, Result};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Formats the fragment as YAML, below the comment that the current text begins with.
///
/// # Errors
/// The fragment can't be written as YAML.
pub(crate) fn to_yaml(fragment: &Value, current: &str, provenance: &str) -> Result<String> {
    const IMPORTED: &str = "# Imported from ";
    let header = current.lines().take_while(|line| line.starts_with('#'));
    let mut text: String = header
        .filter(|line| !line.starts_with(IMPORTED))
        .map(|line| format!("{line}\n"))
        .collect();
    text.push_str(&format!("{IMPORTED}{provenance}\n"));
    text.push_str(
        &serde_saphyr::to_string(&Ordered(fragment))
            .context("the fragment can't be written as YAML")?,
    );
    Ok(text)
}

/// Serializes mappings in the order that a person expects: the keys of [`ORDER`], then the others by name.
struct Ordered<'a>(&'a Value);

const ORDER: [&str; 31] = [
    "openapi",
    "info",
    "title",
    "name",
    "in",
    "operationId",
    "summary",
    "description",
    "version",
    "servers",
    "url",
    "tags",
    "security",
    "required",
    "$ref",
    "type",
    "nullable",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "default",
    "parameters",
    "requestBody",
    "responses",
    "content",
    "schema",
    "paths",
    "components",
    "securitySchemes",
];

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let rank = |key: &str| {
                    ORDER
                        .iter()
                        .position(|known| *known == key)
                        .unwrap_or(ORDER.len())
                };
                members.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}
