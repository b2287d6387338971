//! Who comes first under the budget.

use shieldcert_emulator::{Fixture, Operation};
use shieldcert_fleet::Ask;

use crate::kit::{Deployer, World, ZONE, emulator};

/// One after the other, as the history of each device says.
#[tokio::test(start_paused = true)]
async fn leaked_keys_then_renewals_then_absent_then_new_devices() {
    let policy = "[limits]\nconcurrency = 1\nmax_revoke = 100\n";
    let world = World::new(
        emulator(),
        policy,
        "name,days\nabsent,365\nlater,300\nsooner,200\nleaked,365\nleft,365\n",
    );
    world.apply().await;
    world.write(
        "devices.csv",
        "name,days,state\nnew-2,365,\nnew-1,365,\nabsent,365,absent\nlater,300,\nsooner,200,\nleaked,365,\nleft,365,\n",
    );
    world.ask(Ask::Rotate, &["later", "sooner"]);
    world.ask(Ask::RotateNow, &["leaked"]);
    let journal = world.fleet().journal().expect("a journal");
    let before = journal.history(None, 10_000).expect("is read").len();
    world.apply().await;
    let mut order = Vec::<String>::new();
    for entry in &journal.history(None, 10_000).expect("is read")[before..] {
        let device = entry
            .device
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !order.contains(&device) {
            order.push(device);
        }
    }
    assert_eq!(
        order,
        ["leaked", "sooner", "later", "absent", "new-2", "new-1"]
    );
}

/// Many devices are new, and what was replaced is revoked in between.
#[tokio::test(start_paused = true)]
async fn routine_revocations_get_every_tenth_turn() {
    let policy = "[limits]\nconcurrency = 1\n";
    let rows = |from: usize, to: usize| {
        (from..=to)
            .map(|number| format!("sensor-{number}\n"))
            .collect::<String>()
    };
    let world = World::new(emulator(), policy, &format!("name\n{}", rows(1, 3)));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1", "sensor-2", "sensor-3"]);
    world.apply().await;
    tokio::time::sleep(crate::kit::DAY * 2).await;
    world.write("devices.csv", &format!("name\n{}", rows(1, 43)));
    let before = world.emulator.history().len();
    world.apply().await;
    let history = world.emulator.history();
    let asked: Vec<_> = history
        .iter()
        .skip(before)
        .filter_map(|event| event.operation)
        .filter(|operation| *operation != Operation::List)
        .collect();
    let turns: Vec<_> = (1..)
        .zip(&asked)
        .filter(|(_, operation)| **operation == Operation::Delete)
        .map(|(turn, _)| turn)
        .collect();
    assert_eq!((turns, asked.len()), (vec![10, 20, 30], 43));
}

/// What was issued before it was known that there are others is not touched by it.
#[tokio::test(start_paused = true)]
async fn certificates_of_others_are_never_touched() {
    let deploy = Deployer::succeeding();
    let world = World::new(emulator(), "[renew]\ngrace = \"0s\"\n", "name\nsensor-1\n")
        .with_deploy(&deploy);
    // The same common name, and another key.
    for _ in 0..3 {
        let added = world.emulator.add(ZONE, Fixture::new("sensor-1")).await;
        added.expect("is added");
    }
    world.apply().await;
    world.ask(Ask::RotateNow, &["sensor-1"]);
    world.refresh().await;
    world.ask(Ask::Revoke, &["sensor-1"]);
    world.refresh().await;
    assert_eq!(world.active().await["sensor-1"], 3);
}
