//! `cargo xtask bench`: compares Shieldcert's performance with its alternatives', on this machine.
//!
//! Every [`contender`] is a process of its own, measured from outside ([`measure`]), in turns with the others
//! ([`outcome`]), against the [`emulator`]. Its result is checked against what is in the zone; a wrong result gets no
//! figures. [`report`] formats the outcomes.
//!
//! Nothing here depends on the tasks for the spec.

mod contender;
mod emulator;
mod instructions;
mod machine;
mod measure;
mod outcome;
mod peer;
mod programs;
mod report;
mod run;
mod scenario;
mod setup;
mod statistics;
mod tally;

pub(crate) use measure::measured;
pub(crate) use run::{Options, run};
