//! Promise 4, transitions that end: in the status asked for, or with an error that says what was seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use shieldcert::transport::{BoxFuture, Transport, TransportError};
use shieldcert::{CertificateId, Error, Status, Zone};
use shieldcert_emulator::{Emulator, EmulatorTransport};
use shieldcert_tests::{TOKEN, key_and_csr, zone_through};
use tokio::time::Instant;

const ID: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

/// Answers each request with the next status (or HTTP status) of a list, and with the last for ever.
struct Seen(Mutex<VecDeque<&'static str>>);

impl Transport for Seen {
    fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let mut seen = self.0.lock().expect("not poisoned");
        let next = if seen.len() > 1 {
            seen.pop_front()
        } else {
            seen.front().copied()
        };
        let next = next.expect("not empty");
        Box::pin(async move {
            let response = http::Response::builder();
            Ok(match next.parse::<u16>() {
                Ok(status) => response
                    .status(status)
                    .header("retry-after", "7")
                    .body(r#"{"success":false,"errors":[{"code":1000,"message":"odd"}]}"#.into()),
                Err(_) => response.body(
                    format!(r#"{{"success":true,"result":{{"id":"{ID}","status":"{next}"}}}}"#)
                        .into(),
                ),
            }
            .expect("a response"))
        })
    }
}

fn zone_that_shows(seen: &[&'static str]) -> (Zone, CertificateId) {
    let seen = Seen(Mutex::new(seen.iter().copied().collect()));
    (zone_through(seen), ID.parse().expect("an id"))
}

#[tokio::test(start_paused = true)]
async fn promise_4_the_status_asked_for_is_reached_past_what_happens_midway() {
    for seen in [
        &["revoked"][..],
        &["pending_revocation", "revoked"],
        &["pending_revocation", "pending_revocation", "revoked"],
        // An answer from before the request.
        &["pending_revocation", "active", "revoked"],
        &["archived", "", "revoked"],
        &["pending_revocation", "429", "revoked"],
        &[
            "pending_revocation",
            "502",
            "500",
            "503",
            "502",
            "502",
            "revoked",
        ],
    ] {
        let (zone, id) = zone_that_shows(seen);
        let revoked = zone
            .revoke(&id)
            .until_settled()
            .await
            .unwrap_or_else(|error| panic!("{seen:?}: {error}"));
        assert_eq!(revoked.status(), &Status::Revoked, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_4_the_other_side_winning_is_said() {
    for seen in [
        &["pending_revocation", "active", "active"][..],
        &["pending_revocation", "pending_reactivation", "active"],
        &[
            "revoked_not",
            "pending_reactivation",
            "pending_reactivation",
        ],
    ] {
        let (zone, id) = zone_that_shows(seen);
        let error = zone
            .revoke(&id)
            .until_settled()
            .await
            .expect_err("is overtaken");
        assert!(
            matches!(
                &error,
                Error::Overtaken {
                    wanted: Status::Revoked,
                    ..
                }
            ),
            "{seen:?}: {error}"
        );
    }
    let (zone, id) = zone_that_shows(&["pending_reactivation", "pending_revocation", "revoked"]);
    let error = zone
        .reactivate(&id)
        .until_settled()
        .await
        .expect_err("is overtaken");
    assert!(
        matches!(
            &error,
            Error::Overtaken {
                seen: Status::Revoked,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn promise_4_what_does_not_settle_ends_on_time_with_the_last_status() {
    for (seen, last) in [
        (&["pending_revocation"][..], Status::PendingRevocation),
        (&["archived"], Status::Unknown("archived".into())),
        (&["pending_revocation", "502"], Status::PendingRevocation),
        (&["pending_revocation", "429"], Status::PendingRevocation),
    ] {
        let (zone, id) = zone_that_shows(seen);
        let started = Instant::now();
        let wait = zone
            .revoke(&id)
            .until_settled()
            .timeout(Duration::from_secs(90));
        let error = wait.await.expect_err("does not settle");
        assert!(
            matches!(&error, Error::NotSettled { last: found, .. } if *found == last),
            "{seen:?}: {error}"
        );
        assert!(error.is_timeout());
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(89) && took <= Duration::from_secs(91),
            "{seen:?}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn promise_4_a_certificate_that_is_gone_is_said() {
    for seen in [
        &["404"][..],
        &["pending_revocation", "pending_revocation", "404"],
    ] {
        let (zone, id) = zone_that_shows(seen);
        let error = zone.revoke(&id).until_settled().await.expect_err("is gone");
        assert!(error.is_not_found(), "{seen:?}: {error}");
    }
}

struct Counting {
    inner: EmulatorTransport,
    requests: Mutex<Vec<Method>>,
}

impl Transport for Counting {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        self.requests
            .lock()
            .expect("not poisoned")
            .push(request.method().clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            self.inner.send(request).await
        })
    }
}

/// How many requests it takes to see that so many certificates are revoked, beside so many others.
async fn looks(revoked: usize, others: usize) -> usize {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_secs(2))
        .sign_inline(true)
        .build()
        .expect("builds");
    let truth = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut ids = Vec::new();
    for number in 0..revoked + others {
        let id = truth
            .issue(&csr)
            .await
            .expect("is issued")
            .certificate
            .id()
            .clone();
        // Old ones and new ones alike.
        if number % (1 + others / revoked) == 0 && ids.len() < revoked {
            ids.push(id);
        }
    }
    // What was counted against the rate limit so far is another client's.
    let counting = Arc::new(Counting {
        inner: emulator.transport(),
        requests: Mutex::default(),
    });
    let zone = zone_through(counting.clone());
    let waits: Vec<_> = ids
        .iter()
        .map(|id| tokio::spawn(zone.revoke(id).until_settled().into_future()))
        .collect();
    for wait in waits {
        let settled = wait.await.expect("ends").expect("settles");
        assert_eq!(settled.status(), &Status::Revoked);
    }
    let requests = counting.requests.lock().expect("not poisoned");
    requests
        .iter()
        .filter(|method| **method == Method::GET)
        .count()
}

#[tokio::test(start_paused = true)]
async fn many_waits_share_what_they_ask() {
    for (revoked, others, most) in [(1, 0, 6), (3, 0, 18), (500, 0, 100), (100, 1500, 200)] {
        let made = looks(revoked, others).await;
        println!("{revoked} waits beside {others} others: {made} requests to look");
        assert!(made <= most, "{revoked} beside {others}: {made}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_lets_the_others_go_on() {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_secs(20))
        .build()
        .expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut waits = Vec::new();
    for _ in 0..20 {
        let id = zone
            .issue(&csr)
            .await
            .expect("is issued")
            .certificate
            .id()
            .clone();
        waits.push(tokio::spawn(zone.revoke(&id).until_settled().into_future()));
    }
    // At every moment of a shared look, one after the other.
    for (number, wait) in waits.iter().enumerate().take(15) {
        tokio::time::sleep(Duration::from_millis(101 + 7 * number as u64)).await;
        wait.abort();
    }
    for wait in waits.into_iter().skip(15) {
        let settled = wait.await.expect("ends").expect("settles");
        assert_eq!(settled.status(), &Status::Revoked);
    }
}
