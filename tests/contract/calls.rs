//! Each operation's request is as the spec says, its answer is read whole, and answers that break
//! the spec are read or named.

use std::time::Duration;

use httpmock::MockServer;
use serde_json::{Value, json};
use shieldcert::{CertificateId, Client, Error, RetryPolicy, Status, StatusFilter, Zone};
use shieldcert_api::types;
use shieldcert_httpmock::MockServerExt;
use shieldcert_tests::{TOKEN, ZONE, key_and_csr};

const ID: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

fn zone(server: &MockServer) -> Zone {
    let builder = Client::builder().token(TOKEN).base_url(server.base_url());
    shieldcert_tests::zone(builder.retry(RetryPolicy::never()))
}

fn id() -> CertificateId {
    ID.parse().expect("an id")
}

fn identifier(text: &str) -> types::Identifier {
    types::Identifier(text.to_owned())
}

fn single(status: &str) -> types::ClientCertificateResponseSingle {
    let mut certificate = types::ClientCertificate::default();
    certificate.id = Some(identifier(ID));
    certificate.common_name = Some("sensor-001".into());
    certificate.status = Some(status.into());
    let mut response = types::ClientCertificateResponseSingle::default();
    response.success = Some(true);
    response.result = Some(certificate);
    response
}

#[tokio::test]
async fn get_asks_and_reads_as_the_spec_says() {
    let server = MockServer::start_async().await;
    let mock = server.get_client_certificate(|when, then| {
        let when = when
            .zone_id(&identifier(ZONE))
            .client_certificate_id(&identifier(ID));
        when.into_inner()
            .header("authorization", "Bearer s3cret")
            .header_missing("api-version");
        then.ok(&single("active"));
    });
    let certificate = zone(&server).get(&id()).await.expect("is read");
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
    let answer = json!({ "success": true, "errors": [], "messages": [], "result": record });
    server.mock(|_, then| {
        then.status(200).json_body(answer);
    });
    let read = zone(&server).get(&id()).await.expect("is read");
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
    assert_eq!(read.id().as_str(), ID);
    assert_eq!(read.pem(), Some("PEM"));
    assert_eq!(read.common_name(), Some("sensor-001"));
    assert_eq!(read.country(), Some("DE"));
    assert_eq!(read.certificate_authority_id(), Some("ca-id"));
    assert_eq!(read.certificate_authority_name(), Some("ca-name"));
    assert_eq!(read.csr_pem(), Some("CSR"));
    assert_eq!(
        time(read.expires_on()).as_deref(),
        Some("2027-03-01T09:30:00Z")
    );
    assert_eq!(
        time(read.issued_on()).as_deref(),
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
    assert_eq!(serde_json::to_value(&read).expect("writes"), record);
}

#[tokio::test]
async fn list_sends_whole_numbers_and_reads_every_record() {
    let server = MockServer::start_async().await;
    let mock = server.list_client_certificates(|when, then| {
        let page = std::num::NonZeroU64::new(1);
        when.zone_id(&identifier(ZONE))
            .page(page)
            .per_page(5)
            .status(types::ListClientCertificatesStatus::Revoked);
        let mut other = single("archived").result.expect("set above");
        other.id = Some(identifier("023e105f4ecef8ad9ca31a8372d0c353"));
        let mut response = types::ClientCertificateResponseCollection::default();
        response.success = Some(true);
        response.result = Some(vec![single("revoked").result.expect("set above"), other]);
        then.ok(&response);
    });
    let list = zone(&server)
        .list()
        .status(StatusFilter::Revoked)
        .page_size(5);
    let certificates = list.await.expect("is read");
    mock.assert_async().await;
    assert_eq!(certificates.len(), 2);
    assert_eq!(
        certificates[1].status(),
        &Status::Unknown("archived".into())
    );
}

#[tokio::test]
async fn revoke_and_reactivate_ask_as_the_spec_says() {
    let server = MockServer::start_async().await;
    let revoke = server.delete_client_certificate(|when, then| {
        when.zone_id(&identifier(ZONE))
            .client_certificate_id(&identifier(ID));
        then.ok(&single("pending_revocation"));
    });
    let mut body = types::EditClientCertificateBody::default();
    body.reactivate = Some(true);
    let reactivate = server.edit_client_certificate(|when, then| {
        when.zone_id(&identifier(ZONE))
            .client_certificate_id(&identifier(ID))
            .body(&body);
        then.ok(&single("pending_reactivation"));
    });
    let zone = zone(&server);
    let revoked = zone.revoke(&id()).await.expect("is read");
    let reactivated = zone.reactivate(&id()).await.expect("is read");
    revoke.assert_async().await;
    reactivate.assert_async().await;
    assert_eq!(revoked.status(), &Status::PendingRevocation);
    assert_eq!(reactivated.status(), &Status::PendingReactivation);
}

#[tokio::test]
async fn promise_7_a_certificate_for_another_key_is_not_what_was_asked_for() {
    let server = MockServer::start_async().await;
    let (_, csr) = key_and_csr("sensor-001");
    let body = types::CreateClientCertificateBody::builder()
        .csr(types::Csr(csr.to_pem()))
        .validity_days(types::ValidityDays(90))
        .try_into()
        .expect("both are set");
    let mock = server.create_client_certificate(|when, then| {
        when.zone_id(&identifier(ZONE)).body(&body);
        let mut answer = single("active");
        let other = include_str!("../crates/shieldcert/tests/data/openssl-p256.cert.pem");
        answer.result.as_mut().expect("set above").certificate = Some(other.into());
        then.ok(&answer);
    });
    let error = zone(&server)
        .issue(&csr)
        .validity_days(90)
        .await
        .expect_err("another key's");
    mock.assert_async().await;
    assert!(matches!(error, Error::WrongCertificate { .. }), "{error}");
    assert!(
        error.to_string().contains("public key is not the CSR's"),
        "{error}"
    );
}

async fn list_answered(
    status: u16,
    body: &str,
) -> Result<Vec<shieldcert::ClientCertificate>, Error> {
    let server = MockServer::start_async().await;
    server.mock(|_, then| {
        then.status(status).header("cf-ray", "8f1-FRA").body(body);
    });
    zone(&server).list().await
}

#[tokio::test]
async fn promise_3_answers_that_break_the_spec_are_read_all_the_same() {
    let uuid = json!({ "id": ID, "status": "active" });
    let other = |member: Value| {
        let mut record = json!({ "id": "023e105f4ecef8ad9ca31a8372d0c353" });
        record
            .as_object_mut()
            .expect("an object")
            .extend(member.as_object().expect("an object").clone());
        record
    };
    for record in [
        json!({ "status": "archived" }),
        json!({ "status": null, "common_name": null, "certificate_authority": null }),
        json!({ "status": 7, "common_name": { "odd": true } }),
        json!({ "validity_days": "365", "expires_on": false, "brand_new": [1] }),
        json!({ "csr": ["not", "text"] }),
    ] {
        let body = json!({ "success": true, "result": [uuid, other(record.clone())] }).to_string();
        let certificates = list_answered(200, &body).await.expect("is read");
        assert_eq!(certificates.len(), 2, "{record}");
        assert_eq!(certificates[0].status(), &Status::Active, "{record}");
    }
    let serial = "133270673305904147240315902291726509220894288063";
    let body = format!(r#"{{"success":true,"result":[{{"id":"{ID}","serial_number":{serial}}}]}}"#);
    let certificates = list_answered(200, &body).await.expect("is read");
    assert_eq!(certificates[0].serial_number(), Some(serial));
    for empty in [
        r#"{"success":true,"result":null}"#,
        r#"{"result":[],"errors":null}"#,
    ] {
        assert!(
            list_answered(200, empty).await.expect("is read").is_empty(),
            "{empty}"
        );
    }
}

#[tokio::test]
async fn promise_3_a_record_that_is_no_certificate_is_an_error_in_its_place_alone() {
    let server = MockServer::start_async().await;
    let body = json!({ "success": true, "result": [{ "id": ID }, "odd", { "status": "active" }] });
    server.mock(|_, then| {
        then.status(200).json_body(body);
    });
    let page = zone(&server)
        .list()
        .pages()
        .try_next()
        .await
        .expect("is read")
        .expect("a page");
    assert_eq!(page.certificates.len(), 1);
    assert_eq!(page.unreadable.len(), 2);
    assert!(
        page.unreadable[0].to_string().contains("odd"),
        "{}",
        page.unreadable[0]
    );
}

#[tokio::test]
async fn promise_3_answers_that_can_not_be_understood_are_named_with_status_ray_and_start() {
    for (status, body, expected) in [
        (502, "<html>bad gateway</html>", "HTML"),
        (200, "<html>hello</html>", "HTML"),
        (200, "", "empty"),
        (200, r#"{"success":true,"result":[{"id""#, "breaks off"),
        (200, "hello", "not JSON"),
        (200, "[1]", "not the API's envelope"),
        (200, r#"{"success":false,"errors":[]}"#, "but not why"),
        (200, r#"{"success":true,"result":"odd"}"#, "not a list"),
        (404, "{}", "but not why"),
    ] {
        let error = list_answered(status, body).await.expect_err(body);
        assert!(matches!(error, Error::Answer { .. }), "{body}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(expected), "{body}: {message}");
        assert!(message.contains(&status.to_string()), "{message}");
        assert_eq!(error.ray_id(), Some("8f1-FRA"));
        assert!(!message.contains("s3cret"), "{message}");
    }
    let body = r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#;
    for status in [200, 403] {
        let error = list_answered(status, body).await.expect_err("is refused");
        assert!(error.is_not_allowed() && error.has_code(10000), "{error}");
    }
}

#[tokio::test]
async fn a_hostile_answer_does_not_take_the_memory() {
    let server = MockServer::start_async().await;
    server.mock(|_, then| {
        then.status(200).body("x".repeat(9 << 20));
    });
    let error = zone(&server).get(&id()).await.expect_err("is too large");
    assert!(
        error.to_string().contains("larger than 8388608 bytes"),
        "{error}"
    );
    assert!(!error.is_retryable(), "{error}");
}

#[tokio::test]
async fn an_unclear_outcome_of_issuing_says_so() {
    let server = MockServer::start_async().await;
    let mock = server.mock(|when, then| {
        when.method("POST");
        then.status(502).body("<html>");
    });
    let (_, csr) = key_and_csr("sensor-001");
    let issue = zone(&server).issue(&csr).settle_window(Duration::ZERO);
    let error = issue.await.expect_err("unclear");
    assert!(
        matches!(&error, Error::OutcomeUnknown { csr_sha256, .. } if *csr_sha256 == csr.sha256())
    );
    assert!(error.is_ambiguous());
    mock.assert_calls_async(1).await;
}
