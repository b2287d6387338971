//! Calls are sent again only where nothing can happen twice, and `Retry-After` is waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shieldcert::transport::{BoxFuture, Transport, TransportError, TransportErrorKind};
use shieldcert::{CertificateId, Error, Zone};
use shieldcert_tests::zone_through;
use tokio::time::Instant;

type Answer = Result<http::Response<Bytes>, TransportErrorKind>;

/// Answers what it was told to, in order, and stalls when it has nothing left to say.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    sent: Mutex<Vec<(http::Method, Duration)>>,
    started: Mutex<Option<Instant>>,
}

impl Transport for Script {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let started = *self
            .started
            .lock()
            .expect("not poisoned")
            .get_or_insert_with(Instant::now);
        let sent = (request.method().clone(), started.elapsed());
        self.sent.lock().expect("not poisoned").push(sent);
        let answer = self.answers.lock().expect("not poisoned").pop_front();
        Box::pin(async {
            match answer {
                Some(answer) => answer.map_err(TransportError::from),
                None => std::future::pending().await,
            }
        })
    }
}

fn answered(status: u16, retry_after: Option<u64>) -> Answer {
    let mut response = http::Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    let body = if status == 200 {
        r#"{"success":true,"result":{"id":"7bf7f70c-7600-42e1-81c4-e4c0da9aa515","status":"active"}}"#
    } else {
        r#"{"success":false,"errors":[{"code":1000,"message":"odd"}],"messages":[],"result":null}"#
    };
    Ok(response
        .body(Bytes::from_static(body.as_bytes()))
        .expect("a response"))
}

fn zone(answers: impl IntoIterator<Item = Answer>) -> (Arc<Script>, Zone, CertificateId) {
    let script = Arc::new(Script {
        answers: Mutex::new(answers.into_iter().collect()),
        ..Script::default()
    });
    let zone = zone_through(script.clone());
    let id = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515"
        .parse()
        .expect("an id");
    (script, zone, id)
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_to_the_second() {
    for write in [false, true] {
        let (script, zone, id) = zone([
            answered(429, Some(17)),
            answered(429, Some(300)),
            answered(200, None),
        ]);
        let outcome = if write {
            zone.revoke(&id).await
        } else {
            zone.get(&id).await
        };
        outcome.expect("is answered in the end");
        let sent: Vec<u64> = script
            .sent
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|(_, at)| at.as_secs())
            .collect();
        assert_eq!(sent, [0, 17, 317]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_nobody_would_sit_through_is_an_error_at_once() {
    let (script, zone, id) = zone([answered(429, Some(86_400))]);
    let error = zone.get(&id).await.expect_err("gives up");
    assert!(error.is_rate_limited() && error.is_retryable(), "{error}");
    assert_eq!(script.sent.lock().expect("not poisoned").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_after_failures_that_pass() {
    use TransportErrorKind::{Interrupted, NotConnected};
    let (script, zone, id) = zone([
        Err(NotConnected),
        Err(Interrupted),
        answered(502, None),
        answered(200, None),
    ]);
    zone.get(&id).await.expect("is answered in the end");
    assert_eq!(script.sent.lock().expect("not poisoned").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn revoking_and_reactivating_are_repeated_like_reading() {
    for unclear in [
        Err(TransportErrorKind::Interrupted),
        answered(502, None),
        answered(500, None),
    ] {
        let (script, zone, id) = zone([unclear, answered(200, None)]);
        zone.revoke(&id).await.expect("is answered in the end");
        assert_eq!(script.sent.lock().expect("not poisoned").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_nothing_is_a_time_out_that_names_the_attempts() {
    let (script, zone, id) = zone([]);
    let error = zone.get(&id).await.expect_err("times out");
    assert!(error.is_timeout(), "{error}");
    assert!(
        matches!(&error, Error::Transport { call, .. } if call.attempts == 4),
        "{error}"
    );
    assert!(error.to_string().contains("4 attempts"), "{error}");
    assert_eq!(script.sent.lock().expect("not poisoned").len(), 4);
}
