//! A bounded run of the simulation, and the proof that it can fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use shieldcert_tests::simulation::{Sabotage, replay, run};

/// Runs seeds on all cores. Returns the ones that broke a promise.
fn seeds(count: u64, sabotage: Option<Sabotage>, stop_at_first: bool) -> Vec<(u64, Vec<String>)> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let tally = Mutex::new(BTreeMap::<String, u32>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut failed_so_far = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if seed >= count || stop_at_first && !failed_so_far.is_empty() {
                        break;
                    }
                    drop(failed_so_far);
                    let outcome = run(seed, sabotage);
                    for (kind, times) in outcome.tally {
                        *tally.lock().expect("not poisoned").entry(kind).or_default() += times;
                    }
                    failed_so_far = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if !outcome.broken.is_empty() {
                        failed_so_far.push((seed, outcome.broken));
                    }
                }
            });
        }
    });
    println!(
        "{count} seeds: {:?}",
        tally.into_inner().expect("not poisoned")
    );
    let mut failed = failed.into_inner().expect("not poisoned");
    failed.sort();
    failed
}

#[test]
fn every_promise_holds_in_2000_seeds() {
    let failed = seeds(2000, None, false);
    for (seed, broken) in failed.iter().take(5) {
        println!("{}\n  {}", replay(*seed, None), broken.join("\n  "));
    }
    if let Some((seed, _)) = failed.first() {
        println!(
            "what happened in seed {seed}:\n{}",
            run(*seed, None).history.join("\n")
        );
    }
    assert!(
        failed.is_empty(),
        "{} seeds broke a promise; the first are above",
        failed.len()
    );
}

#[test]
fn each_sabotage_is_caught_within_200_seeds() {
    for sabotage in Sabotage::ALL {
        let failed = seeds(200, Some(sabotage), true);
        let (seed, broken) = failed
            .first()
            .unwrap_or_else(|| panic!("{sabotage} is not caught"));
        println!(
            "{sabotage}: {} shows {}",
            replay(*seed, Some(sabotage)),
            broken[0]
        );
        let promise = match sabotage {
            Sabotage::RetryBlindly | Sabotage::BreakSearch => "promise 1",
            Sabotage::IgnoreDrift => "promise 2",
            Sabotage::IgnoreRetryAfter => "promise 5",
        };
        assert!(
            broken.iter().any(|broken| broken.contains(promise)),
            "{sabotage}: {broken:?}"
        );
    }
}
