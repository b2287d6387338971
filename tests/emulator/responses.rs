//! The emulator's responses match the spec's own schemas, before any overlay, for every operation and every error.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shieldcert::List;
use shieldcert_emulator::{Emulator, IdStyle, RunningEmulator};
use shieldcert_tests::kit::spec::Spec;
use shieldcert_tests::kit::{TOKEN, ZONE, key_and_csr, no_tls};

const REACTIVATE: &str = r#"{"reactivate":true}"#;
const LIST: &str = "/zones/{zone_id}/client_certificates";
const ONE: &str = "/zones/{zone_id}/client_certificates/{client_certificate_id}";

struct Service {
    spec: Spec,
    emulator: RunningEmulator,
    http: reqwest::Client,
}

impl Service {
    async fn start() -> Self {
        let emulator = Emulator::builder()
            .token(TOKEN)
            .read_only_token("readonly")
            .transition_delay(Duration::ZERO)
            // The spec allows ids of 32 characters. The default, a UUID as the real service has, is longer.
            .ids(IdStyle::Hex)
            .reactivate_revoked(false)
            .start()
            .await
            .expect("starts");
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_tls())
            .build()
            .expect("a client");
        Self {
            spec: Spec::read(),
            emulator,
            http,
        }
    }

    async fn call(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.emulator.base_url());
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let response = request.send().await.expect("a response");
        assert!(response.headers().contains_key("cf-ray"), "{path}");
        let status = response.status();
        let body = response.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    fn assert_matches_spec(
        &self,
        (template, method): (&str, &str),
        status: StatusCode,
        response: &Value,
    ) {
        let code = if status.is_success() { "200" } else { "4XX" };
        let validator = self.spec.response(template, method, code);
        let problems: Vec<String> = validator
            .iter_errors(response)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            problems.is_empty(),
            "{method} {template} {status} {problems:?}: {response}"
        );
    }
}

fn body(validity_days: Value) -> String {
    let (_, csr) = key_and_csr("sensor-001");
    json!({ "csr": csr.to_pem(), "validity_days": validity_days }).to_string()
}

#[tokio::test]
async fn success_responses_match_the_spec() {
    let service = Service::start().await;
    let list = format!("/zones/{ZONE}/client_certificates");
    let token = Some("Bearer s3cret");
    let (status, created) = service
        .call(token, Method::POST, &list, Some(&body(json!(30))))
        .await;
    assert_eq!(status, StatusCode::OK);
    service.assert_matches_spec((LIST, "post"), status, &created);
    let one = format!(
        "{list}/{}",
        created["result"]["id"].as_str().expect("an id")
    );
    for (method, path, body, operation) in [
        (Method::GET, one.clone(), None, (ONE, "get")),
        (Method::GET, list.clone(), None, (LIST, "get")),
        (
            Method::GET,
            format!("{list}?page=9&per_page=5&status=revoked"),
            None,
            (LIST, "get"),
        ),
        (
            Method::GET,
            format!("{list}?limit=1&offset=0"),
            None,
            (LIST, "get"),
        ),
        (Method::PATCH, one.clone(), Some(REACTIVATE), (ONE, "patch")),
        (Method::DELETE, one, None, (ONE, "delete")),
    ] {
        let (status, response) = service.call(token, method, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {response}");
        service.assert_matches_spec(operation, status, &response);
    }
}

#[tokio::test]
async fn failure_responses_match_the_spec_and_have_their_code() {
    let service = Service::start().await;
    let list = format!("/zones/{ZONE}/client_certificates");
    let missing = format!("{list}/{ZONE}");
    let write = Some("Bearer s3cret");
    let zero = body(json!(0));
    let right = body(json!(30));
    let too_large = format!("{{\"csr\":\"{}\"}}", "A".repeat(1 << 20));
    let (_, created) = service.call(write, Method::POST, &list, Some(&right)).await;
    let revoked = format!(
        "{list}/{}",
        created["result"]["id"].as_str().expect("an id")
    );
    service.call(write, Method::DELETE, &revoked, None).await;
    let nonsense = json!({ "csr": "nonsense", "validity_days": 1 }).to_string();
    // Nothing can satisfy create's own 4XX schema, so its failures are checked against list's.
    let create = (LIST, "get");
    for (token, method, path, body, operation, code) in [
        (None, Method::GET, list.as_str(), None, (LIST, "get"), 6003),
        (
            Some("nonsense"),
            Method::GET,
            &list,
            None,
            (LIST, "get"),
            6003,
        ),
        (
            Some("Bearer wrong"),
            Method::GET,
            &list,
            None,
            (LIST, "get"),
            10000,
        ),
        (
            Some("Bearer readonly"),
            Method::POST,
            &list,
            Some(right.as_str()),
            create,
            9109,
        ),
        (
            write,
            Method::GET,
            "/zones/short/client_certificates",
            None,
            (LIST, "get"),
            7003,
        ),
        (
            write,
            Method::GET,
            &format!("{list}?per_page=51"),
            None,
            (LIST, "get"),
            6009,
        ),
        (
            write,
            Method::GET,
            &format!("{list}?status=odd"),
            None,
            (LIST, "get"),
            6009,
        ),
        (write, Method::GET, &missing, None, (ONE, "get"), 1401),
        (write, Method::DELETE, &missing, None, (ONE, "delete"), 1401),
        (
            write,
            Method::PATCH,
            &missing,
            Some(REACTIVATE),
            (ONE, "patch"),
            1401,
        ),
        (
            write,
            Method::PATCH,
            &missing,
            Some("{"),
            (ONE, "patch"),
            6007,
        ),
        (write, Method::POST, &list, Some("{"), create, 6007),
        (write, Method::POST, &list, Some(&nonsense), create, 1402),
        (write, Method::POST, &list, Some(&zero), create, 1403),
        (write, Method::POST, &list, Some(&too_large), create, 6008),
        (
            write,
            Method::PATCH,
            &revoked,
            Some("{}"),
            (ONE, "patch"),
            1404,
        ),
        (
            write,
            Method::PATCH,
            &revoked,
            Some(REACTIVATE),
            (ONE, "patch"),
            1405,
        ),
        (write, Method::GET, "/odd", None, (LIST, "get"), 7000),
        (write, Method::PUT, &list, None, (LIST, "get"), 7001),
    ] {
        let (status, response) = service.call(token, method.clone(), path, body).await;
        assert!(
            status.is_client_error(),
            "{method} {path}: {status} {response}"
        );
        assert_eq!(
            response["errors"][0]["code"], code,
            "{method} {path}: {response}"
        );
        service.assert_matches_spec(operation, status, &response);
    }
}

#[test]
fn nothing_satisfies_the_failure_schema_of_create() {
    let spec = Spec::read();
    let validator = spec.response(LIST, "post", "4XX");
    let envelope =
        |success: bool| json!({ "success": success, "errors": [], "messages": [], "result": null });
    assert!(!validator.is_valid(&envelope(true)) && !validator.is_valid(&envelope(false)));
    let validator = spec.response(LIST, "get", "4XX");
    assert!(validator.is_valid(&envelope(false)) && !validator.is_valid(&envelope(true)));
}

#[test]
fn the_client_and_the_spec_have_the_same_page_sizes() {
    let spec = Spec::read();
    let parameters = spec.document["paths"][LIST]["get"]["parameters"]
        .as_array()
        .expect("a list");
    let per_page = parameters
        .iter()
        .find(|parameter| parameter["name"] == "per_page");
    let schema = &per_page.expect("is in the spec")["schema"];
    assert_eq!(schema["minimum"], List::MIN_PAGE_SIZE);
    assert_eq!(schema["maximum"], List::MAX_PAGE_SIZE);
}
