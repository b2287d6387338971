//! Writes the operations of upstream's document in the fragment's layout.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::super::diff;
use super::super::pointer::escape;
use super::super::wire::{Api, Media, Operation, Parameter, Response, Schema, shape};
use super::layout::{Layout, Pass};
use super::names::product_prefix;

/// Returns the current fragment with what the picked document says.
pub(super) fn fit(picked: &Value, current: &Value) -> Result<Value> {
    let names = picked.pointer("/components/schemas");
    let names = names.and_then(Value::as_object).into_iter().flatten();
    let mut fit = Fit {
        picked,
        current,
        before: Api::read(current)?,
        after: Api::read(picked)?,
        layout: Layout::new(current, product_prefix(names.map(|(name, _)| name))),
    };
    if fit.before == fit.after {
        return Ok(current.clone());
    }
    let mut fragment = Value::Null;
    for pass in [Pass::Demand, Pass::Share, Pass::Count, Pass::Write] {
        fit.layout.start(pass)?;
        fragment = fit.document()?;
    }
    let missed = diff::compare(&fragment, picked)?;
    ensure!(
        missed.is_empty(),
        "the fragment would not say what the document says: {missed:#?}; this is a bug of `spec import`"
    );
    Ok(fragment)
}

struct Fit<'a> {
    picked: &'a Value,
    current: &'a Value,
    before: Api,
    after: Api,
    layout: Layout<'a>,
}

impl<'a> Fit<'a> {
    fn document(&mut self) -> Result<Value> {
        let mut fragment = self.current.as_object().cloned().unwrap_or_default();
        let mut openapi = |key: &str, value: Value| {
            fragment.entry(key).or_insert(value);
        };
        openapi("openapi", self.picked["openapi"].clone());
        openapi("info", json!({ "title": "Client certificates" }));
        if let (Some(Value::Object(info)), Some(version)) =
            (fragment.get_mut("info"), self.picked["info"].get("version"))
        {
            info.insert("version".into(), version.clone());
        }
        let mut paths = Map::new();
        let mut schemes = Schemes::new(self.current);
        let after = self.after.clone();
        let servers_of_all = shared_servers(&after);
        if let Some(servers) = &servers_of_all
            && servers_of_all != shared_servers(&self.before)
        {
            fragment.insert("servers".into(), urls(servers));
        }
        for (key, operation) in &after.operations {
            let item = self.item(&key.0);
            let written = paths
                .entry(operation.path.clone())
                .or_insert_with(|| without_operations(item));
            let place = item.and_then(|item| item.get(key.1));
            let mut value = match (place, self.before.operations.get(key).cloned()) {
                (Some(place), Some(before)) => {
                    self.operation(item.unwrap_or(&Value::Null), place, &before, operation)?
                }
                _ => self.new_operation(operation),
            };
            let known = self.before.operations.get(key);
            if known.is_none_or(|known| known.security != operation.security) {
                let security = self.picked_security(&operation.path, key.1);
                value["security"] = schemes.write(&security, self.picked);
            } else {
                let security = value
                    .get("security")
                    .or_else(|| self.current.get("security"));
                schemes.keep(security, self.current);
            }
            if servers_of_all.is_none()
                && known.is_none_or(|known| known.servers != operation.servers)
            {
                value["servers"] = urls(&operation.servers);
            }
            written[key.1] = value;
        }
        fragment.insert("paths".into(), paths.into());
        let components = self.current.get("components").and_then(Value::as_object);
        let mut components = components.cloned().unwrap_or_default();
        components.remove("schemas");
        components.insert("securitySchemes".into(), schemes.written.into());
        fragment.insert("components".into(), components.clone().into());
        let schemas = self.layout.components(&fragment.clone().into())?;
        components.insert("schemas".into(), schemas.into());
        fragment.insert("components".into(), components.into());
        Ok(fragment.into())
    }

    /// Returns the current path item with this shape.
    fn item(&self, path: &str) -> Option<&'a Value> {
        let paths = self.current.get("paths")?.as_object()?;
        let found = paths.iter().find(|(known, _)| shape(known) == path);
        found.map(|(_, item)| item)
    }

    fn picked_security(&self, path: &str, method: &str) -> Value {
        let own = self.picked["paths"][path][method].get("security");
        own.or_else(|| self.picked.get("security"))
            .cloned()
            .unwrap_or_else(|| json!([]))
    }

    fn operation(
        &mut self,
        item: &'a Value,
        place: &'a Value,
        before: &Operation,
        after: &Operation,
    ) -> Result<Value> {
        let mut written = place.as_object().cloned().unwrap_or_default();
        if before.id != after.id {
            set(
                &mut written,
                "operationId",
                after.id.clone().map(Value::from),
            );
        }
        if before.deprecated != after.deprecated {
            set(
                &mut written,
                "deprecated",
                after.deprecated.then(|| true.into()),
            );
        }
        // Shared by the operations of the path, then the operation's own.
        let parameters =
            [item, place].map(|owner| owner.get("parameters").and_then(Value::as_array));
        let mut parameters = parameters
            .into_iter()
            .flatten()
            .flatten()
            .collect::<Vec<_>>();
        parameters.dedup();
        let mut written_parameters = Vec::new();
        let mut seen = BTreeSet::new();
        for parameter in parameters {
            let parameter = self.follow(parameter);
            let known = before.parameters.iter().find(|(_, known)| {
                parameter["name"] == known.name.as_str()
                    && parameter["in"] == known.location.as_str()
            });
            if let Some((key, known)) = known
                && let Some(after) = after.parameters.get(key)
                && seen.insert(key)
            {
                written_parameters.push(self.parameter(parameter, known, after)?);
            }
        }
        for (key, parameter) in &after.parameters {
            if !seen.contains(key) {
                written_parameters.push(self.new_parameter(parameter));
            }
        }
        let written_parameters = Some(written_parameters).filter(|list| !list.is_empty());
        set(
            &mut written,
            "parameters",
            written_parameters.map(Value::from),
        );
        let body = match (place.get("requestBody"), &before.body, &after.body) {
            (_, _, None) => None,
            (Some(place), Some(before), Some(after)) if before.required == after.required => {
                let mut place_written = self.follow(place).clone();
                self.content(
                    self.follow(place),
                    &mut place_written,
                    &before.content,
                    &after.content,
                )?;
                Some(place_written)
            }
            (place, before, Some(after)) => {
                let mut body = json!({});
                if after.required {
                    body["required"] = true.into();
                }
                let place = place.map(|place| self.follow(place));
                let empty = BTreeMap::new();
                let before = before.as_ref().map_or(&empty, |body| &body.content);
                let null: &'a Value = &Value::Null;
                self.content(place.unwrap_or(null), &mut body, before, &after.content)?;
                Some(body)
            }
        };
        set(&mut written, "requestBody", body);
        let places = place.get("responses").and_then(Value::as_object);
        let mut responses = Map::new();
        let mut seen = BTreeSet::new();
        for (code, place) in places.into_iter().flatten() {
            let normal = code.to_uppercase().replace("DEFAULT", "default");
            if let (Some(before), Some(after)) =
                (before.responses.get(&normal), after.responses.get(&normal))
            {
                seen.insert(normal);
                responses.insert(code.clone(), self.response(place, before, after)?);
            }
        }
        for (code, response) in &after.responses {
            if !seen.contains(code) {
                responses.insert(code.clone(), self.new_response(response));
            }
        }
        written.insert("responses".into(), responses.into());
        Ok(written.into())
    }

    fn parameter(
        &mut self,
        place: &'a Value,
        before: &Parameter,
        after: &Parameter,
    ) -> Result<Value> {
        let mut written = place.as_object().cloned().unwrap_or_default();
        if before.name != after.name {
            written.insert("name".into(), after.name.clone().into());
        }
        if before.required != after.required {
            set(
                &mut written,
                "required",
                after.required.then(|| true.into()),
            );
        }
        for (key, value) in &after.settings {
            if before.settings.get(key) != Some(value) {
                set(&mut written, key, Some(value.clone()));
            }
        }
        let schema = self.optional_schema(place.get("schema"), after.schema.as_ref())?;
        set(&mut written, "schema", schema);
        let mut written = Value::from(written);
        self.content(place, &mut written, &before.content, &after.content)?;
        Ok(written)
    }

    fn new_parameter(&mut self, parameter: &Parameter) -> Value {
        let mut written = json!({ "name": parameter.name, "in": parameter.location });
        if parameter.required {
            written["required"] = true.into();
        }
        let is_form = matches!(parameter.location.as_str(), "query" | "cookie");
        let style = if is_form { "form" } else { "simple" };
        let default = |key: &str| match key {
            "style" => Value::from(style),
            "explode" => Value::from(parameter.settings["style"] == "form"),
            _ => Value::from(false),
        };
        for (key, value) in &parameter.settings {
            if *value != default(key) {
                written[key] = value.clone();
            }
        }
        if let Some(schema) = &parameter.schema {
            written["schema"] = self.layout.new_schema(schema);
        }
        self.new_content(&mut written, &parameter.content);
        written
    }

    fn optional_schema(
        &mut self,
        place: Option<&'a Value>,
        schema: Option<&Schema>,
    ) -> Result<Option<Value>> {
        Ok(match (place, schema) {
            (_, None) => None,
            (Some(place), Some(schema)) => Some(self.layout.fit(place, schema)?),
            (None, Some(schema)) => Some(self.layout.new_schema(schema)),
        })
    }

    fn content(
        &mut self,
        place: &'a Value,
        written: &mut Value,
        before: &BTreeMap<String, Media>,
        after: &BTreeMap<String, Media>,
    ) -> Result<()> {
        if before.is_empty() && after.is_empty() {
            return Ok(());
        }
        let mut content = Map::new();
        for (media_type, media) in after {
            let place = place
                .get("content")
                .and_then(|content| content.get(media_type));
            let mut value = place
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            let place = place.and_then(|place| place.get("schema"));
            let schema = self.optional_schema(place, media.schema.as_ref())?;
            set(&mut value, "schema", schema);
            if before.get(media_type).map(|before| &before.encoding) != Some(&media.encoding) {
                let encoding = Some(media.encoding.clone()).filter(|value| !value.is_null());
                set(&mut value, "encoding", encoding);
            }
            content.insert(media_type.clone(), value.into());
        }
        match content.is_empty() {
            true => drop(
                written
                    .as_object_mut()
                    .and_then(|members| members.remove("content")),
            ),
            false => written["content"] = content.into(),
        }
        Ok(())
    }

    fn new_content(&mut self, written: &mut Value, content: &BTreeMap<String, Media>) {
        for (media_type, media) in content {
            let mut value = json!({});
            if let Some(schema) = &media.schema {
                value["schema"] = self.layout.new_schema(schema);
            }
            if !media.encoding.is_null() {
                value["encoding"] = media.encoding.clone();
            }
            written["content"][media_type] = value;
        }
    }

    fn response(&mut self, place: &'a Value, before: &Response, after: &Response) -> Result<Value> {
        let place = self.follow(place);
        let mut written = Value::from(place.as_object().cloned().unwrap_or_default());
        self.content(place, &mut written, &before.content, &after.content)?;
        if before.headers != after.headers {
            let mut headers = Map::new();
            for (name, header) in &after.headers {
                let mut value = json!({});
                if header.required {
                    value["required"] = true.into();
                }
                if header.deprecated {
                    value["deprecated"] = true.into();
                }
                if let Some(schema) = &header.schema {
                    value["schema"] = self.layout.new_schema(schema);
                }
                headers.insert(name.clone(), value);
            }
            let headers = Some(headers).filter(|headers| !headers.is_empty());
            if let Some(members) = written.as_object_mut() {
                set(members, "headers", headers.map(Value::from));
            }
        }
        Ok(written)
    }

    fn new_response(&mut self, response: &Response) -> Value {
        let mut written = json!({ "description": "To be described." });
        self.new_content(&mut written, &response.content);
        for (name, header) in &response.headers {
            let mut value = json!({});
            if header.required {
                value["required"] = true.into();
            }
            if let Some(schema) = &header.schema {
                value["schema"] = self.layout.new_schema(schema);
            }
            written["headers"][name] = value;
        }
        written
    }

    fn new_operation(&mut self, operation: &Operation) -> Value {
        let mut written = json!({ "responses": {} });
        if let Some(id) = &operation.id {
            written["operationId"] = id.clone().into();
        }
        if operation.deprecated {
            written["deprecated"] = true.into();
        }
        let parameters = operation.parameters.values();
        let parameters: Vec<Value> = parameters
            .map(|parameter| self.new_parameter(parameter))
            .collect();
        if !parameters.is_empty() {
            written["parameters"] = parameters.into();
        }
        if let Some(body) = &operation.body {
            written["requestBody"] = json!({});
            if body.required {
                written["requestBody"]["required"] = true.into();
            }
            self.new_content(&mut written["requestBody"], &body.content);
        }
        for (code, response) in &operation.responses {
            written["responses"][code] = self.new_response(response);
        }
        written
    }

    fn follow(&self, place: &'a Value) -> &'a Value {
        super::super::wire::Resolver::new(self.current).follow(place)
    }
}

/// The security schemes that are written, under the fragment's names.
struct Schemes {
    current: Map<String, Value>,
    written: Map<String, Value>,
}

impl Schemes {
    fn new(current: &Value) -> Self {
        let schemes = current.pointer("/components/securitySchemes");
        Self {
            current: schemes
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            written: Map::new(),
        }
    }

    fn keep(&mut self, security: Option<&Value>, current: &Value) {
        let ways = security.and_then(Value::as_array).into_iter().flatten();
        for name in ways.filter_map(Value::as_object).flat_map(Map::keys) {
            let pointer = format!("/components/securitySchemes/{}", escape(name));
            if let Some(scheme) = current.pointer(&pointer) {
                self.written.insert(name.clone(), scheme.clone());
            }
        }
    }

    /// Writes an operation's security. A scheme that the fragment has under another name keeps that.
    fn write(&mut self, security: &Value, picked: &Value) -> Value {
        let mut ways = Vec::new();
        for way in security.as_array().into_iter().flatten() {
            let mut written = Map::new();
            for (name, scopes) in way.as_object().into_iter().flatten() {
                let pointer = format!("/components/securitySchemes/{}", escape(name));
                let mut scheme = picked.pointer(&pointer).cloned().unwrap_or_default();
                if let Some(members) = scheme.as_object_mut() {
                    members.retain(|key, _| !super::super::wire::is_text(key));
                }
                let is_same = |known: &Value| {
                    let mut known = known.clone();
                    if let Some(members) = known.as_object_mut() {
                        members.retain(|key, _| !super::super::wire::is_text(key));
                    }
                    known == scheme
                };
                let known = self.current.get(name).filter(|known| is_same(known));
                let known = known.map(|known| (name, known));
                let known = known.or_else(|| self.current.iter().find(|(_, known)| is_same(known)));
                let (name, scheme) = match known {
                    Some((name, known)) => (name.clone(), known.clone()),
                    None => (name.clone(), scheme),
                };
                self.written.insert(name.clone(), scheme);
                written.insert(name, scopes.clone());
            }
            ways.push(Value::from(written));
        }
        ways.into()
    }
}

/// Returns the servers of all operations, if they are the same.
fn shared_servers(api: &Api) -> Option<Vec<String>> {
    let mut all = api.operations.values().map(|operation| &operation.servers);
    let first = all.next()?;
    all.all(|servers| servers == first).then(|| first.clone())
}

fn urls(servers: &[String]) -> Value {
    let servers = servers.iter().map(|url| json!({ "url": url }));
    servers.collect::<Vec<_>>().into()
}

/// Returns what a path item says of itself. Its parameters are written with each operation.
fn without_operations(item: Option<&Value>) -> Value {
    let kept = item.and_then(Value::as_object).into_iter().flatten();
    let kept = kept.filter(|(key, _)| super::super::wire::is_text(key));
    Value::Object(
        kept.map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

fn set(members: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(members.insert(key.to_owned(), value)),
        None => drop(members.remove(key)),
    }
}
