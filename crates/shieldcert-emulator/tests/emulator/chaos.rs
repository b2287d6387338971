//! Faults by chance, latency, and the history.

use std::time::Duration;

use shieldcert_emulator::{Emulator, IdStyle, Operation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::common::{Response, call, control, create_body, csr, issue};

fn with_chaos(chaos: &str) -> Emulator {
    let chaos = chaos.parse().expect("is parsed");
    Emulator::builder()
        .chaos(chaos)
        .chaos_seed(7)
        .control(true)
        .build()
        .expect("builds")
}

/// How many certificates there are. Ends the faults first.
async fn count_issued(emulator: &Emulator) -> u64 {
    emulator.set_chaos("".parse().expect("is parsed"));
    let list = call(emulator, "GET", "", "").await;
    list.body["result_info"]["total_count"]
        .as_u64()
        .expect("a number")
}

async fn create(emulator: &Emulator) -> Option<Response> {
    let body = create_body(&csr("device"), 365);
    timeout(Duration::from_secs(3600), call(emulator, "POST", "", body))
        .await
        .ok()
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_its_name_says() {
    for (fault, status, acts) in [
        ("lose-request", None, 0),
        ("lose-response", None, 1),
        ("502-before", Some(502), 0),
        ("502-after", Some(502), 1),
        ("html", Some(200), 1),
        ("truncate", Some(200), 1),
        ("rate-limit", Some(429), 0),
        ("stall", Some(200), 1),
        ("slow", Some(200), 1),
    ] {
        let emulator = with_chaos(&format!("{fault}=100%"));
        let response = create(&emulator).await;
        assert_eq!(
            response.as_ref().map(|response| response.status),
            status,
            "{fault}"
        );
        let history = emulator.history();
        assert_eq!((history.len(), history[0].fault), (1, Some(fault)));
        assert_eq!(history[0].operation, Some(Operation::Create));
        assert_eq!(history[0].status.is_some(), acts == 1, "{fault}");
        assert_eq!(count_issued(&emulator).await, acts, "{fault}");
        if fault == "rate-limit" {
            assert!(
                response
                    .expect("a response")
                    .headers
                    .contains_key("retry-after")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_comes_after_the_gateways_response() {
    let emulator = with_chaos("late=100%:30s");
    assert_eq!(create(&emulator).await.expect("a response").status, 504);
    assert_eq!(count_issued(&emulator).await, 0);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(count_issued(&emulator).await, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(count_issued(&emulator).await, 1);
}

#[tokio::test(start_paused = true)]
async fn responses_are_altered_and_certificates_are_not() {
    let emulator = with_chaos("unknown-status=100%");
    let id = issue(&emulator, "device").await;
    let path = format!("/{id}");
    for (chaos, field, expected) in [
        ("unknown-status=100%", "status", "archived"),
        ("null-fields=100%", "common_name", ""),
        ("", "status", "active"),
        ("", "common_name", "device"),
    ] {
        emulator.set_chaos(chaos.parse().expect("is parsed"));
        assert_eq!(
            call(&emulator, "GET", &path, "").await.result(field),
            expected,
            "{chaos}"
        );
    }
    emulator.set_chaos("decimal-serials=100%".parse().expect("is parsed"));
    let response = call(&emulator, "GET", &path, "").await;
    assert!(
        response.result("serial_number").len() > 40,
        "{}",
        response.body
    );
    emulator.set_chaos("other-ids=100%".parse().expect("is parsed"));
    let response = call(&emulator, "GET", &path, "").await;
    assert_eq!(response.result("id"), id.replace('-', ""));
    let response = call(&emulator, "GET", "", "").await;
    assert_eq!(response.body["result"][0]["id"], id.replace('-', ""));
    let hex = Emulator::builder().ids(IdStyle::Hex);
    let hex = hex.chaos("other-ids=100%".parse().expect("is parsed"));
    let hex = hex.build().expect("builds");
    assert_eq!(issue(&hex, "device").await.len(), 36);
    issue(&emulator, "second").await;
    emulator.set_chaos("".parse().expect("is parsed"));
    let before = call(&emulator, "GET", "", "").await.body["result"][0]["id"].clone();
    emulator.set_chaos("reorder=100%".parse().expect("is parsed"));
    assert_ne!(
        call(&emulator, "GET", "", "").await.body["result"][0]["id"],
        before
    );
}

#[tokio::test(start_paused = true)]
async fn setting_chaos_restarts_the_draws() {
    let emulator = Emulator::builder().chaos_seed(3).build().expect("builds");
    let mut runs = Vec::new();
    for _ in 0..2 {
        emulator.set_chaos("502-before=50%".parse().expect("is parsed"));
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(call(&emulator, "GET", "", "").await.status);
        }
        assert!(
            statuses.contains(&200) && statuses.contains(&502),
            "{statuses:?}"
        );
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(start_paused = true)]
async fn every_request_takes_the_latency() {
    let latency = Duration::from_millis(30);
    let emulator = Emulator::builder()
        .latency(latency)
        .build()
        .expect("builds");
    let started = Instant::now();
    call(&emulator, "GET", "", "").await.assert_succeeded();
    assert_eq!(started.elapsed(), latency);
}

#[tokio::test]
async fn a_reset_closes_the_connection_without_a_response() {
    for (fault, acts) in [("reset", 0), ("reset-after", 1), ("refuse-connection", 0)] {
        let chaos = format!("{fault}=100%").parse().expect("is parsed");
        let emulator = Emulator::builder()
            .chaos(chaos)
            .start()
            .await
            .expect("starts");
        let mut stream = TcpStream::connect(emulator.address())
            .await
            .expect("connects");
        let body = String::from_utf8(create_body(&csr("device"), 365)).expect("text");
        let request = format!(
            "POST /client/v4/zones/{}/client_certificates HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer t\r\ncontent-length: {}\r\n\r\n{body}",
            crate::common::ZONE,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("is sent");
        let mut response = Vec::new();
        let outcome = timeout(Duration::from_secs(10), stream.read_to_end(&mut response)).await;
        outcome.expect("ends").ok();
        assert_eq!(String::from_utf8_lossy(&response), "", "{fault}");
        assert_eq!(count_issued(&emulator).await, acts, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn chaos_and_history_are_controlled_over_http() {
    let emulator = with_chaos("");
    assert_eq!(
        control(&emulator, "PUT", "chaos", "html=100%").await.status,
        200
    );
    call(&emulator, "GET", "?page=1", "").await;
    assert_eq!(
        control(&emulator, "PUT", "chaos", "odd=1%").await.status,
        400
    );
    let history = control(&emulator, "GET", "history", "").await;
    let events = history.body.as_array().expect("a list");
    assert_eq!(
        events.len(),
        1,
        "control requests are not in the history: {events:?}"
    );
    assert_eq!(events[0]["fault"], "html");
    assert_eq!(events[0]["operation"], "list");
    assert!(
        events[0]["path"]
            .as_str()
            .expect("text")
            .ends_with("client_certificates?page=1")
    );
    let without_control = crate::common::emulator();
    assert_eq!(
        control(&without_control, "PUT", "chaos", "html=100%")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn control_is_served_on_loopback_alone() {
    let public = ([0, 0, 0, 0], 0).into();
    let error = Emulator::builder()
        .control(true)
        .listen(public)
        .start()
        .await
        .expect_err("is refused");
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
}
