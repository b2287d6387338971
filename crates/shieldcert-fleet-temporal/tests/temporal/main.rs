//! Fleets on a real Temporal server, with workers as processes, beside the emulator.
//!
//! `tests/interop/temporal.sh` installs the server. If it is missing, each test prints `skipped: …` and passes, or fails
//! where `SHIELDCERT_INTEROP=require` is set, as it is in `.ci/run`.
#![cfg(unix)]

mod budgets;
mod crash;
mod holds;
mod kit;
mod lifecycle;
mod measure;
mod policy;
mod readme;
mod replay;
