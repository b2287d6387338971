//! Promise 1, exactly once: whatever is lost on the way, one certificate, or an error that says so.

use std::time::Duration;

use shieldcert::{CertificateId, Csr, Error, RetryPolicy, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::{TOKEN, issue, key_and_csr, zone_through};
use tokio::time::Instant;

/// The service at 30 ms, with faults for the next requests to issue, in order.
fn service(faults: &[Fault]) -> Emulator {
    let builder = Emulator::builder().token(TOKEN).latency(LATENCY);
    let emulator = builder.build().expect("builds");
    script_creates(&emulator, faults);
    emulator
}

const LATENCY: Duration = Duration::from_millis(30);

fn script_creates(emulator: &Emulator, faults: &[Fault]) {
    let rules = faults.iter().cloned();
    emulator.script(rules.map(|fault| ScriptedFault::next(Operation::Create, fault)));
}

fn zone(emulator: &Emulator) -> Zone {
    zone_through(emulator.transport())
}

fn refusal() -> Fault {
    Fault::respond(CannedResponse::new(400).code(1445))
}

fn requests(emulator: &Emulator, operation: Operation) -> usize {
    emulator.history().count(operation)
}

/// How many certificates there are for the CSR that the edge accepts.
async fn active(emulator: &Emulator, csr: &Csr) -> usize {
    let found = zone(emulator).find_by_csr(csr).await.expect("is read");
    let active = found
        .certificates
        .iter()
        .filter(|certificate| certificate.status() == "active");
    active.count()
}

#[tokio::test(start_paused = true)]
async fn one_certificate_whatever_is_lost() {
    let late = |seconds| Fault::late(Duration::from_secs(seconds));
    for (faults, recovered, attempts) in [
        (vec![], false, 1),
        (vec![Fault::lose_response()], true, 1),
        (vec![Fault::reset_after()], true, 1),
        (vec![Fault::bad_gateway_after()], true, 1),
        (vec![Fault::truncate()], true, 1),
        (vec![Fault::html()], true, 1),
        (vec![Fault::lose_request()], false, 2),
        (vec![Fault::bad_gateway_before()], false, 2),
        (
            vec![Fault::bad_gateway_before(), Fault::lose_response()],
            true,
            2,
        ),
        (
            vec![
                Fault::lose_request(),
                Fault::lose_request(),
                Fault::bad_gateway_after(),
            ],
            true,
            3,
        ),
        (vec![late(1)], true, 1),
        (vec![late(60)], true, 1),
    ] {
        let emulator = service(&faults);
        let (_, csr) = key_and_csr("sensor-001");
        let issued = zone(&emulator).issue(&csr).await;
        let issued = issued.unwrap_or_else(|error| panic!("{faults:?}: {error}"));
        assert_eq!(
            (issued.recovered, issued.attempts),
            (recovered, attempts),
            "{faults:?}"
        );
        let sent = requests(&emulator, Operation::Create);
        assert_eq!(sent, attempts as usize, "{faults:?}");
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(active(&emulator, &csr).await, 1, "{faults:?}");
        let certificate = zone(&emulator).get(issued.certificate.id()).await;
        let certificate = certificate.expect("exists");
        assert_eq!(*certificate.status(), "active", "{faults:?}");
    }
}

/// A certificate is looked for early, so nobody waits for the end of the settle window without need.
#[tokio::test(start_paused = true)]
async fn what_is_lost_is_found_soon() {
    for (committed_after, found_after, lists) in
        [(0, 1, 1), (1, 3, 2), (5, 11, 3), (20, 36, 4), (60, 77, 7)]
    {
        let emulator = service(&[]);
        let (_, csr) = key_and_csr("sensor-001");
        issue(&zone(&emulator), &key_and_csr("other").1).await;
        let commit = Fault::late(Duration::from_secs(committed_after));
        script_creates(&emulator, &[commit]);
        let started = Instant::now();
        let issued = zone(&emulator).issue(&csr).await.expect("is issued");
        assert!(issued.recovered);
        let took = started.elapsed();
        assert!(
            took <= Duration::from_secs(found_after),
            "committed after {committed_after} s, found after {took:?}"
        );
        assert_eq!(requests(&emulator, Operation::List), lists);
    }
}

/// A client that retries blindly makes three certificates here.
#[tokio::test(start_paused = true)]
async fn two_lost_responses_make_one_certificate() {
    let emulator = service(&[Fault::lose_response(), Fault::lose_response()]);
    let (_, csr) = key_and_csr("sensor-001");
    zone(&emulator).issue(&csr).await.expect("is issued");
    assert_eq!(active(&emulator, &csr).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_after_the_settle_window_is_surplus_that_one_call_revokes() {
    let emulator = service(&[Fault::late(Duration::from_secs(120))]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let issue = zone.issue(&csr).settle_window(Duration::from_secs(10));
    let issued = issue.await.expect("is issued");
    assert_eq!((issued.recovered, issued.attempts), (false, 2));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(active(&emulator, &csr).await, 2);

    let keep = issued.certificate.id();
    let surplus = || zone.revoke_surplus(&csr).keep([keep.clone()]);
    assert_eq!(surplus().await.expect("is revoked").revoked.len(), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(active(&emulator, &csr).await, 1);
    let kept = zone.get(keep).await.expect("exists");
    assert_eq!(*kept.status(), "active");
    let again = surplus().await.expect("is idempotent");
    assert!(again.revoked.is_empty());
}

/// The service acts a moment after the settle window, so the first issue finds two and revokes one of them.
#[tokio::test(start_paused = true)]
async fn a_duplicate_that_was_revoked_is_not_the_result_of_a_later_issue() {
    let late = Fault::late(Duration::from_millis(10_300));
    let emulator = service(&[late, Fault::lose_response(), Fault::lose_request()]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let issue = || zone.issue(&csr).settle_window(Duration::from_secs(10));
    let first = issue().await.expect("is found");
    assert_eq!((first.recovered, first.attempts), (true, 2));
    assert_eq!(active(&emulator, &csr).await, 1);
    let second = issue().await.expect("is issued");
    assert_ne!(second.certificate.id(), first.certificate.id());
    assert_eq!(active(&emulator, &csr).await, 2);
}

async fn issue_three(zone: &Zone, csr: &Csr) -> [CertificateId; 3] {
    [
        issue(zone, csr).await,
        issue(zone, csr).await,
        issue(zone, csr).await,
    ]
}

#[tokio::test(start_paused = true)]
async fn several_certificates_of_a_csr_can_be_kept_and_none_is_an_error() {
    let emulator = service(&[]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let ids = issue_three(&zone, &csr).await;
    let error = zone.revoke_surplus(&csr).await.expect_err("none to keep");
    assert!(error.is_invalid_input(), "{error}");
    let revoked = zone.revoke_surplus(&csr).keep(ids[..2].to_vec()).await;
    let revoked = revoked.expect("is revoked").revoked;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].id(), &ids[2]);
}

/// What may belong to another CSR is left alone, and returned.
#[tokio::test(start_paused = true)]
async fn a_clean_up_revokes_nothing_that_it_cannot_judge() {
    let emulator = service(&[]);
    let (_, csr) = key_and_csr("sensor-001");
    let zone = zone(&emulator);
    let ids = issue_three(&zone, &csr).await;
    zone.revoke(&ids[2]).until_settled().await.expect("settles");
    let surplus = async |quirks: &str| {
        emulator.set_quirks(quirks.parse().expect("quirks"));
        let surplus = zone.revoke_surplus(&csr).keep([ids[0].clone()]).await;
        let surplus = surplus.expect("is read");
        assert!(surplus.revoked.is_empty(), "{quirks}");
        surplus
    };
    let same_key = surplus("csr=null").await.same_key;
    let same_key: Vec<_> = same_key.iter().map(|found| found.id()).collect();
    assert_eq!(same_key, [&ids[1]]);
    assert_eq!(surplus("no-id").await.unreadable.len(), 3);
    assert_eq!(requests(&emulator, Operation::Delete), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clear_refusal_is_returned_and_nothing_is_issued() {
    let emulator = service(&[refusal()]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = zone(&emulator).issue(&csr).await.expect_err("is refused");
    assert!(error.is_quota_reached() && !error.is_ambiguous(), "{error}");
    assert_eq!(requests(&emulator, Operation::Create), 1);
    assert_eq!(requests(&emulator, Operation::List), 0);
    assert_eq!(active(&emulator, &csr).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unclear_attempt_does_not_claim_that_nothing_happened() {
    let emulator = service(&[Fault::late(Duration::from_secs(500)), refusal()]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = zone(&emulator).issue(&csr).await.expect_err("is refused");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(error.is_quota_reached(), "{error}");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(active(&emulator, &csr).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_names_the_csr() {
    let emulator = service(&[Fault::lose_response()]);
    let unreachable = ScriptedFault::next(Operation::List, Fault::refuse_connection());
    emulator.script([unreachable.always()]);
    let (_, csr) = key_and_csr("sensor-001");
    let error = zone(&emulator).issue(&csr).await.expect_err("is unknown");
    assert!(
        matches!(&error, Error::OutcomeUnknown { intent, .. } if intent.csr_sha256 == csr.sha256()),
        "{error}"
    );
    assert_eq!(requests(&emulator, Operation::Create), 1);
    emulator.clear_script();
    let found = zone(&emulator).find_by_csr(&csr).await.expect("is read");
    assert_eq!(found.certificates.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_without_retries_still_searches() {
    let emulator = service(&[Fault::bad_gateway_after()]);
    let (_, csr) = key_and_csr("sensor-001");
    let issue = zone(&emulator).issue(&csr).retry(RetryPolicy::never());
    assert!(issue.await.expect("is found").recovered);
}

#[tokio::test(start_paused = true)]
async fn bulk_issues_are_exactly_once_each() {
    let emulator = service(&[
        Fault::lose_response(),
        Fault::bad_gateway_before(),
        refusal(),
    ]);
    let csrs: Vec<Csr> = (0..10)
        .map(|number| key_and_csr(&format!("sensor-{number}")).1)
        .collect();
    let zone = zone(&emulator);
    let mut results = zone.issue_all(csrs.clone()).concurrency(4).stream();
    let (mut issued, mut refused) = (Vec::new(), 0);
    while let Some((csr, result)) = results.next().await {
        match result {
            Ok(result) => issued.push((csr, result)),
            Err(error) => {
                assert!(error.is_quota_reached(), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((issued.len(), refused), (9, 1));
    for (csr, _) in &issued {
        assert_eq!(active(&emulator, csr).await, 1);
    }
    let ids: Vec<_> = issued
        .iter()
        .map(|(_, issued)| issued.certificate.id().clone())
        .collect();
    let mut results = zone.revoke_all(ids).until_settled().stream();
    let mut revoked = 0;
    while let Some((id, result)) = results.next().await {
        let certificate = result.expect("is revoked");
        assert_eq!(
            (certificate.id(), certificate.status().as_str()),
            (&id, "revoked")
        );
        revoked += 1;
    }
    assert_eq!(revoked, 9);
}
