//! What a change of the spec means for those who use the client.
//!
//! The same change is harmless in one direction and breaking in the other: a property that becomes
//! required breaks those who send it, and promises more to those who read it. So every schema is
//! compared as what it is: part of a request, or of an answer.
//!
//! There is no well-kept library for it to build on: those for Rust compare Rust APIs, and those for
//! OpenAPI are programs of other ecosystems. What is here is a table of rules, and each has a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// How much a change asks of those who use the client. Ordered: the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// What worked goes on working.
    Additive,
    /// What worked may meet something new.
    Risky,
    /// Something that worked does not any more.
    Breaking,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Additive => "additive",
            Self::Risky => "risky",
            Self::Breaking => "breaking",
        })
    }
}

/// One difference between two documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Change {
    pub(crate) class: Class,
    /// Where, as a person reads it: the operation, and the way into its request or answer.
    pub(crate) at: String,
    pub(crate) what: String,
}

/// The differences, worst first.
pub(crate) fn compare(old: &Value, new: &Value) -> Vec<Change> {
    let mut differ = Differ {
        old,
        new,
        changes: BTreeSet::new(),
    };
    differ.documents();
    let mut changes: Vec<Change> = differ.changes.into_iter().collect();
    changes.sort_by(|a, b| b.class.cmp(&a.class).then_with(|| a.cmp(b)));
    changes
}

/// The worst of the changes.
pub(crate) fn worst(changes: &[Change]) -> Option<Class> {
    changes.iter().map(|change| change.class).max()
}

/// The version that follows for the crates, by semver: before 1.0 the minor number takes the part of
/// the major one.
pub(crate) fn next_version(current: &str, class: Class) -> Option<String> {
    let mut parts = current.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
    Some(match (major, class) {
        (0, Class::Breaking | Class::Risky) => format!("0.{}.0", minor + 1),
        (0, Class::Additive) => format!("0.{minor}.{}", patch + 1),
        (_, Class::Breaking) => format!("{}.0.0", major + 1),
        (_, Class::Risky | Class::Additive) => format!("{major}.{}.0", minor + 1),
    })
}

/// Which way a schema's values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From those who use the client to the service.
    Request,
    /// From the service to those who use the client.
    Answer,
}

use Class::{Additive, Breaking, Risky};

/// A change that allows more values, and its reverse that allows fewer.
///
/// In a request more is welcome and fewer break; in an answer more may surprise and fewer don't.
fn widened(direction: Direction) -> Class {
    match direction {
        Direction::Request => Additive,
        Direction::Answer => Risky,
    }
}

fn narrowed(direction: Direction) -> Class {
    match direction {
        Direction::Request => Breaking,
        Direction::Answer => Additive,
    }
}

struct Differ<'a> {
    old: &'a Value,
    new: &'a Value,
    changes: BTreeSet<Change>,
}

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

impl<'a> Differ<'a> {
    fn add(&mut self, class: Class, at: &str, what: impl Into<String>) {
        self.changes.insert(Change {
            class,
            at: at.to_owned(),
            what: what.into(),
        });
    }

    fn documents(&mut self) {
        let (old, new) = (operations(self.old), operations(self.new));
        for (name, operation) in &old {
            match new.get(name) {
                Some(other) => self.operation(name, operation, other),
                None => self.add(Breaking, name, "the operation is gone"),
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            self.add(Additive, name, "a new operation");
        }
        let url = |document: &Value| document.pointer("/servers/0/url").cloned();
        if url(self.old) != url(self.new) {
            self.add(
                Risky,
                "servers",
                format!(
                    "the base URL changes from {} to {}",
                    shown(url(self.old)),
                    shown(url(self.new))
                ),
            );
        }
    }

    fn operation(&mut self, name: &str, old: &Operation<'a>, new: &Operation<'a>) {
        let id = |operation: &Operation<'_>| operation.value.get("operationId").cloned();
        if id(old) != id(new) {
            self.add(
                Breaking,
                name,
                format!(
                    "the operation id changes from {} to {}, and the method's name with it",
                    shown(id(old)),
                    shown(id(new))
                ),
            );
        }
        let is_deprecated = |operation: &Operation<'_>| {
            operation.value.get("deprecated") == Some(&Value::Bool(true))
        };
        match (is_deprecated(old), is_deprecated(new)) {
            (false, true) => self.add(Risky, name, "the operation is now deprecated"),
            (true, false) => self.add(Additive, name, "the operation is no longer deprecated"),
            _ => {}
        }
        self.parameters(name, old, new);
        self.body(name, old.value, new.value);
        self.answers(name, old.value, new.value);
        self.security(name, old.value, new.value);
    }

    fn parameters(&mut self, name: &str, old: &Operation<'a>, new: &Operation<'a>) {
        let (before, after) = (old.parameters(self.old), new.parameters(self.new));
        for (key, parameter) in &before {
            let at = format!("{name} › {key}");
            let Some(other) = after.get(key) else {
                self.add(Breaking, &at, "the parameter is gone");
                continue;
            };
            self.required(
                &at,
                is_required(parameter),
                is_required(other),
                "the parameter",
                Direction::Request,
            );
            self.schema(
                &at,
                parameter.get("schema"),
                other.get("schema"),
                Direction::Request,
                0,
            );
        }
        for (key, parameter) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            let at = format!("{name} › {key}");
            if is_required(parameter) {
                self.add(Breaking, &at, "a new parameter that is required");
            } else {
                self.add(Additive, &at, "a new parameter");
            }
        }
    }

    fn required(&mut self, at: &str, old: bool, new: bool, what: &str, direction: Direction) {
        match (old, new) {
            (false, true) => self.add(narrowed(direction), at, format!("{what} is now required")),
            (true, false) => self.add(
                widened(direction),
                at,
                format!("{what} is no longer required"),
            ),
            _ => {}
        }
    }

    fn body(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        let at = format!("{name} › body");
        let body = |document: &'a Value, operation: &'a Value| {
            operation
                .get("requestBody")
                .map(|body| resolve(document, body))
        };
        match (body(self.old, old), body(self.new, new)) {
            (None, None) => {}
            (Some(_), None) => self.add(Breaking, &at, "the body is gone"),
            (None, Some(body)) if is_required(body) => {
                self.add(Breaking, &at, "a new body that is required")
            }
            (None, Some(_)) => self.add(Additive, &at, "a new body"),
            (Some(old), Some(new)) => {
                self.required(
                    &at,
                    is_required(old),
                    is_required(new),
                    "the body",
                    Direction::Request,
                );
                self.content(&at, old, new, Direction::Request);
            }
        }
    }

    fn content(&mut self, at: &str, old: &'a Value, new: &'a Value, direction: Direction) {
        let (before, after) = (members(old, "content"), members(new, "content"));
        for (media_type, old) in &before {
            match after.get(media_type) {
                Some(new) => self.schema(at, old.get("schema"), new.get("schema"), direction, 0),
                None => self.add(Breaking, at, format!("{media_type} is gone")),
            }
        }
        for media_type in after
            .keys()
            .filter(|media_type| !before.contains_key(*media_type))
        {
            self.add(widened(direction), at, format!("{media_type} is new"));
        }
    }

    fn answers(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        let (before, after) = (members(old, "responses"), members(new, "responses"));
        for (code, old) in &before {
            let at = format!("{name} › {code}");
            match after.get(code) {
                Some(new) => self.content(
                    &at,
                    resolve(self.old, old),
                    resolve(self.new, new),
                    Direction::Answer,
                ),
                None if code.starts_with('2') => self.add(Breaking, &at, "the answer is gone"),
                None => self.add(Risky, &at, "the answer is gone"),
            }
        }
        for code in after.keys().filter(|code| !before.contains_key(*code)) {
            let class = if code.starts_with('2') {
                Risky
            } else {
                Additive
            };
            self.add(class, &format!("{name} › {code}"), "a new answer");
        }
    }

    fn security(&mut self, name: &str, old: &Value, new: &Value) {
        let ways = |operation: &Value| -> BTreeSet<String> {
            let ways = operation
                .get("security")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            let names = |way: &Value| {
                let names = way.as_object().into_iter().flat_map(Map::keys);
                names.cloned().collect::<Vec<_>>().join(" with ")
            };
            ways.map(names).collect()
        };
        let (before, after) = (ways(old), ways(new));
        let at = format!("{name} › security");
        for way in before.difference(&after) {
            self.add(Breaking, &at, format!("{way} is no longer enough"));
        }
        for way in after.difference(&before) {
            self.add(Additive, &at, format!("{way} is now enough"));
        }
    }

    fn schema(
        &mut self,
        at: &str,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
        direction: Direction,
        depth: usize,
    ) {
        // A schema that contains itself has been compared by then.
        if depth > 24 {
            return;
        }
        let (Some(old), Some(new)) = (old, new) else {
            match (old, new) {
                (None, Some(_)) => {
                    self.add(narrowed(direction), at, "a schema where there was none")
                }
                (Some(_), None) => self.add(widened(direction), at, "the schema is gone"),
                _ => {}
            }
            return;
        };
        let (old, new) = (merged(self.old, old), merged(self.new, new));
        self.kind(at, &old, &new, direction);
        self.values(at, &old, &new, direction);
        self.bounds(at, &old, &new, direction);
        self.nullable(at, &old, &new, direction);
        for key in ["format", "pattern", "default", "multipleOf", "uniqueItems"] {
            let (before, after) = (old.get(key), new.get(key));
            if before != after {
                self.add(
                    Risky,
                    at,
                    format!(
                        "`{key}` changes from {} to {}",
                        shown(before.cloned()),
                        shown(after.cloned())
                    ),
                );
            }
        }
        self.properties(at, &old, &new, direction, depth);
        self.closed(at, &old, &new, direction);
        let items = |schema: &Schema<'a>| schema.get("items").copied();
        if items(&old).is_some() || items(&new).is_some() {
            self.schema(
                &format!("{at}[]"),
                items(&old),
                items(&new),
                direction,
                depth + 1,
            );
        }
        for key in ["anyOf", "oneOf", "not"] {
            match (old.get(key).copied(), new.get(key).copied()) {
                (Some(Value::Array(before)), Some(Value::Array(after)))
                    if before.len() == after.len() =>
                {
                    for (before, after) in before.iter().zip(after) {
                        self.schema(at, Some(before), Some(after), direction, depth + 1);
                    }
                }
                (before, after) if before == after => {}
                _ => self.add(Risky, at, format!("the choices of `{key}` change")),
            }
        }
    }

    fn kind(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let kind = |schema: &Schema<'_>| {
            schema
                .get("type")
                .and_then(|kind| kind.as_str().map(str::to_owned))
        };
        let (before, after) = (kind(old), kind(new));
        if before == after {
            return;
        }
        let class = match (before.as_deref(), after.as_deref()) {
            (Some("integer"), Some("number")) => match direction {
                Direction::Request => Additive,
                // What is read as a whole number no longer is one.
                Direction::Answer => Breaking,
            },
            (Some("number"), Some("integer")) => narrowed(direction),
            (Some(_), None) => widened(direction),
            (None, Some(_)) => narrowed(direction),
            _ => Breaking,
        };
        let named = |kind: Option<String>| kind.unwrap_or_else(|| "anything".into());
        self.add(
            class,
            at,
            format!(
                "the type changes from {} to {}",
                named(before),
                named(after)
            ),
        );
    }

    fn values(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let values = |schema: &Schema<'_>| -> Option<BTreeSet<String>> {
            let values = schema.get("enum")?.as_array()?;
            Some(values.iter().map(Value::to_string).collect())
        };
        match (values(old), values(new)) {
            (Some(before), Some(after)) => {
                for value in after.difference(&before) {
                    self.add(widened(direction), at, format!("the value {value} is new"));
                }
                for value in before.difference(&after) {
                    self.add(
                        narrowed(direction),
                        at,
                        format!("the value {value} is gone"),
                    );
                }
            }
            (None, Some(_)) => self.add(narrowed(direction), at, "only listed values are left"),
            (Some(_), None) => self.add(
                widened(direction),
                at,
                "any value is possible where some were listed",
            ),
            (None, None) => {}
        }
    }

    fn bounds(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
        const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
        for key in LOWER.into_iter().chain(UPPER) {
            let bound = |schema: &Schema<'_>| schema.get(key).and_then(|bound| bound.as_f64());
            let (class, how) = match (bound(old), bound(new)) {
                (before, after) if before == after => continue,
                (None, Some(_)) => (narrowed(direction), "is new"),
                (Some(_), None) => (widened(direction), "is gone"),
                (Some(before), Some(after)) => {
                    if (after > before) == LOWER.contains(&key) {
                        (narrowed(direction), "is tighter")
                    } else {
                        (widened(direction), "is looser")
                    }
                }
                (None, None) => continue,
            };
            let value = |schema: &Schema<'_>| shown(schema.get(key).map(|value| (*value).clone()));
            self.add(
                class,
                at,
                format!("`{key}` {how}: {} before, {} now", value(old), value(new)),
            );
        }
    }

    fn nullable(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let nullable = |schema: &Schema<'_>| schema.get("nullable") == Some(&&Value::Bool(true));
        match (nullable(old), nullable(new)) {
            (false, true) => self.add(widened(direction), at, "null is now possible"),
            (true, false) => self.add(narrowed(direction), at, "null is no longer possible"),
            _ => {}
        }
    }

    fn properties(
        &mut self,
        at: &str,
        old: &Schema<'a>,
        new: &Schema<'a>,
        direction: Direction,
        depth: usize,
    ) {
        for (name, before) in &old.properties {
            let place = format!("{at}.{name}");
            match new.properties.get(name) {
                Some(after) => {
                    self.required(
                        &place,
                        old.required.contains(name),
                        new.required.contains(name),
                        "the property",
                        direction,
                    );
                    self.schema(&place, Some(before), Some(after), direction, depth + 1);
                }
                None => self.add(Breaking, &place, "the property is gone"),
            }
        }
        for name in new
            .properties
            .keys()
            .filter(|name| !old.properties.contains_key(*name))
        {
            let place = format!("{at}.{name}");
            if direction == Direction::Request && new.required.contains(name) {
                self.add(Breaking, &place, "a new property that is required");
            } else {
                self.add(Additive, &place, "a new property");
            }
        }
    }

    fn closed(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let closed =
            |schema: &Schema<'_>| schema.get("additionalProperties") == Some(&&Value::Bool(false));
        match (closed(old), closed(new)) {
            (false, true) => self.add(
                narrowed(direction),
                at,
                "other properties are no longer possible",
            ),
            (true, false) => self.add(widened(direction), at, "other properties are now possible"),
            _ => {}
        }
    }
}

struct Operation<'a> {
    value: &'a Value,
    shared: &'a [Value],
}

impl<'a> Operation<'a> {
    /// By where they are and what they are called.
    fn parameters(&self, document: &'a Value) -> BTreeMap<String, &'a Value> {
        let own = self.value.get("parameters").and_then(Value::as_array);
        let all = self.shared.iter().chain(own.into_iter().flatten());
        all.map(|parameter| resolve(document, parameter))
            .map(|parameter| {
                let text = |key| parameter.get(key).and_then(Value::as_str).unwrap_or("?");
                (format!("{} {}", text("in"), text("name")), parameter)
            })
            .collect()
    }
}

fn operations(document: &Value) -> BTreeMap<String, Operation<'_>> {
    let mut operations = BTreeMap::new();
    for (path, item) in document
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let shared = item.get("parameters").and_then(Value::as_array);
        for method in METHODS {
            if let Some(value) = item.get(method) {
                let operation = Operation {
                    value,
                    shared: shared.map_or(&[], Vec::as_slice),
                };
                operations.insert(format!("{} {path}", method.to_uppercase()), operation);
            }
        }
    }
    operations
}

/// A schema with the parts of its `allOf` brought together.
#[derive(Default)]
struct Schema<'a> {
    keywords: BTreeMap<&'a str, &'a Value>,
    properties: BTreeMap<&'a str, &'a Value>,
    required: BTreeSet<&'a str>,
}

impl<'a> Schema<'a> {
    fn get(&self, key: &str) -> Option<&&'a Value> {
        self.keywords.get(key)
    }
}

/// What says nothing about values.
const TEXTS: [&str; 8] = [
    "description",
    "title",
    "example",
    "examples",
    "externalDocs",
    "readOnly",
    "writeOnly",
    "deprecated",
];

fn merged<'a>(document: &'a Value, schema: &'a Value) -> Schema<'a> {
    let mut whole = Schema::default();
    merge(document, schema, &mut whole, 0);
    if !whole.properties.is_empty() {
        whole.keywords.entry("type").or_insert(&OBJECT);
    }
    whole
}

static OBJECT: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| "object".into());

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
            key if TEXTS.contains(&key) || key.starts_with("x-") => {}
            key => {
                whole.keywords.insert(key, value);
            }
        }
    }
}

fn resolve<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
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

fn members<'a>(node: &'a Value, key: &str) -> BTreeMap<&'a str, &'a Value> {
    let members = node
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    members
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn is_required(node: &Value) -> bool {
    node.get("required") == Some(&Value::Bool(true))
}

fn shown(value: Option<impl std::borrow::Borrow<Value>>) -> String {
    value.map_or_else(|| "nothing".into(), |value| value.borrow().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One operation with a parameter, a body and an answer.
    fn document() -> Value {
        json!({
            "openapi": "3.0.3",
            "servers": [{ "url": "https://example.com" }],
            "paths": { "/a": { "post": {
                "operationId": "make",
                "security": [{ "token": [] }, { "email": [], "key": [] }],
                "parameters": [
                    { "name": "p", "in": "query", "schema": { "type": "integer", "minimum": 5, "maximum": 50, "enum": [5, 6] } },
                    { "name": "r", "in": "query", "required": true, "schema": { "type": "number" } },
                ],
                "requestBody": { "required": true, "content": { "application/json": { "schema": {
                    "type": "object", "required": ["csr"],
                    "properties": {
                        "csr": { "type": "string", "maxLength": 10, "enum": ["a", "b"] },
                        "days": { "type": "integer", "nullable": true, "minimum": 1 },
                    },
                } } } },
                "responses": {
                    "200": { "description": "d", "content": { "application/json": { "schema": { "allOf": [
                        { "$ref": "#/components/schemas/common" },
                        { "type": "object", "required": ["id"], "properties": {
                            "id": { "type": "string", "maxLength": 32 },
                            "status": { "type": "string", "enum": ["active", "revoked"] },
                            "count": { "type": "integer", "minimum": 1 },
                            "list": { "type": "array", "items": { "type": "string" } },
                            "inner": { "$ref": "#/components/schemas/inner" },
                            "inners": { "type": "array", "items": { "$ref": "#/components/schemas/inner" } },
                            "either": { "oneOf": [{ "type": "string" }, { "$ref": "#/components/schemas/inner" }] },
                        } },
                    ] } } } },
                    "4XX": { "description": "d", "content": { "application/json": { "schema": { "type": "object" } } } },
                },
            }, "get": { "operationId": "read", "responses": { "200": { "description": "d" } } } } },
            "components": { "schemas": { "inner": { "type": "object", "properties": { "x": { "type": "string" } } }, "common": { "type": "object", "properties": { "success": { "type": "boolean" } } } } },
        })
    }

    const OPERATION: &str = "/paths/~1a/post";
    const QUERY: &str = "/paths/~1a/post/parameters/0";
    const BODY: &str = "/paths/~1a/post/requestBody/content/application~1json/schema";
    const ANSWER: &str = "/paths/~1a/post/responses/200/content/application~1json/schema/allOf/1";

    /// Where (a JSON pointer), what (a merge patch), and the one class that must come of it.
    fn table() -> Vec<(String, Value, Class)> {
        let at = |base: &str, rest: &str| format!("{base}{rest}");
        vec![
            // Operations.
            (
                "/paths".into(),
                json!({ "/b": { "get": { "operationId": "b", "responses": {} } } }),
                Additive,
            ),
            ("/paths/~1a".into(), json!({ "post": null }), Breaking),
            (
                OPERATION.into(),
                json!({ "operationId": "create" }),
                Breaking,
            ),
            (OPERATION.into(), json!({ "deprecated": true }), Risky),
            (
                "/servers/0".into(),
                json!({ "url": "https://example.org" }),
                Risky,
            ),
            // Security: an alternative more or less.
            (
                OPERATION.into(),
                json!({ "security": [{ "token": [] }] }),
                Breaking,
            ),
            (
                OPERATION.into(),
                json!({ "security": [{ "token": [] }, { "email": [], "key": [] }, { "jwt": [] }] }),
                Additive,
            ),
            // Parameters.
            (QUERY.into(), json!({ "required": true }), Breaking),
            (
                "/paths/~1a/post/parameters/1".into(),
                json!({ "required": false }),
                Additive,
            ),
            (QUERY.into(), json!({ "name": "q" }), Breaking),
            (QUERY.into(), json!({ "in": "header" }), Breaking),
            (
                "/paths/~1a".into(),
                json!({ "parameters": [{ "name": "n", "in": "query", "schema": {} }] }),
                Additive,
            ),
            (
                "/paths/~1a".into(),
                json!({ "parameters": [{ "name": "n", "in": "query", "required": true, "schema": {} }] }),
                Breaking,
            ),
            (at(QUERY, "/schema"), json!({ "type": "string" }), Breaking),
            (at(QUERY, "/schema"), json!({ "type": "number" }), Additive),
            (
                "/paths/~1a/post/parameters/1/schema".into(),
                json!({ "type": "integer" }),
                Breaking,
            ),
            (at(QUERY, "/schema"), json!({ "maximum": 40 }), Breaking),
            (at(QUERY, "/schema"), json!({ "maximum": 60 }), Additive),
            (at(QUERY, "/schema"), json!({ "maximum": null }), Additive),
            (at(QUERY, "/schema"), json!({ "minimum": 6 }), Breaking),
            (at(QUERY, "/schema"), json!({ "minimum": 1 }), Additive),
            (at(QUERY, "/schema"), json!({ "enum": [5, 6, 7] }), Additive),
            (at(QUERY, "/schema"), json!({ "enum": [5] }), Breaking),
            (at(QUERY, "/schema"), json!({ "enum": null }), Additive),
            (at(QUERY, "/schema"), json!({ "default": 6 }), Risky),
            // Bodies.
            (
                "/paths/~1a/post/requestBody".into(),
                json!({ "required": false }),
                Additive,
            ),
            (OPERATION.into(), json!({ "requestBody": null }), Breaking),
            (
                "/paths/~1a/post/requestBody/content".into(),
                json!({ "text/plain": { "schema": {} } }),
                Additive,
            ),
            (
                "/paths/~1a/get".into(),
                json!({ "requestBody": { "content": {} } }),
                Additive,
            ),
            (
                "/paths/~1a/get".into(),
                json!({ "requestBody": { "required": true, "content": {} } }),
                Breaking,
            ),
            (
                at(BODY, "/properties"),
                json!({ "new": { "type": "string" } }),
                Additive,
            ),
            (
                BODY.into(),
                json!({ "required": ["csr", "new"], "properties": { "new": { "type": "string" } } }),
                Breaking,
            ),
            (
                BODY.into(),
                json!({ "required": ["csr", "days"] }),
                Breaking,
            ),
            (BODY.into(), json!({ "required": null }), Additive),
            (at(BODY, "/properties"), json!({ "days": null }), Breaking),
            (
                at(BODY, "/properties/days"),
                json!({ "nullable": null }),
                Breaking,
            ),
            (
                at(BODY, "/properties/csr"),
                json!({ "nullable": true }),
                Additive,
            ),
            (
                at(BODY, "/properties/csr"),
                json!({ "maxLength": 9 }),
                Breaking,
            ),
            (
                at(BODY, "/properties/csr"),
                json!({ "minLength": 1 }),
                Breaking,
            ),
            (
                at(BODY, "/properties/csr"),
                json!({ "pattern": "^a" }),
                Risky,
            ),
            (
                at(BODY, "/properties/csr"),
                json!({ "enum": ["a"] }),
                Breaking,
            ),
            (
                BODY.into(),
                json!({ "additionalProperties": false }),
                Breaking,
            ),
            // Answers.
            (
                "/paths/~1a/post/responses".into(),
                json!({ "200": null }),
                Breaking,
            ),
            (
                "/paths/~1a/post/responses".into(),
                json!({ "4XX": null }),
                Risky,
            ),
            (
                "/paths/~1a/post/responses".into(),
                json!({ "202": { "description": "d" } }),
                Risky,
            ),
            (
                "/paths/~1a/post/responses".into(),
                json!({ "5XX": { "description": "d" } }),
                Additive,
            ),
            (
                "/paths/~1a/post/responses/200/content".into(),
                json!({ "application/json": null }),
                Breaking,
            ),
            (
                at(ANSWER, "/properties"),
                json!({ "new": { "type": "string" } }),
                Additive,
            ),
            (
                ANSWER.into(),
                json!({ "required": ["id", "new"], "properties": { "new": { "type": "string" } } }),
                Additive,
            ),
            (
                at(ANSWER, "/properties"),
                json!({ "status": null }),
                Breaking,
            ),
            (
                ANSWER.into(),
                json!({ "required": ["id", "status"] }),
                Additive,
            ),
            (ANSWER.into(), json!({ "required": null }), Risky),
            (
                at(ANSWER, "/properties/status"),
                json!({ "enum": ["active", "revoked", "archived"] }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/status"),
                json!({ "enum": ["active"] }),
                Additive,
            ),
            (
                at(ANSWER, "/properties/status"),
                json!({ "enum": null }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/id"),
                json!({ "maxLength": 36 }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/id"),
                json!({ "maxLength": 30 }),
                Additive,
            ),
            (
                at(ANSWER, "/properties/id"),
                json!({ "maxLength": null }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/id"),
                json!({ "nullable": true }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/id"),
                json!({ "type": "integer" }),
                Breaking,
            ),
            (
                at(ANSWER, "/properties/count"),
                json!({ "type": "number" }),
                Breaking,
            ),
            (
                at(ANSWER, "/properties/count"),
                json!({ "minimum": 0 }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/count"),
                json!({ "format": "int32" }),
                Risky,
            ),
            (
                at(ANSWER, "/properties/list/items"),
                json!({ "type": "integer" }),
                Breaking,
            ),
            (
                "/components/schemas/inner/properties".into(),
                json!({ "y": {} }),
                Additive,
            ),
            (
                "/components/schemas/inner/properties".into(),
                json!({ "x": null }),
                Breaking,
            ),
            (
                at(ANSWER, "/properties/either"),
                json!({ "oneOf": [{ "type": "string" }] }),
                Risky,
            ),
            (
                "/components/schemas/common/properties".into(),
                json!({ "success": null }),
                Breaking,
            ),
            (
                "/components/schemas/common/properties".into(),
                json!({ "messages": {} }),
                Additive,
            ),
        ]
    }

    #[test]
    fn every_change_has_its_class() {
        let table = table();
        assert!(table.len() >= 40);
        for (pointer, patch, class) in table {
            let (old, mut new) = (document(), document());
            let node = new
                .pointer_mut(&pointer)
                .unwrap_or_else(|| panic!("{pointer} exists"));
            json_patch::merge(node, &patch);
            let changes = compare(&old, &new);
            assert_eq!(
                worst(&changes),
                Some(class),
                "{pointer} {patch}: {changes:#?}"
            );
        }
    }

    #[test]
    fn words_are_no_change() {
        let mut new = document();
        new["paths"]["/a"]["post"]["description"] = "other words".into();
        new["paths"]["/a"]["post"]["parameters"][0]["schema"]["example"] = 6.into();
        new["components"]["schemas"]["common"]["title"] = "other words".into();
        assert_eq!(compare(&document(), &new), []);
    }

    #[test]
    fn where_a_schema_stands_is_no_change() {
        let mut new = document();
        let schemas = new["components"]["schemas"]
            .as_object_mut()
            .expect("an object");
        let common = schemas.remove("common").expect("is there");
        schemas.insert("other".into(), common);
        new["paths"]["/a"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["allOf"]
            [0] = json!({ "$ref": "#/components/schemas/other" });
        assert_eq!(compare(&document(), &new), []);
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let mut old = document();
        old["components"]["schemas"]["common"]["properties"]["self"] =
            json!({ "$ref": "#/components/schemas/common" });
        let mut new = old.clone();
        new["components"]["schemas"]["common"]["properties"]["success"]["nullable"] = true.into();
        assert_eq!(worst(&compare(&old, &new)), Some(Risky));
    }

    #[test]
    fn the_next_version_follows_semver() {
        for (current, class, next) in [
            ("0.1.0", Additive, "0.1.1"),
            ("0.1.4", Risky, "0.2.0"),
            ("0.1.4", Breaking, "0.2.0"),
            ("1.2.3", Additive, "1.3.0"),
            ("1.2.3", Risky, "1.3.0"),
            ("1.2.3", Breaking, "2.0.0"),
        ] {
            assert_eq!(next_version(current, class).as_deref(), Some(next));
        }
        assert_eq!(next_version("one", Additive), None);
    }
}
