//! Calls are retried only where they can't act twice, and `Retry-After` is honoured.

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
    use std::sync::{Arc, Mutex};

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
