use super::*;

fn gate() -> Gate {
    Gate::new(10)
}

fn fail(gate: &Gate) {
    gate.enter().expect("may begin").failed();
}

#[tokio::test(start_paused = true)]
async fn ten_failures_in_a_row_pause_deployment() {
    let gate = gate();
    for _ in 0..9 {
        fail(&gate);
    }
    assert!(gate.enter().is_some(), "nine are not enough");
    fail(&gate);
    assert!(gate.enter().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_success_in_between_begins_the_count_anew() {
    let gate = gate();
    for _ in 0..9 {
        fail(&gate);
    }
    gate.enter().expect("may begin").succeeded();
    for _ in 0..9 {
        fail(&gate);
    }
    assert!(gate.enter().is_some());
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_one_device_is_tried_with_growing_pauses() {
    let gate = gate();
    for _ in 0..10 {
        fail(&gate);
    }
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let mut pause = 0;
        while gate.enter().is_none() {
            tokio::time::advance(Duration::from_secs(1)).await;
            pause += 1;
        }
        pauses.push(pause);
        let one = gate.enter().expect("it is time");
        assert!(gate.enter().is_none(), "one at a time");
        one.failed();
    }
    assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
}

#[tokio::test(start_paused = true)]
async fn one_success_resumes() {
    let gate = gate();
    for _ in 0..10 {
        fail(&gate);
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    gate.enter().expect("it is time").succeeded();
    let passes: Vec<_> = (0..32).map(|_| gate.enter().is_some()).collect();
    assert_eq!(passes, [true; 32]);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_was_dropped_leaves_its_place_to_another() {
    let gate = gate();
    for _ in 0..10 {
        fail(&gate);
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    drop(gate.enter().expect("it is time"));
    assert!(gate.enter().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_asks_has_one_device_tried_at_once() {
    let gate = gate();
    for _ in 0..10 {
        fail(&gate);
    }
    assert!(gate.enter().is_none());
    gate.try_now();
    let one = gate.enter().expect("it was asked for");
    assert!(gate.enter().is_none(), "one at a time");
    one.succeeded();
    assert!(gate.enter().is_some());
}
