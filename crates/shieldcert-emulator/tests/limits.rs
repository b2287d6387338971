//! The rate limit and the quota of active certificates.

mod common;

use std::time::Duration;

use common::{call, create_body, csr, issue};
use shieldcert_emulator::{Emulator, RateLimit};

#[tokio::test(start_paused = true)]
async fn every_answer_says_what_is_left_and_past_it_all_are_refused() {
    let limit = RateLimit::new(3, Duration::from_secs(60));
    let emulator = Emulator::builder()
        .rate_limit(limit)
        .build()
        .expect("builds");
    // A refused call counts as well.
    for (path, status, left) in [("", 200, 2), ("?page=0", 400, 1), ("", 200, 0)] {
        let answer = call(&emulator, "GET", path, "").await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.headers["ratelimit"],
            format!("\"default\";r={left};t=60").as_str()
        );
        assert_eq!(answer.headers["ratelimit-policy"], "\"default\";q=3;w=60");
    }
    tokio::time::advance(Duration::from_millis(10_500)).await;
    let answer = call(&emulator, "GET", "", "").await;
    answer.assert_failed(429, 10429);
    assert_eq!(answer.headers["retry-after"], "60");
    tokio::time::advance(Duration::from_millis(59_500)).await;
    let answer = call(&emulator, "POST", "", create_body(&csr("late"), 1)).await;
    answer.assert_failed(429, 10429);
    assert_eq!(answer.headers["retry-after"], "1");
    tokio::time::advance(Duration::from_millis(500)).await;
    call(&emulator, "GET", "", "").await.assert_succeeded();
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_is_said_of_one() {
    let emulator = common::emulator();
    let answer = call(&emulator, "GET", "", "").await;
    assert!(!answer.headers.contains_key("ratelimit"));
}

#[tokio::test(start_paused = true)]
async fn past_the_quota_nothing_is_issued_and_a_revocation_frees_a_place_at_once() {
    let emulator = Emulator::builder().quota(2).build().expect("builds");
    let first = issue(&emulator, "first").await;
    issue(&emulator, "second").await;
    let third = || create_body(&csr("third"), 365);
    call(&emulator, "POST", "", third())
        .await
        .assert_failed(400, 1445);
    let answer = call(&emulator, "DELETE", &format!("/{first}"), "").await;
    assert_eq!(answer.result("status"), "pending_revocation");
    call(&emulator, "POST", "", third())
        .await
        .assert_succeeded();
    // There is no place to come back to.
    let reactivate = "{\"reactivate\":true}";
    let answer = call(&emulator, "PATCH", &format!("/{first}"), reactivate).await;
    answer.assert_failed(400, 1445);
    let list = call(&emulator, "GET", "", "").await;
    assert_eq!(list.body["result_info"]["total_count"], 3);
}

#[tokio::test]
async fn a_quota_holds_against_many_at_once() {
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
