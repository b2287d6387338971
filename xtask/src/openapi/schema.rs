//! Schemas with their references followed and the parts of their `allOf` merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

#[derive(Default)]
pub(super) struct Schema<'a> {
    keywords: BTreeMap<&'a str, &'a Value>,
    pub(super) properties: BTreeMap<&'a str, &'a Value>,
    pub(super) required: BTreeSet<&'a str>,
}

impl<'a> Schema<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&&'a Value> {
        self.keywords.get(key)
    }
}

/// Keywords that say nothing about values.
const ANNOTATIONS: [&str; 8] = [
    "description",
    "title",
    "example",
    "examples",
    "externalDocs",
    "readOnly",
    "writeOnly",
    "deprecated",
];

/// Merges a schema with its `allOf`. A schema with properties and no type is an object.
pub(super) fn merge_schema<'a>(document: &'a Value, schema: &'a Value) -> Schema<'a> {
    let mut whole = Schema::default();
    merge(document, schema, &mut whole, 0);
    if !whole.properties.is_empty() {
        whole.keywords.entry("type").or_insert(&OBJECT);
    }
    whole
}
static OBJECT: LazyLock<Value> = LazyLock::new(|| "object".into());

fn merge<'a>(document: &'a Value, schema: &'a Value, whole: &mut Schema<'a>, depth: usize) {
    if depth > 24 {
        return;
    }
    let schema = resolve(document, schema);
    for part in schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        merge(document, part, whole, depth + 1);
    }
    for (key, value) in schema.as_object().into_iter().flatten() {
        match key.as_str() {
            "allOf" => {}
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                whole
                    .properties
                    .extend(properties.map(|(name, schema)| (name.as_str(), schema)));
            }
            "required" => {
                let names = value.as_array().into_iter().flatten();
                whole.required.extend(names.filter_map(Value::as_str));
            }
            key if ANNOTATIONS.contains(&key) || key.starts_with("x-") => {}
            key => {
                whole.keywords.insert(key, value);
            }
        }
    }
}

/// Follows local references. A reference to nothing is returned as it is.
pub(super) fn resolve<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    let mut node = node;
    for _ in 0..32 {
        let target = node.get("$ref").and_then(Value::as_str);
        match target.and_then(|target| document.pointer(target.strip_prefix('#')?)) {
            Some(target) => node = target,
            None => return node,
        }
    }
    node
}
