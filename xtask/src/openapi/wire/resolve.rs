//! Follows references and reads schemas.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::merge::normalize_number;
use super::schema::{Additional, Origin, Schema};

/// The keyword of a schema that contains itself, with how many references up.
pub(super) const CIRCULAR: &str = "$circular";

/// References may multiply: ten components that each name the next one twice are a thousand schemas.
const MAX_SCHEMAS: usize = 200_000;
const MAX_DEPTH: usize = 64;

/// Resolves the nodes of one document.
pub(crate) struct Resolver<'a> {
    document: &'a Value,
    schemas: usize,
    depth: usize,
    /// The references that are being followed.
    stack: Vec<&'a str>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(document: &'a Value) -> Self {
        Self {
            document,
            schemas: 0,
            depth: 0,
            stack: Vec::new(),
        }
    }

    pub(super) fn document(&self) -> &'a Value {
        self.document
    }

    /// Follows a node's references. A reference to nothing is returned as it is.
    pub(crate) fn follow(&self, node: &'a Value) -> &'a Value {
        let mut node = node;
        for _ in 0..32 {
            let target = node.get("$ref").and_then(Value::as_str);
            match target.and_then(|target| self.document.pointer(target.strip_prefix('#')?)) {
                Some(target) => node = target,
                None => return node,
            }
        }
        node
    }

    /// Reads a schema.
    ///
    /// # Errors
    /// The schema is nested too deeply, or its references multiply beyond bounds.
    pub(crate) fn schema(&mut self, node: &'a Value) -> Result<Schema> {
        self.schemas += 1;
        ensure!(
            self.schemas <= MAX_SCHEMAS,
            "/components/schemas: more than {MAX_SCHEMAS} schemas once the references are followed; is this a document of \
             the API?"
        );
        ensure!(
            self.depth < MAX_DEPTH,
            "/components/schemas: schemas are nested more than {MAX_DEPTH} deep; is this a document of the API?"
        );
        self.depth += 1;
        let schema = match node.get("$ref").and_then(Value::as_str) {
            Some(target) => self.reference(node, target),
            None => self.read(node),
        };
        self.depth -= 1;
        schema
    }

    fn reference(&mut self, node: &'a Value, target: &'a str) -> Result<Schema> {
        if let Some(place) = self.stack.iter().rposition(|open| *open == target) {
            let mut schema = Schema::default();
            let up = self.stack.len() - place;
            schema.keywords.insert(CIRCULAR.into(), up.into());
            return Ok(schema);
        }
        let pointer = target.strip_prefix('#');
        let Some(found) = pointer.and_then(|pointer| self.document.pointer(pointer)) else {
            let mut schema = Schema::default();
            schema.keywords.insert("$ref".into(), node["$ref"].clone());
            return Ok(schema);
        };
        self.stack.push(target);
        let schema = self.schema(found);
        self.stack.pop();
        let mut schema = schema?;
        let name = target.rsplit('/').next().unwrap_or(target);
        schema.origin = Origin(Some(super::super::pointer::unescape(name)));
        Ok(schema)
    }

    fn read(&mut self, node: &'a Value) -> Result<Schema> {
        let mut own = Schema::default();
        let mut whole: Vec<Schema> = Vec::new();
        for (key, value) in node.as_object().into_iter().flatten() {
            match key.as_str() {
                "allOf" => {
                    for part in value.as_array().into_iter().flatten() {
                        whole.push(self.schema(part)?);
                    }
                }
                "properties" => {
                    for (name, property) in value.as_object().into_iter().flatten() {
                        own.properties.insert(name.clone(), self.schema(property)?);
                    }
                }
                "required" => {
                    let names = value.as_array().into_iter().flatten();
                    let names = names.filter_map(Value::as_str);
                    own.required.extend(names.map(str::to_owned));
                }
                "items" => own.items = Some(Box::new(self.schema(value)?)),
                "additionalProperties" => {
                    own.additional = match value {
                        Value::Bool(true) => Additional::Any,
                        Value::Bool(false) => Additional::None,
                        value => match self.schema(value)? {
                            schema if schema.is_empty() => Additional::Any,
                            schema => Additional::Matching(Box::new(schema)),
                        },
                    }
                }
                "anyOf" | "oneOf" => {
                    let mut schemas = Vec::new();
                    for choice in value.as_array().into_iter().flatten() {
                        schemas.push(self.schema(choice)?);
                    }
                    if schemas.len() == 1 {
                        whole.append(&mut schemas);
                        continue;
                    }
                    schemas.sort_by_cached_key(Schema::sort_key);
                    if key == "anyOf" {
                        schemas.dedup();
                    }
                    if !schemas.is_empty() {
                        let key = if key == "anyOf" { "anyOf" } else { "oneOf" };
                        own.choices.insert(key, schemas);
                    }
                }
                "not" => drop(own.choices.insert("not", vec![self.schema(value)?])),
                "enum" => {
                    let mut values = value.as_array().cloned().unwrap_or_default();
                    values.sort_by_cached_key(Value::to_string);
                    values.dedup();
                    own.keywords.insert(key.clone(), values.into());
                }
                key if is_default(key, value) || super::schema::is_text(key) => {}
                key => drop(own.keywords.insert(key.to_owned(), normalize_number(value))),
            }
        }
        // A schema with properties and no type is meant to be an object.
        if !own.properties.is_empty() {
            let object = || "object".into();
            own.keywords.entry("type".into()).or_insert_with(object);
        }
        if own.kind().is_none() {
            own.keywords.remove("nullable");
        }
        let origin = match whole.as_slice() {
            [only] if own.is_empty() => only.origin.clone(),
            _ => Origin::default(),
        };
        whole.push(own);
        let mut schema = whole.into_iter().fold(Schema::default(), Schema::and);
        schema.drop_implied_choices();
        schema.origin = origin;
        Ok(schema)
    }
}

/// Says whether a keyword states what holds without it.
fn is_default(key: &str, value: &Value) -> bool {
    match key {
        "nullable" | "readOnly" | "writeOnly" | "deprecated" | "uniqueItems"
        | "exclusiveMinimum" | "exclusiveMaximum" => *value == Value::Bool(false),
        "minLength" | "minItems" | "minProperties" => value.as_u64() == Some(0),
        _ => false,
    }
}
