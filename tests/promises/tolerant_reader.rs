//! Promise 3: no value in one record costs the caller another record, and what can't be read is an error that shows it.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use httpmock::MockServer;
use serde_json::{Value, json};
use shieldcert::{CertificateList, Client, Error, RetryPolicy, Status, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{ID, TOKEN, issue, key_and_csr, zone, zone_at, zone_through};

const OTHER_ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// Returns a zone whose lists get this response for the first page, and nothing behind it.
fn zone_with_list(status: u16, body: &str) -> Zone {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let response = CannedResponse::new(status)
        .header("cf-ray", "8f1-FRA")
        .body(body.to_owned());
    let nothing = CannedResponse::new(200).body(r#"{"success":true,"result":[]}"#);
    emulator.script([
        ScriptedFault::next(Operation::List, Fault::respond(response)),
        ScriptedFault::next(Operation::List, Fault::respond(nothing)).always(),
    ]);
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
        r#"{"success":true,"result":[]}"#,
        r#"{"result":[],"errors":null}"#,
        r#"{"success":true,"result":null,"result_info":{"total_count":0}}"#,
        r#"{"success":true,"result":null,"result_info":{"total_count":0,"count":0,"page":"1"}}"#,
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
    a record of the list is not an object: "odd"
    a record of the list has no usable id: {"status":"active"}
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
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 200 (ray 8f1-FRA): the response is empty
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

#[tokio::test]
async fn ids_of_any_characters_are_returned_and_stay_in_their_path_segment() {
    let odd = [
        "a b",
        "a/b",
        "a?b#c",
        "a%2e",
        "ü",
        "{a}",
        "~'\"<>`|^",
        "a..b",
        &"x".repeat(255),
    ];
    let records: Vec<_> = odd.iter().map(|id| json!({ "id": id })).collect();
    let body = json!({ "success": true, "result": records }).to_string();
    let listed = list(200, &body).await.expect("is read");
    assert_eq!(listed.len(), odd.len());
    for (certificate, id) in listed.iter().zip(odd) {
        assert_eq!(certificate.id(), &id);
        let body = json!({ "success": true, "result": { "id": id } }).to_string();
        let response = http::Response::new(bytes::Bytes::from(body));
        let tap = Tap::responding(response);
        let zone = zone_through(tap.clone());
        zone.get(certificate.id()).await.expect("is read");
        zone.revoke(certificate.id()).await.expect("is read");
        zone.reactivate(certificate.id()).await.expect("is read");
        for request in tap.requests() {
            let path = request.uri().path();
            let (_, segment) = path
                .split_once("/client_certificates/")
                .expect("is below it");
            assert!(
                !segment.contains('/') && request.uri().query().is_none(),
                "{path}"
            );
            assert_eq!(decode(segment), id);
        }
    }
    // A URL would read these as another path.
    for id in ["", ".", "..", "..\\x", "a\nb"] {
        let body = json!({ "success": true, "result": [{ "id": id }, { "id": ID }] }).to_string();
        let mut pages = zone_with_list(200, &body).list().pages();
        let page = pages.try_next().await.expect("is read").expect("a page");
        assert_eq!((page.certificates.len(), page.unreadable.len()), (1, 1));
    }
}

/// Decodes percent-encoding.
fn decode(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).expect("hex digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("hex digits"));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).expect("is text")
}

#[tokio::test]
async fn a_page_of_the_edge_says_in_words_what_it_is_and_what_to_do() {
    let mut messages = Vec::new();
    for (status, body) in [
        (429, "error code: 1015"),
        (522, "<html>Connection timed out</html>"),
        (403, "<html><title>Just a moment...</title></html>"),
    ] {
        let error = list(status, body).await.expect_err(body);
        assert_eq!(error.is_rate_limited(), status == 429, "{error}");
        messages.push(error.to_string());
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 429 (ray 8f1-FRA): Cloudflare error 1015: you are rate limited before the request reaches the API; wait for some minutes, and send fewer requests; body: "error code: 1015"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 522 (ray 8f1-FRA): error 522: the origin, behind Cloudflare, did not respond; try again later; body: "<html>Connection timed out</html>"
    GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates returned 403 (ray 8f1-FRA): a challenge page: Cloudflare takes this client for a bot before the request reaches the API; call from another network, or switch off the proxy or VPN that others misuse; body: "<html><title>Just a moment...</title></html>"
    "#);
}

/// Gateways compress what they were not asked to.
#[tokio::test]
async fn a_body_in_gzip_is_read() {
    let body = format!(
        r#"{{"success":true,"result":[{{"id":"{ID}"}}],"result_info":{{"total_count":1}}}}"#
    );
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.as_bytes()).expect("in memory");
    let encoded = encoder.finish().expect("in memory");
    let server = MockServer::start_async().await;
    let list = server.mock_async(|when, then| {
        when.method(httpmock::Method::GET);
        then.status(200)
            .header("content-encoding", "gzip")
            .body(encoded);
    });
    list.await;
    let certificates = zone_at(server.base_url()).list().await.expect("is read");
    assert_eq!(certificates[0].id(), &ID);
}

/// A success without the certificate is one: what it is like now is asked for.
#[tokio::test(start_paused = true)]
async fn a_change_that_returns_no_certificate_is_a_success() {
    for (status, body) in [
        (204, ""),
        (
            200,
            r#"{"success":true,"errors":[],"messages":[],"result":null}"#,
        ),
        (200, r#"{"success":true,"result":null,"messages":"none"}"#),
        (200, r#"{"success":true}"#),
    ] {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        let zone = zone_through(emulator.transport());
        let (_, csr) = key_and_csr("sensor-001");
        let id = issue(&zone, &csr).await;
        for (operation, expected) in [
            (Operation::Delete, Status::PendingRevocation),
            (Operation::Edit, Status::Active),
        ] {
            let response = CannedResponse::new(status).body(body);
            let fault = Fault::respond_after(response);
            emulator.script([ScriptedFault::next(operation, fault)]);
            let changed = match operation {
                Operation::Delete => zone.revoke(&id).await,
                _ => zone.reactivate(&id).await,
            };
            let changed = changed.unwrap_or_else(|error| panic!("{status} {body}: {error}"));
            assert!(
                *changed.status() == expected || *changed.status() == Status::PendingReactivation,
                "{status} {body}: {}",
                changed.status()
            );
            let history = emulator.history();
            assert_eq!(
                history.count(operation),
                1,
                "{status} {body}: it is not sent again"
            );
        }
    }
}
