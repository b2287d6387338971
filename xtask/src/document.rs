//! An OpenAPI 3.0 document as plain JSON, and the checks that come before anything is generated
//! from it. What is wrong is named by a JSON pointer into the document.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Reads YAML (and so JSON too) into a JSON value. Keys that stand twice are errors.
pub(crate) fn parse(yaml: &str) -> Result<Value> {
    serde_saphyr::from_str(yaml).context("not a YAML or JSON document")
}

/// Checks a document and converts it into the types that the generator reads.
pub(crate) fn check(document: &Value) -> Result<openapiv3::OpenAPI> {
    let mut checker = Checker {
        document,
        problems: Vec::new(),
    };
    checker.document();
    if !checker.problems.is_empty() {
        bail!(Problems(checker.problems));
    }
    serde_json::from_value(document.clone()).context("not an OpenAPI 3.0 document")
}

/// A place in the document, written as a JSON pointer.
#[derive(Clone)]
struct At(String);

impl At {
    fn root() -> Self {
        At(String::new())
    }

    fn key(&self, key: &str) -> Self {
        At(format!(
            "{}/{}",
            self.0,
            key.replace('~', "~0").replace('/', "~1")
        ))
    }

    fn index(&self, index: usize) -> Self {
        At(format!("{}/{index}", self.0))
    }
}

#[derive(Debug)]
struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the document", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

struct Checker<'a> {
    document: &'a Value,
    problems: Vec<String>,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, at: &At, what: impl fmt::Display) {
        let pointer = if at.0.is_empty() { "/" } else { &at.0 };
        self.problems.push(format!("{pointer}: {what}"));
    }

    fn object(&mut self, at: &At, value: &'a Value) -> Option<&'a Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.problem(
                at,
                format_args!("expected an object, found {}", kind(value)),
            );
        }
        object
    }

    fn member_object(
        &mut self,
        at: &At,
        parent: &'a Map<String, Value>,
        key: &str,
    ) -> Option<&'a Map<String, Value>> {
        match parent.get(key) {
            Some(value) => self.object(&at.key(key), value),
            None => {
                self.problem(at, format_args!("`{key}` is missing"));
                None
            }
        }
    }

    /// Follows a local `$ref`; a value without one is itself.
    fn resolve(&mut self, at: &At, value: &'a Value) -> Option<&'a Value> {
        let mut value = value;
        // A chain of references longer than the document has places is a cycle.
        for _ in 0..32 {
            let Some(reference) = value.get("$ref") else {
                return Some(value);
            };
            let target = reference
                .as_str()
                .and_then(|reference| reference.strip_prefix('#'));
            let Some(pointer) = target else {
                self.problem(
                    &at.key("$ref"),
                    format_args!("{reference} does not point into this document (`#/…`)"),
                );
                return None;
            };
            match self.document.pointer(pointer) {
                Some(target) => value = target,
                None => {
                    self.problem(
                        &at.key("$ref"),
                        format_args!("{reference} points at nothing in this document"),
                    );
                    return None;
                }
            }
        }
        self.problem(&at.key("$ref"), "the references run in a circle");
        None
    }

    fn document(&mut self) {
        let at = At::root();
        let Some(root) = self.object(&at, self.document) else {
            return;
        };
        match root.get("openapi").and_then(Value::as_str) {
            Some(version) if version.starts_with("3.0.") => {}
            Some(version) => self.problem(
                &at.key("openapi"),
                format_args!("version {version} can't be read; the generator reads 3.0.x"),
            ),
            None => self.problem(
                &at,
                "`openapi: 3.0.x` is missing; is this an OpenAPI document?",
            ),
        }
        self.member_object(&at, root, "info");
        let mut operation_ids = BTreeMap::new();
        if let Some(paths) = self.member_object(&at, root, "paths") {
            for (path, item) in paths {
                self.path(&at.key("paths").key(path), path, item, &mut operation_ids);
            }
        }
        let schemas = at.key("components").key("schemas");
        if let Some(value) = self.document.pointer(&schemas.0)
            && let Some(members) = self.object(&schemas, value)
        {
            for (name, schema) in members {
                self.schema(&schemas.key(name), schema);
            }
        }
    }

    fn path(
        &mut self,
        at: &At,
        path: &str,
        item: &'a Value,
        operation_ids: &mut BTreeMap<&'a str, At>,
    ) {
        if !path.starts_with('/') {
            self.problem(at, "a path starts with `/`");
        }
        let Some(item) = self.object(at, item) else {
            return;
        };
        let shared = self.parameters(at, item);
        for method in METHODS {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let at = at.key(method);
            let Some(operation) = self.object(&at, operation) else {
                continue;
            };
            match operation.get("operationId").and_then(Value::as_str) {
                Some(id) => {
                    if let Some(first) = operation_ids.insert(id, at.clone()) {
                        self.problem(
                            &at.key("operationId"),
                            format_args!("{id:?} is also the operation id of {}", first.0),
                        );
                    }
                }
                None => self.problem(
                    &at,
                    "`operationId` is missing, so the operation has no name",
                ),
            }
            let mut declared = self.parameters(&at, operation);
            declared.extend(shared.iter().copied());
            for placeholder in placeholders(path) {
                if !declared.contains(&("path", placeholder)) {
                    self.problem(
                        &at,
                        format_args!("the path's {{{placeholder}}} is not among the parameters"),
                    );
                }
            }
            for (location, name) in declared {
                if location == "path" && !placeholders(path).any(|known| known == name) {
                    self.problem(
                        &at,
                        format_args!("the path parameter {name:?} does not occur in the path"),
                    );
                }
            }
            if let Some(body) = operation.get("requestBody") {
                self.content(&at.key("requestBody"), body, true);
            }
            if let Some(responses) = self.member_object(&at, operation, "responses") {
                let at = at.key("responses");
                if responses.is_empty() {
                    self.problem(&at, "an operation needs at least one response");
                }
                for (code, response) in responses {
                    let at = at.key(code);
                    if !is_response_code(code) {
                        self.problem(&at, "a response is `200`, `4XX` or `default`");
                    }
                    self.content(&at, response, false);
                }
            }
        }
    }

    /// Checks the parameters of a path or an operation; returns where each is and its name.
    fn parameters(&mut self, at: &At, owner: &'a Map<String, Value>) -> Vec<(&'a str, &'a str)> {
        let at = at.key("parameters");
        let items = match owner.get("parameters") {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.problem(
                    &at,
                    format_args!("expected an array, found {}", kind(other)),
                );
                return Vec::new();
            }
        };
        let mut declared = Vec::new();
        for (index, parameter) in items.iter().enumerate() {
            let at = at.index(index);
            let Some(parameter) = self.resolve(&at, parameter) else {
                continue;
            };
            let Some(parameter) = self.object(&at, parameter) else {
                continue;
            };
            let text = |key| parameter.get(key).and_then(Value::as_str);
            let (Some(name), Some(location)) = (text("name"), text("in")) else {
                self.problem(&at, "a parameter needs a `name` and an `in`");
                continue;
            };
            if !["path", "query", "header", "cookie"].contains(&location) {
                self.problem(
                    &at.key("in"),
                    format_args!("{location:?} is not a place for a parameter"),
                );
            }
            if location == "path" && parameter.get("required") != Some(&Value::Bool(true)) {
                self.problem(&at, "a path parameter must have `required: true`");
            }
            if declared.contains(&(location, name)) {
                self.problem(
                    &at,
                    format_args!("the {location} parameter {name:?} stands here twice"),
                );
            }
            match parameter.get("schema") {
                Some(schema) => self.schema(&at.key("schema"), schema),
                None => self.problem(&at, "`schema` is missing"),
            }
            declared.push((location, name));
        }
        declared
    }

    fn content(&mut self, at: &At, value: &'a Value, required: bool) {
        let Some(value) = self.resolve(at, value) else {
            return;
        };
        let Some(value) = self.object(at, value) else {
            return;
        };
        if !required && !value.contains_key("content") {
            return;
        }
        let Some(content) = self.member_object(at, value, "content") else {
            return;
        };
        for (media_type, media) in content {
            let at = at.key("content").key(media_type);
            match media.get("schema") {
                Some(schema) => self.schema(&at.key("schema"), schema),
                None => self.problem(&at, "`schema` is missing"),
            }
        }
    }

    fn schema(&mut self, at: &At, value: &'a Value) {
        let Some(schema) = self.object(at, value) else {
            return;
        };
        if schema.contains_key("$ref") {
            // What it points at is checked where it stands.
            self.resolve(at, value);
            return;
        }
        match schema.get("type") {
            None => {}
            Some(Value::String(name)) if name == "array" && !schema.contains_key("items") => {
                self.problem(at, "an array needs `items`");
            }
            Some(Value::String(name)) if TYPES.contains(&name.as_str()) => {}
            Some(other) => self.problem(
                &at.key("type"),
                format_args!(
                    "{other} is not a type of OpenAPI 3.0 ({})",
                    TYPES.join(", ")
                ),
            ),
        }
        for key in ["minimum", "maximum", "multipleOf"] {
            self.keyword(at, schema, key, "a number", Value::is_number);
        }
        for key in [
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
        ] {
            self.keyword(at, schema, key, "a whole number from 0", Value::is_u64);
        }
        for key in [
            "nullable",
            "readOnly",
            "writeOnly",
            "deprecated",
            "uniqueItems",
        ] {
            self.keyword(at, schema, key, "true or false", Value::is_boolean);
        }
        for key in ["description", "title", "format", "pattern"] {
            self.keyword(at, schema, key, "a string", Value::is_string);
        }
        self.keyword(
            at,
            schema,
            "enum",
            "an array with at least one value",
            |value| value.as_array().is_some_and(|values| !values.is_empty()),
        );
        self.keyword(
            at,
            schema,
            "required",
            "an array of property names",
            |value| {
                value
                    .as_array()
                    .is_some_and(|names| names.iter().all(Value::is_string))
            },
        );
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        if let (Some(minimum), Some(maximum)) = (bound("minimum"), bound("maximum"))
            && minimum > maximum
        {
            self.problem(
                at,
                format_args!("minimum {minimum} is above maximum {maximum}"),
            );
        }
        if let Some(properties) = schema.get("properties") {
            let at = at.key("properties");
            if let Some(properties) = self.object(&at, properties) {
                for (name, property) in properties {
                    self.schema(&at.key(name), property);
                }
            }
        }
        for key in ["items", "not"] {
            if let Some(inner) = schema.get(key) {
                self.schema(&at.key(key), inner);
            }
        }
        if let Some(inner) = schema.get("additionalProperties")
            && !inner.is_boolean()
        {
            self.schema(&at.key("additionalProperties"), inner);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            let at = at.key(key);
            match schema.get(key) {
                None => {}
                Some(Value::Array(parts)) if !parts.is_empty() => {
                    for (index, part) in parts.iter().enumerate() {
                        self.schema(&at.index(index), part);
                    }
                }
                Some(_) => self.problem(&at, "expected an array with at least one schema"),
            }
        }
    }

    fn keyword(
        &mut self,
        at: &At,
        schema: &Map<String, Value>,
        key: &str,
        expected: &str,
        is_right: impl Fn(&Value) -> bool,
    ) {
        if let Some(value) = schema.get(key)
            && !is_right(value)
        {
            self.problem(
                &at.key(key),
                format_args!("expected {expected}, found {value}"),
            );
        }
    }
}

fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

fn is_response_code(code: &str) -> bool {
    let mut characters = code.chars();
    code == "default"
        || (code.len() == 3
            && characters.next().is_some_and(|c| ('1'..='5').contains(&c))
            && (&code[1..] == "XX" || characters.all(|c| c.is_ascii_digit())))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sound() -> Value {
        json!({
            "openapi": "3.0.3",
            "info": { "title": "t", "version": "1" },
            "paths": { "/a/{id}": { "get": {
                "operationId": "get_a",
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
                "responses": { "200": { "description": "d", "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/a" } } } } },
            } } },
            "components": { "schemas": { "a": { "type": "object", "properties": { "x": { "type": "integer", "minimum": 1 } } } } },
        })
    }

    #[test]
    fn a_sound_document_passes() {
        check(&sound()).expect("passes");
    }

    /// Each row: where, what is put there (null takes it away), and what the message must say.
    #[test]
    fn what_is_wrong_is_named_with_its_pointer() {
        let operation = "/paths/~1a~1{id}/get";
        let schema = "/components/schemas/a";
        for (pointer, patch, expected) in [
            (
                "",
                json!({ "openapi": "3.1.0" }),
                "/openapi: version 3.1.0 can't be read",
            ),
            (
                "",
                json!({ "openapi": null }),
                "/: `openapi: 3.0.x` is missing",
            ),
            ("", json!({ "paths": null }), "/: `paths` is missing"),
            (
                "",
                json!({ "paths": [] }),
                "/paths: expected an object, found an array",
            ),
            ("", json!({ "info": null }), "/: `info` is missing"),
            (
                "",
                json!({ "components": null }),
                "200/content/application~1json/schema/$ref: \"#/components/schemas/a\" points at nothing",
            ),
            (
                operation,
                json!({ "operationId": null }),
                "get: `operationId` is missing",
            ),
            (
                operation,
                json!({ "parameters": null }),
                "get: the path's {id} is not among the parameters",
            ),
            (
                operation,
                json!({ "parameters": [{ "name": "id", "in": "path", "schema": {} }] }),
                "parameters/0: a path parameter must have",
            ),
            (
                operation,
                json!({ "parameters": [{ "name": "id" }] }),
                "parameters/0: a parameter needs a `name` and an `in`",
            ),
            (
                "/paths/~1a~1{id}/get/responses",
                json!({ "200": null }),
                "responses: an operation needs at least one response",
            ),
            (
                operation,
                json!({ "responses": { "2OO": { "description": "d" } } }),
                "responses/2OO: a response is",
            ),
            (
                operation,
                json!({ "requestBody": {} }),
                "requestBody: `content` is missing",
            ),
            (
                schema,
                json!({ "type": "objekt" }),
                "/components/schemas/a/type: \"objekt\" is not a type",
            ),
            (
                schema,
                json!({ "type": ["object", "null"] }),
                "/components/schemas/a/type:",
            ),
            (
                schema,
                json!({ "type": "array" }),
                "/components/schemas/a: an array needs `items`",
            ),
            (
                schema,
                json!({ "enum": [] }),
                "/components/schemas/a/enum: expected an array",
            ),
            (
                schema,
                json!({ "required": true }),
                "/components/schemas/a/required: expected an array",
            ),
            (
                schema,
                json!({ "minLength": -1 }),
                "/components/schemas/a/minLength: expected a whole number",
            ),
            (
                schema,
                json!({ "nullable": "yes" }),
                "/components/schemas/a/nullable: expected true or false",
            ),
            (
                schema,
                json!({ "allOf": {} }),
                "/components/schemas/a/allOf: expected an array",
            ),
            (
                schema,
                json!({ "$ref": "other.yaml#/a" }),
                "/components/schemas/a/$ref: \"other.yaml#/a\" does not point into",
            ),
            (
                schema,
                json!({ "$ref": "#/components/schemas/a" }),
                "/components/schemas/a/$ref: the references run in a circle",
            ),
            (
                "/components/schemas/a/properties/x",
                json!({ "maximum": 0 }),
                "properties/x: minimum 1 is above maximum 0",
            ),
            (
                "/components/schemas/a/properties/x",
                json!({ "maximum": "9" }),
                "properties/x/maximum: expected a number, found \"9\"",
            ),
        ] {
            let mut document = sound();
            let node = document
                .pointer_mut(pointer)
                .expect("the row's place exists");
            json_patch::merge(node, &patch);
            let message = check(&document).expect_err(expected).to_string();
            assert!(message.contains(expected), "{pointer} {patch}: {message}");
        }
    }

    #[test]
    fn an_operation_id_that_stands_twice_is_named_in_both_places() {
        let mut document = sound();
        let copy = document["paths"]["/a/{id}"]["get"].clone();
        document["paths"]["/a/{id}"]["put"] = copy;
        let message = check(&document).expect_err("must be refused").to_string();
        assert!(
            message.contains("/paths/~1a~1{id}/put/operationId"),
            "{message}"
        );
        assert!(message.contains("/paths/~1a~1{id}/get"), "{message}");
    }

    #[test]
    fn what_is_not_yaml_or_stands_twice_is_refused() {
        assert!(parse("a: [1,").is_err());
        let message = format!("{:#}", parse("a: 1\na: 2").expect_err("must be refused"));
        assert!(message.contains("duplicate"), "{message}");
    }
}
