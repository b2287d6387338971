//! The morning of a change: for each change that upstream may make to its document, what is reported, written,
//! regenerated and compiled, on a copy of the workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::openapi::diff::{Change, Class, worst};
use crate::user_build::Copy;
use crate::workspace::{API, HTTPMOCK, OPENAPI, OVERLAY, SPEC, read};
use crate::{regen, spec};

/// A document in the layout that upstream publishes.
const PUBLISHED: &str = include_str!("../fixtures/published.json");
const LIST: &str = "/paths/~1zones~1{zone_id}~1client_certificates";
const ONE: &str = "/paths/~1zones~1{zone_id}~1client_certificates~1{client_certificate_id}";
const PREFIX: &str = "tls-certificates-and-hostnames_";

struct Case {
    name: &'static str,
    change: fn(&mut Value),
    /// What the maintainer changes in the overlay, if the report asks for it.
    by_hand: &'static [(&'static str, &'static str)],
}

fn at<'a>(document: &'a mut Value, pointer: &str) -> &'a mut Value {
    let found = document.pointer_mut(pointer);
    found.unwrap_or_else(|| panic!("{pointer} exists"))
}

fn component<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    at(document, &format!("/components/schemas/{PREFIX}{name}"))
}

fn remove(document: &mut Value, pointer: &str, key: &str) {
    let members = at(document, pointer).as_object_mut().expect("an object");
    members.remove(key).expect("was there");
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{PREFIX}{name}") })
}

/// Returns a parameter of the list by its place.
fn parameter(document: &mut Value, index: usize) -> &mut Value {
    at(document, &format!("{LIST}/get/parameters/{index}"))
}

/// Renames a component, and what refers to it.
fn rename(document: &mut Value, from: &str, to: &str) {
    let text = document.to_string();
    let text = text.replace(&format!("{PREFIX}{from}\""), &format!("{PREFIX}{to}\""));
    *document = serde_json::from_str(&text).expect("JSON");
}

/// Replaces every reference by what it refers to.
fn inline(node: &Value, document: &Value) -> Value {
    if let Some(target) = node["$ref"].as_str() {
        return inline(document.pointer(&target[1..]).expect("is there"), document);
    }
    match node {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), inline(value, document)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| inline(item, document)).collect(),
        other => other.clone(),
    }
}

const RESPONSE: &str = "responses/200/content/application~1json/schema";

const CASES: &[Case] = &[
    // Nothing on the wire.
    Case {
        name: "nothing",
        change: |_| {},
        by_hand: &[],
    },
    Case {
        name: "components renamed",
        change: |document| {
            document["info"]["version"] = "4.0.1".into();
            rename(document, "client_certificate", "mtls_client_certificate");
            rename(document, "schemas-csr", "csr");
            rename(document, "messages", "schemas-messages");
        },
        by_hand: &[],
    },
    Case {
        name: "components inlined",
        change: |document| {
            let paths = document["paths"].as_object().expect("an object").clone();
            for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/zones")) {
                document["paths"][path] = inline(item, document);
            }
            document["components"]["schemas"] = json!({});
        },
        by_hand: &[],
    },
    Case {
        name: "one component for two equal schemas",
        change: |document| {
            let properties = &mut component(document, "client_certificate")["properties"];
            properties["country"] = reference("state");
            properties["location"] = reference("state");
        },
        by_hand: &[],
    },
    Case {
        name: "texts and extensions",
        change: |document| {
            component(document, "client_certificate")["description"] = "other words".into();
            component(document, "ski")["example"] = "other".into();
            at(document, &format!("{LIST}/get"))["x-new"] = true.into();
        },
        by_hand: &[],
    },
    // Properties.
    Case {
        name: "property added",
        change: |document| {
            document["components"]["schemas"][format!("{PREFIX}device_id")] =
                json!({ "type": "string", "description": "Upstream's words" });
            component(document, "client_certificate")["properties"]["device_id"] =
                reference("device_id");
        },
        by_hand: &[],
    },
    Case {
        name: "property removed",
        change: |document| {
            let properties = format!("/components/schemas/{PREFIX}client_certificate/properties");
            remove(document, &properties, "ski");
        },
        by_hand: &[("'ski',", "")],
    },
    Case {
        name: "property renamed",
        change: |document| {
            let properties = format!("/components/schemas/{PREFIX}client_certificate/properties");
            remove(document, &properties, "ski");
            component(document, "client_certificate")["properties"]["subject_key_identifier"] =
                reference("ski");
        },
        by_hand: &[("'ski',", "'subject_key_identifier',")],
    },
    Case {
        name: "property retyped",
        change: |document| {
            *component(document, "components-schemas-serial_number") = json!({ "type": "integer" });
        },
        by_hand: &[],
    },
    Case {
        name: "property moved into a shared object",
        change: |document| {
            let properties = format!("/components/schemas/{PREFIX}client_certificate/properties");
            remove(document, &properties, "country");
            document["components"]["schemas"][format!("{PREFIX}subject")] =
                json!({ "type": "object", "properties": { "country": reference("country") } });
            component(document, "client_certificate")["properties"]["subject"] =
                reference("subject");
            at(
                document,
                &format!("{ONE}/patch/requestBody/content/application~1json/schema/properties"),
            )["subject"] = reference("subject");
        },
        by_hand: &[("'country',", "")],
    },
    Case {
        name: "property deprecated and read-only",
        change: |document| {
            component(document, "ski")["deprecated"] = true.into();
            component(document, "schemas-validity_days")["readOnly"] = true.into();
        },
        by_hand: &[],
    },
    Case {
        name: "property of the envelope added",
        change: |document| {
            component(document, "api-response-common")["properties"]["trace_id"] =
                json!({ "type": "string" });
        },
        by_hand: &[],
    },
    Case {
        name: "property of an error added",
        change: |document| {
            component(document, "messages")["items"]["properties"]["retryable"] =
                json!({ "type": "boolean" });
        },
        by_hand: &[],
    },
    Case {
        name: "shared list bounded",
        change: |document| component(document, "messages")["maxItems"] = 100.into(),
        by_hand: &[],
    },
    Case {
        name: "other properties restricted",
        change: |document| {
            component(
                document,
                "client-certificates_components-schemas-certificate_authority",
            )["additionalProperties"] = json!({ "type": "string" });
        },
        by_hand: &[],
    },
    Case {
        name: "status added",
        change: |document| {
            let status = "client-certificates_components-schemas-status";
            let values = component(document, status)["enum"]
                .as_array_mut()
                .expect("a list");
            values.push("archived".into());
            let values = parameter(document, 1)["schema"]["enum"]
                .as_array_mut()
                .expect("a list");
            values.push("archived".into());
        },
        by_hand: &[],
    },
    Case {
        name: "certificate ids bounded",
        change: |document| component(document, "client_certificate_tag")["maxLength"] = 36.into(),
        by_hand: &[],
    },
    Case {
        name: "certificate ids and zone ids share a schema",
        change: |document| {
            let zone = json!({ "$ref": "#/components/schemas/zones_identifier" });
            for method in ["get", "patch", "delete"] {
                at(document, &format!("{ONE}/{method}/parameters/1"))["schema"] = zone.clone();
            }
            component(document, "client_certificate")["properties"]["id"] = zone;
        },
        by_hand: &[],
    },
    // Parameters.
    Case {
        name: "parameter added",
        change: |document| {
            let parameters = at(document, &format!("{LIST}/get/parameters"));
            let new =
                json!({ "in": "query", "name": "common_name", "schema": reference("common_name") });
            parameters.as_array_mut().expect("a list").push(new);
        },
        by_hand: &[],
    },
    Case {
        name: "parameter removed",
        change: |document| {
            let parameters = at(document, &format!("{LIST}/get/parameters"));
            parameters.as_array_mut().expect("a list").remove(5);
        },
        by_hand: &[],
    },
    Case {
        name: "parameter bounds",
        change: |document| {
            parameter(document, 3)["schema"]["maximum"] = 40.into();
            parameter(document, 2)["schema"]["exclusiveMinimum"] = true.into();
            parameter(document, 4)["deprecated"] = true.into();
        },
        by_hand: &[],
    },
    Case {
        name: "parameter required and written otherwise",
        change: |document| {
            parameter(document, 4)["required"] = true.into();
            parameter(document, 1)["explode"] = false.into();
        },
        by_hand: &[],
    },
    Case {
        name: "path parameter renamed",
        change: |document| {
            let text = document.to_string().replace("zone_id", "zone_identifier");
            *document = serde_json::from_str(&text).expect("JSON");
        },
        by_hand: &[("{zone_id}", "{zone_identifier}")],
    },
    // Operations.
    Case {
        name: "operation added",
        change: |document| {
            let mut operation = at(document, &format!("{ONE}/get")).clone();
            operation["operationId"] = "client-certificate-for-a-zone-renew".into();
            at(document, ONE)["put"] = operation;
        },
        by_hand: &[],
    },
    Case {
        name: "operation removed",
        change: |document| remove(document, ONE, "patch"),
        by_hand: &[(
            "  - target: $.paths['/zones/{zone_id}/client_certificates/{client_certificate_id}'].patch\n    description: \
             Upstream's operation ids repeat their tag, so the generated method names would be unreadable.\n    update: { \
             operationId: edit_client_certificate }\n",
            "",
        )],
    },
    Case {
        name: "operation renamed and deprecated",
        change: |document| {
            let operation = at(document, &format!("{ONE}/patch"));
            operation["operationId"] = "client-certificate-for-a-zone-reactivate".into();
            operation["deprecated"] = true.into();
        },
        by_hand: &[],
    },
    Case {
        name: "path added",
        change: |document| {
            let operation = at(document, &format!("{ONE}/patch")).clone();
            let path = "/zones/{zone_id}/client_certificates/{client_certificate_id}/renew";
            document["paths"][path] = json!({ "post": operation });
        },
        by_hand: &[],
    },
    Case {
        name: "servers of a path",
        change: |document| {
            at(document, ONE)["servers"] = json!([{ "url": "https://mtls.example.com/client/v4" }]);
        },
        by_hand: &[],
    },
    Case {
        name: "security inherited, and a scheme redefined",
        change: |document| {
            remove(document, &format!("{LIST}/get"), "security");
            document["components"]["securitySchemes"]["api_token"] =
                json!({ "type": "apiKey", "in": "header", "name": "X-Auth-Token" });
        },
        by_hand: &[],
    },
    // Responses.
    Case {
        name: "response headers",
        change: |document| {
            at(document, &format!("{LIST}/get/responses/200"))["headers"] =
                json!({ "Ratelimit": { "required": true, "schema": { "type": "string" } } });
        },
        by_hand: &[],
    },
    Case {
        name: "responses that the generator can't tell apart",
        change: |document| {
            let schema =
                json!({ "type": "object", "properties": { "retry_after": { "type": "integer" } } });
            let limited = json!({ "description": "d", "content": { "application/json": { "schema": schema } } });
            let responses = at(document, &format!("{LIST}/get/responses"));
            responses["429"] = limited;
            responses["204"] = json!({ "description": "d" });
            let responses = at(document, &format!("{LIST}/post/responses"));
            responses["default"] = responses["4XX"].clone();
        },
        by_hand: &[],
    },
    Case {
        name: "responses that are alike",
        change: |document| {
            let responses = at(document, &format!("{ONE}/get/responses"));
            responses["404"] = responses["4XX"].clone();
            responses["5XX"] = responses["4XX"].clone();
        },
        by_hand: &[],
    },
    Case {
        name: "bodies that the generator can't send",
        change: |document| {
            let schema = json!({ "type": "object", "properties": { "csr": { "type": "string" } } });
            let form =
                json!({ "schema": schema, "encoding": { "csr": { "contentType": "text/plain" } } });
            let content = at(document, &format!("{LIST}/post/requestBody/content"));
            content["multipart/form-data"] = form;
        },
        by_hand: &[],
    },
    Case {
        name: "schemas that the generator can't express",
        change: |document| {
            component(document, "expired_on")["format"] = "date-time".into();
            component(document, "ski")["enum"] = json!(["-", "a_b", "ab"]);
            parameter(document, 3)["schema"]["default"] = "twenty".into();
        },
        by_hand: &[],
    },
    // What the overlay says already.
    Case {
        name: "corrections of ours",
        change: |document| {
            parameter(document, 2)["schema"]["type"] = "integer".into();
            component(document, "result_info")["properties"]["count"]["type"] = "integer".into();
            component(document, "messages")["items"]["properties"]["code"] =
                json!({ "type": "integer" });
        },
        by_hand: &[],
    },
    Case {
        name: "the list's result stated once",
        change: |document| {
            let properties =
                format!("/components/schemas/{PREFIX}api-response-collection/allOf/1/properties");
            remove(document, &properties, "result");
        },
        by_hand: &[],
    },
    // Several at once.
    Case {
        name: "several at once",
        change: |document| {
            document["info"]["version"] = "5.0.0".into();
            rename(document, "client_certificate", "certificate");
            rename(document, "client_certificate_tag", "identifier");
            component(document, "certificate")["properties"]["device_id"] =
                json!({ "type": "string" });
            let properties = format!("/components/schemas/{PREFIX}certificate/properties");
            remove(document, &properties, "state");
            at(document, &format!("{LIST}/get"))["deprecated"] = true.into();
            at(document, &format!("{ONE}/get/{RESPONSE}"))["nullable"] = true.into();
        },
        by_hand: &[],
    },
];

/// A user of the generated types, client and mocks. It names what the changes above take away.
pub(crate) const SMALL_USER: &str = r#"
use shieldcert_api::types::{self, ClientCertificate, ClientCertificateTag};
use shieldcert_httpmock::httpmock::MockServer;
use shieldcert_httpmock::{MockServerExt, operations};

pub fn read(certificate: ClientCertificate) -> Vec<Option<String>> {
    let ca = certificate.certificate_authority.unwrap_or_default();
    let _: Option<&String> = ca.extra.values().find_map(|value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    });
    vec![certificate.ski, certificate.serial_number, certificate.country, certificate.state, certificate.expires_on]
}

pub fn id() -> ClientCertificateTag {
    ClientCertificateTag("id".to_owned())
}

pub fn page_size(page: &types::ClientCertificateResponseCollection) -> Option<i64> {
    page.result_info.as_ref()?.per_page
}

pub async fn call(api: &shieldcert_api::Client, zone: types::Identifier) -> Result<(), Box<dyn std::error::Error>> {
    let page = api.list_client_certificates().zone_id(zone.clone()).offset(0).limit(1).page(std::num::NonZeroU64::MIN);
    let page = page.send().await?.into_inner();
    let _: Option<Vec<ClientCertificate>> = page.result;
    api.edit_client_certificate().zone_id(zone.clone()).client_certificate_id(id())
        .body(types::EditClientCertificateBody::builder().reactivate(true)).send().await?;
    let one = api.get_client_certificate().zone_id(zone).client_certificate_id(id()).send().await?.into_inner();
    let _: Option<ClientCertificate> = one.result;
    Ok(())
}

pub fn mock(server: &MockServer, one: &types::ClientCertificateResponseSingle) {
    server.edit_client_certificate(
        |when: operations::EditClientCertificateWhen, then: operations::EditClientCertificateThen| {
            when.zone_id(&"zone".parse().expect("a zone id")).client_certificate_id(&id());
            then.ok(one);
        },
    );
    server.list_client_certificates(|when, _| {
        when.offset(1).limit(None);
    });
}
"#;

/// Says whether a report says that users' builds may break.
fn breaks_builds(changes: &[Change]) -> bool {
    changes
        .iter()
        .any(|change| change.class == Class::Breaking && change.at.starts_with("shieldcert_"))
}

/// Removes what changes with every release or document: the advice on the next version, and the sum.
fn without_version(text: &str) -> String {
    let lines = text.lines();
    let lines = lines.filter(|line| !line.starts_with("+# SHA-256 "));
    let lines = lines.map(|line| line.split("; the version after").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn files(root: &Path) -> [String; 5] {
    [SPEC, OVERLAY, OPENAPI, API, HTTPMOCK].map(|file| read(&root.join(file)).expect("is there"))
}

#[test]
fn each_change_is_reported_written_and_compiled_or_refused() {
    let copy = Copy::new();
    let published = copy.reset().join("published.json");
    fs::write(&published, PUBLISHED).expect("writes");
    let mut problems = Vec::new();
    let mut compiled = BTreeMap::new();
    for case in CASES {
        let root = copy.reset();
        let mut document: Value = serde_json::from_str(PUBLISHED).expect("JSON");
        (case.change)(&mut document);
        let full = root.join("full.json");
        fs::write(&full, document.to_string()).expect("writes");
        let before = files(root);
        let diffed = spec::compare_files(root, &published, &full, spec::Format::Text);
        let (mut text, changes) = match spec::import_file(root, &full, true, "2026-11-30") {
            Ok(report) => (report.text, report.changes),
            Err(error) => (format!("error: {error:#}\n"), Vec::new()),
        };
        let imported = files(root);
        assert_eq!(imported[1..], before[1..], "{}", case.name);
        if let Ok(diffed) = diffed {
            assert_eq!(
                diffed.changes, changes,
                "{}: diff and import agree",
                case.name
            );
        }
        let diff = similar::TextDiff::from_lines(&before[0], &imported[0]);
        let diff = diff.unified_diff().context_radius(0).to_string();
        text.push_str(&format!("\n{diff}\n"));
        let mut reported = regen::reported(root);
        let is_refused = reported.is_err();
        if let Err(error) = &reported {
            text.push_str(&format!("regen: error: {error:#}\n"));
            regen::run(root, false).expect_err("it fails as before");
            assert_eq!(
                files(root),
                imported,
                "{}: nothing is half-written",
                case.name
            );
            for (from, to) in case.by_hand {
                let overlay = read(&root.join(OVERLAY)).expect("is there");
                assert!(overlay.contains(from), "{}: {from}", case.name);
                fs::write(root.join(OVERLAY), overlay.replace(from, to)).expect("writes");
                text.push_str("the overlay is changed as asked\n");
                reported = regen::reported(root);
            }
        }
        match reported {
            Err(error) if !case.by_hand.is_empty() => {
                problems.push(format!("{}: {error:#}", case.name))
            }
            Err(_) => {}
            Ok(reported) => {
                // Where the overlay had to be changed, the import saw the document partly without it.
                let agrees = match is_refused {
                    true => worst(&reported) == worst(&changes),
                    false => reported == changes,
                };
                if !agrees {
                    problems.push(format!("{}: regen reports {reported:#?}", case.name));
                }
                regen::run(root, false).expect("regenerates");
                // The same bytes are compiled once.
                let [_, _, _, api, httpmock] = files(root);
                let (is_compiled, stderr) = compiled.entry([api, httpmock]).or_insert_with(|| {
                    let output = copy.check("small");
                    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                    (output.status.success(), stderr)
                });
                let is_broken = breaks_builds(&changes);
                if stderr.contains("could not compile `shieldcert") || *is_compiled == is_broken {
                    problems.push(format!("{}: {text}\n{stderr}", case.name));
                }
                let verdict = if is_broken { "break" } else { "compile" };
                text.push_str(&format!("regen: done; users' builds {verdict}\n"));
            }
        }
        insta::assert_snapshot!(
            case.name.replace([' ', ',', '\''], "_"),
            without_version(&text)
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}
