//! Contract tests with requests and responses that are generated from the spec's schemas.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use shieldcert::{CertificateId, Client, RetryPolicy, StatusFilter, Transport, Zone};
use shieldcert_emulator::{Emulator, IdStyle};
use shieldcert_tests::kit::spec::Spec;
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{TOKEN, ZONE, id, key_and_csr, zone};

const LIST: &str = "/zones/{zone_id}/client_certificates";
const ONE: &str = "/zones/{zone_id}/client_certificates/{client_certificate_id}";
const OPERATIONS: [(&str, &str); 5] = [
    (LIST, "get"),
    (LIST, "post"),
    (ONE, "get"),
    (ONE, "patch"),
    (ONE, "delete"),
];

/// Runs the same cases each time, so that a failure can be reproduced.
fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Returns a zone whose service sends this response to every request, and the record of the requests.
fn zone_with_response(status: u16, body: impl Into<Bytes>) -> (Tap, Zone) {
    let response = http::Response::builder().status(status).body(body.into());
    let tap = Tap::responding(response.expect("a response"));
    let builder = Client::builder().token(TOKEN).retry(RetryPolicy::never());
    let zone = zone(builder.transport(Arc::new(tap.clone())));
    (tap, zone)
}

// Values from schemas.

/// Generates values that match a schema.
fn valid(spec: &Spec, schema: &Value) -> BoxedStrategy<Value> {
    let schema = spec.resolve(schema);
    if let Some(parts) = schema["allOf"].as_array() {
        // A single part can have any type; several are parts of an object.
        if let [part] = parts.as_slice() {
            return valid(spec, part);
        }
        let parts: Vec<_> = parts.iter().map(|part| valid(spec, part)).collect();
        return parts.prop_map(merge).boxed();
    }
    if let Some(values) = schema["enum"].as_array() {
        return proptest::sample::select(values.clone()).boxed();
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let bound = |key: &str, otherwise: i64| schema[key].as_i64().unwrap_or(otherwise);
    match kinds[0].as_str() {
        Some("string") => {
            let longest = schema["maxLength"].as_u64().unwrap_or(40).min(40);
            proptest::string::string_regex(&format!("\\PC{{0,{longest}}}"))
                .expect("a pattern")
                .prop_filter("characters count, not bytes", move |text| {
                    text.chars().count() as u64 <= longest
                })
                .prop_map(Value::from)
                .boxed()
        }
        Some("integer" | "number") => (bound("minimum", -1_000_000)
            ..=bound("maximum", 1_000_000_000))
            .prop_map(Value::from)
            .boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => vec(valid(spec, &schema["items"]), 0..4)
            .prop_map(Value::from)
            .boxed(),
        _ => {
            let required: BTreeSet<&str> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let members: Vec<_> = schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, schema)| {
                    let name = name.clone();
                    let value = valid(spec, schema);
                    let member = match required.contains(name.as_str()) {
                        true => value.prop_map(Some).boxed(),
                        false => proptest::option::weighted(0.8, value).boxed(),
                    };
                    member.prop_map(move |value| value.map(|value| (name.clone(), value)))
                })
                .collect();
            members
                .prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
                .boxed()
        }
    }
}

fn merge(parts: Vec<Value>) -> Value {
    let mut whole = Map::new();
    for part in parts {
        if let Value::Object(members) = part {
            whole.extend(members);
        }
    }
    Value::Object(whole)
}

fn response_schema<'a>(spec: &'a Spec, path: &str, method: &str) -> &'a Value {
    &spec.document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
}

// Requests of the client match the spec.

#[derive(Clone, Debug)]
enum Call {
    List(StatusFilter, u32),
    Get,
    Issue(u32),
    Revoke,
    Reactivate,
}

fn calls() -> impl Strategy<Value = (Call, CertificateId)> {
    let filter = proptest::sample::select(vec![
        StatusFilter::All,
        StatusFilter::Active,
        StatusFilter::PendingReactivation,
        StatusFilter::PendingRevocation,
        StatusFilter::Revoked,
    ]);
    let call = prop_oneof![
        (filter, 5..=50_u32).prop_map(|(filter, size)| Call::List(filter, size)),
        Just(Call::Get),
        (1..=36_500_u32).prop_map(Call::Issue),
        Just(Call::Revoke),
        Just(Call::Reactivate),
    ];
    let id = "[0-9a-f]{32}".prop_map(|id| id.parse().expect("an id"));
    (call, id)
}

/// Checks a request against its operation in the spec, and adds its parameters and body members to `seen`.
fn check_request(spec: &Spec, request: &http::Request<Bytes>, seen: &mut BTreeSet<String>) {
    let method = request.method().as_str().to_lowercase();
    let path = request
        .uri()
        .path()
        .strip_prefix("/client/v4")
        .expect("the base path");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let template = if parts.len() == 3 { LIST } else { ONE };
    let operation = &spec.document["paths"][template][&method];
    assert!(operation.is_object(), "{method} {path}");
    let parameters = operation["parameters"].as_array().expect("a list");
    let validate = |pointer: String, value: &Value| {
        let validator = spec.validator(&pointer);
        assert!(
            validator.is_valid(value),
            "{method} {path}: {pointer} {value}"
        );
    };
    let place = |index: usize| {
        format!(
            "/paths/{}/{method}/parameters/{index}/schema",
            template.replace('/', "~1")
        )
    };
    for (index, parameter) in parameters.iter().enumerate() {
        let name = parameter["name"].as_str().expect("a name");
        let given = match parameter["in"].as_str() {
            Some("path") if name == "zone_id" => Some(parts[1].to_owned()),
            Some("path") => parts.get(3).map(|id| (*id).to_owned()),
            _ => query(request, name),
        };
        match given {
            None => assert_ne!(parameter["required"], true, "{method} {path} lacks {name}"),
            Some(text) => {
                let kind = spec.resolve(&parameter["schema"])["type"].as_str();
                let value = match kind {
                    // Numbers are sent as whole numbers.
                    Some("integer" | "number") => {
                        json!(text.parse::<i64>().expect("a whole number"))
                    }
                    _ => json!(text),
                };
                validate(place(index), &value);
                seen.insert(format!("{method} {template} › {name}"));
            }
        }
    }
    for (name, _) in pairs(request) {
        let known = parameters
            .iter()
            .any(|parameter| parameter["name"] == name.as_str());
        assert!(known, "{method} {path}: the spec has no parameter {name}");
    }
    let known_headers = ["accept", "authorization", "content-type", "content-length"];
    for header in request.headers().keys() {
        assert!(
            known_headers.contains(&header.as_str()),
            "{method} {path} has a header {header}"
        );
    }
    match operation["requestBody"].is_object() {
        false => assert!(request.body().is_empty(), "{method} {path} has a body"),
        true => {
            let body: Value = serde_json::from_slice(request.body()).expect("JSON");
            let template = template.replace('/', "~1");
            validate(
                format!("/paths/{template}/{method}/requestBody/content/application~1json/schema"),
                &body,
            );
            for name in body.as_object().expect("an object").keys() {
                seen.insert(format!(
                    "{method} {} › body.{name}",
                    template.replace("~1", "/")
                ));
            }
        }
    }
}

fn pairs(request: &http::Request<Bytes>) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn query(request: &http::Request<Bytes>, name: &str) -> Option<String> {
    let mut pairs = pairs(request).into_iter();
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

#[test]
fn every_request_of_the_client_matches_the_spec() {
    let spec = Spec::read();
    let (_, csr) = key_and_csr("sensor-001");
    let seen = Mutex::new(BTreeSet::new());
    // Full pages, so that a list requests the next one too.
    runner(200)
        .run(&calls(), |(call, id)| {
            let records = |size: u32| {
                (0..size)
                    .map(|n| json!({ "id": format!("{n:032x}") }))
                    .collect::<Vec<_>>()
            };
            let size = if let Call::List(_, size) = call {
                size
            } else {
                5
            };
            let body = json!({ "success": true, "result": records(size) });
            let (tap, zone) = zone_with_response(200, body.to_string());
            block_on(async {
                match call {
                    Call::List(filter, size) => {
                        let mut pages = zone.list().status(filter).page_size(size).pages();
                        for _ in 0..2 {
                            let _ = pages.try_next().await;
                        }
                    }
                    Call::Get => drop(zone.get(&id).await),
                    Call::Issue(days) => {
                        let issue = zone.issue(&csr).validity_days(days);
                        drop(issue.settle_window(std::time::Duration::ZERO).await);
                    }
                    Call::Revoke => drop(zone.revoke(&id).await),
                    Call::Reactivate => drop(zone.reactivate(&id).await),
                }
            });
            let requests = tap.requests();
            assert!(!requests.is_empty());
            for request in &requests {
                check_request(&spec, request, &mut seen.lock().expect("not poisoned"));
            }
            Ok(())
        })
        .expect("every request matches the spec");
    let seen = seen.into_inner().expect("not poisoned");
    let stated: BTreeSet<String> = coverage(&spec)
        .into_iter()
        .filter(|row| row.contains(" › "))
        .collect();
    println!("parameters and bodies that the client's requests covered:");
    for row in &stated {
        println!("  {} {row}", if seen.contains(row) { "✓" } else { "✗" });
    }
    let missed: Vec<_> = stated.difference(&seen).collect();
    assert!(
        missed.is_empty(),
        "the spec has parameters or body members that the client never sends: teach an operation of crates/shieldcert to \
         send them, and let `calls` above make such a call: {missed:#?}"
    );
    assert!(
        seen.is_subset(&stated),
        "the client sends what the spec does not have (any more): {:#?}",
        seen.difference(&stated).collect::<Vec<_>>()
    );
}

// Responses that match the spec are read.

/// Returns the properties that a value has, named as in [`coverage`].
fn present(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| {
                let below = present(value);
                match below.is_empty() {
                    true => vec![name.clone()],
                    false => below
                        .iter()
                        .map(|below| format!("{name}.{below}"))
                        .collect(),
                }
            })
            .collect(),
        Value::Array(items) => {
            let below = items.iter().flat_map(present);
            below.map(|below| format!("[].{below}")).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Prints a part of the coverage table and checks that all of it was seen.
fn assert_full(spec: &Spec, method: &str, path: &str, status: &str, seen: &BTreeSet<String>) {
    let prefix = format!("{method} {path} → {status} ");
    for row in coverage(spec) {
        let Some(property) = row.strip_prefix(&prefix) else {
            continue;
        };
        let is_seen = seen.contains(property);
        println!("  {} {row}", if is_seen { "✓" } else { "✗" });
        assert!(is_seen, "no generated response had this: {row}");
    }
}

#[test]
fn every_certificate_response_that_matches_the_spec_is_read_without_loss() {
    let spec = Spec::read();
    for (path, method) in [(ONE, "get"), (ONE, "patch"), (ONE, "delete")] {
        let schema = response_schema(&spec, path, method);
        let seen = Mutex::new(BTreeSet::new());
        runner(200)
            .run(&(valid(&spec, schema), "[0-9a-f]{32}"), |(mut body, id)| {
                // A response without a certificate is an error, which another test covers.
                if !body["result"].is_object() {
                    body["result"] = json!({});
                }
                body["result"]["id"] = json!(id);
                let (_, zone) = zone_with_response(200, body.to_string());
                let id = id.parse().expect("an id");
                let read = block_on(async {
                    match method {
                        "get" => zone.get(&id).await,
                        "patch" => zone.reactivate(&id).await,
                        _ => zone.revoke(&id).await,
                    }
                });
                let read = read.expect("is read");
                assert_eq!(
                    serde_json::to_value(&read).expect("is serialized"),
                    body["result"]
                );
                seen.lock().expect("not poisoned").extend(present(&body));
                Ok(())
            })
            .expect("nothing is lost");
        assert_full(
            &spec,
            method,
            path,
            "200",
            &seen.into_inner().expect("not poisoned"),
        );
    }
}

#[test]
fn every_failure_response_that_matches_the_spec_is_read() {
    let spec = Spec::read();
    let (_, csr) = key_and_csr("sensor-001");
    let id = id();
    for (path, method) in OPERATIONS {
        // Nothing satisfies create's own schema, so its failures are generated from list's.
        let stated = if method == "post" {
            (LIST, "get")
        } else {
            (path, method)
        };
        let responses = &spec.document["paths"][stated.0][stated.1]["responses"];
        let schema = &responses["4XX"]["content"]["application/json"]["schema"];
        let seen = Mutex::new(BTreeSet::new());
        runner(150)
            .run(&(valid(&spec, schema), 400..500_u16), |(body, status)| {
                let (_, zone) = zone_with_response(status, body.to_string());
                let error = block_on(async {
                    match (path, method) {
                        (LIST, "get") => zone.list().await.err(),
                        (LIST, _) => {
                            let issue = zone.issue(&csr).settle_window(std::time::Duration::ZERO);
                            issue.await.err()
                        }
                        (_, "get") => zone.get(&id).await.err(),
                        (_, "patch") => zone.reactivate(&id).await.err(),
                        _ => zone.revoke(&id).await.err(),
                    }
                });
                let error = error.expect("is a failure");
                assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
                let stated = body["errors"].as_array().expect("a list");
                assert_eq!(error.messages().len(), stated.len());
                for (message, stated) in error.messages().iter().zip(stated) {
                    assert_eq!(message.code, stated["code"].as_i64());
                    assert_eq!(Some(message.message.as_str()), stated["message"].as_str());
                    assert_eq!(
                        message.documentation_url.as_deref(),
                        stated["documentation_url"].as_str()
                    );
                    assert_eq!(
                        message.pointer.as_deref(),
                        stated["source"]["pointer"].as_str()
                    );
                }
                seen.lock().expect("not poisoned").extend(present(&body));
                Ok(())
            })
            .expect("every failure is read");
        if method != "post" {
            assert_full(
                &spec,
                method,
                path,
                "4XX",
                &seen.into_inner().expect("not poisoned"),
            );
        }
    }
}

#[test]
fn every_list_response_that_matches_the_spec_is_read_without_loss() {
    let spec = Spec::read();
    let schema = response_schema(&spec, LIST, "get");
    let seen = Mutex::new(BTreeSet::new());
    runner(200)
        .run(&valid(&spec, schema), |mut body| {
            let records = body["result"].as_array_mut();
            for (number, record) in records.into_iter().flatten().enumerate() {
                record["id"] = json!(format!("{number:032x}"));
            }
            seen.lock().expect("not poisoned").extend(present(&body));
            // The same records come for every page, which only a total makes an end.
            let count = body["result"].as_array().map_or(0, Vec::len);
            body["result_info"] = json!({ "total_count": count });
            let (_, zone) = zone_with_response(200, body.to_string());
            let read = block_on(zone.list().into_future()).expect("is read");
            let expected = body["result"].as_array().cloned().unwrap_or_default();
            assert_eq!(
                serde_json::to_value(&read).expect("is serialized"),
                Value::Array(expected)
            );
            Ok(())
        })
        .expect("nothing is lost");
    assert_full(
        &spec,
        "get",
        LIST,
        "200",
        &seen.into_inner().expect("not poisoned"),
    );
}

/// Values that real responses have, or could have, where the spec says otherwise.
fn broken_member() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,80}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({ "odd": [1, { "nested": null }] })),
    ]
}

#[test]
fn no_value_in_one_record_costs_another_record() {
    let spec = Spec::read();
    let certificate = &spec.document["components"]["schemas"]["client_certificate"];
    let names: Vec<String> = certificate["properties"]
        .as_object()
        .expect("an object")
        .keys()
        .filter(|name| *name != "id")
        .cloned()
        .collect();
    let breaks = vec((proptest::sample::select(names), broken_member()), 1..8);
    runner(400)
        .run(
            &(vec(valid(&spec, certificate), 2..6), breaks),
            |(mut records, breaks)| {
                for (number, record) in records.iter_mut().enumerate() {
                    record["id"] = json!(format!("7bf7f70c-7600-42e1-81c4-{number:012x}"));
                }
                let count = records.len();
                for (place, (name, value)) in breaks.into_iter().enumerate() {
                    records[place % count][name] = value;
                }
                let info = json!({ "total_count": count });
                let body = json!({ "success": true, "errors": null, "result": records, "result_info": info });
                let (_, zone) = zone_with_response(200, body.to_string());
                let read = block_on(zone.list().into_future()).expect("is read");
                assert_eq!(read.len(), count);
                Ok(())
            },
        )
        .expect("every record is read");
}

#[test]
fn no_response_makes_the_client_panic() {
    let spec = Spec::read();
    let responses = valid(&spec, response_schema(&spec, LIST, "get"));
    let mutated = (
        responses,
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    )
        .prop_map(|(body, edits)| {
            let mut bytes = body.to_string().into_bytes();
            for (place, byte) in edits {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        });
    let bodies = prop_oneof![
        vec(any::<u8>(), 0..200),
        mutated,
        "\\PC{0,100}".prop_map(String::into_bytes)
    ];
    let statuses = prop_oneof![3 => Just(200_u16), 1 => 200..600_u16];
    let (_, csr) = key_and_csr("sensor-001");
    let id = id();
    runner(600)
        .run(&(statuses, bodies), |(status, body)| {
            let (_, zone) = zone_with_response(status, body);
            block_on(async {
                let mut pages = zone.list().pages();
                for _ in 0..3 {
                    if let Err(error) = pages.try_next().await {
                        let _ = format!("{error} {error:?}");
                    }
                }
                let issue = zone.issue(&csr).settle_window(std::time::Duration::ZERO);
                for error in [
                    zone.get(&id).await.err(),
                    zone.revoke(&id).await.err(),
                    issue.await.err(),
                ] {
                    let _ = error.map(|error| format!("{error} {error:?}"));
                }
            });
            Ok(())
        })
        .expect("nothing panics");
}

// Responses of the emulator match the spec.

/// A request that a caller could make: each parameter is valid, broken or left out.
#[derive(Clone, Debug)]
struct GeneratedRequest {
    query: Vec<(&'static str, String, bool)>,
    body: Option<(Value, bool)>,
    is_list: bool,
}

fn requests(csr: String) -> impl Strategy<Value = GeneratedRequest> {
    let parameter =
        |name: &'static str, valid: BoxedStrategy<String>, broken: Vec<&'static str>| {
            let broken = proptest::sample::select(broken).prop_map(str::to_owned);
            let value = prop_oneof![
                5 => valid.prop_map(move |value| Some((name, value, true))),
                1 => broken.prop_map(move |value| Some((name, value, false))),
                5 => Just(None),
            ];
            value.boxed()
        };
    let numbers = |range: std::ops::RangeInclusive<u32>| range.prop_map(|n| n.to_string()).boxed();
    let statuses = [
        "all",
        "active",
        "pending_reactivation",
        "pending_revocation",
        "revoked",
    ];
    let statuses = proptest::sample::select(statuses.to_vec())
        .prop_map(str::to_owned)
        .boxed();
    let query = (
        parameter("page", numbers(1..=9), vec!["0", "-1", "x", "", "1.5"]),
        parameter("per_page", numbers(5..=50), vec!["4", "51", "x", ""]),
        parameter("limit", numbers(1..=50), vec!["-1", "x", ""]),
        parameter("offset", numbers(0..=9), vec!["-1", "x", ""]),
        parameter("status", statuses, vec!["", "odd", "Active"]),
    );
    let list = query.prop_map(|(a, b, c, d, e)| GeneratedRequest {
        query: [a, b, c, d, e].into_iter().flatten().collect(),
        body: None,
        is_list: true,
    });
    let days = prop_oneof![
        (1..=5475_i64).prop_map(|d| (json!(d), true)),
        proptest::sample::select(vec![
            json!(0),
            json!(-1),
            json!("x"),
            json!(null),
            json!(1.5),
            json!(10_000_000),
        ])
        .prop_map(|d| (d, false))
    ];
    let csrs = prop_oneof![
        Just((json!(csr), true)),
        proptest::sample::select(vec![
            json!(""),
            json!("nonsense"),
            json!(null),
            json!(7),
            json!("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"),
        ])
        .prop_map(|c| (c, false))
    ];
    let create = (days, csrs).prop_map(|((days, days_valid), (csr, csr_valid))| GeneratedRequest {
        query: Vec::new(),
        body: Some((
            json!({ "csr": csr, "validity_days": days }),
            days_valid && csr_valid,
        )),
        is_list: false,
    });
    prop_oneof![list, create]
}

#[test]
fn the_emulator_accepts_what_matches_the_spec_and_refuses_the_rest() {
    let spec = Spec::read();
    let success = [
        spec.response(LIST, "get", "200"),
        spec.response(LIST, "post", "200"),
    ];
    let failure = spec.response(LIST, "get", "4XX");
    let (_, csr) = key_and_csr("sensor-001");
    let emulator = Emulator::builder()
        .token(TOKEN)
        .ids(IdStyle::Hex)
        .build()
        .expect("builds");
    let transport = emulator.transport();
    runner(400)
        .run(&requests(csr.to_pem()), |case| {
            let pairs = case
                .query
                .iter()
                .map(|(name, value, _)| format!("{name}={value}"));
            let query = pairs.collect::<Vec<_>>().join("&");
            let is_valid = case.query.iter().all(|(_, _, valid)| *valid)
                && case.body.as_ref().is_none_or(|(_, valid)| *valid);
            let request = http::Request::builder()
                .method(if case.is_list { "GET" } else { "POST" })
                .uri(format!(
                    "http://localhost/client/v4/zones/{ZONE}/client_certificates?{query}"
                ))
                .header("authorization", format!("Bearer {TOKEN}"))
                .body(
                    case.body
                        .as_ref()
                        .map_or(Bytes::new(), |(body, _)| body.to_string().into()),
                )
                .expect("a request");
            let response = block_on(transport.send(request)).expect("in this process");
            let body: Value = serde_json::from_slice(response.body()).expect("JSON");
            assert_eq!(response.status().is_success(), is_valid, "{case:?}: {body}");
            let validator = match (is_valid, case.is_list) {
                (true, true) => &success[0],
                (true, false) => &success[1],
                (false, _) => &failure,
            };
            assert!(validator.is_valid(&body), "{case:?}: {body}");
            if !is_valid {
                let code = body["errors"][0]["code"].as_i64().expect("a code");
                let expected: &[i64] = if case.is_list {
                    &[6009]
                } else {
                    &[6007, 1402, 1403]
                };
                assert!(expected.contains(&code), "{case:?}: {body}");
            }
            Ok(())
        })
        .expect("every response matches the spec");
}

// The tests cover all of the spec.

/// Returns every parameter, body member and response property that the spec states.
fn coverage(spec: &Spec) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for (path, method) in OPERATIONS {
        let operation = &spec.document["paths"][path][method];
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            rows.insert(format!(
                "{method} {path} › {}",
                parameter["name"].as_str().expect("a name")
            ));
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        for name in body.as_object().into_iter().flatten().map(|(name, _)| name) {
            rows.insert(format!("{method} {path} › body.{name}"));
        }
        for (status, response) in operation["responses"].as_object().expect("an object") {
            let schema = &response["content"]["application/json"]["schema"];
            for property in properties(spec, schema) {
                rows.insert(format!("{method} {path} → {status} {property}"));
            }
        }
    }
    rows
}

fn properties(spec: &Spec, schema: &Value) -> BTreeSet<String> {
    let schema = spec.resolve(schema);
    let mut found = BTreeSet::new();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(properties(spec, part));
    }
    // What one part states roughly and another in detail is listed in detail.
    let all: Vec<String> = found.iter().cloned().collect();
    found.retain(|row| {
        !all.iter()
            .any(|other| other.starts_with(&format!("{row}.")))
    });
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let below = properties(spec, property);
        found.extend(below.iter().map(|below| format!("{name}.{below}")));
        if below.is_empty() {
            found.insert(name.clone());
        }
    }
    if let Some(items) = schema.get("items") {
        found.extend(
            properties(spec, items)
                .into_iter()
                .map(|below| format!("[].{below}")),
        );
    }
    found
}

#[test]
fn every_operation_of_the_spec_is_tested() {
    let spec = Spec::read();
    let paths = spec.document["paths"].as_object().expect("an object");
    for (path, item) in paths {
        for method in ["get", "put", "post", "delete", "patch"] {
            assert_eq!(
                item.get(method).is_some(),
                OPERATIONS.contains(&(path.as_str(), method)),
                "{method} {path}: the spec's operations are not those of `OPERATIONS` above; add the new one there and \
                 give the client and the emulator a way to call and answer it, or remove what is gone"
            );
        }
    }
}

/// A new row means that upstream added something. Make the tests above cover it, then add the row to the file.
#[test]
fn the_coverage_table_lists_all_of_the_spec() {
    let stated = coverage(&Spec::read());
    let listed: BTreeSet<String> = include_str!("coverage.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    for row in &stated {
        println!("{} {row}", if listed.contains(row) { "✓" } else { "✗" });
    }
    let new: Vec<_> = stated.difference(&listed).collect();
    assert!(
        new.is_empty(),
        "the spec has parts that nobody has reviewed yet; teach new properties to `Certificate` in crates/shieldcert \
         and to the emulator, then add these rows to tests/contract/coverage.txt: {new:#?}"
    );
    let gone: Vec<_> = listed.difference(&stated).collect();
    assert!(
        gone.is_empty(),
        "the spec no longer has these; remove them from tests/contract/coverage.txt: {gone:#?}"
    );
}
