//! Promise 3: no value in one record costs the caller another record, and what can't be read is an error that shows it.

use std::sync::Arc;

use serde_json::{Value, json};
use shieldcert::{CertificateList, Client, Error, RetryPolicy, Status, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::{ID, TOKEN, zone};

const OTHER_ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// Returns a zone whose lists get this response.
fn zone_with_list(status: u16, body: &str) -> Zone {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let response = CannedResponse::new(status)
        .header("cf-ray", "8f1-FRA")
        .body(body.to_owned());
    emulator.script([ScriptedFault::next(Operation::List, Fault::respond(response)).always()]);
    let builder = Client::builder().token(TOKEN).retry(RetryPolicy::never());
    zone(builder.transport(Arc::new(emulator.transport())))
}

async fn list(status: u16, body: &str) -> Result<CertificateList, Error> {
    zone_with_list(status, body).list().await
}

#[tokio::test]
async fn members_that_break_the_spec_cost_no_record() {
    for members in [
        json!({ "status": "archived" }),
        json!({ "status": null, "common_name": null, "certificate_authority": null }),
        json!({ "status": 7, "common_name": { "odd": true } }),
        json!({ "validity_days": "365", "expires_on": false, "brand_new": [1] }),
        json!({ "csr": ["not", "text"] }),
    ] {
        let mut broken = members.clone();
        broken["id"] = OTHER_ID.into();
        let records = [json!({ "id": ID, "status": "active" }), broken];
        let body = json!({ "success": true, "result": records }).to_string();
        let certificates = list(200, &body).await.expect("is read");
        assert_eq!(certificates.len(), 2, "{members}");
        assert_eq!(certificates[0].status(), &Status::Active, "{members}");
        assert_eq!(certificates[1].id(), &OTHER_ID, "{members}");
    }
}

#[tokio::test]
async fn a_serial_number_that_is_a_json_number_keeps_every_digit() {
    let serial = "133270673305904147240315902291726509220894288063";
    let body = format!(r#"{{"success":true,"result":[{{"id":"{ID}","serial_number":{serial}}}]}}"#);
    let certificates = list(200, &body).await.expect("is read");
    assert_eq!(certificates[0].serial_number(), Some(serial));
}

#[tokio::test]
async fn a_list_without_records_is_empty() {
    for body in [
        r#"{"success":true,"result":null}"#,
        r#"{"result":[],"errors":null}"#,
    ] {
        assert!(list(200, body).await.expect("is read").is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_record_that_is_no_certificate_is_an_error_in_its_place_alone() {
    let records: [Value; 3] = [
        json!({ "id": ID }),
        json!("odd"),
        json!({ "status": "active" }),
    ];
    let body = json!({ "success": true, "result": records }).to_string();
    let mut pages = zone_with_list(200, &body).list().pages();
    let page = pages.try_next().await.expect("is read").expect("a page");
    assert_eq!(page.certificates.len(), 1);
    assert_eq!(page.unreadable.len(), 2);
    let errors: Vec<_> = page.unreadable.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): a record of the list is not an object; body: "\"odd\""
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): a record of the list has no usable id; body: "{\"status\":\"active\"}"
    "#);
}

#[tokio::test]
async fn an_unreadable_response_is_an_error_with_its_status_ray_and_start() {
    let mut messages = Vec::new();
    for (status, body) in [
        (502, "<html>bad gateway</html>"),
        (200, "<html>hello</html>"),
        (200, ""),
        (200, r#"{"success":true,"result":[{"id""#),
        (200, "hello"),
        (200, "[1]"),
        (200, r#"{"success":false,"errors":[]}"#),
        (200, r#"{"success":true,"result":"odd"}"#),
        (404, "{}"),
    ] {
        let error = list(status, body).await.expect_err(body);
        assert!(
            matches!(error, Error::InvalidResponse { .. }),
            "{body}: {error:?}"
        );
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        assert_eq!(error.ray_id(), Some("8f1-FRA"));
        assert!(!error.to_string().contains(TOKEN), "{error}");
        messages.push(error.to_string());
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 502 (ray 8f1-FRA): the response is HTML, so it comes from a gateway and not from the API; body: "<html>bad gateway</html>"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is HTML, so it comes from a gateway and not from the API; body: "<html>hello</html>"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is empty; body: (empty)
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is JSON that breaks off; body: "{\"success\":true,\"result\":[{\"id\""
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is not JSON; body: "hello"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is JSON, but not an envelope of the API; body: "[1]"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response says that the call failed, but not why; body: "{\"success\":false,\"errors\":[]}"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the `result` of the response is not a list; body: "{\"success\":true,\"result\":\"odd\"}"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 404 (ray 8f1-FRA): the response says that the call failed, but not why; body: "{}"
    "#);
}

#[tokio::test]
async fn a_refusal_is_read_whatever_its_http_status() {
    let body = r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#;
    for status in [200, 403] {
        let error = list(status, body).await.expect_err("is refused");
        assert!(error.is_not_allowed() && error.has_code(10000), "{error}");
    }
}
