//! Paths, operations, parameters, bodies and responses.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::document::METHODS;
use super::super::pointer::Pointer;
use super::checker::{Checker, kind};

impl<'a> Checker<'a> {
    pub(super) fn document(&mut self) {
        let at = Pointer::root();
        let Some(root) = self.object(&at, self.root()) else {
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
        if let Some(value) = self.root().pointer(schemas.as_str())
            && let Some(members) = self.object(&schemas, value)
        {
            for (name, schema) in members {
                self.schema(&schemas.key(name), schema);
            }
        }
    }

    fn path(
        &mut self,
        at: &Pointer,
        path: &str,
        item: &'a Value,
        operation_ids: &mut BTreeMap<&'a str, Pointer>,
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
                            format_args!("{id:?} is also the operation id of {}", first),
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

    /// Checks the parameters of a path or an operation. Returns the location and name of each.
    fn parameters(
        &mut self,
        at: &Pointer,
        owner: &'a Map<String, Value>,
    ) -> Vec<(&'a str, &'a str)> {
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
                    format_args!("{location:?} is not a location of a parameter"),
                );
            }
            if location == "path" && parameter.get("required") != Some(&Value::Bool(true)) {
                self.problem(&at, "a path parameter must have `required: true`");
            }
            if declared.contains(&(location, name)) {
                self.problem(
                    &at,
                    format_args!("the {location} parameter {name:?} occurs twice"),
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

    fn content(&mut self, at: &Pointer, value: &'a Value, required: bool) {
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
