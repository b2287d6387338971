//! A service that is down for all requests of a client.

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use super::settings::{parse, pick};
use super::world::World;

const CLIENT: usize = 9;

/// How many calls a client makes meanwhile.
const CALLS: u32 = 50;

/// How many retries all calls of a client have together, until calls succeed again.
const RETRIES: u32 = 100;

/// Calls a service that is down.
pub(super) async fn run(world: Arc<World>, mut random: Rng) {
    let faults = [
        "respond=100%:503",
        "respond=100%:503 retry-after=0",
        "respond=100%:503 retry-after=1",
        "1015=100%",
    ];
    let chaos = parse(pick(&mut random, &faults));
    let (zone, network) = world.connect_through(chaos, CLIENT, &mut random);
    let id = "7bf7".parse().expect("an id");
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(zone.get(&id).send());
    }
    calls.join_all().await;
    let count = network.count();
    if count > CALLS + RETRIES {
        world.history.broken(format_args!(
            "promise 5: {CALLS} calls of a service that is down made {count} requests"
        ));
    }
}
