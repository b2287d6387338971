//! A bounded run of the simulation.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use shieldcert_tests::simulation::{
    Outcome, for_each, play_all, replay, replay_fleet, replay_sequence, run, run_fleet,
};

#[test]
fn every_promise_holds_in_2000_seeds() {
    hold(2000, run, replay);
}

#[test]
fn a_fleet_whose_process_crashes_is_as_its_manifest_says_in_150_seeds() {
    hold(150, run_fleet, replay_fleet);
}

/// Runs seeds, none of which may break a promise.
fn hold(seeds: u64, run: fn(u64) -> Outcome, replay: fn(u64) -> String) {
    let started = Instant::now();
    let failed = Mutex::new(BTreeMap::new());
    let tally = Mutex::new(BTreeMap::<String, u32>::new());
    for_each(
        0..seeds,
        || (),
        |(), seed| {
            let outcome = run(seed);
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            for (kind, times) in &outcome.tally {
                *tally.entry(kind.clone()).or_default() += times;
            }
            if !outcome.broken.is_empty() {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.insert(seed, outcome);
            }
            ControlFlow::Continue(())
        },
    );
    println!("{seeds} seeds in {:.1?}: {tally:?}", started.elapsed());
    let failed = failed.into_inner().expect("not poisoned");
    for (seed, outcome) in failed.iter().take(5) {
        println!("{}\n  {}", replay(*seed), outcome.broken.join("\n  "));
    }
    if let Some((seed, outcome)) = failed.first_key_value() {
        println!(
            "what happened in seed {seed}:\n{}",
            outcome.history.join("\n")
        );
    }
    let count = failed.len();
    assert_eq!(
        count, 0,
        "{count} seeds broke a promise; the first are above"
    );
}

#[test]
fn every_promise_holds_in_every_sequence_of_two_faults() {
    let started = Instant::now();
    let report = play_all(2, |_, _| ControlFlow::Continue(()));
    println!(
        "{} sequences in {:.1?}",
        report.sequences,
        started.elapsed()
    );
    for (end, times) in &report.ends {
        println!("  {times:>9}  {end}");
    }
    for (sequence, broken) in report.failed.iter().take(20) {
        println!("{}\n  {}", replay_sequence(sequence), broken.join("\n  "));
    }
    let count = report.failed.len();
    assert_eq!(
        count, 0,
        "{count} sequences broke a promise; the first are above"
    );
}
