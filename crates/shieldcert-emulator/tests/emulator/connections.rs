//! Connections: each with its own faults, limit and observer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use shieldcert_api::transport::Transport;
use shieldcert_emulator::{
    Connection, Emulator, EmulatorTransport, Fault, Moment, Operation, RateLimit, ScriptedFault,
};
use tokio::time::timeout;

use crate::common::{ZONE, call, count, create_body, csr, emulator};

/// The status of a response, or `None` if none comes within an hour.
async fn send(connection: &Connection, method: &str, body: impl Into<Bytes>) -> Option<u16> {
    let path = format!("/zones/{ZONE}/client_certificates");
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", EmulatorTransport::BASE_URL))
        .header("authorization", "Bearer t")
        .body(body.into())
        .expect("a request");
    let sent = timeout(Duration::from_secs(3600), connection.send(request)).await;
    Some(sent.ok()?.ok()?.status().as_u16())
}

async fn list(connection: &Connection) -> Option<u16> {
    send(connection, "GET", "").await
}

#[tokio::test(start_paused = true)]
async fn faults_by_chance_are_the_connections_own() {
    let emulator = Emulator::builder()
        .chaos("502-before=100%".parse().expect("is parsed"))
        .build()
        .expect("builds");
    let lossy = emulator
        .connect()
        .chaos("lose-request=100%".parse().expect("is parsed"));
    let clean = emulator.connect().chaos("".parse().expect("is parsed"));
    let plain = emulator.connect();
    assert_eq!(list(&lossy).await, None);
    assert_eq!(list(&clean).await, Some(200));
    assert_eq!(list(&plain).await, Some(502), "the emulator's");
    assert_eq!(call(&emulator, "GET", "", "").await.status, 502);
    let history = emulator.history();
    let connections: Vec<_> = history.iter().map(|event| event.connection).collect();
    assert_eq!(connections, [lossy.id(), clean.id(), plain.id(), 0]);
}

#[tokio::test(start_paused = true)]
async fn draws_depend_on_the_connections_seed_alone() {
    let emulator = Emulator::builder().seed(1).build().expect("builds");
    let connect = |seed| {
        let chaos = "502-before=50%".parse().expect("is parsed");
        emulator.connect().chaos(chaos).seed(seed)
    };
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let connection = connect(seed);
        let mut statuses = Vec::new();
        for _ in 0..32 {
            // Requests of others change nothing.
            call(&emulator, "GET", "", "").await;
            statuses.push(list(&connection).await);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_the_connections_own_requests() {
    let limit = RateLimit::new(2, Duration::from_secs(60));
    let emulator = Emulator::builder()
        .rate_limit(limit)
        .build()
        .expect("builds");
    let (one, other) = (emulator.connect().rate_limit(limit), emulator.connect());
    assert_eq!(list(&one).await, Some(200));
    for _ in 0..5 {
        assert_eq!(list(&other).await, Some(200), "no limit");
    }
    assert_eq!(list(&one).await, Some(200));
    assert_eq!(list(&one).await, Some(429));
    assert_eq!(list(&one).await, Some(429));
    assert_eq!(call(&emulator, "GET", "", "").await.status, 200);
    let over: Vec<_> = emulator
        .history()
        .iter()
        .map(|event| event.over_quota)
        .collect();
    assert_eq!(over.iter().filter(|over| **over).count(), 1);
    assert!(over[7], "the first past the quota: {over:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(list(&one).await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn a_late_request_past_the_quota_does_not_act() {
    let emulator = emulator();
    let connection = emulator
        .connect()
        .rate_limit(RateLimit::new(1, Duration::from_secs(10)));
    let late = Fault::late(Duration::from_secs(30));
    connection.script([ScriptedFault::next(Operation::Create, late).times(2)]);
    for over_quota in [false, true] {
        let body = create_body(&csr("device"), 365);
        assert_eq!(send(&connection, "POST", body).await, Some(504));
        let last = emulator.history().last().cloned().expect("an event");
        assert_eq!(last.over_quota, over_quota);
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(count(&emulator).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_block_refuses_every_request_of_its_connection() {
    let emulator = emulator();
    let (one, other) = (emulator.connect(), emulator.connect());
    let block = Fault::block(Duration::from_secs(30));
    one.script([ScriptedFault::next(Operation::Any, block)]);
    assert_eq!(list(&one).await, Some(429));
    assert_eq!(list(&one).await, Some(429));
    assert_eq!(list(&other).await, Some(200));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(list(&one).await, Some(200));
    let statuses: Vec<_> = emulator
        .history()
        .iter()
        .map(|event| event.status)
        .collect();
    assert_eq!(statuses, [Some(429), Some(429), Some(200), Some(200)]);
}

#[tokio::test(start_paused = true)]
async fn the_emulators_script_goes_before_the_connections() {
    let emulator = emulator();
    let connection = emulator.connect();
    connection.script([ScriptedFault::next(Operation::List, Fault::status(503))]);
    emulator.script([ScriptedFault::next(Operation::List, Fault::status(504))]);
    assert_eq!(list(&connection).await, Some(504));
    assert_eq!(call(&emulator, "GET", "", "").await.status, 200);
    assert_eq!(
        connection.pending_script().to_string(),
        "list: respond=503\n"
    );
    assert_eq!(list(&connection).await, Some(503));
    assert_eq!(list(&connection).await, Some(200));
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_what_happens() {
    let emulator = emulator();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let connection = emulator
        .connect()
        .rate_limit(RateLimit::new(2, Duration::from_secs(7200)))
        .observe({
            let seen = seen.clone();
            move |observation| {
                let moment = match observation.moment {
                    Moment::Sent { fault, time } => {
                        let fault = fault.map_or("no fault", Fault::name);
                        format!("sent, {fault} {}s", time.as_secs())
                    }
                    Moment::OverQuota => "over quota".to_owned(),
                    Moment::Responded { status, body } => {
                        let what = if body.is_empty() { "nothing" } else { "a body" };
                        format!("{status}, {what}")
                    }
                    other => format!("{other:?}"),
                };
                let operation = observation.operation.expect("an operation");
                let at = observation.at.as_secs();
                seen.lock()
                    .expect("no panic")
                    .push(format!("{at} {operation}: {moment}"));
            }
        });
    connection.script([ScriptedFault::next(
        Operation::Create,
        Fault::late_lost(Duration::from_secs(30)),
    )]);
    let body = create_body(&csr("device"), 365);
    assert_eq!(send(&connection, "POST", body).await, None);
    assert_eq!(count(&emulator).await, 1);
    for _ in 0..2 {
        list(&connection).await;
    }
    // The late commit was counted when its request arrived.
    list(&connection).await;
    let seen = seen.lock().expect("no panic").join("\n");
    insta::assert_snapshot!(seen, @r"
    0 create: sent, late-lost 30s
    30 create: 200, a body
    3600 list: sent, no fault 0s
    3600 list: 200, a body
    3600 list: sent, no fault 0s
    3600 list: over quota
    3600 list: 429, a body
    3600 list: sent, no fault 0s
    3600 list: 429, a body
    ");
}
