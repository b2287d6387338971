//! Schemas and their keywords.

use serde_json::{Map, Value};

use super::super::pointer::Pointer;
use super::checker::Checker;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

impl<'a> Checker<'a> {
    pub(super) fn schema(&mut self, at: &Pointer, value: &'a Value) {
        let Some(schema) = self.object(at, value) else {
            return;
        };
        if schema.contains_key("$ref") {
            // The target is checked at its own place.
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
            self.keyword(at, schema, key, "an integer from 0", Value::is_u64);
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
        at: &Pointer,
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
