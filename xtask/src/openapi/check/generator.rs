//! What the generator can't express. Each problem names the operation, and the overlay action that helps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::document::METHODS;
use super::super::pointer::Pointer;
use super::checker::Checker;

/// Types that are made for these formats come from crates that `shieldcert-api` does not depend on.
const FOREIGN_FORMATS: [&str; 3] = ["date", "date-time", "uuid"];

impl<'a> Checker<'a> {
    /// Checks a document, whose form is known to be right, for what the generator can't express.
    pub(super) fn generator(&mut self) {
        let root = self.root();
        let paths = root.get("paths").and_then(Value::as_object);
        let mut ids = Names::default();
        for (path, item) in paths.into_iter().flatten() {
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    let id = operation["operationId"].as_str().unwrap_or_default();
                    if let Some(problem) = ids.add(id) {
                        let at = Pointer::root().key("paths").key(path).key(method);
                        let what =
                            format!("{} {path}: its id {id:?} {problem}", method.to_uppercase());
                        let target = format!("$.paths['{path}'].{method}");
                        self.limit(
                            &at.key("operationId"),
                            what,
                            &target,
                            "update: { operationId: another_name }",
                        );
                    }
                    self.operation_limits(path, method, item, operation);
                }
            }
        }
        let at = Pointer::root().key("components").key("schemas");
        let schemas = root.pointer(at.as_str()).and_then(Value::as_object);
        for (name, schema) in schemas.into_iter().flatten() {
            let target = format!("$.components.schemas['{name}']");
            self.schema_limits(&at.key(name), &target, schema);
        }
    }

    fn limit(&mut self, at: &Pointer, what: impl std::fmt::Display, target: &str, action: &str) {
        self.problem(
            at,
            format_args!(
                "{what}. An action in spec/overlay.yaml helps, with the reason in its description:\n      - target: \
                 {target}\n        {action}"
            ),
        );
    }

    fn operation_limits(
        &mut self,
        path: &str,
        method: &str,
        item: &'a Value,
        operation: &'a Value,
    ) {
        let at = Pointer::root().key("paths").key(path).key(method);
        let target = format!("$.paths['{path}'].{method}");
        let title = format!("{} {path}", method.to_uppercase());
        let mut names = Names::default();
        if operation.get("requestBody").is_some() {
            names.add("body");
        }
        for (owner, at, target) in [
            (
                item,
                Pointer::root().key("paths").key(path),
                format!("$.paths['{path}']"),
            ),
            (operation, at.clone(), target.clone()),
        ] {
            let parameters = owner.get("parameters").and_then(Value::as_array);
            for (index, parameter) in parameters.into_iter().flatten().enumerate() {
                let at = at.key("parameters").index(index);
                let Some(parameter) = self.resolve(&at, parameter) else {
                    continue;
                };
                let name = parameter["name"].as_str().unwrap_or_default();
                let target = format!("{target}.parameters[?@.name=='{name}']");
                let title = format!("{title} › {name}");
                if let Some(problem) = names.add(name) {
                    let what = format!("{title}: the parameter {problem}");
                    self.limit(
                        &at.key("name"),
                        what,
                        &target,
                        "x-matches: 1\n        remove: true",
                    );
                }
                self.parameter_limits(&at, &target, &title, parameter);
            }
        }
        if let Some(body) = operation.get("requestBody")
            && let Some(body) = self.resolve(&at.key("requestBody"), body)
        {
            self.body_limits(
                &at.key("requestBody"),
                &format!("{target}.requestBody"),
                &title,
                body,
            );
        }
        self.response_limits(
            &at.key("responses"),
            &format!("{target}.responses"),
            &title,
            operation,
        );
    }

    fn parameter_limits(&mut self, at: &Pointer, target: &str, title: &str, parameter: &'a Value) {
        let location = parameter["in"].as_str().unwrap_or_default();
        if location == "cookie" {
            let what = format!("{title}: the generated client sends no cookies");
            self.limit(at, what, target, "remove: true\n        x-matches: 1");
        }
        let style = parameter.get("style").and_then(Value::as_str);
        let default = if location == "query" {
            "form"
        } else {
            "simple"
        };
        if style.is_some_and(|style| style != default) {
            let what = format!(
                "{title}: the generated client writes values in the style `{default}` alone"
            );
            self.limit(
                at,
                what,
                target,
                "update: { style: null }\n        x-matches: 1",
            );
        }
        if let Some(schema) = parameter.get("schema") {
            self.schema_limits(&at.key("schema"), &format!("{target}.schema"), schema);
        }
    }

    fn body_limits(&mut self, at: &Pointer, target: &str, title: &str, body: &'a Value) {
        let base_target = target;
        let content = body.get("content").and_then(Value::as_object);
        let types: Vec<&String> = content
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .collect();
        if types.len() > 1 {
            let names = types
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            let kept = types
                .iter()
                .find(|name| name.as_str() == "application/json");
            let kept = kept
                .or(types.first())
                .map_or("application/json", |name| name.as_str());
            let removed = types.iter().filter(|name| name.as_str() != kept);
            let removed = removed
                .map(|name| format!("{name}: null"))
                .collect::<Vec<_>>()
                .join(", ");
            let what =
                format!("{title} › body: the generated client sends one media type, not {names}");
            self.limit(
                &at.key("content"),
                what,
                &format!("{target}.content"),
                &format!("update: {{ {removed} }}"),
            );
        }
        for (name, media) in content.into_iter().flatten() {
            let place = at.key("content").key(name);
            let target = format!("{target}.content['{name}']");
            let base = name.split(';').next().unwrap_or(name).trim();
            let is_known = [
                "application/json",
                "application/x-www-form-urlencoded",
                "application/octet-stream",
                "text/plain",
                "text/x-markdown",
            ]
            .contains(&base);
            if !is_known && types.len() == 1 {
                let what = format!("{title} › body: the generated client can't send {name}");
                self.limit(&place, what, base_target, "remove: true");
            }
            if media.get("encoding").is_some() {
                let what = format!("{title} › body: the generated client knows no `encoding`");
                self.limit(
                    &place.key("encoding"),
                    what,
                    &format!("{target}.encoding"),
                    "remove: true",
                );
            }
            if let Some(schema) = media.get("schema") {
                self.schema_limits(&place.key("schema"), &format!("{target}.schema"), schema);
            }
        }
    }

    /// The generated client has one type for all successes, and one for all failures.
    fn response_limits(&mut self, at: &Pointer, target: &str, title: &str, operation: &'a Value) {
        let responses = operation.get("responses").and_then(Value::as_object);
        let mut kinds: [BTreeMap<String, Vec<&str>>; 2] = Default::default();
        for (code, response) in responses.into_iter().flatten() {
            let at = at.key(code);
            let target = format!("{target}['{code}']");
            let Some(response) = self.resolve(&at, response) else {
                continue;
            };
            let content = response.get("content").and_then(Value::as_object);
            let json = content.into_iter().flatten().find(|(name, _)| {
                *name == "application/json" || name.starts_with("application/json;")
            });
            for (name, media) in content.into_iter().flatten() {
                let at = at.key("content").key(name);
                let target = format!("{target}.content['{name}']");
                if media.get("encoding").is_some() {
                    let what =
                        format!("{title} → {code}: the generated client knows no `encoding`");
                    self.limit(
                        &at.key("encoding"),
                        what,
                        &format!("{target}.encoding"),
                        "remove: true",
                    );
                }
                if let Some(schema) = media.get("schema") {
                    self.schema_limits(&at.key("schema"), &format!("{target}.schema"), schema);
                }
            }
            let kind = match json {
                Some((_, media)) => media["schema"].to_string(),
                None if content.is_some_and(|content| !content.is_empty()) => {
                    "another media type".into()
                }
                None => "no body".into(),
            };
            if code.parse::<u16>().is_ok_and(|code| !has_name(code)) {
                let what = format!(
                    "{title} → {code}: the code has no name, and the mocks name their functions after it"
                );
                self.limit(&at, what, &target, "remove: true");
            }
            let normal = code.to_lowercase();
            let is_default = normal == "default";
            if normal.starts_with('2') || is_default && operation["responses"].get("2XX").is_none()
            {
                kinds[0].entry(kind.clone()).or_default().push(code);
            }
            if normal.starts_with(['4', '5']) || is_default {
                kinds[1].entry(kind).or_default().push(code);
            }
        }
        for (kinds, name) in kinds.into_iter().zip(["success", "failure"]) {
            if kinds.len() < 2 {
                continue;
            }
            // The one with the most general code stays.
            let main = kinds.values().flatten().copied().min_by_key(|code| {
                (
                    *code == "default",
                    !code.to_uppercase().ends_with("XX"),
                    *code != "200",
                    *code,
                )
            });
            let main = main.unwrap_or_default();
            for codes in kinds.values().filter(|codes| !codes.contains(&main)) {
                for code in codes {
                    let what = format!(
                        "{title} → {code}: a {name} that differs from {main}, and the generated client has one type for \
                         each. What isn't stated is still read as an unexpected response"
                    );
                    self.limit(
                        &at.key(code),
                        what,
                        &format!("{target}['{code}']"),
                        "remove: true",
                    );
                }
            }
        }
    }

    fn schema_limits(&mut self, at: &Pointer, target: &str, schema: &'a Value) {
        if schema.get("$ref").is_some() {
            return;
        }
        let kind = schema.get("type").and_then(Value::as_str);
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && FOREIGN_FORMATS.contains(&format)
            && kind.is_none_or(|kind| kind == "string")
        {
            let what = format!(
                "the format {format:?} is read into a type of another crate, and a value that it can't read would cost the \
                 whole response"
            );
            self.limit(
                &at.key("format"),
                what,
                &format!("{target}.format"),
                "remove: true",
            );
        }
        for (exclusive, bound) in [
            ("exclusiveMinimum", "minimum"),
            ("exclusiveMaximum", "maximum"),
        ] {
            if schema.get(exclusive) == Some(&Value::Bool(true)) && schema.get(bound).is_none() {
                let what = format!("`{exclusive}` without `{bound}` means nothing");
                self.limit(
                    &at.key(exclusive),
                    what,
                    &format!("{target}.{exclusive}"),
                    "remove: true",
                );
            }
        }
        self.enum_limits(at, target, schema, kind);
        if let Some(default) = schema.get("default")
            && let Some(problem) = default_problem(default, schema, kind)
        {
            let what = format!("the default {default} {problem}");
            self.limit(
                &at.key("default"),
                what,
                &format!("{target}.default"),
                "remove: true",
            );
        }
        if schema.get("not").is_some() {
            let what = "the generated client has no type for `not`";
            self.limit(
                &at.key("not"),
                what,
                &format!("{target}.not"),
                "remove: true",
            );
        }
        let mut names = Names::default();
        if schema
            .get("additionalProperties")
            .is_some_and(|other| *other != Value::Bool(false))
        {
            // The field that takes them.
            names.add("extra");
        }
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let target = format!("{target}.properties['{name}']");
            if let Some(problem) = names.add(name) {
                let what = format!("the property {name:?} {problem}");
                self.limit(
                    &at.key("properties").key(name),
                    what,
                    &target,
                    "remove: true",
                );
            }
            self.schema_limits(&at.key("properties").key(name), &target, property);
        }
        for key in ["items", "not", "additionalProperties"] {
            if let Some(inner) = schema.get(key) {
                self.schema_limits(&at.key(key), &format!("{target}.{key}"), inner);
            }
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for (index, part) in schema
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
            {
                self.schema_limits(
                    &at.key(key).index(index),
                    &format!("{target}.{key}[{index}]"),
                    part,
                );
            }
        }
    }

    fn enum_limits(&mut self, at: &Pointer, target: &str, schema: &'a Value, kind: Option<&str>) {
        let Some(values) = schema.get("enum").and_then(Value::as_array) else {
            return;
        };
        let mut problem = None;
        let mut names = Names::default();
        for value in values {
            match value {
                Value::String(text) if kind.is_none_or(|kind| kind == "string") => {
                    if let Some(clash) = names.add(text) {
                        problem = Some(format!("the value {value} {clash}"));
                    }
                }
                Value::Null if schema.get("nullable") == Some(&Value::Bool(true)) => {}
                value if matches_kind(value, kind) => {}
                value => {
                    problem = Some(format!(
                        "the value {value} is not of the type {}",
                        kind.unwrap_or("any")
                    ))
                }
            }
        }
        if let Some(problem) = problem {
            self.limit(
                &at.key("enum"),
                problem,
                &format!("{target}.enum"),
                "remove: true",
            );
        }
    }
}

/// Names as the generator tells them apart: by their letters and digits.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// Adds a name. Returns what is wrong with it.
    fn add(&mut self, name: &str) -> Option<&'static str> {
        let name: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
        if name.is_empty() {
            return Some("gives no name for Rust");
        }
        let is_new = self.0.insert(name.to_lowercase());
        (!is_new).then_some("has the same name in Rust as another one")
    }
}

/// Says whether a status is registered.
fn has_name(code: u16) -> bool {
    matches!(
        code,
        100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307
            | 308
            | 400..=418
            | 421..=426
            | 428
            | 429
            | 431
            | 451
            | 500..=508
            | 510
            | 511
    )
}

fn matches_kind(value: &Value, kind: Option<&str>) -> bool {
    match kind {
        Some("string") => value.is_string(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    }
}

fn default_problem(default: &Value, schema: &Value, kind: Option<&str>) -> Option<String> {
    if default.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return None;
    }
    if !matches_kind(default, kind) {
        return Some(format!("is not of the type {}", kind.unwrap_or("any")));
    }
    let values = schema.get("enum").and_then(Value::as_array);
    if values.is_some_and(|values| !values.contains(default)) {
        return Some("is not among the values of `enum`".into());
    }
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    let number = default.as_f64()?;
    let is_exclusive = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let is_below =
        |bound: f64| number < bound || is_exclusive("exclusiveMinimum") && number == bound;
    let is_above =
        |bound: f64| number > bound || is_exclusive("exclusiveMaximum") && number == bound;
    let is_outside =
        bound("minimum").is_some_and(is_below) || bound("maximum").is_some_and(is_above);
    is_outside.then(|| "is outside the bounds".into())
}
