//! Revoking and reactivating, under a paused clock.
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use shieldcert_emulator::{Emulator, assumptions};
use tokio::time::advance;

const DELAY: Duration = Duration::from_secs(3600);
const REACTIVATE: &str = r#"{"reactivate": true}"#;

fn slow() -> Emulator {
    Emulator::builder()
        .transition_delay(DELAY)
        .build()
        .expect("an emulator")
}

async fn status(emulator: &Emulator, id: &str) -> String {
    let answer = call(emulator, "GET", &format!("/{id}"), "").await;
    answer.result("status").to_owned()
}

async fn revoke(emulator: &Emulator, id: &str) -> String {
    let answer = call(emulator, "DELETE", &format!("/{id}"), "").await;
    answer.assert_succeeded();
    assert_eq!(answer.result("id"), id);
    answer.result("status").to_owned()
}

async fn reactivate(emulator: &Emulator, id: &str) -> String {
    let answer = call(emulator, "PATCH", &format!("/{id}"), REACTIVATE).await;
    answer.assert_succeeded();
    assert_eq!(answer.result("id"), id);
    answer.result("status").to_owned()
}

#[tokio::test(start_paused = true)]
async fn there_and_back_again() {
    let emulator = slow();
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
    let emulator = slow();
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
async fn asking_again_is_fine_and_changes_nothing() {
    let emulator = slow();
    let id = issue(&emulator, "a").await;
    assert_eq!(reactivate(&emulator, &id).await, "active");
    revoke(&emulator, &id).await;
    advance(DELAY / 2).await;
    assert_eq!(revoke(&emulator, &id).await, "pending_revocation");
    advance(DELAY / 2).await;
    assert_eq!(revoke(&emulator, &id).await, "revoked");
}

#[tokio::test(start_paused = true)]
async fn a_list_filters_by_the_status_of_the_moment() {
    let emulator = slow();
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
        let answer = call(emulator, "GET", &format!("?status={status}"), "").await;
        *count = answer.body["result_info"]["count"]
            .as_i64()
            .expect("a count");
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn reactivating_a_revoked_one_can_be_forbidden() {
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
    let answer = call(&emulator, "PATCH", &format!("/{id}"), REACTIVATE).await;
    answer.assert_failed(409, assumptions::REACTIVATION_REFUSED);
    assert_eq!(status(&emulator, &id).await, "revoked");
}

#[tokio::test]
async fn an_edit_asks_for_a_reactivation_or_for_nothing() {
    let emulator = slow();
    let id = issue(&emulator, "a").await;
    revoke(&emulator, &id).await;
    for (body, code) in [
        (r#"{"reactivate": false}"#, assumptions::EDIT_REFUSED),
        ("{}", assumptions::EDIT_REFUSED),
        (
            r#"{"reactivate": "true"}"#,
            assumptions::BODY_NOT_UNDERSTOOD,
        ),
        (r#"{"reactivate": null}"#, assumptions::BODY_NOT_UNDERSTOOD),
        ("", assumptions::BODY_NOT_UNDERSTOOD),
        ("[]", assumptions::BODY_NOT_UNDERSTOOD),
        ("{", assumptions::BODY_NOT_UNDERSTOOD),
    ] {
        let answer = call(&emulator, "PATCH", &format!("/{id}"), body).await;
        answer.assert_failed(400, code);
    }
    assert_eq!(status(&emulator, &id).await, "pending_revocation");
}
