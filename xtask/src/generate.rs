//! From a checked and overlaid document to Rust source.

use anyhow::{Context, Result};
use openapiv3::OpenAPI;
use progenitor::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TagStyle};
use quote::ToTokens;
use syn::Item;

/// The generated sources, unformatted and without their headers.
pub(crate) struct Sources {
    pub(crate) api: String,
    pub(crate) httpmock: String,
}

/// Runs progenitor. The same document gives the same bytes.
pub(crate) fn sources(document: &OpenAPI) -> Result<Sources> {
    let mut settings = GenerationSettings::new();
    settings
        .with_interface(InterfaceStyle::Builder)
        .with_tag(TagStyle::Merged)
        // Every request goes through the transport seam, so that one can be put in reqwest's place.
        .with_inner_type("crate::transport::Seam".parse().expect("a Rust path"))
        .with_hooks(HooksMode::Expected);
    Ok(Sources {
        api: {
            let tokens = Generator::new(&settings).generate_tokens(document);
            let mut client = parsed(tokens.context("progenitor can't generate the client")?)?;
            offer_schemas(&mut client.items);
            prettyplease::unparse(&client)
        },
        httpmock: {
            let tokens = Generator::new(&settings).httpmock(document, "shieldcert_api");
            let mocks = parsed(tokens.context("progenitor can't generate the mocks")?)?;
            prettyplease::unparse(&mocks)
        },
    })
}

fn parsed(tokens: impl ToString) -> Result<syn::File> {
    syn::parse_file(&tokens.to_string()).context("progenitor generated invalid Rust")
}

/// Has the types of `mod types` derive `JsonSchema` where the feature `schemars` asks for it. progenitor can
/// derive a trait for every type, but only always, and schemars is six crates that few callers need.
fn offer_schemas(items: &mut [Item]) {
    for item in items {
        let attributes = match item {
            Item::Mod(module) if module.ident == "types" => {
                if let Some((_, items)) = &mut module.content {
                    offer_schemas(items);
                }
                continue;
            }
            Item::Struct(item) => &mut item.attrs,
            Item::Enum(item) => &mut item.attrs,
            _ => continue,
        };
        // The client itself derives only `Clone` and `Debug`.
        let is_serialized = attributes.iter().any(|attribute| {
            attribute.path().is_ident("derive")
                && attribute
                    .to_token_stream()
                    .to_string()
                    .contains("Serialize")
        });
        if is_serialized {
            attributes.push(syn::parse_quote! {
                #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
            });
        }
    }
}

/// The generated types say the same as the spec: their schemars schemas are compared with the
/// overlaid spec's, both brought into one form.
#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;
    use shieldcert_api::types;

    use crate::openapi::document;
    use crate::openapi::overlay::Overlay;

    /// What a schema says about values, without names and descriptions.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Shape {
        kind: Option<String>,
        values: BTreeSet<String>,
        items: Option<Box<Shape>>,
        properties: BTreeMap<String, Shape>,
        required: BTreeSet<String>,
    }

    /// Reads a schema of OpenAPI 3.0 or of schemars. `null` is left out: an optional field of a Rust
    /// type takes null everywhere, the spec says so only where the service is known to send it.
    fn shape(root: &Value, schema: &Value) -> Shape {
        if let Some(pointer) = schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
            return shape(root, root.pointer(pointer).expect("references are checked"));
        }
        let mut whole = Shape::default();
        for key in ["allOf", "anyOf", "oneOf"] {
            for part in schema[key].as_array().into_iter().flatten() {
                if part["type"] != "null" {
                    whole.add(shape(root, part));
                }
            }
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            kind => vec![kind.clone()],
        };
        let kind = kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null");
        let texts = |key: &str| -> BTreeSet<String> {
            let values = schema[key].as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let mut values = texts("enum");
        values.extend(schema["const"].as_str().map(str::to_owned));
        let properties = schema["properties"].as_object().into_iter().flatten();
        whole.add(Shape {
            kind: kind.map(str::to_owned),
            values,
            items: schema
                .get("items")
                .map(|items| Box::new(shape(root, items))),
            properties: properties
                .map(|(name, s)| (name.clone(), shape(root, s)))
                .collect(),
            required: texts("required"),
        });
        whole
    }

    impl Shape {
        fn add(&mut self, part: Shape) {
            self.kind = part.kind.or(self.kind.take());
            self.items = part.items.or(self.items.take());
            self.values.extend(part.values);
            self.properties.extend(part.properties);
            self.required.extend(part.required);
        }
    }

    fn overlaid() -> Value {
        let mut spec =
            document::parse(include_str!("../../spec/client_certificates.yaml")).expect("YAML");
        let overlay = Overlay::parse(include_str!("../../spec/overlay.yaml")).expect("an overlay");
        overlay.apply(&mut spec).expect("applies");
        spec
    }

    #[test]
    fn every_type_says_what_its_schema_says() {
        let spec = overlaid();
        let mut generated: BTreeMap<&str, schemars::Schema> = BTreeMap::from([
            (
                "api-response-common",
                schemars::schema_for!(types::ApiResponseCommon),
            ),
            (
                "api-response-common-failure",
                schemars::schema_for!(types::ApiResponseCommonFailure),
            ),
            (
                "client_certificate",
                schemars::schema_for!(types::ClientCertificate),
            ),
            (
                "client_certificate_response_collection",
                schemars::schema_for!(types::ClientCertificateResponseCollection),
            ),
            (
                "client_certificate_response_single",
                schemars::schema_for!(types::ClientCertificateResponseSingle),
            ),
            ("csr", schemars::schema_for!(types::Csr)),
            ("error_cause", schemars::schema_for!(types::ErrorCause)),
            ("identifier", schemars::schema_for!(types::Identifier)),
            ("messages", schemars::schema_for!(types::Messages)),
            ("validity_days", schemars::schema_for!(types::ValidityDays)),
        ]);
        for (name, schema) in spec["components"]["schemas"]
            .as_object()
            .expect("an object")
        {
            let generated = generated
                .remove(name.as_str())
                .unwrap_or_else(|| panic!("{name} is in the spec; add its type to this test"));
            let generated = generated.to_value();
            assert_eq!(
                shape(&generated, &generated),
                shape(&spec, schema),
                "{name}"
            );
        }
        assert!(
            generated.is_empty(),
            "{:?} are no longer in the spec",
            generated.keys()
        );
    }

    #[test]
    fn every_body_and_parameter_says_what_its_schema_says() {
        let spec = overlaid();
        let list = &spec["paths"]["/zones/{zone_id}/client_certificates"];
        let one = &spec["paths"]["/zones/{zone_id}/client_certificates/{client_certificate_id}"];
        let body = |operation: &Value| {
            operation["requestBody"]["content"]["application/json"]["schema"].clone()
        };
        let status = list["get"]["parameters"].as_array().expect("a list");
        let status = status
            .iter()
            .find(|parameter| parameter["name"] == "status")
            .expect("is there");
        for (schema, generated) in [
            (
                body(&list["post"]),
                schemars::schema_for!(types::CreateClientCertificateBody),
            ),
            (
                body(&one["patch"]),
                schemars::schema_for!(types::EditClientCertificateBody),
            ),
            (
                status["schema"].clone(),
                schemars::schema_for!(types::ListClientCertificatesStatus),
            ),
        ] {
            let generated = generated.to_value();
            assert_eq!(shape(&generated, &generated), shape(&spec, &schema));
        }
    }
}
