//! Takes a full OpenAPI document of the API and leaves the `client_certificates` paths of it.
//!
//! What is left is what the document states: names, types, bounds, responses. Its texts are not taken
//! over; the fragment's own descriptions and examples stay with what they describe.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::document;

/// The paths of the fragment, by what stands for a parameter in them.
const PATHS: [&str; 2] = [
    "/zones/{zone_id}/client_certificates",
    "/zones/{zone_id}/client_certificates/{client_certificate_id}",
];

/// What is read of a full document. Thousands of paths are passed over and never kept.
#[derive(Deserialize)]
struct Full {
    #[serde(default)]
    openapi: Value,
    #[serde(default)]
    info: Value,
    #[serde(default)]
    servers: Value,
    #[serde(default)]
    security: Value,
    #[serde(default, deserialize_with = "picked")]
    paths: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    components: Value,
}

fn picked<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, Value>>, D::Error> {
    struct Picker;
    impl<'de> Visitor<'de> for Picker {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of paths")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut picked = BTreeMap::new();
            while let Some(path) = map.next_key::<String>()? {
                if is_of_fragment(&path) {
                    picked.insert(path, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(picked)
        }
    }
    deserializer.deserialize_map(Picker).map(Some)
}

/// The same path, whatever its parameters are called.
fn is_of_fragment(path: &str) -> bool {
    PATHS.iter().any(|known| shape(known) == shape(path))
}

fn shape(path: &str) -> Vec<&str> {
    let placeholder = |part: &&str| part.starts_with('{') && part.ends_with('}');
    path.split('/')
        .map(|part| if placeholder(&part) { "{}" } else { part })
        .collect()
}

/// The fragment of a full document, with the texts of the current fragment.
pub(crate) fn fragment(full: &str, current: Option<&Value>) -> Result<Value> {
    let full = read(full)?;
    let picked = pick(&full)?;
    document::check(&picked)?;
    without_cycles(&picked)?;
    let mut fragment = renamed(&picked)?;
    strip_texts(&mut fragment);
    if let Some(current) = current {
        restore_texts(&mut fragment, current);
    }
    fill_required_texts(&mut fragment);
    Ok(fragment)
}

fn read(text: &str) -> Result<Full> {
    let parsed = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).context("not a JSON document")
    } else {
        let options = serde_saphyr::options! { budget: None };
        serde_saphyr::from_str_with_options(text, options).context("not a YAML document")
    };
    parsed.context("can't be read as an OpenAPI document")
}

/// The paths and everything that they refer to, under the names that the document has for them.
fn pick(full: &Full) -> Result<Value> {
    match full.openapi.as_str() {
        Some(version) if version.starts_with("3.0.") => {}
        Some(version) => {
            bail!("/openapi: version {version} can't be read; the generator reads 3.0.x")
        }
        None => bail!("/: `openapi: 3.0.x` is missing; is this an OpenAPI document?"),
    }
    let paths = full.paths.as_ref().context("/: `paths` is missing")?;
    for known in PATHS {
        let found = paths.keys().find(|path| shape(path) == shape(known));
        let found = found.with_context(|| format!("/paths: {known} is missing"))?;
        ensure!(
            found == known,
            "/paths/{}: upstream calls this path's parameters otherwise than {known}; the overlay and the client \
             go by the names, so rename them in the document before it is imported",
            found.replace('/', "~1")
        );
    }
    let mut kept = json!({
        "openapi": full.openapi,
        "info": full.info,
        "paths": paths,
        "components": {},
    });
    for (key, value) in [("servers", &full.servers), ("security", &full.security)] {
        if !value.is_null() {
            kept[key] = value.clone();
        }
    }
    let mut wanted: Vec<(String, String)> = references(&kept["paths"], "/paths");
    let mut seen = BTreeSet::new();
    while let Some((at, target)) = wanted.pop() {
        let pointer = target.strip_prefix("#/components/").with_context(|| {
            format!(
                "{at}: {target:?} does not point into this document's components (`#/components/…`)"
            )
        })?;
        let (section, name) = pointer
            .split_once('/')
            .with_context(|| format!("{at}: {target:?} names no component"))?;
        if !seen.insert(pointer.to_owned()) {
            continue;
        }
        let name = name.replace("~1", "/").replace("~0", "~");
        let component = full
            .components
            .get(section)
            .and_then(|section| section.get(&name));
        let component = component
            .with_context(|| format!("{at}: {target:?} points at nothing in this document"))?;
        wanted.extend(references(component, &format!("/components/{pointer}")));
        kept["components"][section][&name] = component.clone();
    }
    let schemes: BTreeSet<String> = kept["paths"]
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_object)
        .flat_map(Map::values)
        .filter_map(|operation| operation.get("security")?.as_array())
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(Map::keys)
        .cloned()
        .collect();
    for scheme in schemes {
        let stated = full
            .components
            .get("securitySchemes")
            .and_then(|all| all.get(&scheme));
        let stated = stated
            .with_context(|| format!("/components/securitySchemes: {scheme:?} is missing"))?;
        kept["components"]["securitySchemes"][&scheme] = stated.clone();
    }
    Ok(kept)
}

/// The references below a node: where each stands, and what it points at.
fn references(node: &Value, at: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    match node {
        Value::Object(members) => {
            for (key, value) in members {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                match value.as_str() {
                    Some(target) if key == "$ref" => found.push((at, target.to_owned())),
                    _ => found.extend(references(value, &at)),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                found.extend(references(item, &format!("{at}/{index}")));
            }
        }
        _ => {}
    }
    found
}

/// A schema that contains itself has no end in a request, and the generator none either.
fn without_cycles(picked: &Value) -> Result<()> {
    let schemas = picked
        .pointer("/components/schemas")
        .and_then(Value::as_object);
    let edges: BTreeMap<&str, Vec<(String, String)>> = schemas
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            (
                name.as_str(),
                references(schema, &format!("/components/schemas/{name}")),
            )
        })
        .collect();
    let mut done = BTreeSet::new();
    for start in edges.keys().copied() {
        visit(start, &edges, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

fn visit<'a>(
    name: &'a str,
    edges: &'a BTreeMap<&str, Vec<(String, String)>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<()> {
    if done.contains(name) {
        return Ok(());
    }
    path.push(name);
    for (at, target) in edges.get(name).into_iter().flatten() {
        let Some(target) = target.strip_prefix("#/components/schemas/") else {
            continue;
        };
        if let Some(start) = path.iter().position(|visited| *visited == target) {
            bail!(
                "{at}: the references run in a circle: {} → {target}",
                path[start..].join(" → ")
            );
        }
        if let Some((target, _)) = edges.get_key_value(target) {
            visit(target, edges, path, done)?;
        }
    }
    path.pop();
    done.insert(name);
    Ok(())
}

/// Takes the prefix off that all of upstream's names share: the product's, up to the first `_`.
fn renamed(picked: &Value) -> Result<Value> {
    let names: Vec<&String> = picked["components"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(section, _)| *section != "securitySchemes")
        .filter_map(|(_, components)| components.as_object())
        .flat_map(Map::keys)
        .collect();
    let prefix = names
        .first()
        .and_then(|name| name.split_once('_'))
        .map(|(prefix, _)| format!("{prefix}_"));
    let Some(prefix) = prefix
        .filter(|prefix| names.len() > 1 && names.iter().all(|name| name.starts_with(prefix)))
    else {
        return Ok(picked.clone());
    };
    let mut renamed = picked.clone();
    if let Some(sections) = renamed["components"].as_object_mut() {
        for (section, components) in sections
            .iter_mut()
            .filter(|(section, _)| *section != "securitySchemes")
        {
            let Some(components) = components.as_object_mut() else {
                continue;
            };
            for (name, component) in std::mem::take(components) {
                let short = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
                ensure!(
                    components.insert(short.clone(), component).is_none(),
                    "/components/{section}/{name}: without upstream's prefix {prefix:?} the name {short:?} stands twice"
                );
            }
        }
    }
    rewrite_references(&mut renamed, &prefix);
    Ok(renamed)
}

fn rewrite_references(node: &mut Value, prefix: &str) {
    match node {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replacen(&format!("/{prefix}"), "/", 1);
                    }
                    value => rewrite_references(value, prefix),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite_references(item, prefix)),
        _ => {}
    }
}

/// Keys whose values are names that somebody chose, and no keywords of the standard.
const NAMED: [&str; 5] = [
    "properties",
    "schemas",
    "securitySchemes",
    "paths",
    "responses",
];

fn is_text(key: &str) -> bool {
    matches!(
        key,
        "description" | "summary" | "example" | "examples" | "title"
    )
}

fn strip_texts(document: &mut Value) {
    fn strip(node: &mut Value, is_named: bool) {
        match node {
            Value::Object(members) => {
                members.retain(|key, _| is_named || !is_text(key));
                for (key, value) in members {
                    strip(value, !is_named && NAMED.contains(&key.as_str()));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| strip(item, false)),
            _ => {}
        }
    }
    strip(document, false);
}

/// Gives what still stands where it stood the texts that it had.
fn restore_texts(document: &mut Value, current: &Value) {
    fn restore(node: &mut Value, current: &Value, is_named: bool) {
        match (node, current) {
            (Value::Object(members), Value::Object(current)) => {
                if !is_named && !members.contains_key("$ref") {
                    let texts = current.iter().filter(|(key, _)| is_text(key));
                    members.extend(texts.map(|(key, text)| (key.clone(), text.clone())));
                }
                for (key, value) in members {
                    if let Some(current) = current.get(key) {
                        restore(value, current, !is_named && NAMED.contains(&key.as_str()));
                    }
                }
            }
            (Value::Array(items), Value::Array(current)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    // Parameters go by their name, wherever they stand.
                    let same = match item.get("name") {
                        Some(name) => current.iter().find(|other| other.get("name") == Some(name)),
                        None => current.get(index),
                    };
                    if let Some(same) = same {
                        restore(item, same, false);
                    }
                }
            }
            _ => {}
        }
    }
    for key in ["info", "tags"] {
        if let Some(own) = current.get(key) {
            document[key] = own.clone();
        }
    }
    restore(document, current, false);
}

/// The standard wants a title for the document and a description for each response.
fn fill_required_texts(document: &mut Value) {
    if document["info"].get("title").is_none() {
        document["info"]["title"] = "Client certificates".into();
    }
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        let responses = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut);
        for response in responses
            .into_iter()
            .flat_map(Map::values_mut)
            .filter_map(Value::as_object_mut)
        {
            response
                .entry("description")
                .or_insert_with(|| "To be described.".into());
        }
    }
}

/// The fragment as YAML, below the comment that the current one begins with.
pub(crate) fn to_yaml(fragment: &Value, current: &str, provenance: &str) -> Result<String> {
    const IMPORTED: &str = "# Imported from ";
    let header = current.lines().take_while(|line| line.starts_with('#'));
    let mut text: String = header
        .filter(|line| !line.starts_with(IMPORTED))
        .map(|line| format!("{line}\n"))
        .collect();
    text.push_str(&format!("{IMPORTED}{provenance}\n"));
    text.push_str(
        &serde_saphyr::to_string(&Ordered(fragment))
            .context("the fragment can't be written as YAML")?,
    );
    Ok(text)
}

/// Keys in the order in which a person reads them, and all others by name.
struct Ordered<'a>(&'a Value);

const ORDER: [&str; 31] = [
    "openapi",
    "info",
    "title",
    "name",
    "in",
    "operationId",
    "summary",
    "description",
    "version",
    "servers",
    "url",
    "tags",
    "security",
    "required",
    "$ref",
    "type",
    "nullable",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "default",
    "parameters",
    "requestBody",
    "responses",
    "content",
    "schema",
    "paths",
    "components",
    "securitySchemes",
];

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let rank = |key: &str| {
                    ORDER
                        .iter()
                        .position(|known| *known == key)
                        .unwrap_or(ORDER.len())
                };
                members.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;

    const FRAGMENT: &str = include_str!("../../spec/client_certificates.yaml");

    fn own() -> Value {
        document::parse(FRAGMENT).expect("YAML")
    }

    /// The fragment as upstream would have it: prefixed names, other words, thousands of other paths.
    fn full(others: usize) -> Value {
        let mut full = own();
        let schemas = full["components"]["schemas"]
            .as_object_mut()
            .expect("an object");
        for (name, schema) in std::mem::take(schemas) {
            schemas.insert(format!("tls-certificates_{name}"), schema);
        }
        fn prefix(node: &mut Value) {
            match node {
                Value::Object(members) => {
                    for (key, value) in members {
                        match value {
                            Value::String(target) if key == "$ref" => {
                                *target = target.replace("schemas/", "schemas/tls-certificates_");
                            }
                            Value::String(text) if key == "description" => {
                                *text = format!("upstream: {text}")
                            }
                            value => prefix(value),
                        }
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(prefix),
                _ => {}
            }
        }
        prefix(&mut full);
        for number in 0..others {
            full["paths"][format!("/zones/{{zone_id}}/other_{number}")] = json!({ "get": {
                "operationId": format!("other-{number}"),
                "description": "words ".repeat(20),
                "responses": { "200": { "description": "d", "content": { "application/json": { "schema": {
                    "$ref": format!("#/components/schemas/other_{number}") } } } } },
            } });
            full["components"]["schemas"][format!("other_{number}")] = json!({
                "type": "object",
                "description": "words ".repeat(20),
                "properties": { "a": { "type": "string", "description": "words ".repeat(10) } },
            });
        }
        full
    }

    #[test]
    fn the_fragment_of_a_full_document_is_the_fragment() {
        let imported = fragment(&full(50).to_string(), Some(&own())).expect("imports");
        assert_eq!(diff::compare(&own(), &imported), []);
        // Its texts are ours, word for word.
        assert_eq!(imported, own());
    }

    #[test]
    fn yaml_is_read_and_written_without_loss() {
        let yaml = to_yaml(
            &full(3),
            "# kept\n# Imported from elsewhere\nopenapi: x",
            "here",
        )
        .expect("writes");
        assert!(
            yaml.starts_with("# kept\n# Imported from here\nopenapi: \"3.0.3\"\n"),
            "{}",
            &yaml[..80]
        );
        assert_eq!(document::parse(&yaml).expect("reads"), full(3));
        let imported = fragment(&yaml, Some(&own())).expect("imports");
        assert_eq!(imported, own());
        let written = to_yaml(&imported, FRAGMENT, "here").expect("writes");
        let again = to_yaml(
            &fragment(&written, Some(&imported)).expect("imports"),
            &written,
            "here",
        )
        .expect("writes");
        assert_eq!(
            written, again,
            "importing what was imported changes nothing"
        );
    }

    #[test]
    fn what_is_new_has_none_of_upstreams_words() {
        let mut full = full(0);
        full["components"]["schemas"]["tls-certificates_client_certificate"]["properties"]["new"] =
            json!({ "type": "string", "description": "upstream: new", "example": "upstream" });
        let imported = fragment(&full.to_string(), Some(&own())).expect("imports");
        let new = &imported["components"]["schemas"]["client_certificate"]["properties"]["new"];
        assert_eq!(new, &json!({ "type": "string" }));
        assert!(!imported.to_string().contains("upstream:"));
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        let mut full = full(0);
        full["components"]["schemas"]["tls-certificates_client_certificate"]["properties"]["description"] =
            json!({ "type": "string" });
        let imported = fragment(&full.to_string(), Some(&own())).expect("imports");
        let properties = &imported["components"]["schemas"]["client_certificate"]["properties"];
        assert_eq!(properties["description"], json!({ "type": "string" }));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_pointer() {
        let list = "/zones/{zone_id}/client_certificates";
        let refusal = |change: &dyn Fn(&mut Value)| {
            let mut full = full(0);
            change(&mut full);
            format!(
                "{:#}",
                fragment(&full.to_string(), None).expect_err("is refused")
            )
        };
        for (message, expected) in [
            (
                refusal(&|full| full["openapi"] = "3.1.0".into()),
                "/openapi: version 3.1.0",
            ),
            (
                refusal(&|full| full["openapi"] = Value::Null),
                "is this an OpenAPI document",
            ),
            (
                refusal(&|full| full["paths"] = json!({})),
                "/paths: /zones/{zone_id}/client_certificates is missing",
            ),
            (
                refusal(&|full| full["paths"] = Value::Null),
                "can't be read as an OpenAPI document",
            ),
            (
                refusal(&|full| {
                    let item = full["paths"][list].take();
                    full["paths"]
                        .as_object_mut()
                        .expect("an object")
                        .remove(list);
                    full["paths"]["/zones/{zone_identifier}/client_certificates"] = item;
                }),
                "/paths/~1zones~1{zone_identifier}~1client_certificates: upstream calls this path's parameters",
            ),
            (
                refusal(&|full| {
                    full["components"]["schemas"]
                        .as_object_mut()
                        .expect("an object")
                        .remove("tls-certificates_csr");
                }),
                "\"#/components/schemas/tls-certificates_csr\" points at nothing",
            ),
            (
                refusal(&|full| {
                    full["paths"][list]["post"]["operationId"] =
                        full["paths"][list]["get"]["operationId"].clone()
                }),
                "is also the operation id of /paths/~1zones~1{zone_id}~1client_certificates/get",
            ),
            (
                refusal(&|full| {
                    full["components"]["schemas"]["tls-certificates_csr"] = json!({ "type": "object", "properties": { "a": { "$ref": "#/components/schemas/tls-certificates_csr" } } });
                }),
                "the references run in a circle",
            ),
            (
                refusal(&|full| full["components"]["securitySchemes"] = json!({})),
                "/components/securitySchemes: \"api_",
            ),
        ] {
            assert!(message.contains(expected), "{expected}: {message}");
        }
        for nonsense in ["", "hello", "{", "[1]", "a: [", "\u{0}", "<html></html>"] {
            assert!(fragment(nonsense, None).is_err(), "{nonsense:?}");
        }
    }

    /// How long and how large is measured by `cargo xtask spec import` on the file that this writes.
    #[test]
    fn a_large_document_is_read() {
        let full = full(35_000);
        let text = full.to_string();
        assert!(text.len() > 20_000_000, "{}", text.len());
        if let Some(path) = std::env::var_os("SHIELDCERT_WRITE_LARGE_DOCUMENT") {
            std::fs::write(path, &text).expect("writes");
        }
        assert_eq!(fragment(&text, Some(&own())).expect("imports"), own());
    }
}
