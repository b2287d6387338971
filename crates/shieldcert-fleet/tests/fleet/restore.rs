//! A fleet whose journal was restored from a backup.

use std::fs;
use std::time::Duration;

use shieldcert_emulator::{Fixture, Operation};
use shieldcert_fleet::{Act, ApplyOptions, Ask, Hold};

use crate::kit::{DAY, World, ZONE, emulator, manifest};

const NO_GRACE: &str = "[renew]\ngrace = \"0s\"\n";

fn back_up(world: &World) {
    let journal = world.fleet().journal().expect("a journal");
    journal.backup(&world.path("copy.db")).expect("is copied");
}

/// Puts the backup in the place of the journal.
fn restore(world: &World) {
    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(world.path(file));
    }
    fs::rename(world.path("copy.db"), world.path("journal.db")).expect("is restored");
}

fn confirmed() -> ApplyOptions {
    let mut options = ApplyOptions::default();
    options.confirm_restored = true;
    options
}

#[tokio::test(start_paused = true)]
async fn newer_generations_are_taken_over_and_nothing_is_issued_or_revoked() {
    let world = World::new(emulator(), "", &manifest(3));
    world.apply().await;
    back_up(&world);
    // After the backup: one is renewed, and one is new.
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.write("devices.csv", &manifest(4));
    world.apply().await;
    let serial = world.current("sensor-1").1.certificate().serial_number();
    restore(&world);
    let before = (
        world.count(Operation::Create),
        world.count(Operation::Delete),
    );
    for _ in 0..2 {
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{summary:?}");
        assert_eq!(
            (summary.progress.issued, summary.progress.revoked),
            (0, 0),
            "{summary:?}"
        );
    }
    assert_eq!(
        (
            world.count(Operation::Create),
            world.count(Operation::Delete)
        ),
        before
    );
    let history = world.history("sensor-1");
    let adopted = history.iter().filter(|entry| entry.act == Act::Adopted);
    assert_eq!(adopted.count(), 1, "{history:?}");
    let (number, identity) = world.current("sensor-1");
    assert_eq!(
        (number, identity.certificate().serial_number()),
        (2, serial)
    );
    assert_eq!(world.active().await["sensor-1"], 2);
    // Even when its grace is over: nobody has confirmed.
    tokio::time::sleep(DAY * 3).await;
    assert_eq!(world.apply().await.progress.revoked, 0);
    let summary = world.try_apply(&confirmed()).await.expect("is applied");
    assert_eq!(
        summary.progress.revoked, 1,
        "the one that was replaced: {summary:?}"
    );
    let all = ["sensor-1", "sensor-2", "sensor-3", "sensor-4"];
    world.check_in_use(&all).await;
    assert_eq!(world.apply().await.progress.devices, 0);
    assert_eq!(world.count(Operation::Create), before.0);
}

#[tokio::test(start_paused = true)]
async fn what_was_revoked_after_the_backup_is_not_asked_about_where_a_later_one_is_in_use() {
    let world = World::new(emulator(), NO_GRACE, &manifest(2));
    world.apply().await;
    back_up(&world);
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
    restore(&world);
    world.apply().await;
    let summary = world.try_apply(&confirmed()).await.expect("is applied");
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.progress.issued, 0);
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
    let summary = world.refresh().await;
    assert!(summary.is_complete(), "{summary:?}");
    let (plan, _) = world.plan().await;
    let active: u64 = plan.zones.values().map(|zone| zone.active).sum();
    assert_eq!(active, 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_absent_is_revoked_after_the_confirmation() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    back_up(&world);
    restore(&world);
    world.write("devices.csv", "name,state\nsensor-1,absent\nsensor-2,\n");
    let summary = world.apply().await;
    assert_eq!(summary.progress.revoked, 0);
    assert!(!world.active().await.is_empty());
    let summary = world.try_apply(&confirmed()).await.expect("is applied");
    assert_eq!(summary.progress.revoked, 1);
    assert_eq!(world.active().await.get("sensor-1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_leaked_key_is_revoked_without_a_confirmation() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    back_up(&world);
    restore(&world);
    world.ask(Ask::RevokeNow, &["sensor-1"]);
    assert_eq!(world.apply().await.progress.revoked, 1);
    assert_eq!(world.active().await.get("sensor-1"), None);
}

/// The journal does not know why its certificate was revoked. It may have been stolen.
#[tokio::test(start_paused = true)]
async fn what_was_issued_and_revoked_after_the_backup_is_a_question() {
    let world = World::new(emulator(), "", "name\nother\n");
    world.apply().await;
    back_up(&world);
    world.write("devices.csv", "name\nother\nsensor-1\n");
    world.apply().await;
    world.ask(Ask::RevokeNow, &["sensor-1"]);
    world.apply().await;
    restore(&world);
    for options in [ApplyOptions::default(), confirmed()] {
        let summary = world.try_apply(&options).await.expect("is applied");
        assert_eq!(summary.progress.issued, 0, "{summary:?}");
        assert_eq!(summary.waiting.get(&Hold::RevokedElsewhere), Some(&1));
    }
    assert_eq!(world.active().await.get("sensor-1"), None);
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    assert_eq!(world.current("sensor-1").0, 2);
    world.check_in_use(&["sensor-1"]).await;
}

/// Of several certificates for a key it is the one in the file.
#[tokio::test(start_paused = true)]
async fn surplus_of_an_unknown_generation_is_not_taken_for_its_certificate() {
    let world = World::new(emulator(), "", "name\nother\n");
    world.apply().await;
    back_up(&world);
    world.write("devices.csv", "name\nother\nsensor-1\n");
    world.apply().await;
    let serial = world.current("sensor-1").1.certificate().serial_number();
    let csr = fs::read_to_string(world.path("devices/sensor-1/1/request.csr.pem"));
    let csr = csr.expect("is read");
    // The list begins with the newest.
    for status in ["active", "revoked"] {
        let other = Fixture::for_csr(csr.clone()).status(status);
        world.emulator.add(ZONE, other).await.expect("is added");
    }
    restore(&world);
    world.apply().await;
    let summary = world.try_apply(&confirmed()).await.expect("is applied");
    assert_eq!(summary.progress.revoked, 1, "{summary:?}");
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
    let now = world.current("sensor-1").1.certificate().serial_number();
    assert_eq!(now, serial);
}

/// The process whose journal was restored may be alive on another machine: its request is waited for as long as it may send.
#[tokio::test(start_paused = true)]
async fn an_open_request_of_a_restored_journal_is_waited_for_until_its_deadline() {
    let world = World::new(emulator(), "", &manifest(1));
    world.script("create: lose-request");
    world.killed_after(Duration::from_secs(1)).await;
    back_up(&world);
    restore(&world);
    let begun = tokio::time::Instant::now();
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 1, "{summary:?}");
    // The deadline is three minutes after the request was sent.
    assert!(
        begun.elapsed() > Duration::from_secs(240),
        "{:?}",
        begun.elapsed()
    );
    world.check_in_use(&["sensor-1"]).await;
}
