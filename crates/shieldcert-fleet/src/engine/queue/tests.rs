use super::*;
use crate::journal::{Generation, Spec};

fn task(class: Class, key: i64) -> Task {
    Task {
        class,
        key,
        device: key,
        is_open: false,
    }
}

fn drain(tasks: impl IntoIterator<Item = Task>) -> Vec<Class> {
    let queue = Queue::new(tasks.into_iter().collect());
    std::iter::from_fn(|| queue.next())
        .map(|task| task.class)
        .collect()
}

#[test]
fn the_classes_get_their_turns_in_order() {
    use Class::{Absent, Leaked, New, Renewal};
    let order = drain([New, Absent, Renewal, Leaked, New, Renewal].map(|class| task(class, 1)));
    assert_eq!(order, [Leaked, Renewal, Renewal, Absent, New, New]);
}

#[test]
fn within_a_class_the_smallest_key_goes_first() {
    let queue = Queue::new(vec![
        task(Class::Renewal, 30),
        task(Class::Renewal, i64::MIN),
        task(Class::Renewal, 10),
    ]);
    let keys: Vec<_> = std::iter::from_fn(|| queue.next())
        .map(|task| task.key)
        .collect();
    assert_eq!(keys, [i64::MIN, 10, 30]);
}

#[test]
fn routine_revocations_get_every_tenth_turn() {
    let new = (0..100).map(|key| task(Class::New, key));
    let routine = (0..20).map(|key| task(Class::Routine, key));
    let order = drain(new.chain(routine));
    assert_eq!(order.len(), 120);
    let turns: Vec<_> = (1..)
        .zip(&order)
        .filter(|(_, class)| **class == Class::Routine)
        .map(|(turn, _)| turn)
        .collect();
    let tenths: Vec<_> = (1..=11).map(|turn| turn * 10).collect();
    assert_eq!(turns[..11], tenths);
    // What is left of them comes when nothing else does.
    assert_eq!(turns[11..], (112..=120).collect::<Vec<_>>());
}

#[test]
fn without_anything_else_routine_revocations_get_every_turn() {
    assert_eq!(drain((0..5).map(|key| task(Class::Routine, key))).len(), 5);
    assert_eq!(drain([]).len(), 0);
}

/// A generation whose certificate expires then.
fn generation(number: u32, state: State, reason: Reason, expires: Option<i64>) -> Generation {
    let spec = Spec {
        subject: "{}".to_owned(),
        key: "ecdsa-p256".to_owned(),
        days: 365,
    };
    let zone = "0".repeat(32).parse().expect("an id");
    let time = |seconds| Timestamp::from_second(seconds).expect("a time");
    Generation {
        state,
        not_after: expires.map(time),
        ..Generation::planned(number, reason, zone, spec)
    }
}

#[test]
fn a_step_says_when_its_device_gets_its_turn() {
    let old = || generation(1, State::Verified, Reason::New, Some(5_000));
    let second = |state| generation(2, state, Reason::Time, None);
    let first = |state| generation(1, state, Reason::New, None);
    let revoke = |reason| Step::Revoke(1, reason);
    for (generations, step, class, key) in [
        (vec![old()], revoke(RevokeReason::Leaked), Class::Leaked, 7),
        (vec![old()], revoke(RevokeReason::Absent), Class::Absent, 7),
        (vec![old()], revoke(RevokeReason::Asked), Class::Absent, 7),
        (
            vec![first(State::Sending)],
            Step::Settle(1),
            Class::Absent,
            7,
        ),
        (
            vec![old()],
            revoke(RevokeReason::Replaced),
            Class::Routine,
            7,
        ),
        (
            vec![old()],
            revoke(RevokeReason::Outdated),
            Class::Routine,
            7,
        ),
        (
            vec![old()],
            revoke(RevokeReason::Expired),
            Class::Routine,
            7,
        ),
        (
            vec![first(State::Keyed)],
            Step::Abandon(1),
            Class::Routine,
            7,
        ),
        (vec![], Step::Begin(Reason::New), Class::New, 7),
        // Before other renewals of which more time is left.
        (
            vec![old()],
            Step::Begin(Reason::Time),
            Class::Renewal,
            5_000,
        ),
        (
            vec![old()],
            Step::Begin(Reason::Asked),
            Class::Renewal,
            5_000,
        ),
        (
            vec![old(), second(State::Keyed)],
            Step::Send(2),
            Class::Renewal,
            5_000,
        ),
        (
            vec![old(), second(State::Sending)],
            Step::Resume(2),
            Class::Renewal,
            5_000,
        ),
        (
            vec![old(), second(State::Written)],
            Step::Deploy(2),
            Class::Renewal,
            5_000,
        ),
        // Without a certificate, before all others.
        (
            vec![second(State::Revoked)],
            Step::Begin(Reason::Lost),
            Class::Renewal,
            i64::MIN,
        ),
        // What was begun, before what was not.
        (
            vec![first(State::Keyed)],
            Step::Send(1),
            Class::New,
            i64::MIN,
        ),
        (
            vec![first(State::Sending)],
            Step::Resume(1),
            Class::New,
            i64::MIN,
        ),
    ] {
        let snapshot = Snapshot {
            id: Some(7),
            name: "sensor-1".parse().expect("a name"),
            device: None,
            ask: None,
            generations,
        };
        let task = Task::of(&snapshot, 7, &step);
        assert_eq!(
            (task.class, task.key, task.device),
            (class, key, 7),
            "{step:?}"
        );
    }
}

#[test]
fn the_open_request_of_a_leaked_key_comes_first() {
    let spec = Spec {
        subject: String::new(),
        key: "ed25519".to_owned(),
        days: 90,
    };
    let zone = "023e105f4ecef8ad9ca31a8372d0c353".parse().expect("an id");
    let mut generation = Generation::planned(1, Reason::New, zone, spec);
    generation.state = State::Sending;
    let class = |leaked: bool| {
        let snapshot = Snapshot {
            id: Some(1),
            name: "sensor-1".parse().expect("a name"),
            device: None,
            ask: None,
            generations: vec![Generation {
                leaked,
                ..generation.clone()
            }],
        };
        Task::of(&snapshot, 1, &Step::Settle(1)).class
    };
    assert_eq!((class(true), class(false)), (Class::Leaked, Class::Absent));
}
