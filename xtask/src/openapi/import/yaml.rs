//! Writes a fragment as YAML that reads well.

use anyhow::{Context, Result};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use serde_saphyr::{FlowMap, FlowSeq};

/// Formats the fragment as YAML, below the comment that the current text begins with. The comment ends with the
/// provenance; without one, it is kept as it is.
///
/// # Errors
/// The fragment can't be written as YAML.
pub(crate) fn to_yaml(
    fragment: &Value,
    current: &str,
    provenance: Option<&[String; 2]>,
) -> Result<String> {
    const PROVENANCE: [&str; 2] = ["# Imported from ", "# SHA-256 "];
    let header = current.lines().take_while(|line| line.starts_with('#'));
    let is_kept = |line: &&str| {
        provenance.is_none() || !PROVENANCE.iter().any(|start| line.starts_with(start))
    };
    let mut text: String = header
        .filter(is_kept)
        .map(|line| format!("{line}\n"))
        .collect();
    for line in provenance.into_iter().flatten() {
        text.push_str(&format!("# {line}\n"));
    }
    let options = serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: 100 };
    let body = serde_saphyr::to_string_with_options(&Ordered(fragment), options);
    text.push_str(&body.context("the fragment can't be written as YAML")?);
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
    "$ref",
    "type",
    "required",
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

/// The longest mapping or list that is written on one line, in characters of JSON.
const MAX_FLOW: usize = 72;

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_scalar = |value: &Value| !value.is_object() && !value.is_array();
        match self.0 {
            Value::Object(members)
                if members.values().all(is_scalar) && self.0.to_string().len() <= MAX_FLOW =>
            {
                FlowMap(Members(members)).serialize(serializer)
            }
            Value::Object(members) => Members(members).serialize(serializer),
            Value::Array(items) if items.iter().all(is_scalar) => {
                FlowSeq(items.iter().map(Ordered).collect::<Vec<_>>()).serialize(serializer)
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

struct Members<'a>(&'a Map<String, Value>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members: Vec<_> = self.0.iter().collect();
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
}
