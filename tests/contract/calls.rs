//! Each operation sends the request that the spec states, and reads the whole response.

use std::sync::Arc;
use std::time::Duration;

use httpmock::MockServer;
use serde_json::json;
use shieldcert::{Client, Csr, Error, RetryPolicy, Status, StatusFilter, Zone};
use shieldcert_api::types;
use shieldcert_emulator::{Emulator, Fault, Operation, ScriptedFault};
use shieldcert_httpmock::MockServerExt;
use shieldcert_tests::kit::tap::Tap;
use shieldcert_tests::kit::{ID, TOKEN, ZONE, id, key_and_csr, zone, zone_through};

fn zone_of(server: &MockServer) -> Zone {
    let builder = Client::builder().token(TOKEN).base_url(server.base_url());
    zone(builder.retry(RetryPolicy::never()))
}

fn zone_id() -> types::Identifier {
    ZONE.parse().expect("a zone id")
}

fn tag(text: &str) -> types::ClientCertificateTag {
    types::ClientCertificateTag(text.to_owned())
}

fn single(status: &str) -> types::ClientCertificateResponseSingle {
    let mut certificate = types::ClientCertificate::default();
    certificate.id = Some(tag(ID));
    certificate.common_name = Some("sensor-001".into());
    certificate.status = Some(status.into());
    let mut response = types::ClientCertificateResponseSingle::default();
    response.success = Some(true);
    response.result = Some(certificate);
    response
}

fn failure(code: i64) -> types::ApiResponseCommonFailure {
    serde_json::from_value(json!({
        "success": false, "errors": [{ "code": code, "message": "refused" }], "messages": [], "result": null,
    }))
    .expect("matches the spec")
}

#[tokio::test]
async fn get_matches_the_spec() {
    let server = MockServer::start_async().await;
    let mock = server.get_client_certificate(|when, then| {
        let when = when.zone_id(&zone_id()).client_certificate_id(&tag(ID));
        when.into_inner()
            .header("authorization", "Bearer s3cret")
            .header_missing("api-version");
        then.ok(&single("active"));
    });
    let certificate = zone_of(&server).get(&id()).await.expect("is read");
    mock.assert_async().await;
    assert_eq!(certificate.common_name(), Some("sensor-001"));
    assert_eq!(certificate.status(), &Status::Active);
}

#[tokio::test]
async fn every_field_of_a_record_is_read() {
    let record = json!({
        "id": ID, "certificate": "PEM", "common_name": "sensor-001", "country": "DE",
        "certificate_authority": { "id": "ca-id", "name": "ca-name" }, "csr": "CSR",
        "expires_on": "2027-03-01T09:30:00Z", "issued_on": "2026-03-01T09:30:00Z",
        "fingerprint_sha256": "a1e6", "location": "Hamburg", "organization": "Testers",
        "organizational_unit": "Field", "serial_number": "1c9b", "signature": "ECDSAWithSHA256",
        "ski": "5f0a", "state": "HH", "status": "pending_revocation", "validity_days": 365,
    });
    let server = MockServer::start_async().await;
    let response = json!({ "success": true, "errors": [], "messages": [], "result": record });
    server.mock(|_, then| {
        then.status(200).json_body(response);
    });
    let read = zone_of(&server).get(&id()).await.expect("is read");
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    assert_eq!(read.id(), &ID);
    assert_eq!(read.pem(), Some("PEM"));
    assert_eq!(read.common_name(), Some("sensor-001"));
    assert_eq!(read.country(), Some("DE"));
    assert_eq!(read.certificate_authority_id(), Some("ca-id"));
    assert_eq!(read.certificate_authority_name(), Some("ca-name"));
    assert_eq!(read.csr_pem(), Some("CSR"));
    assert_eq!(
        time(read.not_after()).as_deref(),
        Some("2027-03-01T09:30:00Z")
    );
    assert_eq!(
        time(read.not_before()).as_deref(),
        Some("2026-03-01T09:30:00Z")
    );
    assert_eq!(read.fingerprint_sha256(), Some("a1e6"));
    assert_eq!(read.locality(), Some("Hamburg"));
    assert_eq!(read.organization(), Some("Testers"));
    assert_eq!(read.organizational_unit(), Some("Field"));
    assert_eq!(read.serial_number(), Some("1c9b"));
    assert_eq!(read.signature(), Some("ECDSAWithSHA256"));
    assert_eq!(read.subject_key_identifier(), Some("5f0a"));
    assert_eq!(read.state(), Some("HH"));
    assert_eq!(read.status(), &Status::PendingRevocation);
    assert_eq!(read.validity_days(), Some(365));
    assert_eq!(read.to_json(), record);
    assert_eq!(serde_json::to_value(&read).expect("is serialized"), record);
}

#[tokio::test]
async fn list_matches_the_spec() {
    let server = MockServer::start_async().await;
    let mock = server.list_client_certificates(|when, then| {
        let page = std::num::NonZeroU64::new(1);
        when.zone_id(&zone_id())
            .page(page)
            .per_page(5)
            .status(types::ListClientCertificatesStatus::Revoked);
        let mut other = single("archived").result.expect("set above");
        other.id = Some(tag("023e105f4ecef8ad9ca31a8372d0c353"));
        let mut response = types::ClientCertificateResponseCollection::default();
        response.success = Some(true);
        response.result = Some(vec![single("revoked").result.expect("set above"), other]);
        then.ok(&response);
    });
    // There is nothing behind them.
    server.list_client_certificates(|when, then| {
        when.zone_id(&zone_id());
        then.client_error(404, &failure(1000));
    });
    let list = zone_of(&server)
        .list()
        .status(StatusFilter::Revoked)
        .page_size(5);
    let certificates = list.await.expect("is read");
    mock.assert_async().await;
    // What the filter leaves out is left out here too.
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].status(), &Status::Revoked);
}

#[tokio::test]
async fn issue_matches_the_spec() {
    let server = MockServer::start_async().await;
    let (_, csr) = key_and_csr("sensor-001");
    let body = types::CreateClientCertificateBody::builder()
        .csr(types::Csr(csr.to_pem()))
        .validity_days(types::ValidityDays(90))
        .try_into()
        .expect("both are set");
    let mock = server.create_client_certificate(|when, then| {
        when.zone_id(&zone_id()).body(&body);
        then.client_error(400, &failure(1445));
    });
    let issue = zone_of(&server).issue(&csr).validity_days(90);
    let error = issue.await.expect_err("is refused");
    mock.assert_async().await;
    assert!(error.is_quota_reached(), "{error}");
}

#[tokio::test]
async fn revoke_and_reactivate_match_the_spec() {
    let server = MockServer::start_async().await;
    let revoke = server.delete_client_certificate(|when, then| {
        when.zone_id(&zone_id()).client_certificate_id(&tag(ID));
        then.ok(&single("pending_revocation"));
    });
    let mut body = types::EditClientCertificateBody::default();
    body.reactivate = Some(true);
    let reactivate = server.edit_client_certificate(|when, then| {
        when.zone_id(&zone_id())
            .client_certificate_id(&tag(ID))
            .body(&body);
        then.ok(&single("pending_reactivation"));
    });
    let zone = zone_of(&server);
    let revoked = zone.revoke(&id()).await.expect("is read");
    let reactivated = zone.reactivate(&id()).await.expect("is read");
    revoke.assert_async().await;
    reactivate.assert_async().await;
    assert_eq!(revoked.status(), &Status::PendingRevocation);
    assert_eq!(reactivated.status(), &Status::PendingReactivation);
}

/// The limit bounds the memory that a hostile response can take.
#[tokio::test]
async fn a_response_that_is_too_large_is_an_error() {
    let server = MockServer::start_async().await;
    server.mock(|_, then| {
        then.status(200).body("x".repeat(9 << 20));
    });
    let error = zone_of(&server).get(&id()).await.expect_err("is too large");
    assert!(!error.is_retryable(), "{error}");
    insta::assert_snapshot!(error, @"GET /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates/7bf7f70c-7600-42e1-81c4-e4c0da9aa515: the response is larger than 8388608 bytes");
}

#[tokio::test]
async fn issue_says_when_the_outcome_is_unknown() {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    emulator.script([ScriptedFault::next(Operation::Create, Fault::bad_gateway_before()).always()]);
    let builder = Client::builder().token(TOKEN).retry(RetryPolicy::never());
    let zone = zone(builder.transport(Arc::new(emulator.transport())));
    let (_, csr) = key_and_csr("sensor-001");
    let issue = zone.issue(&csr).settle_window(Duration::ZERO);
    let error = issue.await.expect_err("unknown");
    assert!(
        matches!(&error, Error::OutcomeUnknown { intent, .. } if intent.csr_sha256 == csr.sha256()),
        "{error}"
    );
    assert!(error.is_ambiguous());
    assert_eq!(emulator.history().count(Operation::Create), 1);
}

/// Names and key usages that a CSR asks for are the service's to judge.
#[tokio::test]
async fn a_csr_is_sent_as_it_is_with_its_extensions_and_attributes() {
    let pem = include_str!("../../crates/shieldcert/tests/data/openssl-extensions.csr.pem");
    let csr = Csr::from_pem(pem).expect("a CSR");
    let tap = Tap::new(Emulator::builder().build().expect("builds").transport());
    let issued = zone_through(tap.clone()).issue(&csr).await;
    let requests = tap.requests();
    let body: serde_json::Value = serde_json::from_slice(requests[0].body()).expect("JSON");
    let sent = pem::parse(body["csr"].as_str().expect("text")).expect("PEM");
    let given = pem::parse(pem).expect("PEM");
    assert_eq!(sent.contents(), given.contents());
    let shown = issued.expect("is issued").certificate;
    let shown = Csr::from_pem(shown.csr_pem().expect("a CSR"));
    assert_eq!(shown.expect("a CSR").der(), given.contents());
}
