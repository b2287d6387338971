use super::*;

fn task(class: Class, key: i64) -> Task {
    Task {
        class,
        key,
        device: key,
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
