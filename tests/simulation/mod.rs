//! The real client against the emulator through a network that loses, delays and corrupts messages, on a paused clock.
//! Everything is drawn from one seed, so a seed can be replayed.
//!
//! - `settings`: what the service and the network are like, drawn for each seed; `catalogue` knows the emulator's faults.
//! - `network`: a client's way to the service, which adds to the `history`.
//! - `service`: the service as it is, for other tools and for the truth.
//! - `world`: a zone, several clients and other tools. `task` is a user of a client, who issues as `issuing` says and
//!   waits for `transition`s; `outage` is what nobody can use. `record` has the outcomes.
//! - `seed`: draws a world, lets its tasks run, and checks the `promises` afterwards.
//! - `promises`: what must hold afterwards; `secrets` watches the trace.
//! - `fleet`: a fleet whose process crashes.
//! - `exhaustive`: instead of chance, every short sequence of faults.
//!
//! `sabotage` has patches that break the client. `cargo xtask sabotage` proves that each is noticed.

mod catalogue;
mod exhaustive;
mod fleet;
mod history;
mod issuing;
mod network;
mod outage;
mod parallel;
mod promises;
mod record;
mod secrets;
mod seed;
mod service;
mod settings;
mod task;
mod transition;
mod world;

pub use exhaustive::{Played, Report, Sequence, play, play_all, replay_sequence};
pub use parallel::for_each;
pub use record::Outcome;

/// Runs one seed. If it breaks a promise, it is run again for the history. Must be called outside of a runtime.
pub fn run(seed: u64) -> Outcome {
    let mut outcome = run_once(seed, false);
    if !outcome.broken.is_empty() {
        outcome.history = run_with_history(seed).history;
    }
    outcome
}

/// Runs one seed and keeps its history. Must be called outside of a runtime.
pub fn run_with_history(seed: u64) -> Outcome {
    run_once(seed, true)
}

fn run_once(seed: u64, keeps_history: bool) -> Outcome {
    // What the client draws itself, for example jitter.
    fastrand::seed(seed);
    secrets::watch();
    let mut outcome = world::start().block_on(seed::run(seed, keeps_history));
    outcome.broken.extend(secrets::found());
    outcome
}

/// Runs one seed of a fleet. If it breaks a promise, it is run again for the history. Must be called outside of a runtime.
pub fn run_fleet(seed: u64) -> Outcome {
    let mut outcome = run_fleet_once(seed, false);
    if !outcome.broken.is_empty() {
        outcome.history = run_fleet_with_history(seed).history;
    }
    outcome
}

/// Runs one seed of a fleet and keeps its history. Must be called outside of a runtime.
pub fn run_fleet_with_history(seed: u64) -> Outcome {
    run_fleet_once(seed, true)
}

fn run_fleet_once(seed: u64, keeps_history: bool) -> Outcome {
    fastrand::seed(seed);
    secrets::watch();
    let mut outcome = world::start().block_on(fleet::run(seed, keeps_history));
    outcome.broken.extend(secrets::found());
    outcome
}

/// Returns the command that replays a seed of a fleet.
pub fn replay_fleet(seed: u64) -> String {
    format!("cargo xtask simulate --fleet --seed {seed}")
}

/// Returns the command that replays a seed.
pub fn replay(seed: u64) -> String {
    format!("cargo xtask simulate --seed {seed}")
}
