//! The whole life of certificates, over real HTTP against the emulator.

use std::time::Duration;

use shieldcert::{Error, Identity, Status, StatusFilter, Zone};
use shieldcert_emulator::{
    CannedResponse, Emulator, Fault, Operation, RunningEmulator, ScriptedFault,
};
use shieldcert_tests::kit::{TOKEN, id, issue, key_and_csr, zone_at, zone_through};

async fn start() -> (RunningEmulator, Zone) {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_millis(100))
        .start()
        .await
        .expect("starts");
    let zone = zone_at(emulator.base_url());
    (emulator, zone)
}

#[tokio::test]
async fn from_key_to_revocation_and_back() {
    let (_emulator, zone) = start().await;
    let (key, csr) = key_and_csr("sensor-001");
    let issued = zone.issue(&csr).validity_days(30).await.expect("is issued");
    let id = issued.certificate.id().clone();
    assert_eq!(
        zone.get(&id).await.expect("exists").status(),
        &Status::Active
    );
    let identity = Identity::new(&issued.certificate, key).expect("they belong together");
    assert_eq!(identity.certificate().common_name(), Some("sensor-001"));

    let pending = zone.revoke(&id).await.expect("is accepted");
    assert_eq!(pending.status(), &Status::PendingRevocation);
    let revoked = zone.revoke(&id).until_settled().await.expect("settles");
    assert_eq!(revoked.status(), &Status::Revoked);
    let active = zone.reactivate(&id).until_settled().await.expect("settles");
    assert_eq!(active.status(), &Status::Active);
    assert_eq!(
        zone.wait(&id).await.expect("is settled").status(),
        &Status::Active
    );
}

#[tokio::test]
async fn every_certificate_is_listed_once_whatever_the_page_size() {
    let (_emulator, zone) = start().await;
    let mut issued = Vec::new();
    for number in 0..12 {
        let (_, csr) = key_and_csr(&format!("sensor-{number:03}"));
        issued.push(issue(&zone, &csr).await);
    }
    zone.revoke(&issued[3])
        .until_settled()
        .await
        .expect("settles");
    issued.sort();
    for page_size in [5, 6, 12, 50] {
        let all = zone.list().page_size(page_size).await.expect("is read");
        let mut listed: Vec<_> = all.iter().map(|c| c.id().clone()).collect();
        listed.sort();
        assert_eq!(listed, issued, "{page_size}");
    }
    let active = zone
        .list()
        .status(StatusFilter::Active)
        .page_size(5)
        .await
        .expect("is read");
    assert_eq!(active.len(), 11);
}

#[tokio::test]
async fn a_wait_that_times_out_says_what_it_saw() {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_secs(3600))
        .build()
        .expect("builds");
    let zone = zone_through(emulator.transport());
    let (_, csr) = key_and_csr("sensor-001");
    let id = issue(&zone, &csr).await;
    tokio::time::pause();
    let wait = zone
        .revoke(&id)
        .until_settled()
        .timeout(Duration::from_secs(60));
    let error = wait.await.expect_err("times out");
    assert!(error.is_timeout(), "{error}");
    assert!(matches!(
        error,
        Error::NotSettled {
            last: Status::PendingRevocation,
            ..
        }
    ));
}

#[tokio::test]
async fn invalid_input_is_named() {
    let (_emulator, zone) = start().await;
    let (_, csr) = key_and_csr("sensor-001");
    for days in [0, u32::MAX] {
        let error = zone
            .issue(&csr)
            .validity_days(days)
            .await
            .expect_err("impossible");
        assert!(
            error.is_invalid_input() && error.to_string().starts_with("validity: "),
            "{error}"
        );
    }
    for size in [0, 4, 51] {
        let error = zone
            .list()
            .page_size(size)
            .await
            .expect_err("too small or large");
        assert!(error.is_invalid_input(), "{error}");
    }
    assert!(
        zone.get(&id())
            .await
            .expect_err("does not exist")
            .is_not_found()
    );
}

/// A cache that mixes up responses must not make a leaked certificate look revoked.
#[tokio::test]
async fn a_response_about_another_certificate_is_an_error() {
    let (emulator, zone) = start().await;
    let (_, csr) = key_and_csr("sensor-001");
    let asked = issue(&zone, &csr).await;
    let other = issue(&zone, &csr).await;
    let body = format!(r#"{{"success":true,"result":{{"id":"{other}","status":"revoked"}}}}"#);
    let mixed_up = || Fault::respond(CannedResponse::new(200).body(body.clone()));
    let every = ScriptedFault::next(Operation::Any, mixed_up()).always();
    emulator.script([every]);
    let timeout = Duration::from_millis(500);
    for outcome in [
        zone.get(&asked).await,
        zone.revoke(&asked).await,
        zone.reactivate(&asked).await,
        zone.revoke(&asked).until_settled().timeout(timeout).await,
        zone.wait(&asked)
            .until(Status::Revoked)
            .timeout(timeout)
            .await,
    ] {
        let message = outcome.expect_err("is mixed up").to_string();
        assert!(
            message.contains(&format!("another certificate, {other}")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn an_id_in_another_notation_is_the_same() {
    let (emulator, zone) = start().await;
    let (_, csr) = key_and_csr("sensor-001");
    let asked = issue(&zone, &csr).await;
    let id = asked.to_string().replace('-', "").to_uppercase();
    let body = format!(r#"{{"success":true,"result":{{"id":"{id}","status":"active"}}}}"#);
    let response = Fault::respond(CannedResponse::new(200).body(body));
    emulator.script([ScriptedFault::next(Operation::Get, response)]);
    assert_eq!(zone.get(&asked).await.expect("is it").id(), &id.as_str());
}
