//! Zones that are full.

use shieldcert_emulator::Operation;
use shieldcert_fleet::{Action, Ask, Hold};

use crate::kit::{DAY, World, ZONE, ZONE_B, emulator, manifest};

const ONE_BY_ONE: &str = "[limits]\nconcurrency = 1\n";

/// Two zones, each of which holds two certificates.
fn two_zones(manifest: &str) -> World {
    let policy = format!(
        "[zones.a]\nid = \"{ZONE}\"\n[zones.b]\nid = \"{ZONE_B}\"\n[limits]\nconcurrency = 1\n"
    );
    World::with_policy(emulator().quota(2), &policy, manifest)
}

#[tokio::test(start_paused = true)]
async fn where_the_quota_is_reached_the_rest_waits_and_the_run_goes_on() {
    let world = World::new(emulator().quota(3), ONE_BY_ONE, &manifest(8));
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 3, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&5));
    assert!(!summary.is_complete());
    // What is blocked asks for nothing: one refusal is enough.
    assert_eq!(world.count(Operation::Create), 4);
    let (plan, entries) = world.plan().await;
    assert_eq!(plan.holds.get(&Hold::Quota), Some(&5));
    assert_eq!(plan.actions[&Action::Continue], 5);
    let blocked = entries
        .iter()
        .filter(|entry| entry.hold == Some(Hold::Quota));
    assert_eq!(blocked.count(), 5);
    // The next run tries once more, and no keys are made anew.
    let again = world.apply().await;
    assert_eq!(
        (again.progress.issued, world.count(Operation::Create)),
        (0, 5)
    );
    assert_eq!(world.active().await.len(), 3);
    assert!(!world.path("devices/sensor-8/2").exists());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_frees_a_place_for_the_rest_in_the_same_run() {
    let world = World::new(emulator().quota(3), ONE_BY_ONE, &manifest(5));
    world.apply().await;
    let issued = world.active().await;
    let (gone, stays): (Vec<_>, Vec<_>) = issued.keys().partition(|name| *name == "sensor-1");
    assert_eq!((gone.len(), stays.len()), (1, 2), "{issued:?}");
    world.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,\nsensor-3,\nsensor-4,\nsensor-5,\n",
    );
    let summary = world.apply().await;
    assert_eq!((summary.progress.revoked, summary.progress.issued), (1, 1));
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&1));
    assert_eq!(world.active().await.len(), 3);
}

/// The certificates that were replaced make place for the next ones.
#[tokio::test(start_paused = true)]
async fn routine_revocations_let_a_full_zone_be_renewed() {
    let policy = "[limits]\nconcurrency = 1\n[renew]\ngrace = \"0s\"\n";
    let world = World::new(emulator().quota(4), policy, &manifest(3));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1", "sensor-2", "sensor-3"]);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.progress.issued, summary.progress.revoked), (3, 3));
    world
        .check_in_use(&["sensor-1", "sensor-2", "sensor-3"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_row_names_no_zone_moves_to_one_that_has_a_place() {
    let world = two_zones(&manifest(4));
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.active_in(ZONE).await.len(), 2);
    assert_eq!(world.active_in(ZONE_B).await.len(), 2);
    let more = two_zones(&manifest(6));
    let summary = more.apply().await;
    assert_eq!(summary.progress.issued, 4);
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_row_names_a_zone_waits_for_a_place_there() {
    let world = two_zones("name,zone\nsensor-1,a\nsensor-2,a\nsensor-3,a\n");
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 2);
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&1));
    assert_eq!(world.active_in(ZONE_B).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_place_is_for_a_renewal_and_not_for_a_new_device() {
    let world = World::new(
        emulator().quota(3),
        ONE_BY_ONE,
        "name\nsensor-3\nsensor-4\n",
    );
    world.apply().await;
    world.write(
        "devices.csv",
        "name\nsensor-1\nsensor-2\nsensor-3\nsensor-4\n",
    );
    world.ask(Ask::Rotate, &["sensor-4"]);
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 1);
    assert_eq!(world.active().await["sensor-4"], 2);
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&2));
}

/// A zone that has more places than fleet.toml says.
fn with_quota(quota: u64, manifest: &str) -> World {
    let policy =
        format!("[zones.main]\nid = \"{ZONE}\"\nquota = {quota}\n[renew]\ngrace = \"1h\"\n");
    World::with_policy(emulator(), &policy, manifest)
}

#[tokio::test(start_paused = true)]
async fn new_devices_wait_where_the_quota_of_the_configuration_is_reached() {
    let world = with_quota(3, &manifest(5));
    let (plan, entries) = world.plan().await;
    let zone = &plan.zones.values().next().expect("a zone");
    assert_eq!((zone.issue, zone.blocked, plan.requests), (3, 2, 3));
    assert_eq!(plan.actions[&Action::Wait], 2);
    let waiting = entries
        .iter()
        .filter(|entry| entry.hold == Some(Hold::Quota));
    let waiting: Vec<_> = waiting.map(|entry| entry.device.as_str()).collect();
    assert_eq!(waiting, ["sensor-4", "sensor-5"]);
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 3, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&2));
    assert_eq!(world.count(Operation::Create), 3, "nothing is refused");
    let mut problem = None;
    let held = world.fleet().held(|held| problem = held.problem.clone());
    held.expect("is read");
    assert_eq!(
        problem.as_deref(),
        Some(
            "zone 023e105f4ecef8ad9ca31a8372d0c353: 3 of its quota of 3 are held, and 0 kept for renewals; revoke what is \
             not needed, raise quota in fleet.toml if the zone has more, or add a zone"
        )
    );
    // Nothing is done for them again until there is a place.
    let again = world.apply().await;
    assert_eq!(again.progress.devices, 0, "{again:?}");
    assert_eq!(again.waiting.get(&Hold::Quota), Some(&2));
    world.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,\nsensor-3,\nsensor-4,\nsensor-5,\n",
    );
    let summary = world.apply().await;
    assert_eq!((summary.progress.revoked, summary.progress.issued), (1, 1));
    assert_eq!(world.active().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn places_for_renewals_are_kept_and_renewals_go_beyond_the_quota() {
    // One place is free, and a renewal takes it.
    let world = with_quota(3, &manifest(2));
    world.apply().await;
    world.write("devices.csv", &manifest(3));
    world.ask(Ask::Rotate, &["sensor-1"]);
    let (plan, _) = world.plan().await;
    let zone = &plan.zones.values().next().expect("a zone");
    assert_eq!((zone.kept, zone.blocked), (1, 1));
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 1, "{summary:?}");
    assert_eq!(world.active().await["sensor-1"], 2);
    assert_eq!(summary.waiting.get(&Hold::Quota), Some(&1));
    // Beyond the quota of the configuration, which may be out of date.
    world.ask(Ask::Rotate, &["sensor-2"]);
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 1, "{summary:?}");
    assert_eq!(world.active().await["sensor-2"], 2);
    // After the grace period the old ones are revoked, and the new device gets the place.
    tokio::time::sleep(DAY).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.progress.revoked, summary.progress.issued), (2, 1));
    world
        .check_in_use(&["sensor-1", "sensor-2", "sensor-3"])
        .await;
}

/// A renewal that is due before the old certificates of this run are revoked.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_due_soon_keeps_its_place() {
    let world = with_quota(2, "name,days\nsensor-1,30\n");
    world.apply().await;
    let due = world.plan().await.0.next.expect("a renewal");
    let soon = due.duration_since(shieldcert::jiff::Timestamp::now())
        - shieldcert::jiff::SignedDuration::from_mins(30);
    world.write("devices.csv", "name,days\nsensor-1,30\nsensor-2,30\n");
    tokio::time::sleep(soon.try_into().expect("it is later")).await;
    let summary = world.apply().await;
    assert_eq!(
        (summary.progress.issued, summary.progress.devices),
        (0, 1),
        "{summary:?}"
    );
    tokio::time::sleep(DAY).await;
    let summary = world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2, "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_may_be_anywhere_gets_a_place_in_the_other_zone() {
    let policy =
        format!("[zones.a]\nid = \"{ZONE}\"\nquota = 1\n[zones.b]\nid = \"{ZONE_B}\"\nquota = 4\n");
    let world = World::with_policy(emulator(), &policy, &manifest(6));
    let (plan, _) = world.plan().await;
    assert_eq!(plan.actions[&Action::Issue], 5);
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 5, "{summary:?}");
    assert_eq!(world.active_in(ZONE).await.len(), 1);
    assert_eq!(world.active_in(ZONE_B).await.len(), 4);
}

/// The zone is known to be full when the revocation frees a place.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_found_no_place_is_done_once_there_is_one() {
    let world = World::new(emulator().quota(4), ONE_BY_ONE, &manifest(3));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    // The old one is to be revoked by now, and the renewal has its turn before that.
    tokio::time::sleep(DAY * 2).await;
    world.ask(Ask::Rotate, &["sensor-2"]);
    let creates = world.count(Operation::Create);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!((summary.progress.revoked, summary.progress.issued), (1, 1));
    assert_eq!(
        world.count(Operation::Create),
        creates + 2,
        "one was refused"
    );
}
