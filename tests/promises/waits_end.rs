//! Promise 4, waits end: with the status asked for, or with an error that says what was seen.

use std::time::Duration;

use shieldcert::{CertificateId, Error, RetryPolicy, Status, Zone};
use shieldcert_emulator::{CannedResponse, Emulator, Fault, Operation, RateLimit, ScriptedFault};
use shieldcert_tests::kit::{ID, TOKEN, id, issue, key_and_csr, zone_through};
use tokio::time::Instant;

/// A zone in which a certificate is seen with each of these statuses (or HTTP statuses, or bodies of a 200), and with the
/// last for ever.
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
        Err(_) if seen.starts_with(['{', '<']) => CannedResponse::new(200).body(seen.to_owned()),
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
        // None of these says anything about the certificate.
        &["pending_revocation", "404", "404", "revoked"],
        &[
            "pending_revocation",
            "404",
            "{}",
            "404",
            "{}",
            "404",
            "revoked",
        ],
        &[
            "pending_revocation",
            "{}",
            "{}",
            "{}",
            "{}",
            "{}",
            "revoked",
        ],
        &[
            "pending_revocation",
            r#"{"message":"maintenance"}"#,
            r#"{"success":true,"result":null}"#,
            "<html>maintenance</html>",
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
async fn a_page_with_any_status_does_not_end_a_wait() {
    for status in [403, 404, 407, 429, 451, 503, 522] {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        let page = CannedResponse::new(status).body("<html>a page</html>");
        let shows = respond("active");
        emulator.script([
            ScriptedFault::next(Operation::Get, Fault::respond(page)),
            ScriptedFault::next(Operation::Get, shows).always(),
        ]);
        let zone = zone_through(emulator.transport());
        let settled = zone.wait(&id()).await;
        let settled = settled.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(settled.status(), &Status::Active);
    }
}

/// The replica that is read is a minute behind.
#[tokio::test(start_paused = true)]
async fn a_read_that_lags_is_not_somebody_else() {
    for accepted in ["pending_revocation", "active"] {
        let mut seen = vec![accepted];
        seen.extend(["active"; 14]);
        seen.extend([
            "pending_revocation",
            "active",
            "active",
            "active",
            "revoked",
        ]);
        let (zone, id) = zone_that_shows(&seen);
        let started = Instant::now();
        let revoked = zone.revoke(&id).until_settled().await.expect("settles");
        assert_eq!(revoked.status(), &Status::Revoked);
        assert!(started.elapsed() > Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_for_the_transition_of_somebody_else_too() {
    let mut seen = vec!["active"; 30];
    seen.push("revoked");
    let (zone, id) = zone_that_shows(&seen);
    let wait = zone.wait(&id).until(Status::Revoked);
    let revoked = wait.timeout(Duration::MAX).await.expect("is revoked");
    assert_eq!(revoked.status(), &Status::Revoked);
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
        // A block that reaches beyond the timeout ends the wait at once.
        assert!(
            (took >= Duration::from_secs(89) || seen.contains(&"429"))
                && took <= Duration::from_secs(90),
            "{seen:?}: {took:?}"
        );
    }
}

/// Every quarter of a second at first, every ten seconds in the end, and once more right before the timeout.
#[tokio::test(start_paused = true)]
async fn a_wait_polls_less_and_less_often() {
    for (seconds, expected) in [(1, 4), (10, 9), (90, 17), (600, 66)] {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        let pending = ScriptedFault::next(Operation::Get, respond("pending_revocation"));
        emulator.script([pending.always()]);
        let wait = zone_through(emulator.transport()).wait(&id());
        let error = wait.timeout(Duration::from_secs(seconds)).await;
        assert!(error.expect_err("does not settle").is_timeout());
        let polls = emulator.history().count(Operation::Get);
        assert_eq!(polls, expected, "within {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_bounds_the_request_and_its_retries_too() {
    let limit = Duration::from_secs(5);
    for (fault, is_ambiguous) in [
        (Fault::lose_request(), true),
        (Fault::refuse_connection(), false),
        (Fault::status(502), true),
        (Fault::html(), true),
    ] {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        emulator.script([ScriptedFault::next(Operation::Any, fault.clone()).always()]);
        let zone = zone_through(emulator.transport());
        let started = Instant::now();
        let error = zone.revoke(&id()).until_settled().timeout(limit).await;
        let error = error.expect_err("no response comes");
        assert!(
            started.elapsed() <= limit,
            "{fault:?}: {:?}",
            started.elapsed()
        );
        assert_eq!(error.is_ambiguous(), is_ambiguous, "{error}");

        let started = Instant::now();
        let error = zone.wait(&id()).timeout(limit).await;
        let error = error.expect_err("no response comes");
        assert!(error.is_timeout() && !error.is_ambiguous(), "{error}");
        assert!(
            started.elapsed() <= limit,
            "{fault:?}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_timeout_cuts_off_is_named() {
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    emulator.script([ScriptedFault::next(Operation::Any, Fault::lose_request()).always()]);
    let zone = zone_through(emulator.transport());
    let wait = zone.revoke(&id()).until_settled();
    let error = wait.timeout(Duration::from_secs(5)).await;
    insta::assert_snapshot!(error.expect_err("no response comes"), @"certificate 7bf7f70c-7600-42e1-81c4-e4c0da9aa515 was to become revoked but is unknown after 5s (the last request failed: DELETE /zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates/7bf7f70c-7600-42e1-81c4-e4c0da9aa515: timed out before the response was complete); trying again is safe");

    // With no time at all, nothing is sent.
    let sent = emulator.history().count(Operation::Any);
    let wait = zone.revoke(&id()).until_settled();
    let error = wait.timeout(Duration::ZERO).await.expect_err("no time");
    assert!(error.is_timeout() && !error.is_ambiguous(), "{error}");
    assert_eq!(emulator.history().count(Operation::Any), sent);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_bounds_waits_for_the_limit() {
    let limit = Duration::from_secs(5);
    let emulator = Emulator::builder()
        .token(TOKEN)
        .rate_limit(RateLimit::new(10, Duration::from_secs(300)))
        .build()
        .expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let id = issue(&zone, &csr).await;
    for _ in 0..9 {
        zone.get(&id).await.expect("is read");
    }
    let started = Instant::now();
    for wait in [zone.revoke(&id).until_settled(), zone.wait(&id)] {
        let error = wait.timeout(limit).await.expect_err("has to wait");
        assert!(
            error.retry_after() > Some(Duration::from_secs(290)),
            "{error}"
        );
        assert!(!error.is_ambiguous(), "{error}");
    }
    assert!(started.elapsed() <= 2 * limit, "{:?}", started.elapsed());
    assert_eq!(emulator.history().count(Operation::Any), 10, "not sent");
}

#[tokio::test(start_paused = true)]
async fn no_limit_at_all_is_no_panic() {
    let policy = RetryPolicy::default()
        .attempt_timeout(Duration::MAX)
        .time_limit(Duration::MAX)
        .max_retry_after(Duration::MAX)
        .backoff(Duration::MAX, Duration::MAX);
    let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor");
    let issued = zone.issue(&csr).retry(policy.clone()).await;
    let id = issued.expect("is issued").certificate.id().clone();
    let endless = |header: &str| {
        let response = CannedResponse::new(429)
            .code(1000)
            .header("retry-after", header);
        ScriptedFault::next(Operation::Any, Fault::respond(response))
    };
    emulator.script([
        endless("99999999999999999999"),
        endless("18446744073709551615"),
    ]);
    for _ in 0..2 {
        zone.get(&id).retry(policy.clone()).await.expect("is read");
    }
    emulator.script([ScriptedFault::next(Operation::Any, Fault::status(502))]);
    let failed = zone.get(&id).retry(policy.clone()).await;
    assert!(failed.is_err(), "the backoff never ends");
    let revoke = zone.revoke(&id).retry(policy).until_settled();
    revoke.timeout(Duration::MAX).await.expect("settles");
    let wait = zone.wait(&id).timeout(Duration::MAX);
    wait.await.expect("is settled");
}

/// The service acts, its response is lost, and it refuses the repetition.
#[tokio::test(start_paused = true)]
async fn where_a_repetition_is_refused_the_status_decides() {
    let refusal = || Fault::respond(CannedResponse::new(400).code(1000));
    let run = async |first: Fault, reactivate: bool| {
        let emulator = Emulator::builder().token(TOKEN).build().expect("builds");
        let zone = zone_through(emulator.transport());
        let (_, csr) = key_and_csr("sensor");
        let id = issue(&zone, &csr).await;
        if reactivate {
            zone.revoke(&id).await.expect("is revoked");
        }
        let faults = [first, refusal()];
        emulator.script(faults.map(|fault| ScriptedFault::next(Operation::Any, fault)));
        let result = if reactivate {
            zone.reactivate(&id).await
        } else {
            zone.revoke(&id).await
        };
        (result, emulator.history().count(Operation::Get))
    };
    for lost in [
        Fault::reset_after(),
        Fault::bad_gateway_after(),
        Fault::html(),
    ] {
        let (revoked, gets) = run(lost.clone(), false).await;
        let revoked = revoked.unwrap_or_else(|error| panic!("{lost:?}: {error}"));
        assert_eq!(revoked.status(), &Status::PendingRevocation);
        assert_eq!(gets, 1);
        let (reactivated, _) = run(lost, true).await;
        let reactivated = reactivated.expect("has acted");
        assert_eq!(reactivated.status(), &Status::PendingReactivation);
    }
    // The service did not act: the refusal stands, and says nothing of the lost attempt.
    let (refused, _) = run(Fault::reset(), false).await;
    let error = refused.expect_err("is refused");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(400));
    assert!(error.is_ambiguous(), "{error}");
    // Nothing was sent before the refusal.
    let (refused, gets) = run(Fault::refuse_connection(), false).await;
    let error = refused.expect_err("is refused");
    assert!(!error.is_ambiguous() && gets == 0, "{error}");
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
    for (revoked, others, max) in [(1, 0, 4), (3, 0, 12), (500, 0, 85), (100, 1500, 130)] {
        let polls = polls(revoked, others).await;
        println!("{revoked} waits beside {others} others: {polls} polls");
        assert!(polls <= max, "{revoked} beside {others}: {polls}");
    }
}

/// The first wait collects the polls of the others for a moment before it makes them.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_while_it_collects_polls_releases_them() {
    let (zone, id) = zone_that_shows(&["active"]);
    let moment = Duration::from_millis(5);
    let started = Instant::now();
    let first = tokio::spawn(zone.wait(&id).send());
    tokio::time::sleep(moment).await;
    let second = tokio::spawn(zone.wait(&id).send());
    tokio::time::sleep(moment).await;
    first.abort();
    let settled = second.await.expect("ends").expect("is settled");
    assert_eq!(settled.status(), &Status::Active);
    assert!(started.elapsed() < Duration::from_secs(1));
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
