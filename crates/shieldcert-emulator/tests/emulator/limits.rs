//! The rate limit and the quota of active certificates.

use std::time::Duration;

use crate::common::{call, create_body, csr, issue};
use shieldcert_api::codes;
use shieldcert_emulator::{Emulator, RateLimit, assumptions};

#[tokio::test(start_paused = true)]
async fn responses_say_what_is_left_and_past_the_limit_are_429() {
    let limit = RateLimit::new(3, Duration::from_secs(60));
    let emulator = Emulator::builder()
        .rate_limit(limit)
        .build()
        .expect("builds");
    // A refused request counts too.
    for (path, status, left) in [("", 200, 2), ("?page=0", 400, 1), ("", 200, 0)] {
        let response = call(&emulator, "GET", path, "").await;
        assert_eq!(response.status, status);
        assert_eq!(
            response.headers["ratelimit"],
            format!("\"default\";r={left};t=60").as_str()
        );
        assert_eq!(response.headers["ratelimit-policy"], "\"default\";q=3;w=60");
    }
    tokio::time::advance(Duration::from_millis(10_500)).await;
    let response = call(&emulator, "GET", "", "").await;
    response.assert_failed(429, assumptions::RATE_LIMITED);
    assert_eq!(response.headers["retry-after"], "60");
    tokio::time::advance(Duration::from_millis(59_500)).await;
    let response = call(&emulator, "POST", "", create_body(&csr("late"), 1)).await;
    response.assert_failed(429, assumptions::RATE_LIMITED);
    assert_eq!(response.headers["retry-after"], "1");
    tokio::time::advance(Duration::from_millis(500)).await;
    call(&emulator, "GET", "", "").await.assert_succeeded();
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_there_are_no_headers() {
    let emulator = crate::common::emulator();
    let response = call(&emulator, "GET", "", "").await;
    assert!(!response.headers.contains_key("ratelimit"));
}

#[tokio::test(start_paused = true)]
async fn past_the_quota_nothing_is_issued_and_a_revocation_frees_a_slot() {
    let emulator = Emulator::builder().quota(2).build().expect("builds");
    let first = issue(&emulator, "first").await;
    issue(&emulator, "second").await;
    let third = || create_body(&csr("third"), 365);
    call(&emulator, "POST", "", third())
        .await
        .assert_failed(400, codes::QUOTA_REACHED);
    let response = call(&emulator, "DELETE", &format!("/{first}"), "").await;
    assert_eq!(response.result("status"), "pending_revocation");
    call(&emulator, "POST", "", third())
        .await
        .assert_succeeded();
    // There is no slot for a reactivation.
    let reactivate = "{\"reactivate\":true}";
    let response = call(&emulator, "PATCH", &format!("/{first}"), reactivate).await;
    response.assert_failed(400, codes::QUOTA_REACHED);
    let list = call(&emulator, "GET", "", "").await;
    assert_eq!(list.body["result_info"]["total_count"], 3);
}

#[tokio::test]
async fn concurrent_creates_do_not_exceed_the_quota() {
    let emulator = Emulator::builder().quota(5).build().expect("builds");
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let emulator = emulator.clone();
            tokio::spawn(async move {
                let body = create_body(&csr(&format!("device-{number}")), 365);
                call(&emulator, "POST", "", body).await.status
            })
        })
        .collect();
    let mut issued = 0;
    for call in calls {
        issued += usize::from(call.await.expect("ends") == 200);
    }
    assert_eq!(issued, 5);
}
