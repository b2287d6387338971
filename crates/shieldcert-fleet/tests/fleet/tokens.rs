//! Tokens that the service refuses.

use std::fs;
use std::time::Duration;

use shieldcert_emulator::{EmulatorBuilder, Operation, RateLimit};
use shieldcert_fleet::{ApplyOptions, Hold};

use crate::kit::{World, ZONE, ZONE_B, emulator, manifest};

fn with_tokens() -> EmulatorBuilder {
    emulator().token("writes").read_only_token("reads")
}

/// Two zones with a budget each, whose tokens are in files.
fn two_budgets(manifest: &str) -> World {
    let policy = format!(
        "[zones.a]\nid = \"{ZONE}\"\nbudget = \"a\"\n[zones.b]\nid = \"{ZONE_B}\"\nbudget = \"b\"\n\
         [budgets.a]\ntoken_file = \"token-a\"\n[budgets.b]\ntoken_file = \"token-b\"\n"
    );
    World::with_policy(with_tokens(), &policy, manifest).with_tokens()
}

const FOUR: &str = "name,zone\nsensor-1,a\nsensor-2,b\nsensor-3,a\nsensor-4,b\n";

#[tokio::test(start_paused = true)]
async fn a_403_in_one_zone_does_not_stop_the_other() {
    let world = two_budgets(FOUR);
    world.write("token-a", "reads\n");
    world.write("token-b", "writes\n");
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 2, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::Permission), Some(&2));
    assert_eq!(world.active_in(ZONE_B).await.len(), 2);
    assert_eq!(world.active_in(ZONE).await.len(), 0);
    let journal = world.history("sensor-1");
    let problem = journal.iter().rev().find_map(|entry| entry.detail.clone());
    assert!(
        problem.is_some_and(|problem| problem.contains("403")),
        "{journal:?}"
    );
    // The next run reads the token again.
    world.write("token-a", "writes\n");
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.active_in(ZONE).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_can_not_be_read_holds_up_its_own_zones_alone() {
    let world = two_budgets(FOUR);
    world.write("token-b", "writes\n");
    let summary = world.apply().await;
    assert_eq!(summary.progress.issued, 2, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::Permission), Some(&2));
    let (plan, _) = world.plan().await;
    assert_eq!(plan.holds.get(&Hold::Permission), Some(&2));
}

/// The file is replaced while requests with the old token are in flight: all of them are refused, and go on with the new
/// one.
#[tokio::test]
async fn after_a_403_the_token_is_read_again() {
    for concurrency in [1, 32] {
        let policy = format!(
            "[zones.main]\nid = \"{ZONE}\"\n[budgets.default]\n\
             token_command = \"if [ -e used ]; then echo writes; else touch used; echo reads; fi\"\n\
             [limits]\nconcurrency = {concurrency}\n"
        );
        // It says its rate limit, so that requests don't wait for each other.
        let slow = with_tokens()
            .rate_limit(RateLimit::default())
            .latency(Duration::from_millis(20));
        let world = World::with_policy(slow, &policy, &manifest(20)).with_tokens();
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{concurrency}: {summary:?}");
        assert_eq!(summary.progress.issued, 20);
        assert_eq!(world.active().await.len(), 20);
        assert!(world.count(Operation::Create) <= 20 + concurrency);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_token_is_not_tried_again_and_again() {
    let policy = format!(
        "[zones.main]\nid = \"{ZONE}\"\n[budgets.default]\ntoken_file = \"token\"\n\
         [limits]\nconcurrency = 1\n"
    );
    let world = World::with_policy(with_tokens(), &policy, &manifest(20)).with_tokens();
    world.write("token", "reads");
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::Permission), Some(&20));
    assert_eq!(world.count(Operation::Create), 1);
}

/// A full zone's devices don't move to one whose token may not write.
#[tokio::test(start_paused = true)]
async fn nothing_moves_to_a_zone_that_refuses_the_token() {
    let policy = format!(
        "[zones.a]\nid = \"{ZONE}\"\nbudget = \"a\"\n[zones.b]\nid = \"{ZONE_B}\"\nbudget = \"b\"\n\
         [budgets.a]\ntoken_file = \"token-a\"\n[budgets.b]\ntoken_file = \"token-b\"\n\
         [limits]\nconcurrency = 1\n"
    );
    let limited = with_tokens().quota(1);
    let world = World::with_policy(limited, &policy, &manifest(12)).with_tokens();
    world.write("token-a", "writes");
    world.write("token-b", "reads");
    let first = world.apply().await;
    assert_eq!(first.progress.issued, 1, "{first:?}");
    let (quota, permission) = (
        first.waiting[&Hold::Quota],
        first.waiting[&Hold::Permission],
    );
    assert_eq!(quota + permission, 11);
    assert!(quota > 0, "some of them wait for a place: {first:?}");
}

#[tokio::test(start_paused = true)]
async fn no_token_is_written_anywhere() {
    let world = two_budgets(FOUR);
    world.write("token-a", "reads-and-nothing-else-0123456789");
    world.write("token-b", "writes");
    let _ = world.try_apply(&ApplyOptions::default()).await;
    for file in ["journal.db", "journal.db-wal"] {
        let bytes = fs::read(world.path(file)).unwrap_or_default();
        let token = b"reads-and-nothing-else-0123456789";
        assert!(
            !bytes.windows(token.len()).any(|window| window == token),
            "{file}"
        );
    }
}
