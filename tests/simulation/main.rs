//! Runs seeds of the simulation, or sequences of faults; see `cargo xtask simulate --help`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use jiff::SignedDuration;
use shieldcert_tests::simulation::{
    Outcome, Sequence, for_each, play, play_all, replay, replay_fleet, replay_sequence, run,
    run_fleet, run_fleet_with_history, run_with_history,
};

/// Run the client against the emulator, which loses, delays and corrupts messages, and lies
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Arguments {
    /// Run this seed and print everything that happens
    #[arg(long, conflicts_with_all = ["seeds", "run_for", "from", "exhaustive"])]
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
    /// Succeed at the first seed that breaks a promise whose report begins with this, and fail if none does
    #[arg(long, value_name = "PROMISE")]
    expect: Option<String>,
    /// Play every sequence of up to this many faults instead: of an issue, a list of three pages and a wait
    #[arg(long, value_name = "FAULTS", num_args = 0..=1, default_missing_value = "3")]
    exhaustive: Option<u32>,
    /// Run a fleet whose process crashes instead
    #[arg(long, conflicts_with_all = ["exhaustive", "sequence"])]
    fleet: bool,
    /// Play this sequence, such as 'issue: lose-response; -; html'
    #[arg(long, conflicts_with_all = ["seed", "seeds", "run_for", "from", "exhaustive"])]
    sequence: Option<Sequence>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "give a number with its unit, such as 10m or 90s".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it can't be negative".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_kept = if let Some(seed) = arguments.seed {
        one_seed(seed, arguments.fleet)
    } else if let Some(sequence) = &arguments.sequence {
        one_sequence(sequence)
    } else if let Some(length) = arguments.exhaustive {
        sequences(length)
    } else {
        seeds(&arguments)
    };
    match is_kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn one_seed(seed: u64, is_fleet: bool) -> bool {
    let outcome = match is_fleet {
        true => run_fleet_with_history(seed),
        false => run_with_history(seed),
    };
    print_all(&outcome.history, &outcome.broken);
    println!("seed {seed}: {:?}", outcome.tally);
    outcome.broken.is_empty()
}

fn one_sequence(sequence: &Sequence) -> bool {
    let played = play(sequence);
    print_all(&played.history, &played.broken);
    println!("{sequence} → {}", played.end);
    played.broken.is_empty()
}

fn print_all(history: &[String], broken: &[String]) {
    for line in history {
        println!("{line}");
    }
    for broken in broken {
        eprintln!("broken: {broken}");
    }
}

/// What seeds have shown so far.
struct Findings {
    finished: u64,
    failed: u64,
    /// The first seed that failed, and what happened in it.
    first: Option<(u64, Vec<String>)>,
    tally: BTreeMap<String, u64>,
    is_expected_seen: bool,
    progress: Progress,
}

fn seeds(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let end = match arguments.run_for {
        Some(_) => u64::MAX,
        None => arguments.from.saturating_add(arguments.seeds),
    };
    let run: fn(u64) -> Outcome = if arguments.fleet { run_fleet } else { run };
    let replay: fn(u64) -> String = if arguments.fleet {
        replay_fleet
    } else {
        replay
    };
    let findings = Mutex::new(Findings {
        finished: 0,
        failed: 0,
        first: None,
        tally: BTreeMap::new(),
        is_expected_seen: false,
        progress: Progress::start(),
    });
    for_each(
        arguments.from..end,
        || (),
        |(), seed| {
            let outcome = run(seed);
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.finished += 1;
            for (kind, times) in &outcome.tally {
                *findings.tally.entry(kind.clone()).or_default() += u64::from(*times);
            }
            if !outcome.broken.is_empty() {
                findings.failed += 1;
                let is_expected = |broken: &&String| match &arguments.expect {
                    Some(expected) => broken.starts_with(expected.as_str()),
                    None => false,
                };
                if let Some(broken) = outcome.broken.iter().find(is_expected) {
                    if !findings.is_expected_seen {
                        println!("seed {seed} shows {broken}");
                    }
                    findings.is_expected_seen = true;
                    return ControlFlow::Break(());
                }
                if arguments.expect.is_none() {
                    println!("seed {seed} broke a promise: {}", outcome.broken.join("; "));
                    println!("  replay it with: {}", replay(seed));
                }
                findings.first.get_or_insert((seed, outcome.history));
            }
            let Findings {
                finished, failed, ..
            } = *findings;
            findings.progress.report("seeds", finished, failed);
            match arguments.run_for {
                Some(limit) if started.elapsed() >= limit => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        },
    );
    let findings = findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if arguments.expect.is_some() {
        return findings.is_expected_seen;
    }
    println!(
        "{} seeds in {:.1?}, {} of them broke a promise",
        findings.finished,
        started.elapsed(),
        findings.failed
    );
    for (kind, times) in &findings.tally {
        println!("  {times:>9}  {kind}");
    }
    if let Some((seed, history)) = &findings.first {
        println!("\nwhat happened in seed {seed}:");
        for line in history {
            println!("{line}");
        }
        println!("\nreplay it with: {}", replay(*seed));
    }
    findings.failed == 0
}

fn sequences(length: u32) -> bool {
    let started = Instant::now();
    let progress = Mutex::new((Progress::start(), 0, 0));
    let report = play_all(length, |sequence, played| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, finished, failed) = &mut *progress;
        *finished += 1;
        if !played.broken.is_empty() {
            *failed += 1;
            // The first ones are enough to see what they have in common.
            if *failed <= 20 {
                println!("{}", played.broken.join("; "));
                println!("  replay it with: {}", replay_sequence(sequence));
            }
        }
        progress.report("sequences", *finished, *failed);
        ControlFlow::Continue(())
    });
    println!(
        "{} sequences of up to {length} faults in {:.1?}, {} of them broke a promise",
        report.sequences,
        started.elapsed(),
        report.failed.len()
    );
    for (end, times) in &report.ends {
        println!("  {times:>9}  {end}");
    }
    report.failed.is_empty()
}

/// Says every few seconds on stderr how far it is.
struct Progress {
    started: Instant,
    reported: Instant,
}

impl Progress {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            reported: now,
        }
    }

    fn report(&mut self, what: &str, finished: u64, failed: u64) {
        if self.reported.elapsed() < Duration::from_secs(5) {
            return;
        }
        self.reported = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let speed = finished as f64 / seconds;
        eprintln!(
            "{finished} {what} in {seconds:.0} s, {speed:.0} a second, {failed} broke a promise"
        );
    }
}
