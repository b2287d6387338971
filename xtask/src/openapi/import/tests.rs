use serde_json::{Value, json};

use super::super::{diff, document};
use super::{import, to_yaml};

const FRAGMENT: &str = include_str!("../../../../spec/client_certificates.yaml");

/// A document in the layout that upstream publishes, with other words and parts of other products.
const PUBLISHED: &str = include_str!("../../../fixtures/published.json");

fn compare(old: &Value, new: &Value) -> Vec<diff::Change> {
    diff::compare(old, new).expect("resolves")
}

#[test]
fn the_published_layout_is_the_fragment() {
    let imported = import(PUBLISHED, Some(&own())).expect("imports");
    assert_eq!(imported.fragment, own());
    assert_eq!(imported.version, "4.0.0");
}

fn own() -> Value {
    document::parse(FRAGMENT).expect("YAML")
}

/// The fragment in upstream's form: prefixed names, other texts, and other paths.
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
    let imported = import(&full(50).to_string(), Some(&own()))
        .expect("imports")
        .fragment;
    assert_eq!(compare(&own(), &imported), []);
    // The texts are ours, unchanged.
    assert_eq!(imported, own());
}

#[test]
fn yaml_is_read_and_written_without_loss() {
    let yaml = to_yaml(
        &full(3),
        "# kept\n# Imported from elsewhere\nopenapi: x",
        Some(&["Imported from here".into(), "SHA-256 0".into()]),
    )
    .expect("writes");
    assert!(
        yaml.starts_with("# kept\n# Imported from here\n# SHA-256 0\nopenapi: \"3.0.3\"\n"),
        "{}",
        &yaml[..80]
    );
    assert_eq!(document::parse(&yaml).expect("reads"), full(3));
    let imported = import(&yaml, Some(&own())).expect("imports").fragment;
    assert_eq!(imported, own());
}

/// A change of the fragment then changes only the lines that say it.
#[test]
fn the_fragment_is_written_as_import_writes_it() {
    let written = to_yaml(&own(), FRAGMENT, None).expect("writes");
    assert!(written == FRAGMENT, "{written}");
}

#[test]
fn new_parts_have_none_of_upstreams_texts() {
    let mut full = full(0);
    full["components"]["schemas"]["tls-certificates_client_certificate"]["properties"]["new"] =
        json!({ "type": "string", "description": "upstream: new", "example": "upstream" });
    let imported = import(&full.to_string(), Some(&own()))
        .expect("imports")
        .fragment;
    let new = &imported["components"]["schemas"]["client_certificate"]["properties"]["new"];
    assert_eq!(new, &json!({ "type": "string" }));
    assert!(!imported.to_string().contains("upstream:"));
}

#[test]
fn a_property_may_be_called_like_a_keyword() {
    let mut full = full(0);
    full["components"]["schemas"]["tls-certificates_client_certificate"]["properties"]["description"] =
        json!({ "type": "string" });
    let imported = import(&full.to_string(), Some(&own()))
        .expect("imports")
        .fragment;
    let properties = &imported["components"]["schemas"]["client_certificate"]["properties"];
    assert_eq!(properties["description"], json!({ "type": "string" }));
}

#[test]
fn every_problem_is_named_with_its_pointer() {
    let list = "/zones/{zone_id}/client_certificates";
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut full = full(0);
        change(&mut full);
        format!(
            "{:#}",
            import(&full.to_string(), None).err().expect("is refused")
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
            "not a YAML or JSON document",
        ),
        (
            refusal(&|full| {
                full["components"]["schemas"]
                    .as_object_mut()
                    .expect("an object")
                    .remove("tls-certificates_csr");
            }),
            "\"#/components/schemas/tls-certificates_csr\" has no target",
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
            "circular reference",
        ),
        (
            refusal(&|full| full["components"]["securitySchemes"] = json!({})),
            "is missing from /components/securitySchemes",
        ),
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    for nonsense in ["", "hello", "{", "[1]", "a: [", "\u{0}", "<html></html>"] {
        assert!(import(nonsense, None).is_err(), "{nonsense:?}");
    }
}

/// `cargo xtask spec import` of the file that this can write shows time and memory.
#[test]
fn a_large_document_is_read() {
    let full = full(35_000);
    let text = full.to_string();
    assert!(text.len() > 20_000_000, "{}", text.len());
    if let Some(path) = std::env::var_os("SHIELDCERT_WRITE_LARGE_DOCUMENT") {
        std::fs::write(path, &text).expect("writes");
    }
    assert_eq!(
        import(&text, Some(&own())).expect("imports").fragment,
        own()
    );
}

/// Returns the pointers to all that is below a node.
fn pointers(node: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match node {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        let at = format!("{at}/{key}");
        pointers(value, &at, found);
        found.push(at);
    }
}

fn take_away(document: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("is not the root");
    match document.pointer_mut(parent).expect("is there") {
        Value::Object(members) => {
            members.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(items) => {
            items.remove(key.parse().expect("an index"));
        }
        _ => unreachable!("it has members"),
    }
}

/// Whatever is taken away or put in its place is imported, or refused for what it is.
#[test]
fn no_change_in_any_place_is_lost() {
    let published: Value = serde_json::from_str(PUBLISHED).expect("JSON");
    let mut places = Vec::new();
    pointers(&published, "", &mut places);
    // The other operations are like these.
    let is_wanted = |place: &String| {
        [
            "/components/schemas/tls",
            "/components/securitySchemes",
            "/security",
        ]
        .iter()
        .any(|start| place.starts_with(start))
            || place.contains("client_certificates/post")
            || place.contains("{client_certificate_id}/patch")
    };
    places.retain(is_wanted);
    let replacements = [
        json!({ "type": "integer", "minimum": 7 }),
        json!({ "allOf": [{ "type": "object", "properties": { "a": { "$ref": "#/components/schemas/zones_identifier" } } }] }),
        json!(true),
    ];
    let own = own();
    let mut imported = 0;
    let replacements = replacements
        .iter()
        .flat_map(|replacement| [None, Some(replacement)]);
    for (place, replacement) in places.iter().zip(replacements.cycle()) {
        let mut document = published.clone();
        match replacement {
            None => take_away(&mut document, place),
            Some(value) => *document.pointer_mut(place).expect("is there") = value.clone(),
        }
        match import(&document.to_string(), Some(&own)) {
            Ok(import) => {
                imported += 1;
                // Importing it once more finds nothing new.
                let again = super::import(&document.to_string(), Some(&import.fragment));
                assert!(
                    again.expect("imports").fragment == import.fragment,
                    "{place}"
                );
            }
            Err(error) => {
                let message = format!("{error:#}");
                assert!(!message.contains("bug"), "{place}: {message}");
            }
        }
    }
    assert!(imported > 150, "{imported}");
}
