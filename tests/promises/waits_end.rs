//! Promise 4, waits end: with the status asked for, or with an error that says what was seen.

use std::time::Duration;

use shieldcert::{CertificateId, Error, Status, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, ScriptedFault};
use shieldcert_tests::kit::{ID, TOKEN, id, issue, key_and_csr, zone_through};
use tokio::time::Instant;

/// A zone in which a certificate is seen with each of these statuses (or HTTP statuses), and with the last for ever.
fn zone_that_shows(seen: &[&str]) -> (Zone, CertificateId) {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let (last, others) = seen.split_last().expect("not empty");
    let others = others
        .iter()
        .map(|seen| ScriptedFault::next(Operation::Any, respond(seen)));
    emulator.script(others);
    emulator.script([ScriptedFault::next(Operation::Any, respond(last)).always()]);
    (zone_through(emulator.transport()), id())
}

fn respond(seen: &str) -> Fault {
    Fault::respond(match seen.parse::<u16>() {
        Ok(status) => CannedResponse::new(status)
            .retry_after(Duration::from_secs(7))
            .code(1000),
        Err(_) => CannedResponse::new(200).body(format!(
            r#"{{"success":true,"result":{{"id":"{ID}","status":"{seen}"}}}}"#
        )),
    })
}

#[tokio::test(start_paused = true)]
async fn the_status_is_reached_whatever_happens_on_the_way() {
    for seen in [
        &["revoked"][..],
        &["pending_revocation", "revoked"],
        &["pending_revocation", "pending_revocation", "revoked"],
        // A response from before the request.
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
        let revoked = zone.revoke(&id).until_settled().await;
        let revoked = revoked.unwrap_or_else(|error| panic!("{seen:?}: {error}"));
        assert_eq!(revoked.status(), &Status::Revoked, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn being_overtaken_is_an_error() {
    for seen in [
        &["pending_revocation", "active", "active"][..],
        &["pending_revocation", "pending_reactivation", "active"],
        &["archived", "pending_reactivation", "pending_reactivation"],
    ] {
        let (zone, id) = zone_that_shows(seen);
        let error = zone.revoke(&id).until_settled().await;
        let error = error.expect_err("is overtaken");
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
    let error = zone.reactivate(&id).until_settled().await;
    let error = error.expect_err("is overtaken");
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
async fn a_timeout_ends_the_wait_with_the_last_status() {
    for (seen, expected) in [
        (&["pending_revocation"][..], Status::PendingRevocation),
        (&["archived"], Status::from("archived")),
        (&["pending_revocation", "502"], Status::PendingRevocation),
        (&["pending_revocation", "429"], Status::PendingRevocation),
    ] {
        let (zone, id) = zone_that_shows(seen);
        let started = Instant::now();
        let wait = zone.revoke(&id).until_settled();
        let wait = wait.timeout(Duration::from_secs(90));
        let error = wait.await.expect_err("does not settle");
        assert!(
            matches!(&error, Error::NotSettled { last, .. } if *last == expected),
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
async fn a_certificate_that_does_not_exist_is_an_error() {
    for seen in [
        &["404"][..],
        &["pending_revocation", "pending_revocation", "404"],
    ] {
        let (zone, id) = zone_that_shows(seen);
        let error = zone.revoke(&id).until_settled().await;
        let error = error.expect_err("does not exist");
        assert!(error.is_not_found(), "{seen:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_a_stream_of_what_it_sees() {
    let (zone, id) = zone_that_shows(&["pending_revocation", "502", "archived", "revoked"]);
    let mut wait = zone.revoke(&id).until_settled();
    let mut seen = Vec::new();
    while let Some(certificate) = wait.try_next().await.expect("is seen") {
        seen.push(certificate.status().to_string());
    }
    assert_eq!(seen, ["pending_revocation", "archived", "revoked"]);
    assert!(wait.try_next().await.expect("has ended").is_none());
    let error = wait.await.expect_err("has ended");
    assert!(error.is_invalid_input(), "{error}");

    let (zone, id) = zone_that_shows(&["pending_revocation", "404"]);
    let mut wait = zone.revoke(&id).until_settled();
    assert!(wait.try_next().await.expect("is seen").is_some());
    assert!(wait.try_next().await.expect_err("is gone").is_not_found());
    assert!(wait.try_next().await.expect("has ended").is_none());
}

/// Returns how many polls it takes to see that certificates are revoked, beside others.
async fn polls(revoked: usize, others: usize) -> usize {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_secs(2))
        .latency(Duration::from_millis(30))
        .sign_inline(true)
        .build()
        .expect("builds");
    let issuer = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut ids = Vec::new();
    for number in 0..revoked + others {
        let id = issue(&issuer, &csr).await;
        // Old ones and new ones alike.
        if number % (1 + others / revoked) == 0 && ids.len() < revoked {
            ids.push(id);
        }
    }
    // A client with a rate limit of its own.
    let zone = zone_through(emulator.transport());
    let waits: Vec<_> = ids
        .iter()
        .map(|id| tokio::spawn(zone.revoke(id).until_settled().send()))
        .collect();
    for wait in waits {
        let settled = wait.await.expect("ends").expect("settles");
        assert_eq!(settled.status(), &Status::Revoked);
    }
    let history = emulator.history();
    history.count(Operation::Get) + history.count(Operation::List)
}

#[tokio::test(start_paused = true)]
async fn many_waits_share_their_polls() {
    for (revoked, others, max) in [(1, 0, 6), (3, 0, 18), (500, 0, 100), (100, 1500, 200)] {
        let polls = polls(revoked, others).await;
        println!("{revoked} waits beside {others} others: {polls} polls");
        assert!(polls <= max, "{revoked} beside {others}: {polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_does_not_stop_the_others() {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_secs(20))
        .build()
        .expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let mut waits = Vec::new();
    for _ in 0..20 {
        let id = issue(&zone, &csr).await;
        waits.push(tokio::spawn(zone.revoke(&id).until_settled().send()));
    }
    // At every moment of a shared poll, one after the other.
    for (number, wait) in waits.iter().enumerate().take(15) {
        tokio::time::sleep(Duration::from_millis(101 + 7 * number as u64)).await;
        wait.abort();
    }
    for wait in waits.into_iter().skip(15) {
        let settled = wait.await.expect("ends").expect("settles");
        assert_eq!(settled.status(), &Status::Revoked);
    }
}
