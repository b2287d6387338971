//! The clock: what it dates, what it settles, and how it is moved.

use std::time::{Duration, UNIX_EPOCH};

use shieldcert_emulator::{Emulator, Fault, Operation, RateLimit, ScriptedFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{ZONE, call, control, count, create_body, csr, issue};

/// Wed, 18 May 2033 03:33:20 UTC.
const START: Duration = Duration::from_secs(2_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn emulator() -> Emulator {
    Emulator::builder()
        .clock_start(UNIX_EPOCH + START)
        .transition_delay(HOUR)
        .control(true)
        .rate_limit(RateLimit::new(3, HOUR))
        .build()
        .expect("builds")
}

#[tokio::test(start_paused = true)]
async fn every_response_has_the_date_of_the_clock() {
    let emulator = emulator();
    let dates = async |emulator: &Emulator| {
        let mut dates = Vec::new();
        // A success, a refusal, no route, and a request past the rate limit.
        for (method, path) in [("GET", ""), ("GET", "/x"), ("PUT", ""), ("GET", "")] {
            let response = call(emulator, method, path, "").await;
            let all: Vec<_> = response.headers.get_all("date").iter().cloned().collect();
            dates.extend(all);
        }
        dates
    };
    assert_eq!(dates(&emulator).await, ["Wed, 18 May 2033 03:33:20 GMT"; 4]);
    emulator.advance(HOUR);
    assert_eq!(dates(&emulator).await, ["Wed, 18 May 2033 04:33:20 GMT"; 4]);
    tokio::time::advance(HOUR).await;
    emulator.script([ScriptedFault::next(
        Operation::List,
        Fault::bad_gateway_before(),
    )]);
    let response = call(&emulator, "GET", "", "").await;
    assert_eq!(response.status, 502);
    assert_eq!(response.headers["date"], "Wed, 18 May 2033 05:33:20 GMT");
}

#[tokio::test]
async fn over_http_the_date_is_there_once() {
    let emulator = Emulator::builder()
        .clock_start(UNIX_EPOCH + START)
        .start()
        .await
        .expect("starts");
    let mut stream = TcpStream::connect(emulator.address())
        .await
        .expect("connects");
    let request = format!(
        "GET /client/v4/zones/{ZONE}/client_certificates HTTP/1.1\r\nhost: x\r\n\
         authorization: Bearer t\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("is read");
    let dates: Vec<_> = response
        .lines()
        .filter_map(|line| line.strip_prefix("date: "))
        .collect();
    assert_eq!(dates.len(), 1, "{response}");
    assert!(dates[0].contains("18 May 2033"), "{response}");
}

#[tokio::test(start_paused = true)]
async fn advancing_dates_certificates_settles_transitions_and_ends_windows() {
    let emulator = emulator();
    let id = issue(&emulator, "first").await;
    let path = format!("/{id}");
    let revoked = call(&emulator, "DELETE", &path, "").await;
    assert_eq!(revoked.result("status"), "pending_revocation");
    call(&emulator, "GET", &path, "").await.assert_succeeded();
    assert_eq!(call(&emulator, "GET", &path, "").await.status, 429);

    emulator.advance(HOUR);
    let revoked = call(&emulator, "GET", &path, "").await;
    revoked.assert_succeeded();
    assert_eq!(revoked.result("status"), "revoked");
    let second = call(&emulator, "POST", "", create_body(&csr("second"), 1)).await;
    assert_eq!(second.result("issued_on"), "2033-05-18T04:33:20Z");
    assert_eq!(emulator.now(), UNIX_EPOCH + START + HOUR);
    let events = emulator.history();
    assert_eq!((events[0].at, events[4].at), (0.0, 3600.0));
}

#[tokio::test(start_paused = true)]
async fn advancing_wakes_up_what_waits() {
    let emulator = Emulator::builder().build().expect("builds");
    emulator.script([
        ScriptedFault::next(Operation::Create, Fault::late(HOUR)),
        ScriptedFault::next(Operation::Get, Fault::stall(HOUR)),
    ]);
    let started = Instant::now();
    let body = create_body(&csr("late"), 30);
    assert_eq!(call(&emulator, "POST", "", body).await.status, 504);
    let stalled = tokio::spawn({
        let emulator = emulator.clone();
        async move { call(&emulator, "GET", "/x", "").await.status }
    });
    tokio::task::yield_now().await;
    emulator.advance(HOUR - Duration::from_secs(1));
    tokio::task::yield_now().await;
    assert!(!stalled.is_finished());
    assert_eq!(count(&emulator).await, 0);
    emulator.advance(Duration::from_secs(1));
    assert_eq!(stalled.await.expect("no panic"), 404);
    while count(&emulator).await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed() < HOUR, "the test waited itself");
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_controlled_over_http() {
    let emulator = emulator();
    let clock = control(&emulator, "GET", "clock", "").await;
    assert_eq!(clock.text, "2033-05-18T03:33:20Z");
    let clock = control(&emulator, "POST", "clock", "advance=1h 30m\n").await;
    assert_eq!(
        (clock.status, clock.text.as_str()),
        (200, "2033-05-18T05:03:20Z")
    );
    for wrong in ["1h", "advance=-1h", "advance=soon", ""] {
        let response = control(&emulator, "POST", "clock", wrong).await;
        assert_eq!(response.status, 400, "{wrong}");
        assert!(
            response.text.contains("write advance=1h"),
            "{}",
            response.text
        );
    }
    let clock = control(&emulator, "GET", "clock", "").await;
    assert_eq!(clock.text, "2033-05-18T05:03:20Z");
}
