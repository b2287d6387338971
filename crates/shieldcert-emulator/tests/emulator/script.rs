//! Faults in order.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use shieldcert_api::transport::{Transport, TransportError};
use shieldcert_emulator::{
    CannedResponse, Emulator, EmulatorTransport, Fault, Operation, Script, ScriptedFault,
};
use tokio::time::timeout;

use crate::common::{ZONE, call, control, count, create_body, csr, emulator, issue};

/// Sends a request to [`ZONE`]. None if no response comes in an hour.
async fn send(
    emulator: &Emulator,
    method: &str,
    body: Vec<u8>,
) -> Option<Result<http::Response<Bytes>, TransportError>> {
    let base = EmulatorTransport::BASE_URL;
    let request = Request::builder()
        .method(method)
        .uri(format!("{base}/zones/{ZONE}/client_certificates"))
        .header("authorization", "Bearer t")
        .body(Bytes::from(body));
    let transport = emulator.transport();
    let response = transport.send(request.expect("a request"));
    timeout(Duration::from_secs(3600), response).await.ok()
}

/// What a create ended with: a status, the kind of an error, or nothing.
async fn create(emulator: &Emulator) -> String {
    match send(emulator, "POST", create_body(&csr("device"), 30)).await {
        None => "no response".to_owned(),
        Some(Ok(response)) => response.status().as_u16().to_string(),
        Some(Err(error)) => format!("{:?}", error.kind()),
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_ends_as_it_says() {
    let second = Duration::from_secs(1);
    for (fault, ends_with, acts) in [
        (Fault::refuse_connection(), "NotConnected", 0),
        (Fault::lose_request(), "no response", 0),
        (Fault::lose_response(), "no response", 1),
        (Fault::reset(), "Interrupted", 0),
        (Fault::reset_after(), "Interrupted", 1),
        (Fault::bad_gateway_before(), "502", 0),
        (Fault::bad_gateway_after(), "502", 1),
        (Fault::late(second), "504", 1),
        (Fault::late_lost(second..=2 * second), "no response", 1),
        (Fault::stall(second), "200", 1),
        (Fault::slow(Duration::from_millis(1)), "200", 1),
        (Fault::html(), "200", 1),
        (Fault::truncate(), "200", 1),
        (Fault::rate_limit(second), "429", 0),
        (Fault::status(404), "404", 0),
        (
            Fault::respond(CannedResponse::new(403).code(1445)),
            "403",
            0,
        ),
        (Fault::respond_after(CannedResponse::new(500)), "500", 1),
        (Fault::unknown_status(), "200", 1),
        (Fault::null_fields(), "200", 1),
        (Fault::decimal_serials(), "200", 1),
        (Fault::other_ids(), "200", 1),
        (Fault::reorder(), "200", 1),
    ] {
        let emulator = emulator();
        let name = fault.name();
        emulator.script([ScriptedFault::next(Operation::Create, fault)]);
        assert_eq!(create(&emulator).await, ends_with, "{name}");
        let history = emulator.history();
        assert_eq!((history.len(), history[0].fault), (1, Some(name)));
        // Late commits are due.
        tokio::time::sleep(3 * second).await;
        assert_eq!(count(&emulator).await, acts, "{name}");
        assert_eq!(create(&emulator).await, "200", "{name} is over");
    }
}

#[tokio::test]
async fn a_canned_response_is_sent_as_it_is() {
    let emulator = emulator();
    let script: Script = "list: respond=403 code=1445\n\
        list: respond=503 retry-after=30\n\
        list: respond=200 [x-cache: HIT] [x-cache: MISS] {\"odd\": [1]}\n\
        list: respond=200 [content-type: text/csv] [date: yesterday] a%2Cb\n\
        list: respond=204 %"
        .parse()
        .expect("is parsed");
    emulator.script(script);

    let refused = call(&emulator, "GET", "", "").await;
    refused.assert_failed(403, 1445);
    let busy = call(&emulator, "GET", "", "").await;
    assert_eq!(
        (busy.status, &busy.headers["retry-after"]),
        (503, &"30".parse().expect("a value"))
    );
    assert_eq!(busy.headers["content-type"], "text/html; charset=utf-8");
    assert!(
        busy.text.contains("503 Service Unavailable"),
        "{}",
        busy.text
    );
    let odd = call(&emulator, "GET", "", "").await;
    assert_eq!((odd.status, odd.text.as_str()), (200, r#"{"odd": [1]}"#));
    assert_eq!(odd.headers["content-type"], "application/json");
    assert_eq!(odd.headers.get_all("x-cache").iter().count(), 2);
    let text = call(&emulator, "GET", "", "").await;
    assert_eq!(text.text, "a,b");
    assert_eq!(text.headers["content-type"], "text/csv");
    let dates: Vec<_> = text.headers.get_all("date").iter().collect();
    assert_eq!(dates, ["yesterday"]);
    let empty = call(&emulator, "GET", "", "").await;
    assert_eq!((empty.status, empty.text.as_str()), (204, ""));
    assert_eq!(emulator.pending_script(), Script::default());
}

#[tokio::test]
async fn rules_apply_in_order_and_before_chaos() {
    let emulator = Emulator::builder()
        .chaos("502-before=100%".parse().expect("is parsed"))
        .build()
        .expect("builds");
    emulator.script([
        ScriptedFault::next(Operation::List, Fault::status(503)),
        ScriptedFault::next(Operation::List, Fault::status(504)),
        ScriptedFault::nth(Operation::Any, 4, Fault::status(505)).times(2),
    ]);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(call(&emulator, "GET", "", "").await.status);
    }
    assert_eq!(statuses, [503, 504, 502, 505, 505, 502]);
    let faults: Vec<_> = emulator.history().iter().map(|event| event.fault).collect();
    assert_eq!(
        faults[..3],
        [Some("respond"), Some("respond"), Some("502-before")]
    );
}

#[tokio::test]
async fn counting_starts_when_a_rule_is_added() {
    let emulator = emulator();
    issue(&emulator, "before").await;
    emulator.script([ScriptedFault::nth(Operation::Create, 2, Fault::status(503)).always()]);
    assert_eq!(create(&emulator).await, "200");
    assert_eq!(create(&emulator).await, "503");
    assert_eq!(create(&emulator).await, "503");
    emulator.clear_script();
    assert_eq!(create(&emulator).await, "200");
    let history = emulator.history();
    assert_eq!(history.count(Operation::Create), 5);
    assert_eq!(history.count(Operation::Read), 0);
    assert_eq!(history.count(Operation::Any), 5);
}

#[tokio::test]
async fn a_script_is_controlled_over_http() {
    let emulator = Emulator::builder().control(true).build().expect("builds");
    let put = control(
        &emulator,
        "PUT",
        "script",
        "create: html; get@3: status=503",
    )
    .await;
    let expected = "create: html\nget@3: respond=503\n";
    assert_eq!((put.status, put.text.as_str()), (200, expected));
    let post = control(&emulator, "POST", "script", "any@*: reset").await;
    assert_eq!(post.text, format!("{expected}any@*: reset\n"));
    assert_eq!(create(&emulator).await, "200", "an HTML page");
    assert_eq!(create(&emulator).await, "Interrupted");
    let rest = control(&emulator, "GET", "script", "").await;
    assert_eq!(rest.text, "get@3: respond=503\nany@*: reset\n");

    let wrong = control(&emulator, "PUT", "script", "create: quake").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("\"quake\" is not a fault"),
        "{}",
        wrong.text
    );
    let same = control(&emulator, "GET", "script", "").await;
    assert_eq!(same.text, rest.text, "an error changes nothing");

    let put = control(&emulator, "PUT", "script", "list: reset").await;
    assert_eq!(put.text, "list: reset\n");
    let cleared = control(&emulator, "DELETE", "script", "").await;
    assert_eq!((cleared.status, cleared.text.as_str()), (204, ""));
    assert_eq!(create(&emulator).await, "200");
    assert_eq!(control(&emulator, "GET", "script", "").await.text, "");
}
