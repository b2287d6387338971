//! A schema with its references followed and its `allOf` merged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What a schema says about values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Schema {
    /// `type`, `nullable`, `enum`, bounds, and whatever else is no schema of its own. Defaults are left out.
    pub(crate) keywords: BTreeMap<String, Value>,
    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) required: BTreeSet<String>,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) additional: Additional,
    /// `anyOf`, `oneOf`, and as `not` a single schema.
    pub(crate) choices: BTreeMap<&'static str, Vec<Schema>>,
    /// The parts that can't be merged with the rest.
    pub(crate) parts: Vec<Schema>,
    /// The component that the schema stood in. No part of what it says.
    pub(crate) origin: Origin,
}

/// Which properties a value may have beside those that are named.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Additional {
    #[default]
    Any,
    None,
    Matching(Box<Schema>),
}

/// The name of a component. Any two are equal: names don't travel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(pub(crate) Option<String>);

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Says whether a keyword holds words for people, or is an extension: nothing of it travels.
pub(crate) fn is_text(key: &str) -> bool {
    matches!(
        key,
        "description" | "summary" | "title" | "example" | "examples" | "externalDocs" | "xml"
    ) || key.starts_with("x-")
}

impl Schema {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keywords.get(key)
    }

    pub(crate) fn kind(&self) -> Option<&str> {
        self.get("type").and_then(Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    /// Says whether it allows anything at all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes the schema as OpenAPI, the schemas below by the function.
    pub(crate) fn to_value(&self, write: &mut dyn FnMut(&Schema) -> Value) -> Value {
        let mut members = Map::new();
        members.extend(self.keywords.clone());
        if !self.required.is_empty() {
            members.insert("required".into(), json!(self.required));
        }
        if !self.properties.is_empty() {
            let properties = self.properties.iter();
            let properties: Map<_, _> = properties
                .map(|(name, schema)| (name.clone(), write(schema)))
                .collect();
            members.insert("properties".into(), properties.into());
        }
        if let Some(items) = &self.items {
            members.insert("items".into(), write(items));
        }
        match &self.additional {
            Additional::Any => {}
            Additional::None => drop(members.insert("additionalProperties".into(), false.into())),
            Additional::Matching(schema) => {
                members.insert("additionalProperties".into(), write(schema));
            }
        }
        for (key, schemas) in &self.choices {
            let mut written: Vec<Value> = schemas.iter().map(&mut *write).collect();
            let value = match *key {
                "not" => written.pop().unwrap_or_default(),
                _ => written.into(),
            };
            members.insert((*key).to_owned(), value);
        }
        if !self.parts.is_empty() {
            let parts: Vec<Value> = self.parts.iter().map(write).collect();
            members.insert("allOf".into(), parts.into());
        }
        members.into()
    }

    /// An order of its own, for lists whose order says nothing.
    pub(super) fn sort_key(&self) -> String {
        self.to_value(&mut |schema| schema.sort_key().into())
            .to_string()
    }
}
