//! Operations with their parameters, bodies, responses and security.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::document::METHODS;
use super::super::schema::resolve;
use super::change::Class::{Additive, Breaking, Risky};
use super::differ::{Differ, Direction, format_value, widened};

impl<'a> Differ<'a> {
    pub(super) fn documents(&mut self) {
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
                    format_value(url(self.old)),
                    format_value(url(self.new))
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
                    format_value(id(old)),
                    format_value(id(new))
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
        self.responses(name, old.value, new.value);
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

    fn required(&mut self, at: &str, old: bool, new: bool, what: &str) {
        match (old, new) {
            (false, true) => self.add(Breaking, at, format!("{what} is now required")),
            (true, false) => self.add(Additive, at, format!("{what} is no longer required")),
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
                self.required(&at, is_required(old), is_required(new), "the body");
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

    fn responses(&mut self, name: &str, old: &'a Value, new: &'a Value) {
        let (before, after) = (members(old, "responses"), members(new, "responses"));
        for (code, old) in &before {
            let at = format!("{name} › {code}");
            match after.get(code) {
                Some(new) => self.content(
                    &at,
                    resolve(self.old, old),
                    resolve(self.new, new),
                    Direction::Response,
                ),
                None if code.starts_with('2') => self.add(Breaking, &at, "the response is gone"),
                None => self.add(Risky, &at, "the response is gone"),
            }
        }
        for code in after.keys().filter(|code| !before.contains_key(*code)) {
            let class = if code.starts_with('2') {
                Risky
            } else {
                Additive
            };
            self.add(class, &format!("{name} › {code}"), "a new response");
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
}

struct Operation<'a> {
    value: &'a Value,
    shared: &'a [Value],
}

impl<'a> Operation<'a> {
    /// Returns the parameters by their location and name.
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
