//! The settings of a run.

use std::path::PathBuf;

use super::peer::Peers;
use super::programs::Programs;

/// A run of the benchmark.
pub(super) struct Bench {
    pub(super) rounds: u32,
    pub(super) sizes: Sizes,
    pub(super) programs: Programs,
    pub(super) peers: Peers,
    pub(super) with_peers: bool,
    pub(super) root: PathBuf,
    /// Ignored by git. Holds what is kept between runs.
    pub(super) folder: PathBuf,
}

/// The sizes of the scenarios.
pub(super) struct Sizes {
    pub(super) listed: u32,
    pub(super) streamed: u32,
    pub(super) issued: u32,
    pub(super) revoked: u32,
    pub(super) gets: u32,
    /// The duration of load, in seconds.
    pub(super) load: u32,
}

impl Sizes {
    pub(super) const FULL: Self = Self {
        listed: 10_000,
        streamed: 200_000,
        issued: 2_000,
        revoked: 500,
        gets: 5_000,
        load: 5,
    };
    pub(super) const QUICK: Self = Self {
        listed: 300,
        streamed: 600,
        issued: 50,
        revoked: 20,
        gets: 50,
        load: 1,
    };
}
