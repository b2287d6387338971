//! From a checked and overlaid document to Rust source.

use anyhow::{Context, Result, bail};
use openapiv3::OpenAPI;
use progenitor::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TagStyle};
use quote::ToTokens;
use syn::{Fields, Item};

/// The generated sources, without their headers.
pub(crate) struct Sources {
    pub(crate) api: String,
    pub(crate) httpmock: String,
}

/// Runs progenitor. The same document gives the same bytes.
///
/// # Errors
/// progenitor can't generate code for the document. Where it would panic, that is an error, too.
pub(crate) fn generate_sources(document: &OpenAPI) -> Result<Sources> {
    // A panic in a thread of its own ends that thread alone; `main` keeps it from being printed.
    let result = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(THREAD.into());
        let thread = thread.spawn_scoped(scope, || generate(document))?;
        Ok::<_, std::io::Error>(thread.join())
    });
    match result.context("can't start a thread")? {
        Ok(sources) => sources,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            bail!(
                "progenitor can't generate code for this document, and gives no reason but this: {}; compare it with \
                 the last one that it could (`cargo xtask spec diff`), and let an overlay action remove what is new",
                text.unwrap_or("none")
            )
        }
    }
}

/// The name of the thread that runs progenitor, which asserts what it can't express.
const THREAD: &str = "progenitor";

/// Prints no panic of progenitor: [`generate_sources`] returns it as an error.
pub(crate) fn silence_progenitor() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(THREAD) {
            print(info);
        }
    }));
}

fn generate(document: &OpenAPI) -> Result<Sources> {
    let mut settings = GenerationSettings::new();
    settings
        .with_interface(InterfaceStyle::Builder)
        .with_tag(TagStyle::Merged)
        // Every request goes through the transport seam, which can replace reqwest.
        .with_inner_type("crate::transport::Seam".parse().expect("a Rust path"))
        .with_hooks(HooksMode::Expected);
    let api = Generator::new(&settings).generate_tokens(document);
    let api = api.context("progenitor can't generate the client")?;
    let mut api = parse_source(&api.to_string())?;
    extend_types(&mut api.items);
    default_extra_members(&mut api.items);
    let mocks = Generator::new(&settings).httpmock(document, "shieldcert_api");
    let mocks = mocks.context("progenitor can't generate the mocks")?;
    let mocks = with_base_path(&mocks.to_string(), base_path(document));
    Ok(Sources {
        api: prettyplease::unparse(&api),
        httpmock: prettyplease::unparse(&parse_source(&mocks)?),
    })
}

fn parse_source(source: &str) -> Result<syn::File> {
    syn::parse_file(source).context("progenitor generated invalid Rust")
}

/// Extends the types in `mod types`, which alone are serialized, by two attributes that progenitor has no setting for:
///
/// - `JsonSchema` behind the feature `schemars`. progenitor derives a trait always or never, and schemars is six crates
///   that few users need.
/// - `#[non_exhaustive]` on every struct with named fields and every enum: a new property or enum value in the spec must
///   not break a user's build. Users make them with `builder()` or `Default`. A newtype such as `Identifier(pub String)`
///   stays exhaustive: it has one value, which is public on purpose, and no property can be added to it.
fn extend_types(items: &mut [Item]) {
    for item in items {
        let (attributes, can_grow) = match item {
            Item::Mod(module) if module.ident == "types" => {
                if let Some((_, items)) = &mut module.content {
                    extend_types(items);
                }
                continue;
            }
            Item::Struct(item) => {
                let can_grow = matches!(item.fields, Fields::Named(_));
                (&mut item.attrs, can_grow)
            }
            Item::Enum(item) => (&mut item.attrs, true),
            _ => continue,
        };
        let is_serialized = attributes.iter().any(|attribute| {
            attribute.path().is_ident("derive")
                && attribute
                    .to_token_stream()
                    .to_string()
                    .contains("Serialize")
        });
        if !is_serialized {
            continue;
        }
        attributes.push(syn::parse_quote! {
            #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        });
        if can_grow {
            attributes.push(syn::parse_quote!(#[non_exhaustive]));
        }
    }
}

/// Gives types with additional members a `Default`, and their builders an empty default for the members.
///
/// progenitor takes the flattened map of additional members for required, so it derives no `Default` for the type
/// and its builder fails without the map.
fn default_extra_members(items: &mut [Item]) {
    let Some(types) = module(items, "types") else {
        return;
    };
    let mut open_types = Vec::new();
    for item in types.iter_mut() {
        if let Item::Struct(item) = item
            && item.fields.iter().any(|field| is_flattened(&field.attrs))
        {
            item.attrs.push(syn::parse_quote! { #[derive(Default)] });
            open_types.push(item.ident.clone());
        }
    }
    for item in module(types, "builder").into_iter().flatten() {
        let Item::Impl(item) = item else { continue };
        let is_default = item.trait_.as_ref().is_some_and(|(path, _)| {
            path.segments
                .last()
                .is_some_and(|segment| segment.ident == "Default")
        });
        let is_open = open_types
            .iter()
            .any(|open| *open == item.self_ty.to_token_stream().to_string());
        if is_default && is_open {
            let function = item.to_token_stream().to_string().replace(
                "extra : Err (\"no value supplied for extra\" . to_string ())",
                "extra : Ok (Default :: default ())",
            );
            *item = syn::parse_str(&function).expect("one expression is exchanged for another");
        }
    }
}

fn is_flattened(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.to_token_stream().to_string().contains("flatten"))
}

/// The items of a module by its name.
fn module<'a>(items: &'a mut [Item], name: &str) -> Option<&'a mut Vec<Item>> {
    items.iter_mut().find_map(|item| match item {
        Item::Mod(module) if module.ident == name => {
            module.content.as_mut().map(|(_, items)| items)
        }
        _ => None,
    })
}

/// Returns the path of the base URL: `/client/v4`.
fn base_path(document: &OpenAPI) -> &str {
    let url = document.servers.first().map(|server| server.url.as_str());
    let after_scheme = url.and_then(|url| url.split_once("://"));
    let path = after_scheme.and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
    path.unwrap_or_default().trim_end_matches('/')
}

/// Lets the mocks match paths with the base path, too.
///
/// progenitor's match `^/zones/…`, but the base URL that a client is given usually ends in the base path.
fn with_base_path(mocks: &str, base_path: &str) -> String {
    mocks.replace("\"^/", &format!("\"^(?:{base_path})?/"))
}

/// The generated types state what the spec states: their schemars schemas are compared with the overlaid spec's, both
/// reduced to one form.
#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;
    use shieldcert_api::types;

    use crate::openapi::document;
    use crate::openapi::overlay::Overlay;

    /// What a schema states about values, without names and descriptions.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Shape {
        kind: Option<String>,
        values: BTreeSet<String>,
        items: Option<Box<Shape>>,
        properties: BTreeMap<String, Shape>,
        required: BTreeSet<String>,
    }

    /// Reads a schema of OpenAPI 3.0 or of schemars. `null` is ignored: every optional field of a Rust
    /// type accepts it, the spec allows it only where the service is known to send it.
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
        overlay.apply(&mut spec).into_result().expect("applies");
        spec
    }

    #[test]
    fn every_type_matches_its_schema() {
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
                "client_certificate_tag",
                schemars::schema_for!(types::ClientCertificateTag),
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
                .unwrap_or_else(|| panic!("{name} is a new component of the spec; add its type to `generated` in this test"));
            let generated = generated.to_value();
            assert_eq!(
                shape(&generated, &generated),
                shape(&spec, schema),
                "{name}"
            );
        }
        assert!(
            generated.is_empty(),
            "{:?} are no longer components of the spec; remove them from `generated` in this test",
            generated.keys()
        );
    }

    #[test]
    fn every_body_and_parameter_matches_its_schema() {
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

    #[test]
    fn every_type_that_can_grow_is_non_exhaustive() {
        let source = include_str!("../../crates/shieldcert-api/src/generated.rs");
        let file = syn::parse_file(source).expect("Rust");
        let types = file.items.iter().find_map(|item| match item {
            syn::Item::Mod(module) if module.ident == "types" => module.content.as_ref(),
            _ => None,
        });
        let (_, items) = types.expect("there is a module");
        let is_non_exhaustive = |attributes: &[syn::Attribute]| {
            let mut attributes = attributes.iter();
            attributes.any(|attribute| attribute.path().is_ident("non_exhaustive"))
        };
        let mut checked = 0;
        for item in items {
            let (name, attributes, can_grow) = match item {
                syn::Item::Struct(item) => {
                    let can_grow = matches!(item.fields, syn::Fields::Named(_));
                    (&item.ident, &item.attrs, can_grow)
                }
                syn::Item::Enum(item) => (&item.ident, &item.attrs, true),
                _ => continue,
            };
            assert_eq!(is_non_exhaustive(attributes), can_grow, "{name}");
            checked += 1;
        }
        assert!(checked > 10, "{checked}");
    }

    #[test]
    fn the_base_path_is_optional_in_mocks() {
        let mut document: openapiv3::OpenAPI = serde_json::from_value(overlaid()).expect("OpenAPI");
        assert_eq!(super::base_path(&document), "/client/v4");
        document.servers.clear();
        assert_eq!(super::base_path(&document), "");
        let mocks = super::with_base_path(r#"Regex::new("^/zones/{}$")"#, "/client/v4");
        assert_eq!(mocks, r#"Regex::new("^(?:/client/v4)?/zones/{}$")"#);
    }
}
