//! The real client against the emulator through a network that loses, delays, repeats and lies, on a
//! clock that does not wait. Everything is drawn from one seed, and so can be replayed.
//!
//! - `network`: what lies between a client and the service, and the history of what passed.
//! - `world`: a zone, several clients, and what they do.
//! - `promises`: what must hold afterwards.
//! - `sabotage`: clients broken on purpose, to prove that the simulation notices.

mod network;
mod promises;
mod sabotage;
mod secrets;
mod world;

pub use sabotage::Sabotage;

/// What a seed led to.
pub struct Outcome {
    /// The promises that were broken; none if all is well.
    pub broken: Vec<String>,
    /// What happened, in order.
    pub history: Vec<String>,
    /// How many operations of each kind ended how.
    pub tally: std::collections::BTreeMap<String, u32>,
}

/// Runs one seed to its end. Has to be called outside of any runtime.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    // Everything that the client draws by itself, jitter for instance.
    fastrand::seed(seed);
    secrets::watch();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut outcome = runtime.block_on(world::play(seed, sabotage));
    outcome.broken.extend(secrets::found());
    outcome
}

/// The command that replays a seed.
pub fn replay(seed: u64, sabotage: Option<Sabotage>) -> String {
    match sabotage {
        None => format!("cargo xtask simulate --seed {seed}"),
        Some(sabotage) => format!("cargo xtask simulate --seed {seed} --sabotage {sabotage}"),
    }
}
