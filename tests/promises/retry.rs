//! Calls are retried only where they can't act twice, and `Retry-After` is honoured.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shieldcert::{Client, Error, RetryPolicy, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::{TOKEN, issue, key_and_csr, zone_through};

/// A zone with one certificate, and the faults of the next requests.
async fn service(
    faults: impl IntoIterator<Item = Fault>,
) -> (Emulator, Zone, shieldcert::CertificateId) {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor-001");
    let id = issue(&zone, &csr).await;
    let rules = faults.into_iter();
    emulator.script(rules.map(|fault| ScriptedFault::next(Operation::Any, fault)));
    (emulator, zone, id)
}

/// Returns the seconds at which requests were sent, from the first one after the certificate was issued.
fn sent(emulator: &Emulator) -> Vec<u64> {
    let events: Vec<_> = emulator.history().into_iter().skip(1).collect();
    let first = events.first().map_or(0.0, |event| event.at);
    events
        .iter()
        .map(|event| (event.at - first).round() as u64)
        .collect()
}

fn limited(seconds: u64) -> Fault {
    Fault::rate_limit(Duration::from_secs(seconds))
}

fn failure(status: u16) -> Fault {
    Fault::respond(CannedResponse::new(status).code(1000))
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_to_the_second() {
    for write in [false, true] {
        let (emulator, zone, id) = service([limited(17), limited(300)]).await;
        let outcome = if write {
            zone.revoke(&id).await
        } else {
            zone.get(&id).await
        };
        outcome.expect("succeeds in the end");
        assert_eq!(sent(&emulator), [0, 17, 317]);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_in_every_form() {
    for status in [429, 503] {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        let zone = zone_through(emulator.transport());
        let (_, csr) = key_and_csr("sensor-001");
        let id = issue(&zone, &csr).await;
        let now = jiff::Timestamp::try_from(emulator.now()).expect("a time");
        let until = now + jiff::SignedDuration::from_secs(90);
        let until = until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (stated, least) in [("2.5", 2.5), (" 4 ", 4.0), (until.as_str(), 80.0)] {
            let response = CannedResponse::new(status).code(1000);
            let response = response.header("retry-after", stated);
            emulator.script([ScriptedFault::next(
                Operation::Get,
                Fault::respond(response),
            )]);
            let started = tokio::time::Instant::now();
            zone.get(&id).await.expect("succeeds in the end");
            let took = started.elapsed().as_secs_f64();
            assert!(
                (least..least + 15.0).contains(&took),
                "{status} {stated}: {took}"
            );
        }
    }
}

/// The page of a gateway, or a body that is cut off, with status 200.
const BAD_SUCCESSES: [&str; 8] = [
    "{}",
    r#"{"message":"maintenance"}"#,
    r#"{"success":true}"#,
    r#"{"success":true,"result":null}"#,
    r#"{"success":true,"result":{"id":"#,
    "<html>welcome</html>",
    "",
    "[]",
];

#[tokio::test(start_paused = true)]
async fn a_success_that_is_no_response_of_the_api_is_retried() {
    for body in BAD_SUCCESSES {
        let bad = || Fault::respond(CannedResponse::new(200).body(body));
        let (emulator, zone, id) = service([bad(), bad(), bad()]).await;
        zone.get(&id).await.expect("succeeds in the end");
        assert_eq!(sent(&emulator).len(), 4, "{body}");
        let (emulator, zone, _) = service([bad(), bad(), bad()]).await;
        let listed = zone.list().await.expect("succeeds in the end");
        assert_eq!(listed.len(), 1, "{body}");
        assert!(sent(&emulator).len() >= 4, "{body}");
        for write in [true, false] {
            let (emulator, zone, id) = service([bad()]).await;
            let written = match write {
                true => zone.revoke(&id).await,
                false => zone.reactivate(&id).await,
            };
            written.expect("succeeds in the end");
            assert_eq!(sent(&emulator).len(), 2, "{body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_stays_unreadable_is_an_error_within_the_bounds() {
    for body in BAD_SUCCESSES {
        let (emulator, zone, id) = service([]).await;
        let bad = Fault::respond(CannedResponse::new(200).body(body));
        emulator.script([ScriptedFault::next(Operation::Any, bad).always()]);
        let error = zone.get(&id).await.expect_err("stays unreadable");
        assert!(matches!(error, Error::InvalidResponse { .. }), "{error}");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(sent(&emulator).len(), 4, "{body}");
        zone.list().await.expect_err("stays unreadable");
        // The budget of the client bounds what many calls do.
        for _ in 0..1000 {
            zone.get(&id).await.expect_err("stays unreadable");
        }
        assert!(
            sent(&emulator).len() <= 1100 + 4,
            "{}",
            sent(&emulator).len()
        );
    }
}

/// A proxy that responds to CONNECT with this status line, and the number of requests that it gets.
fn proxy(status: &'static str) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut line = String::new();
            let mut reader = std::io::BufReader::new(stream.try_clone().expect("a handle"));
            reader.read_line(&mut line).expect("a request");
            assert!(line.starts_with("CONNECT api.example.com:443 "), "{line}");
            while line.trim() != "" {
                line.clear();
                reader.read_line(&mut line).expect("a header");
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).expect("is sent");
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_proxy_that_refuses_to_connect_is_named_and_asked_once() {
    for (status, text) in [
        ("407 Proxy Authentication Required", "it wants credentials"),
        ("403 Forbidden", "allow the host in the proxy"),
    ] {
        let (address, count) = proxy(status);
        let http = shieldcert::reqwest::Client::builder()
            .proxy(shieldcert::reqwest::Proxy::all(format!("http://{address}")).expect("a proxy"))
            .tls_backend_preconfigured(shieldcert_tests::kit::no_tls());
        let builder = Client::builder().token(TOKEN).http_builder(http);
        let builder = builder.base_url("https://api.example.com/client/v4");
        let zone = shieldcert_tests::kit::zone(builder);
        let error = zone.list().await.expect_err("is refused");
        let message = error.to_string();
        assert!(
            message.contains("the proxy refused to connect to api.example.com")
                && message.contains(text),
            "{message}"
        );
        assert!(!error.is_retryable() && !error.is_ambiguous(), "{error}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_policy_fails_at_once_and_says_how_long() {
    let (emulator, zone, id) = service([limited(86_400)]).await;
    let error = zone.get(&id).await.expect_err("fails");
    assert!(error.is_rate_limited() && error.is_retryable(), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(86_400)));
    assert_eq!(sent(&emulator), [0]);
}

#[tokio::test(start_paused = true)]
async fn reading_is_retried_after_transient_failures() {
    let (emulator, zone, id) = service([
        Fault::refuse_connection(),
        Fault::reset(),
        Fault::bad_gateway_before(),
    ])
    .await;
    zone.get(&id).await.expect("succeeds in the end");
    assert_eq!(sent(&emulator).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn revoking_is_retried_like_reading() {
    for unclear in [
        Fault::reset_after(),
        Fault::bad_gateway_after(),
        failure(500),
    ] {
        let (emulator, zone, id) = service([unclear]).await;
        zone.revoke(&id).await.expect("succeeds in the end");
        assert_eq!(sent(&emulator).len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_is_a_timeout_that_names_the_attempts() {
    let (emulator, zone, id) = service(std::iter::repeat_n(Fault::lose_request(), 4)).await;
    let error = zone.get(&id).await.expect_err("times out");
    assert!(error.is_timeout(), "{error}");
    assert!(
        matches!(&error, Error::Transport { call, .. } if call.attempts == 4),
        "{error}"
    );
    assert!(error.to_string().contains("4 attempts"), "{error}");
    assert_eq!(sent(&emulator).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_bounds_all_attempts() {
    let (_, zone, id) = service(std::iter::repeat_n(Fault::lose_request(), 4)).await;
    let started = tokio::time::Instant::now();
    let limit = RetryPolicy::default().time_limit(Duration::from_secs(45));
    let error = zone.get(&id).retry(limit).await.expect_err("times out");
    assert!(error.is_timeout(), "{error}");
    assert_eq!(started.elapsed(), Duration::from_secs(45));
}

/// A refused connection names the host and the cause once.
#[tokio::test]
async fn an_unreachable_service_is_named() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let builder = Client::builder().token(TOKEN);
    let builder = builder.base_url(format!("http://{address}/client/v4"));
    let zone = shieldcert_tests::kit::zone(builder.retry(RetryPolicy::never()));
    let error = zone.list().await.expect_err("nobody listens");
    assert_eq!(
        error.to_string(),
        format!(
            "GET /zones/{}/client_certificates: could not connect to {address} (connection refused)",
            zone.id()
        )
    );
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test(start_paused = true)]
async fn each_call_is_reported_to_the_hook_and_dates_the_service() {
    use std::sync::Mutex;

    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let calls = Arc::new(Mutex::new(Vec::new()));
    let hook = calls.clone();
    let builder = Client::builder().token(TOKEN);
    let builder =
        builder.on_call(move |call| hook.lock().expect("not poisoned").push(call.clone()));
    let zone = shieldcert_tests::kit::zone(builder.transport(Arc::new(emulator.transport())));
    assert_eq!(zone.client().service_time(), None);

    let (_, csr) = key_and_csr("sensor-001");
    let id = issue(&zone, &csr).await;
    emulator.script([ScriptedFault::next(Operation::Get, limited(30))]);
    zone.get(&id).await.expect("succeeds");

    let calls = calls.lock().expect("not poisoned");
    let seen: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call.operation,
                call.status.map(|status| status.as_u16()),
                call.attempts,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("create_client_certificate", Some(200), 1),
            ("get_client_certificate", Some(200), 2)
        ]
    );
    assert_eq!(calls[1].rate_limit_wait.as_secs(), 30, "the limiter waited");
    assert!(
        calls[1].duration >= Duration::from_secs(30),
        "{:?}",
        calls[1]
    );
    let off = zone
        .client()
        .service_time()
        .expect("the emulator sends a date")
        .duration_since(jiff::Timestamp::try_from(emulator.now()).expect("a time"));
    assert!(off.abs() <= jiff::SignedDuration::from_secs(1), "{off}");
}
