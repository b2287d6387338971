//! Revoking and reactivating, under a paused clock.

use std::time::Duration;

use crate::common::*;
use shieldcert_emulator::{Emulator, assumptions};
use tokio::time::advance;

const DELAY: Duration = Duration::from_secs(3600);
const REACTIVATE: &str = r#"{"reactivate": true}"#;

fn slow_emulator() -> Emulator {
    Emulator::builder()
        .transition_delay(DELAY)
        .build()
        .expect("an emulator")
}

async fn status(emulator: &Emulator, id: &str) -> String {
    let response = call(emulator, "GET", &format!("/{id}"), "").await;
    response.result("status").to_owned()
}

async fn revoke(emulator: &Emulator, id: &str) -> String {
    let response = call(emulator, "DELETE", &format!("/{id}"), "").await;
    response.assert_succeeded();
    assert_eq!(response.result("id"), id);
    response.result("status").to_owned()
}

async fn reactivate(emulator: &Emulator, id: &str) -> String {
    let response = call(emulator, "PATCH", &format!("/{id}"), REACTIVATE).await;
    response.assert_succeeded();
    assert_eq!(response.result("id"), id);
    response.result("status").to_owned()
}

#[tokio::test(start_paused = true)]
async fn revoking_and_reactivating_take_the_delay() {
    let emulator = slow_emulator();
    let id = issue(&emulator, "a").await;
    let other = issue(&emulator, "b").await;
    assert_eq!(status(&emulator, &id).await, "active");
    assert_eq!(revoke(&emulator, &id).await, "pending_revocation");
    advance(DELAY - Duration::from_millis(1)).await;
    assert_eq!(status(&emulator, &id).await, "pending_revocation");
    advance(Duration::from_millis(1)).await;
    assert_eq!(status(&emulator, &id).await, "revoked");
    assert_eq!(reactivate(&emulator, &id).await, "pending_reactivation");
    advance(DELAY).await;
    assert_eq!(status(&emulator, &id).await, "active");
    assert_eq!(status(&emulator, &other).await, "active");
}

#[tokio::test(start_paused = true)]
async fn the_later_request_wins() {
    let emulator = slow_emulator();
    let id = issue(&emulator, "a").await;
    revoke(&emulator, &id).await;
    advance(DELAY / 2).await;
    assert_eq!(reactivate(&emulator, &id).await, "pending_reactivation");
    advance(DELAY / 2).await;
    assert_eq!(status(&emulator, &id).await, "pending_reactivation");
    assert_eq!(revoke(&emulator, &id).await, "pending_revocation");
    advance(DELAY).await;
    assert_eq!(status(&emulator, &id).await, "revoked");
}

#[tokio::test(start_paused = true)]
async fn repeated_requests_change_nothing() {
    let emulator = slow_emulator();
    let id = issue(&emulator, "a").await;
    assert_eq!(reactivate(&emulator, &id).await, "active");
    revoke(&emulator, &id).await;
    advance(DELAY / 2).await;
    assert_eq!(revoke(&emulator, &id).await, "pending_revocation");
    advance(DELAY / 2).await;
    assert_eq!(revoke(&emulator, &id).await, "revoked");
}

#[tokio::test(start_paused = true)]
async fn a_list_filters_by_the_current_status() {
    let emulator = slow_emulator();
    let id = issue(&emulator, "a").await;
    revoke(&emulator, &id).await;
    let before = counts(&emulator).await;
    advance(DELAY).await;
    // Active, pending revocation, revoked.
    assert_eq!((before, counts(&emulator).await), ([0, 1, 0], [0, 0, 1]));
}

async fn counts(emulator: &Emulator) -> [i64; 3] {
    let mut counts = [0; 3];
    for (count, status) in counts
        .iter_mut()
        .zip(["active", "pending_revocation", "revoked"])
    {
        let response = call(emulator, "GET", &format!("?status={status}"), "").await;
        *count = response.body["result_info"]["count"]
            .as_i64()
            .expect("a count");
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn reactivating_what_is_revoked_can_be_forbidden() {
    let emulator = Emulator::builder()
        .transition_delay(DELAY)
        .reactivate_revoked(false)
        .build()
        .expect("an emulator");
    let id = issue(&emulator, "a").await;
    revoke(&emulator, &id).await;
    assert_eq!(reactivate(&emulator, &id).await, "pending_reactivation");
    revoke(&emulator, &id).await;
    advance(DELAY).await;
    let response = call(&emulator, "PATCH", &format!("/{id}"), REACTIVATE).await;
    response.assert_failed(409, assumptions::REACTIVATION_REFUSED);
    assert_eq!(status(&emulator, &id).await, "revoked");
}

#[tokio::test]
async fn an_edit_without_a_reactivation_is_refused() {
    let emulator = slow_emulator();
    let id = issue(&emulator, "a").await;
    revoke(&emulator, &id).await;
    for (body, code) in [
        (r#"{"reactivate": false}"#, assumptions::INVALID_EDIT),
        ("{}", assumptions::INVALID_EDIT),
        (r#"{"reactivate": "true"}"#, assumptions::INVALID_BODY),
        (r#"{"reactivate": null}"#, assumptions::INVALID_BODY),
        ("", assumptions::INVALID_BODY),
        ("[]", assumptions::INVALID_BODY),
        ("{", assumptions::INVALID_BODY),
    ] {
        let response = call(&emulator, "PATCH", &format!("/{id}"), body).await;
        response.assert_failed(400, code);
    }
    assert_eq!(status(&emulator, &id).await, "pending_revocation");
}
