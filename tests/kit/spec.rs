//! The spec as upstream states it, before any overlay.

use jsonschema::Validator;
use serde_json::{Value, json};

/// The spec with its schemas as JSON Schema.
pub struct Spec {
    /// The whole document.
    pub document: Value,
}

impl Spec {
    /// Reads the checked-in fragment.
    pub fn read() -> Self {
        let yaml = include_str!("../../spec/client_certificates.yaml");
        let mut document: Value = serde_saphyr::from_str(yaml).expect("the spec is YAML");
        nullable_as_type(&mut document);
        Self { document }
    }

    /// Compiles the schema of an operation's response.
    pub fn response(&self, path: &str, method: &str, code: &str) -> Validator {
        let path = path.replace('/', "~1");
        self.validator(&format!(
            "/paths/{path}/{method}/responses/{code}/content/application~1json/schema"
        ))
    }

    /// Compiles the schema at a JSON pointer. It holds the whole spec, which its references point into.
    pub fn validator(&self, pointer: &str) -> Validator {
        assert!(self.document.pointer(pointer).is_some(), "{pointer}");
        let mut schema = self.document.clone();
        let reference = pointer.replace('{', "%7B").replace('}', "%7D");
        schema["allOf"] = json!([{ "$ref": format!("#{reference}") }]);
        jsonschema::draft7::new(&schema).expect("the spec's schemas are valid")
    }

    /// Follows a schema's references.
    pub fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str() {
            Some(target) => {
                let pointer = target.strip_prefix('#').expect("references are local");
                self.resolve(
                    self.document
                        .pointer(pointer)
                        .expect("references are checked"),
                )
            }
            None => node,
        }
    }
}

/// Turns OpenAPI 3.0's `nullable: true` into JSON Schema's `type: [T, null]`.
fn nullable_as_type(node: &mut Value) {
    match node {
        Value::Object(members) => {
            if members.remove("nullable") == Some(Value::Bool(true))
                && let Some(kind) = members.get("type").cloned()
            {
                members.insert("type".into(), json!([kind, "null"]));
            }
            members.values_mut().for_each(nullable_as_type);
        }
        Value::Array(items) => items.iter_mut().for_each(nullable_as_type),
        _ => {}
    }
}
