//! Manifests that lost rows.

use shieldcert_emulator::Operation;
use shieldcert_fleet::{Action, ApplyOptions};

use crate::kit::{World, emulator, manifest};

async fn check_untouched(world: &World) {
    assert_eq!(world.active().await.len(), 5);
    assert_eq!(world.count(Operation::Delete), 0);
}

#[tokio::test(start_paused = true)]
async fn an_empty_manifest_revokes_nothing() {
    let world = World::new(emulator(), "", &manifest(5));
    world.apply().await;
    world.write("devices.csv", "name,state\n");
    let (plan, _) = world.plan().await;
    assert_eq!(plan.actions[&Action::Unmanaged], 5);
    assert_eq!(plan.changes(), 0);
    let mut options = ApplyOptions::default();
    // Not even with every confirmation.
    options.confirmed_revocations = 1_000;
    options.refresh = true;
    let summary = world.try_apply(&options).await.expect("is applied");
    assert_eq!(summary.progress.devices, 0);
    check_untouched(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_manifest_revokes_nothing() {
    let whole = "name,state\nsensor-1,present\nsensor-2,present\nsensor-3,present\nsensor-4,present\nsensor-5,present\n";
    let world = World::new(emulator(), "", whole);
    world.apply().await;
    let mut options = ApplyOptions::default();
    options.confirmed_revocations = 1_000;
    let (mut refused, mut applied) = (0, 0);
    for len in 0..whole.len() {
        world.write("devices.csv", &whole[..len]);
        match world.try_apply(&options).await {
            // The row that was cut in its middle may be a name of its own.
            Ok(summary) => {
                assert_eq!(summary.progress.revoked, 0, "{len}");
                applied += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > 50 && applied > 5,
        "{refused} were refused, {applied} were applied"
    );
    let active = world.active().await;
    for number in 1..=5 {
        assert_eq!(active[&format!("sensor-{number}")], 1);
    }
    assert_eq!(world.count(Operation::Delete), 0);
}

#[tokio::test(start_paused = true)]
async fn with_a_wrong_row_nothing_is_done() {
    let world = World::new(
        emulator(),
        "",
        "name,days\nsensor-1,30\nsensor-2,soon\nsensor-1,10\n",
    );
    let error = world.try_apply(&ApplyOptions::default()).await;
    let error = error.expect_err("rows are wrong").to_string();
    let error = error.replace(&world.folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(error);
    assert_eq!(world.count(Operation::Any), 0);
    assert!(!world.path("devices").exists());
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_missing_is_named() {
    let world = World::new(emulator(), "", &manifest(5));
    world.apply().await;
    std::fs::remove_file(world.path("devices.csv")).expect("is removed");
    let error = world.try_apply(&ApplyOptions::default()).await;
    let error = error.expect_err("there is none").to_string();
    assert!(error.contains("devices.csv"), "{error}");
    check_untouched(&world).await;
}
