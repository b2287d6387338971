//! The real client against the emulator through a network that loses, delays and corrupts messages, on a paused clock.
//! Everything is drawn from one seed, so a seed can be replayed.
//!
//! - `network`: the network between a client and the service, and the history.
//! - `record`: the outcomes of operations and of a seed.
//! - `world`: a zone, several clients, and what they do.
//! - `promises`: what must hold afterwards.
//! - `sabotage`: clients broken on purpose, to prove that the simulation notices.

mod network;
mod promises;
mod record;
mod sabotage;
mod secrets;
mod world;

pub use record::Outcome;
pub use sabotage::Sabotage;

/// Runs one seed. Must be called outside of a runtime.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    // What the client draws itself, for example jitter.
    fastrand::seed(seed);
    secrets::watch();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut outcome = runtime.block_on(world::run(seed, sabotage));
    outcome.broken.extend(secrets::found());
    outcome
}

/// Returns the command that replays a seed.
pub fn replay(seed: u64, sabotage: Option<Sabotage>) -> String {
    match sabotage {
        None => format!("cargo xtask simulate --seed {seed}"),
        Some(sabotage) => format!("cargo xtask simulate --seed {seed} --sabotage {sabotage}"),
    }
}
