//! Runs one seed.

use std::sync::Arc;

use fastrand::Rng;
use tokio::time::{sleep, timeout};

use super::history::History;
use super::record::Outcome;
use super::settings::Settings;
use super::task::Task;
use super::world::{CSRS, MAX_DURATION, OTHERS, SETTLED, World};
use super::{outage, promises};

/// Runs a seed and checks the promises.
pub(super) async fn run(seed: u64, keeps_history: bool) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let history = History::new(keeps_history);
    let settings = Settings::draw(&mut random);
    history.add(format_args!("{settings:?}"));
    let mut world = World::of_seed(seed, settings, history);
    world.populate(&mut random).await;
    let world = Arc::new(world);

    let mut tasks = Vec::new();
    let mut csrs = OTHERS.end;
    for client in 0..random.usize(1..=3) {
        let (zone, network) = world.connect(client, &mut random);
        for _ in 0..random.usize(1..=3) {
            let task = Task {
                world: world.clone(),
                zone: zone.clone(),
                network: network.clone(),
                client,
                random: random.fork(),
                unused: (csrs..csrs + CSRS).collect(),
                used: Vec::new(),
                steps: random.usize(1..=4),
            };
            csrs += CSRS;
            tasks.push(tokio::spawn(task.run()));
        }
    }
    if random.u8(0..10) == 0 {
        tasks.push(tokio::spawn(outage::run(world.clone(), random.fork())));
    }
    for task in tasks {
        match timeout(MAX_DURATION, task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => world
                .history
                .broken(format_args!("a client panicked: {error}")),
            Err(_) => world.history.broken("an operation does not end"),
        }
    }
    sleep(SETTLED).await;
    let record = std::mem::take(&mut *world.record());
    let held = world.service.list().await;
    promises::check(
        &record,
        &world.fixed(),
        &held,
        &world.settings,
        &world.history,
    );
    let (history, broken) = world.history.take();
    Outcome {
        broken,
        history,
        tally: record.tally,
    }
}
