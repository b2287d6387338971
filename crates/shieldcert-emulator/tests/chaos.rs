//! Faults, latency, and the history of both.

mod common;

use std::time::Duration;

use common::{Answer, call, create_body, csr, issue, send};
use http::Request;
use shieldcert_emulator::{Emulator, EmulatorTransport, IdStyle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

fn troubled(chaos: &str) -> Emulator {
    let chaos = chaos.parse().expect("is understood");
    Emulator::builder()
        .chaos(chaos)
        .chaos_seed(7)
        .control(true)
        .build()
        .expect("builds")
}

/// How many certificates there are once the trouble is over.
async fn issued(emulator: &Emulator) -> u64 {
    emulator.set_chaos("".parse().expect("is understood"));
    let list = call(emulator, "GET", "", "").await;
    list.body["result_info"]["total_count"]
        .as_u64()
        .expect("a number")
}

async fn create(emulator: &Emulator) -> Option<Answer> {
    let body = create_body(&csr("device"), 365);
    timeout(Duration::from_secs(3600), call(emulator, "POST", "", body))
        .await
        .ok()
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_its_name_says() {
    for (fault, status, acts) in [
        ("lose-request", None, 0),
        ("lose-answer", None, 1),
        ("502-before", Some(502), 0),
        ("502-after", Some(502), 1),
        ("html", Some(200), 1),
        ("truncate", Some(200), 1),
        ("rate-limit", Some(429), 0),
        ("stall", Some(200), 1),
        ("slow", Some(200), 1),
    ] {
        let emulator = troubled(&format!("{fault}=100%"));
        let answer = create(&emulator).await;
        assert_eq!(
            answer.as_ref().map(|answer| answer.status),
            status,
            "{fault}"
        );
        let history = emulator.history();
        assert_eq!((history.len(), history[0].fault), (1, Some(fault)));
        assert_eq!(history[0].status.is_some(), acts == 1, "{fault}");
        assert_eq!(issued(&emulator).await, acts, "{fault}");
        if fault == "rate-limit" {
            assert!(
                answer
                    .expect("is answered")
                    .headers
                    .contains_key("retry-after")
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_comes_after_the_gateways_answer_even_if_the_caller_is_gone() {
    let emulator = troubled("late=100%:30s");
    assert_eq!(create(&emulator).await.expect("is answered").status, 504);
    assert_eq!(issued(&emulator).await, 0);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(issued(&emulator).await, 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(issued(&emulator).await, 1);
}

#[tokio::test(start_paused = true)]
async fn answers_are_altered_and_the_certificates_are_not() {
    let emulator = troubled("unknown-status=100%");
    let id = issue(&emulator, "device").await;
    let path = format!("/{id}");
    for (chaos, field, expected) in [
        ("unknown-status=100%", "status", "archived"),
        ("null-fields=100%", "common_name", ""),
        ("", "status", "active"),
        ("", "common_name", "device"),
    ] {
        emulator.set_chaos(chaos.parse().expect("is understood"));
        assert_eq!(
            call(&emulator, "GET", &path, "").await.result(field),
            expected,
            "{chaos}"
        );
    }
    emulator.set_chaos("decimal-serials=100%".parse().expect("is understood"));
    let answer = call(&emulator, "GET", &path, "").await;
    assert!(answer.result("serial_number").len() > 40, "{}", answer.body);
    emulator.set_chaos("other-ids=100%".parse().expect("is understood"));
    let answer = call(&emulator, "GET", &path, "").await;
    assert_eq!(answer.result("id"), id.replace('-', ""));
    let answer = call(&emulator, "GET", "", "").await;
    assert_eq!(answer.body["result"][0]["id"], id.replace('-', ""));
    let hex = Emulator::builder().ids(IdStyle::Hex);
    let hex = hex.chaos("other-ids=100%".parse().expect("is understood"));
    let hex = hex.build().expect("builds");
    assert_eq!(issue(&hex, "device").await.len(), 36);
    issue(&emulator, "second").await;
    emulator.set_chaos("".parse().expect("is understood"));
    let before = call(&emulator, "GET", "", "").await.body["result"][0]["id"].clone();
    emulator.set_chaos("reorder=100%".parse().expect("is understood"));
    assert_ne!(
        call(&emulator, "GET", "", "").await.body["result"][0]["id"],
        before
    );
}

#[tokio::test(start_paused = true)]
async fn setting_the_faults_begins_their_draws_anew() {
    let emulator = Emulator::builder().chaos_seed(3).build().expect("builds");
    let mut runs = Vec::new();
    for _ in 0..2 {
        emulator.set_chaos("502-before=50%".parse().expect("is understood"));
        let mut struck = Vec::new();
        for _ in 0..32 {
            struck.push(call(&emulator, "GET", "", "").await.status);
        }
        assert!(struck.contains(&200) && struck.contains(&502), "{struck:?}");
        runs.push(struck);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(start_paused = true)]
async fn latency_is_waited_for_by_every_request() {
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
async fn a_reset_breaks_the_connection() {
    for (fault, acts) in [("reset", 0), ("reset-after", 1)] {
        let chaos = format!("{fault}=100%").parse().expect("is understood");
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
            common::ZONE,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("is sent");
        let mut answer = Vec::new();
        let outcome = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        outcome.expect("ends").ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.ends_with("0\r\n\r\n") && !answer.contains("success"),
            "{answer}"
        );
        assert_eq!(issued(&emulator).await, acts, "{fault}");
    }
}

async fn control(emulator: &Emulator, method: &str, path: &str, body: &'static str) -> Answer {
    let base = EmulatorTransport::BASE_URL.trim_end_matches("/client/v4");
    let request = Request::builder()
        .method(method)
        .uri(format!("{base}/__shieldcert/{path}"));
    send(emulator, request.body(body.into()).expect("a request")).await
}

#[tokio::test(start_paused = true)]
async fn a_test_in_any_language_sets_faults_and_reads_what_happened() {
    let emulator = troubled("");
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
    assert_eq!(events.len(), 1, "control itself does not count: {events:?}");
    assert_eq!(events[0]["fault"], "html");
    assert!(
        events[0]["path"]
            .as_str()
            .expect("text")
            .ends_with("client_certificates?page=1")
    );
    let uncontrolled = common::emulator();
    assert_eq!(
        control(&uncontrolled, "PUT", "chaos", "html=100%")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn control_is_not_served_to_other_machines() {
    let public = ([0, 0, 0, 0], 0).into();
    let error = Emulator::builder()
        .control(true)
        .listen(public)
        .start()
        .await
        .expect_err("is refused");
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
}
