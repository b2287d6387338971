//! What operators ask for, and what the manifest asks for anew.

use std::time::Duration;

use shieldcert_emulator::Operation;
use shieldcert_fleet::{Act, Action, ApplyOptions, Ask, Error};

use crate::kit::{DAY, Deployer, World, emulator, manifest};

/// What was asked of the service, without lists.
fn operations(world: &World, from: usize) -> Vec<Operation> {
    let history = world.emulator.history();
    let asked = history
        .iter()
        .skip(from)
        .filter_map(|event| event.operation);
    asked
        .filter(|operation| *operation != Operation::List)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_rotation_revokes_the_old_one_after_the_new_one_works_and_its_grace() {
    let deploy = Deployer::succeeding();
    let world = World::new(emulator(), "", &manifest(2)).with_deploy(&deploy);
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    let (plan, _) = world.plan().await;
    assert_eq!(plan.reasons["asked"], 1);
    world.apply().await;
    assert_eq!(world.current("sensor-1").0, 2);
    assert_eq!(
        (
            world.active().await["sensor-1"],
            world.active().await["sensor-2"]
        ),
        (2, 1)
    );
    // What was asked for is done.
    let again = world.apply().await;
    assert_eq!((again.progress.issued, again.progress.revoked), (0, 0));
    tokio::time::sleep(DAY - Duration::from_secs(60)).await;
    assert_eq!(
        world.apply().await.progress.revoked,
        0,
        "the grace is not over"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.apply().await.progress.revoked, 1);
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_is_revoked_before_the_new_one_is_made() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    world.ask(Ask::RotateNow, &["sensor-1"]);
    let before = world.emulator.history().len();
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        operations(&world, before),
        [Operation::Delete, Operation::Create]
    );
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
    assert_eq!(world.current("sensor-1").0, 2);
    assert_eq!(world.apply().await.progress.devices, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_leak_every_certificate_of_the_device_goes() {
    let world = World::new(emulator(), "", &manifest(1));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2, "one is in grace");
    world.ask(Ask::RotateNow, &["sensor-1"]);
    let before = world.emulator.history().len();
    world.apply().await;
    assert_eq!(
        operations(&world, before),
        [Operation::Delete, Operation::Delete, Operation::Create]
    );
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_device_gets_nothing_until_somebody_asks() {
    for ask in [Ask::Revoke, Ask::RevokeNow] {
        let world = World::new(emulator(), "", &manifest(2));
        world.apply().await;
        world.ask(ask, &["sensor-1"]);
        let (plan, _) = world.plan().await;
        assert_eq!(plan.actions[&Action::Revoke], 1, "{ask}");
        assert_eq!(world.apply().await.progress.revoked, 1, "{ask}");
        assert_eq!(world.active().await.get("sensor-1"), None, "{ask}");
        tokio::time::sleep(DAY * 400).await;
        world.apply().await;
        assert_eq!(world.active().await.get("sensor-1"), None, "{ask}");
        world.ask(Ask::Rotate, &["sensor-1"]);
        world.apply().await;
        assert_eq!(world.active().await["sensor-1"], 1, "{ask}");
        assert_eq!(world.current("sensor-1").0, 2, "{ask}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_revocations_than_need_no_confirmation_stop_everything() {
    let world = World::new(emulator(), "[limits]\nmax_revoke = 2\n", &manifest(5));
    world.apply().await;
    world.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,absent\nsensor-3,absent\nsensor-4,\nsensor-5,\nsensor-6,\n",
    );
    let (plan, _) = world.plan().await;
    assert_eq!((plan.left_without, plan.max_revoke), (3, 2));
    let before = world.count(Operation::Any);
    let refused = world.try_apply(&ApplyOptions::default()).await;
    let error = refused.expect_err("needs a confirmation");
    assert!(matches!(
        error,
        Error::TooManyRevocations {
            devices: 3,
            max: 2,
            ..
        }
    ));
    insta::assert_snapshot!(error, @"the plan revokes the last certificate of 3 devices, and 2 need no confirmation; check the manifest, then confirm the number or set max_revoke in fleet.toml");
    assert_eq!(
        world.count(Operation::Any),
        before + 1,
        "which tells the time"
    );
    assert_eq!(world.active().await.len(), 5);
    let mut options = ApplyOptions::default();
    options.confirmed_revocations = 2;
    world.try_apply(&options).await.expect_err("not as many");
    options.confirmed_revocations = 3;
    let summary = world.try_apply(&options).await.expect("is confirmed");
    assert_eq!((summary.progress.revoked, summary.progress.issued), (3, 1));
}

/// What a device does not lose by a revocation is no reason to ask.
#[tokio::test(start_paused = true)]
async fn routine_revocations_need_no_confirmation() {
    let policy = "[limits]\nmax_revoke = 0\n[renew]\ngrace = \"0s\"\n";
    let world = World::new(emulator(), policy, &manifest(5));
    world.apply().await;
    let all = ["sensor-1", "sensor-2", "sensor-3", "sensor-4", "sensor-5"];
    world.ask(Ask::Rotate, &all);
    let summary = world.apply().await;
    assert_eq!(summary.progress.revoked, 5);
    world.check_in_use(&all).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_setting_one_in_a_hundred_and_at_least_ten_need_no_confirmation() {
    let world = World::new(emulator(), "", &manifest(5));
    assert_eq!(world.plan().await.0.max_revoke, 10);
    world.write("devices.csv", &manifest(2_000));
    assert_eq!(world.plan().await.0.max_revoke, 20);
}

#[tokio::test(start_paused = true)]
async fn a_changed_row_renews_with_its_reason() {
    let world = World::new(emulator(), "[renew]\ngrace = \"0s\"\n", &manifest(4));
    world.apply().await;
    world.write(
        "devices.csv",
        "name,organization,key,days\nsensor-1,Acme,,\nsensor-2,,ecdsa-p384,\nsensor-3,,,30\nsensor-4,,,\n",
    );
    let (plan, entries) = world.plan().await;
    let reasons: Vec<_> = entries.iter().map(|entry| entry.reason).collect();
    assert_eq!(
        reasons,
        [
            Some("subject-changed"),
            Some("key-changed"),
            Some("validity-changed"),
            None
        ]
    );
    assert_eq!(
        (plan.actions[&Action::Renew], plan.actions[&Action::Leave]),
        (3, 1)
    );
    assert_eq!(plan.requests, 3);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.progress.issued, summary.progress.revoked), (3, 3));
    world
        .check_in_use(&["sensor-1", "sensor-2", "sensor-3", "sensor-4"])
        .await;
    let subject = world.current("sensor-1").1.certificate().subject();
    assert!(subject.contains("Acme"), "{subject}");
    let algorithm = world.current("sensor-2").1.key().algorithm();
    assert_eq!(algorithm.as_str(), "ecdsa-p384");
    let identity = world.current("sensor-3").1;
    let certificate = identity.certificate();
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let days = end
        .expect("a time")
        .duration_since(begin.expect("a time"))
        .as_hours()
        / 24;
    assert_eq!(days, 30);
    assert_eq!(world.plan().await.0.actions[&Action::Leave], 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_renewed_in_time() {
    let world = World::new(
        emulator(),
        "[renew]\nat = 0.5\njitter = 0.0\n",
        &manifest(1),
    );
    world.apply().await;
    tokio::time::sleep(DAY * 182).await;
    assert_eq!(world.apply().await.progress.issued, 0);
    tokio::time::sleep(DAY).await;
    let (plan, _) = world.plan().await;
    assert_eq!(plan.reasons["time"], 1);
    assert_eq!(world.apply().await.progress.issued, 1);
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

/// A service that sends no time: this machine's is used, and nothing is revoked by it.
#[tokio::test(start_paused = true)]
async fn without_the_services_time_nothing_is_revoked_by_the_clock() {
    let world = World::new(emulator(), "[renew]\ngrace = \"0s\"\n", &manifest(2));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world
        .emulator
        .set_quirks("no-date".parse().expect("a quirk"));
    let (plan, _) = world.plan().await;
    assert!(!plan.is_service_time);
    world.apply().await;
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2, "the old one stays");
    world.write(
        "devices.csv",
        "name,state\nsensor-1,present\nsensor-2,absent\n",
    );
    world.apply().await;
    assert_eq!(
        world.active().await.get("sensor-2"),
        None,
        "the manifest revokes"
    );
    world.emulator.set_quirks(Default::default());
    // This machine's clock went on while time stood still.
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

/// This machine's clock is years ahead of the certificates, and the service does not say otherwise.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_ahead_does_not_renew_without_end() {
    let long_ago = std::time::SystemTime::now() - DAY * 1_000;
    let quirky = emulator()
        .clock_start(long_ago)
        .quirks("no-date".parse().expect("a quirk"));
    let world = World::new(quirky, "", &manifest(3));
    let first = world.apply().await;
    assert_eq!(first.progress.issued, 3);
    for _ in 0..3 {
        let again = world.apply().await;
        assert_eq!((again.progress.issued, again.progress.revoked), (0, 0));
    }
}

/// What this machine's clock has recorded, which is months ahead, is corrected once the service says its time.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_ahead_does_not_keep_old_certificates_for_months() {
    let long_ago = std::time::SystemTime::now() - DAY * 60;
    let policy = "[renew]\ngrace = \"1h\"\n";
    let world = World::new(emulator().clock_start(long_ago), policy, &manifest(2));
    world.apply().await;
    let no_date = || "no-date".parse().expect("a quirk");
    world.emulator.set_quirks(no_date());
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2);
    world.emulator.set_quirks(Default::default());
    // The grace period begins when the service has said its time.
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2);
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    let summary = world.apply().await;
    assert_eq!(summary.progress.revoked, 1, "{summary:?}");
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
    // Once: what is right is left as it is.
    let corrected = world
        .acts("sensor-1")
        .into_iter()
        .filter(|act| *act == Act::Differs);
    assert_eq!(corrected.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_to_revoke_twice_is_no_problem() {
    let policy = "[renew]\ngrace = \"0s\"\n";
    let world = World::new(emulator(), policy, &manifest(2));
    world
        .emulator
        .set_quirks("refuse-repeats".parse().expect("a quirk"));
    world.apply().await;
    // The revocation is done, and nobody hears of it.
    world.script("delete@1..2: lose-response");
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.ask(Ask::Revoke, &["sensor-2"]);
    world.apply().await;
    tokio::time::sleep(DAY).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
    assert_eq!(world.active().await.get("sensor-2"), None);
}

/// A response alone may be wrong.
#[tokio::test(start_paused = true)]
async fn that_a_certificate_is_not_found_is_not_enough_to_call_it_revoked() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    world.script("delete: not-found");
    world.ask(Ask::RevokeNow, &["sensor-1"]);
    let summary = world.apply().await;
    assert_eq!(
        (summary.progress.revoked, summary.is_complete()),
        (0, false)
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.active().await.get("sensor-1"), None);
}
