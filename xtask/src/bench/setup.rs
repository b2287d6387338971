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
    /// The devices of a fleet that is issued.
    pub(super) fleet: u32,
    /// The devices of a fleet whose run is killed.
    pub(super) killed: u32,
    /// How often a contender is killed at most. A killed fleet waits for the deadline of its open requests, half a minute.
    pub(super) kills: usize,
    /// The devices that are issued under the rate limit in simulated time.
    pub(super) limited: u32,
    /// Those that are issued with faults.
    pub(super) disturbed: u32,
    /// The devices that are planned.
    pub(super) planned: u32,
    /// The devices of the fleet that the journal's cost is measured with.
    pub(super) recorded: u32,
    /// The certificates of zones that are listed and reported.
    pub(super) reported: &'static [u32],
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
        fleet: 2_000,
        killed: 400,
        kills: usize::MAX,
        limited: 100_000,
        disturbed: 20_000,
        planned: 1_000_000,
        recorded: 2_000,
        reported: &[100_000, 1_000_000],
        load: 5,
    };
    pub(super) const QUICK: Self = Self {
        listed: 300,
        streamed: 600,
        issued: 50,
        revoked: 20,
        gets: 50,
        fleet: 20,
        killed: 100,
        kills: 1,
        limited: 1_500,
        disturbed: 100,
        planned: 1_000,
        recorded: 20,
        reported: &[1_000],
        load: 1,
    };
}
