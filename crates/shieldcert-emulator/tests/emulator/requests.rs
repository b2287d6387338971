//! Requests that are refused, and what every response has.

use std::collections::HashSet;

use crate::common::*;
use bytes::Bytes;
use http::Request;
use shieldcert_api::codes;
use shieldcert_emulator::{Emulator, EmulatorTransport, Error, assumptions};

#[tokio::test]
async fn unknown_paths_and_malformed_ids_are_404() {
    let emulator = emulator();
    let long = "0".repeat(33);
    for zone in [
        "x",
        "023e105f4ecef8ad9ca31a8372d0c35",
        &long,
        "023e105f4ecef8ad9ca31a8372d0c35g",
        "%C3%A9",
        "%FF",
        "",
        "..",
        "023e105f-4ece-f8ad-9ca3-1a8372d0c353",
        "+23e105f4ecef8ad9ca31a8372d0c353",
    ] {
        let path = format!("/zones/{zone}/client_certificates");
        let response = call_at(&emulator, "GET", &path, "").await;
        response.assert_failed(404, codes::INVALID_IDENTIFIER);
        let message = response.body["errors"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(
            message.contains(&format!("Could not route to {path}")),
            "{message}"
        );
    }
    for id in [
        "x",
        "1",
        &long,
        "%FF",
        "",
        "{7bf7f70c-7600-42e1-81c4-e4c0da9aa515}",
        "7bf7f70c-7600-42e1-81c4-e4c0da9aa51",
        "urn:uuid:7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
        "7bf7f70c760042e181c4e4c0da9aa51g",
    ] {
        let id = id.replace('{', "%7B").replace('}', "%7D");
        for method in ["GET", "DELETE"] {
            call(&emulator, method, &format!("/{id}"), "")
                .await
                .assert_failed(404, codes::INVALID_IDENTIFIER);
        }
    }
    for path in [
        "",
        "/",
        "/zones",
        "/user/tokens/verify",
        &format!("/zones/{ZONE}"),
        &format!("/zones/{ZONE}/client_certificates/a/b"),
    ] {
        call_at(&emulator, "GET", path, "")
            .await
            .assert_failed(404, codes::NO_ROUTE);
    }
    for id in [
        "7bf7f70c-7600-42e1-81c4-e4c0da9aa515",
        "7bf7f70c760042e181c4e4c0da9aa515",
    ] {
        let response = call(&emulator, "GET", &format!("/{id}"), "").await;
        response.assert_failed(404, assumptions::CERTIFICATE_NOT_FOUND);
    }
}

#[tokio::test]
async fn unknown_methods_are_405() {
    let emulator = emulator();
    let one = "/7bf7f70c-7600-42e1-81c4-e4c0da9aa515";
    for (method, path, allowed) in [
        ("PUT", "", "GET,HEAD,POST"),
        ("DELETE", "", "GET,HEAD,POST"),
        ("OPTIONS", "", "GET,HEAD,POST"),
        ("POST", one, "GET,HEAD,PATCH,DELETE"),
        ("PROPFIND", one, "GET,HEAD,PATCH,DELETE"),
    ] {
        let response = call(&emulator, method, path, "").await;
        response.assert_failed(405, assumptions::METHOD_NOT_ALLOWED);
        let set = |text: &str| {
            text.split(',')
                .map(|m| m.trim().to_owned())
                .collect::<HashSet<_>>()
        };
        assert_eq!(
            set(response.headers["allow"].to_str().expect("text")),
            set(allowed)
        );
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let emulator = emulator();
    let response = call(&emulator, "HEAD", "", "").await;
    assert_eq!(
        (response.status, response.body),
        (200, serde_json::Value::Null)
    );
    assert!(response.headers.contains_key("cf-ray"));
}

#[tokio::test]
async fn every_response_has_a_unique_ray() {
    let emulator = emulator();
    let mut rays = HashSet::new();
    for (method, path) in [
        ("GET", ""),
        ("GET", ""),
        ("POST", ""),
        ("PUT", ""),
        ("GET", "/x"),
        ("GET", "/x/y"),
        ("HEAD", ""),
    ] {
        let response = call(&emulator, method, path, "").await;
        assert!(
            rays.insert(response.headers["cf-ray"].clone()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn credentials_decide_who_may_read_and_write() {
    let emulator = Emulator::builder()
        .token("writer")
        .read_only_token("reader")
        .key("ann@example.com", "k1")
        .build()
        .expect("an emulator");
    let good = String::from_utf8(create_body(&csr("a"), 1)).expect("text");
    let one = "/7bf7f70c-7600-42e1-81c4-e4c0da9aa515";
    let missing = assumptions::CERTIFICATE_NOT_FOUND;
    // Headers; the outcomes of list, create, get, edit and revoke.
    type Headers = &'static [(&'static str, &'static str)];
    let allowed = [
        (200, 0),
        (200, 0),
        (404, missing),
        (404, missing),
        (404, missing),
    ];
    let table: &[(Headers, [(u16, i64); 5])] = &[
        (&[("authorization", "Bearer writer")], allowed),
        (
            &[("x-auth-email", "ann@example.com"), ("x-auth-key", "k1")],
            allowed,
        ),
        (
            &[("authorization", "Bearer reader")],
            [
                (200, 0),
                (403, codes::NOT_PERMITTED),
                (404, missing),
                (403, codes::NOT_PERMITTED),
                (403, codes::NOT_PERMITTED),
            ],
        ),
        (
            &[("authorization", "Bearer other")],
            [(403, codes::AUTHENTICATION); 5],
        ),
        (
            &[("x-auth-email", "ann@example.com"), ("x-auth-key", "k2")],
            [(403, codes::AUTHENTICATION); 5],
        ),
        (
            &[("authorization", "writer")],
            [(400, codes::INVALID_HEADERS); 5],
        ),
        (&[("x-auth-key", "k1")], [(400, codes::INVALID_HEADERS); 5]),
        (&[], [(400, codes::INVALID_HEADERS); 5]),
    ];
    for (headers, expected) in table {
        let calls = [
            ("GET", "", ""),
            ("POST", "", &good),
            ("GET", one, ""),
            ("PATCH", one, r#"{"reactivate":true}"#),
            ("DELETE", one, ""),
        ];
        for ((method, path, body), expected) in calls.into_iter().zip(expected) {
            let base = EmulatorTransport::BASE_URL;
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{base}/zones/{ZONE}/client_certificates{path}"));
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let request = request
                .body(Bytes::from(body.to_owned()))
                .expect("a request");
            let response = send(&emulator, request).await;
            assert_eq!(
                (response.status, response.code()),
                *expected,
                "{headers:?} {method} {path}"
            );
            if response.code() == codes::INVALID_HEADERS {
                response.assert_failed(400, codes::INVALID_HEADERS);
                let cause = &response.body["errors"][0]["error_chain"][0];
                assert!(
                    matches!(
                        cause["code"].as_i64(),
                        Some(codes::INVALID_AUTH_EMAIL | codes::INVALID_AUTHORIZATION)
                    ),
                    "{cause}"
                );
            }
        }
    }
}

#[tokio::test]
async fn invalid_bodies_are_refused() {
    let emulator = emulator();
    let csr = csr("a");
    let invalid = assumptions::INVALID_BODY;
    for body in [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"csr\"",
        "{}",
        "csr=x&validity_days=1",
        "\u{feff}{}",
        r#"{"csr": "x"}"#,
        r#"{"validity_days": 1}"#,
        r#"{"csr": 7, "validity_days": 1}"#,
        r#"{"csr": null, "validity_days": 1}"#,
        r#"{"csr": ["x"], "validity_days": 1}"#,
        &"[".repeat(10_000),
    ] {
        let response = call(&emulator, "POST", "", body.to_owned()).await;
        response.assert_failed(400, invalid);
    }
    let one = "/7bf7f70c-7600-42e1-81c4-e4c0da9aa515";
    for (method, path, expected) in [
        ("POST", "", r#"{"csr": "…", "validity_days": 365}"#),
        ("PATCH", one, r#"{"reactivate": true}"#),
    ] {
        for body in ["", " \n"] {
            let response = call(&emulator, method, path, body.to_owned()).await;
            response.assert_failed(400, invalid);
            assert_eq!(
                response.body["errors"][0]["message"],
                format!("The request body is empty; send {expected}")
            );
        }
    }
    call(&emulator, "POST", "", vec![0xff, 0xfe])
        .await
        .assert_failed(400, invalid);

    let fits = |spare: usize| {
        let mut body = create_body(&csr, 1);
        body.resize(assumptions::MAX_BODY_BYTES + 1 - spare, b' ');
        body
    };
    call(&emulator, "POST", "", fits(1))
        .await
        .assert_succeeded();
    call(&emulator, "POST", "", fits(0))
        .await
        .assert_failed(413, assumptions::BODY_TOO_LARGE);
    let megabyte = create_body(&"x".repeat(1 << 20), 1);
    call(&emulator, "POST", "", megabyte)
        .await
        .assert_failed(413, assumptions::BODY_TOO_LARGE);
}

#[test]
fn invalid_credentials_are_refused_and_not_shown() {
    for builder in [
        Emulator::builder().token("sec ret"),
        Emulator::builder().token("secret\n"),
        Emulator::builder().token(""),
        Emulator::builder().token("secret").key("nobody", "secret"),
    ] {
        assert!(!format!("{builder:?}").contains("sec"));
        let error = builder.build().expect_err("not a credential");
        assert!(matches!(error, Error::Credential(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    let emulator = Emulator::builder()
        .token("secret")
        .build()
        .expect("an emulator");
    assert!(!format!("{emulator:?} {:?}", emulator.transport()).contains("secret"));
}
