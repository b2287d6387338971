//! Runs seeds of the simulation; see `cargo xtask simulate --help`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use jiff::SignedDuration;
use shieldcert_tests::simulation::{Outcome, Sabotage, replay, run};

/// Run the client against the emulator through a network that loses, delays and corrupts messages
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Arguments {
    /// Run this seed and print everything that happens
    #[arg(long, conflicts_with_all = ["seeds", "run_for", "from"])]
    seed: Option<u64>,
    /// How many seeds to run
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// Run seeds for this long instead, such as 10m or 90s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Break the clients: retry-blindly, break-search, ignore-drift or ignore-retry-after
    #[arg(long)]
    sabotage: Option<Sabotage>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "give a number with its unit, such as 10m or 90s".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it can't be negative".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed, arguments.sabotage),
        None => many(&arguments),
    }
}

fn one(seed: u64, sabotage: Option<Sabotage>) -> ExitCode {
    let outcome = run(seed, sabotage);
    for line in &outcome.history {
        println!("{line}");
    }
    for broken in &outcome.broken {
        eprintln!("broken: {broken}");
    }
    println!("seed {seed}: {:?}", outcome.tally);
    if outcome.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let finished = AtomicU64::new(0);
    let failed = Mutex::new(Vec::<(u64, Outcome)>::new());
    let tally = Mutex::new(BTreeMap::<String, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = match arguments.run_for {
                        Some(limit) => started.elapsed() >= limit,
                        None => seed - arguments.from >= arguments.seeds,
                    };
                    if is_over {
                        break;
                    }
                    let outcome = run(seed, arguments.sabotage);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    for (kind, times) in &outcome.tally {
                        *tally.entry(kind.clone()).or_default() += u64::from(*times);
                    }
                    drop(tally);
                    if !outcome.broken.is_empty() {
                        println!("seed {seed} broke a promise: {}", outcome.broken.join("; "));
                        println!("  replay it with: {}", replay(seed, arguments.sabotage));
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push((seed, outcome));
                    }
                    let so_far = finished.fetch_add(1, Ordering::Relaxed) + 1;
                    if so_far.is_multiple_of(1000) {
                        println!("{so_far} seeds in {:.0?}", started.elapsed());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let finished = finished.into_inner();
    println!(
        "{finished} seeds in {:.1?}, {} of them broke a promise",
        started.elapsed(),
        failed.len()
    );
    for (kind, times) in tally.into_inner().unwrap_or_else(PoisonError::into_inner) {
        println!("  {times:>9}  {kind}");
    }
    match failed.first() {
        None => ExitCode::SUCCESS,
        Some((seed, outcome)) => {
            println!("\nwhat happened in seed {seed}:");
            for line in &outcome.history {
                println!("{line}");
            }
            println!("\nreplay it with: {}", replay(*seed, arguments.sabotage));
            ExitCode::FAILURE
        }
    }
}
