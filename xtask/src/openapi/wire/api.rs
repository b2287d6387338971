//! Operations: what is sent where, with which credentials, and what comes back.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::super::document::METHODS;
use super::resolve::Resolver;
use super::schema::{Schema, is_text};

/// The operations of a document, by their path with unnamed parameters and their method.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Api {
    pub(crate) operations: BTreeMap<(String, &'static str), Operation>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// The path as the document writes it.
    pub(crate) path: String,
    pub(crate) id: Option<String>,
    pub(crate) deprecated: bool,
    /// By location and name. A path parameter is known by its place.
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub(crate) body: Option<Body>,
    pub(crate) responses: BTreeMap<String, Response>,
    pub(crate) security: Vec<Security>,
    pub(crate) servers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) required: bool,
    /// `style`, `explode` and the like, as they hold; and `deprecated`.
    pub(crate) settings: BTreeMap<&'static str, Value>,
    pub(crate) schema: Option<Schema>,
    pub(crate) content: BTreeMap<String, Media>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) required: bool,
    pub(crate) content: BTreeMap<String, Media>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    pub(crate) schema: Option<Schema>,
    pub(crate) encoding: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Response {
    pub(crate) content: BTreeMap<String, Media>,
    pub(crate) headers: BTreeMap<String, Header>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) required: bool,
    pub(crate) deprecated: bool,
    pub(crate) schema: Option<Schema>,
}

/// Credentials that together are enough.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    /// The names of the schemes: no part of what is sent.
    pub(crate) names: Vec<String>,
    /// How each travels, with its scopes.
    pub(crate) schemes: Vec<Value>,
}

impl PartialEq for Security {
    fn eq(&self, other: &Self) -> bool {
        self.schemes == other.schemes
    }
}

/// Returns a path with its parameters unnamed.
pub(crate) fn shape(path: &str) -> String {
    let placeholder = |part: &str| part.starts_with('{') && part.ends_with('}');
    let parts = path.split('/');
    let parts = parts.map(|part| if placeholder(part) { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

impl Api {
    /// Reads the operations of a document.
    ///
    /// # Errors
    /// Its schemas can't be resolved within bounds, or two paths differ only in the names of their parameters.
    pub(crate) fn read(document: &Value) -> Result<Self> {
        let mut resolver = Resolver::new(document);
        let mut api = Self::default();
        let paths = document.get("paths").and_then(Value::as_object);
        for (path, item) in paths.into_iter().flatten() {
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    let operation = resolver.operation(path, item, operation)?;
                    let key = (shape(path), method);
                    let known = api.operations.insert(key, operation);
                    ensure!(
                        known.is_none(),
                        "/paths: {path} occurs twice, with other names for its parameters"
                    );
                }
            }
        }
        Ok(api)
    }
}

impl<'a> Resolver<'a> {
    fn operation(
        &mut self,
        path: &str,
        item: &'a Value,
        operation: &'a Value,
    ) -> Result<Operation> {
        let mut parameters = BTreeMap::new();
        for owner in [item, operation] {
            let own = owner.get("parameters").and_then(Value::as_array);
            for parameter in own.into_iter().flatten() {
                let (key, parameter) = self.parameter(path, self.follow(parameter))?;
                parameters.insert(key, parameter);
            }
        }
        let body = match operation.get("requestBody") {
            Some(body) => {
                let body = self.follow(body);
                Some(Body {
                    required: is_true(body, "required"),
                    content: self.content(body)?,
                })
            }
            None => None,
        };
        let mut responses = BTreeMap::new();
        for (code, response) in members(operation, "responses") {
            let response = self.response(self.follow(response))?;
            responses.insert(code.to_uppercase().replace("DEFAULT", "default"), response);
        }
        let document = self.document();
        let inherited = |key| {
            let owners = [operation, item, document];
            owners.into_iter().find_map(|owner| owner.get(key))
        };
        let security = [operation, document];
        let security = security.into_iter().find_map(|owner| owner.get("security"));
        Ok(Operation {
            path: path.to_owned(),
            id: text(operation, "operationId"),
            deprecated: is_true(operation, "deprecated"),
            parameters,
            body,
            responses,
            security: self.security(security.unwrap_or(&Value::Null)),
            servers: inherited("servers").map_or_else(Vec::new, servers),
        })
    }

    fn parameter(&mut self, path: &str, node: &'a Value) -> Result<(String, Parameter)> {
        let name = text(node, "name").unwrap_or_else(|| "?".into());
        let location = text(node, "in").unwrap_or_else(|| "?".into());
        let place = path
            .split('/')
            .filter(|part| part.starts_with('{'))
            .position(|part| part.trim_matches(['{', '}']) == name);
        let key = match (location.as_str(), place) {
            ("path", Some(place)) => format!("path {place}"),
            ("header", _) => format!("header {}", name.to_lowercase()),
            _ => format!("{location} {name}"),
        };
        let is_form = matches!(location.as_str(), "query" | "cookie");
        let style = text(node, "style");
        let style = style.unwrap_or_else(|| if is_form { "form" } else { "simple" }.to_owned());
        let explode = node.get("explode").cloned();
        let settings = BTreeMap::from([
            (
                "explode",
                explode.unwrap_or_else(|| (style == "form").into()),
            ),
            ("style", style.into()),
            ("allowReserved", is_true(node, "allowReserved").into()),
            ("allowEmptyValue", is_true(node, "allowEmptyValue").into()),
            ("deprecated", is_true(node, "deprecated").into()),
        ]);
        let parameter = Parameter {
            name,
            location,
            required: is_true(node, "required"),
            settings,
            schema: self.optional_schema(node)?,
            content: self.content(node)?,
        };
        Ok((key, parameter))
    }

    fn optional_schema(&mut self, node: &'a Value) -> Result<Option<Schema>> {
        node.get("schema")
            .map(|schema| self.schema(schema))
            .transpose()
    }

    fn content(&mut self, node: &'a Value) -> Result<BTreeMap<String, Media>> {
        let mut content = BTreeMap::new();
        for (name, media) in members(node, "content") {
            let media = Media {
                schema: self.optional_schema(media)?,
                encoding: without_texts(media.get("encoding").unwrap_or(&Value::Null)),
            };
            content.insert(name.to_owned(), media);
        }
        Ok(content)
    }

    fn response(&mut self, node: &'a Value) -> Result<Response> {
        let mut headers = BTreeMap::new();
        for (name, header) in members(node, "headers") {
            let header = self.follow(header);
            let header = Header {
                required: is_true(header, "required"),
                deprecated: is_true(header, "deprecated"),
                schema: self.optional_schema(header)?,
            };
            headers.insert(name.to_lowercase(), header);
        }
        Ok(Response {
            content: self.content(node)?,
            headers,
        })
    }

    fn security(&self, security: &Value) -> Vec<Security> {
        let mut ways = Vec::new();
        for way in security.as_array().into_iter().flatten() {
            let mut names = Vec::new();
            let mut schemes = Vec::new();
            for (name, scopes) in way.as_object().into_iter().flatten() {
                let pointer = format!(
                    "/components/securitySchemes/{}",
                    super::super::pointer::escape(name)
                );
                let scheme = self.document().pointer(&pointer);
                let mut scheme = scheme.map_or_else(
                    || json!({ "undefined": name }),
                    |scheme| without_texts(self.follow(scheme)),
                );
                if scopes.as_array().is_some_and(|scopes| !scopes.is_empty())
                    && let Some(members) = scheme.as_object_mut()
                {
                    members.insert("scopes".into(), scopes.clone());
                }
                names.push(name.clone());
                schemes.push(scheme);
            }
            schemes.sort_by_cached_key(Value::to_string);
            ways.push(Security { names, schemes });
        }
        if ways.is_empty() {
            // Nothing is needed.
            ways.push(Security {
                names: Vec::new(),
                schemes: Vec::new(),
            });
        }
        // Their order says nothing.
        ways.sort_by_cached_key(|way| format!("{:?}", way.schemes));
        ways.dedup();
        ways
    }
}

/// Returns the URLs, their variables replaced by the defaults.
fn servers(servers: &Value) -> Vec<String> {
    let mut urls = Vec::new();
    for server in servers.as_array().into_iter().flatten() {
        let mut url = text(server, "url").unwrap_or_default();
        for (name, variable) in members(server, "variables") {
            let default = text(variable, "default").unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), &default);
        }
        urls.push(url);
    }
    urls
}

fn without_texts(node: &Value) -> Value {
    match node {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| !is_text(key));
            let kept: Map<_, _> = kept
                .map(|(key, value)| (key.clone(), without_texts(value)))
                .collect();
            kept.into()
        }
        Value::Array(items) => items.iter().map(without_texts).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

fn members<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let members = node.get(key).and_then(Value::as_object);
    let members = members.into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

fn text(node: &Value, key: &str) -> Option<String> {
    node.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn is_true(node: &Value, key: &str) -> bool {
    node.get(key) == Some(&Value::Bool(true))
}
