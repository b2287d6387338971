//! The real client against the emulator through a network that loses, delays and corrupts messages, on a paused clock.
//! Everything is drawn from one seed, so a seed can be replayed.
//!
//! - `settings`: what the service and the network are like, drawn for each seed; `catalogue` knows the emulator's faults.
//! - `network`: a client's way to the service, which adds to the `history`.
//! - `service`: the service as it is, for other tools and for the truth.
//! - `world`: a zone, several clients and other tools, and what they do; `record` has the outcomes.
//! - `promises`: what must hold afterwards; `secrets` watches the trace.
//! - `exhaustive`: instead of chance, every short sequence of faults.
//!
//! `sabotage` has patches that break the client. `cargo xtask sabotage` proves that each is noticed.

mod catalogue;
mod exhaustive;
mod history;
mod network;
mod parallel;
mod promises;
mod record;
mod secrets;
mod service;
mod settings;
mod world;

pub use exhaustive::{Played, Report, Sequence, play, play_all, replay_sequence};
pub use parallel::for_each;
pub use record::Outcome;

/// Runs one seed. Must be called outside of a runtime.
pub fn run(seed: u64) -> Outcome {
    // What the client draws itself, for example jitter.
    fastrand::seed(seed);
    secrets::watch();
    let mut outcome = world::start().block_on(world::run(seed));
    outcome.broken.extend(secrets::found());
    outcome
}

/// Returns the command that replays a seed.
pub fn replay(seed: u64) -> String {
    format!("cargo xtask simulate --seed {seed}")
}
