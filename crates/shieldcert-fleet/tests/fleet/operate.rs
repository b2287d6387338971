//! What operators see and ask for, without the service.

use shieldcert_emulator::{Emulator, Fault, Operation, ScriptedFault};
use shieldcert_fleet::{Ask, DeviceName, Hold, State};

use crate::kit::World;

fn name(text: &str) -> DeviceName {
    text.parse().expect("a name")
}

#[tokio::test]
async fn the_journal_is_counted_while_nobody_is_asked() {
    let world = World::new(
        Emulator::builder(),
        "[deploy]\ncommand = \"test $SHIELDCERT_DEVICE != sensor-2\"\n",
        "name,csr\nsensor-1,\nsensor-2,\nsensor-3,missing.csr\n",
    );
    let summary = world.apply().await;
    assert_eq!(summary.waiting[&Hold::Failed], 1);
    assert_eq!(summary.waiting[&Hold::Csr], 1);
    assert_eq!(summary.settled, 1);
    let mut expiries = 0;
    let status = world
        .fleet()
        .status(|expires| expiries += usize::from(expires.is_some()))
        .expect("a status");
    assert_eq!(expiries, 1);
    assert_eq!(status.counts.devices, 3);
    assert_eq!(status.counts.without_generation, 1);
    assert_eq!(status.counts.states[&State::Verified], 1);
    assert_eq!(status.counts.states[&State::Written], 1);
    assert!(status.counts.next_retry > status.service_time);
    assert!(status.next_renewal < status.next_expiry);
    assert_eq!(status.worker, None);
    let mut held = Vec::new();
    let listed = world
        .fleet()
        .held(|one| held.push((one.device.to_string(), one.hold)));
    listed.expect("are listed");
    assert_eq!(
        held,
        [
            ("sensor-2".to_owned(), Hold::Failed),
            ("sensor-3".to_owned(), Hold::Csr)
        ]
    );
    // What is unmanaged waits for nothing.
    world.write("devices.csv", "name\nsensor-1\n");
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    let listed = world.fleet().held(|one| panic!("{one:?}"));
    listed.expect("none");
}

#[tokio::test]
async fn what_was_given_up_waits_for_nothing_once_it_was_done_again() {
    let world = World::new(Emulator::builder(), "", "name\nsensor-1\n");
    // A folder that is in the way: its number is given up.
    let folder = world.path("devices/sensor-1/1");
    std::fs::create_dir_all(&folder).expect("is made");
    std::fs::write(folder.join("key.pem"), "mine").expect("is written");
    let first = world.apply().await;
    assert_eq!(first.waiting.get(&Hold::Failed), Some(&1), "{first:?}");
    world
        .emulator
        .advance(std::time::Duration::from_secs(3_600));
    let second = world.apply().await;
    assert!(second.is_complete(), "{second:?}");
    let status = world.fleet().status(|_| {}).expect("a status");
    assert!(status.counts.holds.is_empty(), "{status:?}");
    assert_eq!(status.counts.next_retry, None);
}

#[tokio::test]
async fn what_is_asked_for_lasts_until_it_is_done() {
    let world = World::new(
        Emulator::builder(),
        "[limits]\nmax_revoke = 0\n",
        "name\nsensor-1\nsensor-2\n",
    );
    world.apply().await;
    let fleet = world.fleet();
    let [one, two, none] = ["sensor-1", "SENSOR-2", "sensor-3"].map(name);
    let known = fleet.ask(Ask::Revoke, [&one, &none]).expect("is asked");
    assert_eq!(known, 1);
    fleet.ask(Ask::Rotate, [&two]).expect("is asked");
    // A failure keeps it.
    let quota = Fault::named("quota");
    world
        .emulator
        .script([ScriptedFault::next(Operation::Create, quota).times(1_000)]);
    let summary = world.apply().await;
    assert_eq!((summary.progress.issued, summary.progress.revoked), (0, 1));
    let asks = fleet.status(|_| {}).expect("a status").counts.asks;
    assert_eq!((asks[&Ask::Revoke], asks[&Ask::Rotate]), (1, 1));
    world.emulator.clear_script();
    let summary = world.apply().await;
    assert_eq!((summary.progress.issued, summary.progress.revoked), (1, 0));
    let asks = fleet.status(|_| {}).expect("a status").counts.asks;
    assert_eq!(asks.into_iter().collect::<Vec<_>>(), [(Ask::Revoke, 1)]);
    let (ask, generations) = fleet
        .journal()
        .expect("a journal")
        .generations(&one)
        .expect("is read")
        .expect("is known");
    assert_eq!(ask, Some(Ask::Revoke));
    assert_eq!(generations.len(), 1);
    assert_eq!(generations[0].state, State::Revoked);
}
