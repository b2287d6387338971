//! Promise 1, exactly once: whatever is lost on the way, one certificate, or an error that says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use shieldcert::transport::{BoxFuture, Transport, TransportError, TransportErrorKind};
use shieldcert::{Csr, Error, RetryPolicy, Zone};
use shieldcert_emulator::{Emulator, EmulatorTransport, Order};
use shieldcert_tests::{TOKEN, key_and_csr, zone_through};

/// What goes wrong with one request to issue.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The request never arrives.
    RequestLost,
    /// The service issues, and its answer never arrives.
    AnswerLost,
    /// The connection breaks after the service has issued.
    ResetAfter,
    /// A gateway answers 502 although the service has issued.
    BadGatewayAfter,
    /// A gateway answers 502 and the service has seen nothing.
    BadGatewayBefore,
    /// The service answers 200 with something that is cut off, having issued.
    CutOff,
    /// A gateway answers 502, and the service issues so many seconds later.
    Late(u64),
    /// The service refuses.
    Refused,
}

/// Passes requests on to the emulator, and spoils those that issue in turn.
struct Spoiled {
    inner: EmulatorTransport,
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<Method>>,
    is_dead: Mutex<bool>,
}

fn answered(status: u16, body: &'static str) -> Result<http::Response<Bytes>, TransportError> {
    let response = http::Response::builder().status(status);
    Ok(response
        .body(Bytes::from_static(body.as_bytes()))
        .expect("a response"))
}

impl Transport for Spoiled {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            self.requests
                .lock()
                .expect("not poisoned")
                .push(request.method().clone());
            tokio::time::sleep(Duration::from_millis(30)).await;
            if *self.is_dead.lock().expect("not poisoned") {
                return Err(TransportErrorKind::NotConnected.into());
            }
            if request.method() != Method::POST {
                return self.inner.send(request).await;
            }
            let Some(fault) = self.faults.lock().expect("not poisoned").pop_front() else {
                return self.inner.send(request).await;
            };
            match fault {
                Fault::RequestLost => std::future::pending().await,
                Fault::AnswerLost => {
                    self.inner.send(request).await?;
                    std::future::pending().await
                }
                Fault::ResetAfter => {
                    self.inner.send(request).await?;
                    Err(TransportErrorKind::Interrupted.into())
                }
                Fault::BadGatewayAfter => {
                    self.inner.send(request).await?;
                    answered(502, "<html>bad gateway</html>")
                }
                Fault::BadGatewayBefore => answered(502, "<html>bad gateway</html>"),
                Fault::CutOff => {
                    self.inner.send(request).await?;
                    answered(200, r#"{"success":true,"result":{"id":"7b"#)
                }
                Fault::Late(seconds) => {
                    let inner = self.inner.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                        inner.send(request).await
                    });
                    answered(502, "<html>bad gateway</html>")
                }
                Fault::Refused => answered(
                    400,
                    r#"{"success":false,"errors":[{"code":1445,"message":"quota"}],"messages":[],"result":null}"#,
                ),
            }
        })
    }
}

struct Service {
    spoiled: Arc<Spoiled>,
    /// The client under test.
    zone: Zone,
    /// The service itself, without faults.
    truth: Zone,
}

impl Service {
    fn start(faults: &[Fault]) -> Self {
        Self::with(Emulator::builder().build().expect("builds"), faults)
    }

    fn with(emulator: Emulator, faults: &[Fault]) -> Self {
        let spoiled = Arc::new(Spoiled {
            inner: emulator.transport(),
            faults: Mutex::new(faults.iter().copied().collect()),
            requests: Mutex::default(),
            is_dead: Mutex::default(),
        });
        Self {
            zone: zone_through(spoiled.clone()),
            truth: zone_through(emulator.transport()),
            spoiled,
        }
    }

    /// How many certificates there are for the CSR that the edge accepts.
    async fn active(&self, csr: &Csr) -> usize {
        let found = self.truth.find_by_csr(csr).await.expect("is read");
        found
            .iter()
            .filter(|certificate| certificate.status().as_str() == "active")
            .count()
    }

    fn requests(&self, method: Method) -> usize {
        let requests = self.spoiled.requests.lock().expect("not poisoned");
        requests.iter().filter(|made| **made == method).count()
    }
}

#[tokio::test(start_paused = true)]
async fn promise_1_one_certificate_whatever_is_lost() {
    use Fault::*;
    for (faults, recovered, attempts) in [
        (&[][..], false, 1),
        (&[AnswerLost], true, 1),
        (&[ResetAfter], true, 1),
        (&[BadGatewayAfter], true, 1),
        (&[CutOff], true, 1),
        (&[RequestLost], false, 2),
        (&[BadGatewayBefore], false, 2),
        (&[BadGatewayBefore, AnswerLost], true, 2),
        (&[RequestLost, RequestLost, BadGatewayAfter], true, 3),
        (&[Late(1)], true, 1),
        (&[Late(60)], true, 1),
    ] {
        let service = Service::start(faults);
        let (_, csr) = key_and_csr("sensor-001");
        let issued = service
            .zone
            .issue(&csr)
            .await
            .unwrap_or_else(|error| panic!("{faults:?}: {error}"));
        assert_eq!(
            (issued.recovered, issued.attempts),
            (recovered, attempts),
            "{faults:?}"
        );
        assert_eq!(
            service.requests(Method::POST),
            attempts as usize,
            "{faults:?}"
        );
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(service.active(&csr).await, 1, "{faults:?}");
        let truth = service
            .truth
            .get(issued.certificate.id())
            .await
            .expect("is there");
        assert_eq!(truth.status().as_str(), "active", "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_1_two_lost_answers_make_one_certificate() {
    // What makes three with clients that send again blindly.
    let service = Service::start(&[Fault::AnswerLost, Fault::AnswerLost]);
    let (_, csr) = key_and_csr("sensor-001");
    service.zone.issue(&csr).await.expect("is issued");
    assert_eq!(service.active(&csr).await, 1);
}

#[tokio::test(start_paused = true)]
async fn promise_1_a_commit_after_the_settle_window_is_a_surplus_that_one_call_revokes() {
    let service = Service::start(&[Fault::Late(120)]);
    let (_, csr) = key_and_csr("sensor-001");
    let issued = service
        .zone
        .issue(&csr)
        .settle_window(Duration::from_secs(10))
        .await
        .expect("is issued");
    assert_eq!((issued.recovered, issued.attempts), (false, 2));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(service.active(&csr).await, 2);
    let keep = issued.certificate.id();
    assert_eq!(
        service
            .zone
            .revoke_surplus(&csr, keep)
            .await
            .expect("is done")
            .len(),
        1
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(service.active(&csr).await, 1);
    assert_eq!(
        service
            .truth
            .get(keep)
            .await
            .expect("is there")
            .status()
            .as_str(),
        "active"
    );
    assert!(
        service
            .zone
            .revoke_surplus(&csr, keep)
            .await
            .expect("is done")
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn promise_1_a_clear_refusal_is_returned_as_it_is_and_nothing_is_issued() {
    let service = Service::start(&[Fault::Refused]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = service.zone.issue(&csr).await.expect_err("is refused");
    assert!(error.is_quota_reached() && !error.is_ambiguous(), "{error}");
    assert_eq!(
        (
            service.requests(Method::POST),
            service.requests(Method::GET)
        ),
        (1, 0)
    );
    assert_eq!(service.active(&csr).await, 0);
}

#[tokio::test(start_paused = true)]
async fn promise_1_a_refusal_after_an_unclear_attempt_does_not_claim_that_nothing_happened() {
    let service = Service::start(&[Fault::Late(500), Fault::Refused]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = service.zone.issue(&csr).await.expect_err("is refused");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(error.is_quota_reached(), "{error}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(service.active(&csr).await, 1);
}

#[tokio::test(start_paused = true)]
async fn promise_1_what_can_not_be_known_is_said_with_what_finds_it_out() {
    let service = Service::start(&[Fault::AnswerLost]);
    let (_, csr) = key_and_csr("sensor-001");
    let issue = tokio::spawn(service.zone.issue(&csr).into_future());
    tokio::time::sleep(Duration::from_secs(5)).await;
    *service.spoiled.is_dead.lock().expect("not poisoned") = true;
    let error = issue.await.expect("ends").expect_err("can't be known");
    assert!(
        matches!(&error, Error::OutcomeUnknown { csr_sha256, .. } if *csr_sha256 == csr.sha256()),
        "{error}"
    );
    assert_eq!(service.requests(Method::POST), 1);
    *service.spoiled.is_dead.lock().expect("not poisoned") = false;
    let found = service.zone.find_by_csr(&csr).await.expect("is read");
    assert_eq!(found.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn promise_1_never_trying_again_still_looks() {
    let service = Service::start(&[Fault::BadGatewayAfter]);
    let (_, csr) = key_and_csr("sensor-001");
    let issued = service
        .zone
        .issue(&csr)
        .retry(RetryPolicy::never())
        .await
        .expect("is found");
    assert!(issued.recovered);
}

/// Looking for a lost certificate costs a few requests where the list is ordered by age.
#[tokio::test(start_paused = true)]
async fn the_look_up_is_cheap_where_the_list_allows_it() {
    const OTHERS: u32 = 1200;
    for (order, found_in, absent_in) in [
        (Order::NewestFirst, 1, 1),
        // One more where the last page holds too few to tell.
        (Order::OldestFirst, 2, 3),
        // The whole list, after a look at both of its ends.
        (Order::ById, 27, 27),
    ] {
        // A certificate a minute, up to now.
        let emulator = Emulator::builder()
            .token(TOKEN)
            .order(order)
            .sign_inline(true)
            .seed(7)
            .clock_start(SystemTime::now() - Duration::from_secs(60) * OTHERS)
            .build()
            .expect("builds");
        let truth = zone_through(emulator.transport());
        let (_, other) = key_and_csr("other");
        for _ in 0..OTHERS {
            truth.issue(&other).await.expect("is issued");
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        for (fault, looks) in [
            (Fault::BadGatewayAfter, found_in),
            (Fault::BadGatewayBefore, absent_in),
        ] {
            let service = Service::with(emulator.clone(), &[fault]);
            let (_, csr) = key_and_csr("sensor-001");
            let issue = service.zone.issue(&csr).settle_window(Duration::ZERO);
            let issued = issue.retry(RetryPolicy::never()).await;
            assert_eq!(
                issued.is_ok(),
                matches!(fault, Fault::BadGatewayAfter),
                "{issued:?}"
            );
            // A recovered one is looked for twice: once more for a surplus.
            let made = service.requests(Method::GET) / if issued.is_ok() { 2 } else { 1 };
            assert!(made <= looks, "{order:?} {fault:?}: {made} requests");
        }
    }
}
