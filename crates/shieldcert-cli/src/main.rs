#![doc = include_str!("../README.md")]

mod args;
mod cli;
mod commands;
mod context;
mod credentials;
mod exit_code;
mod failure;
mod interrupts;
mod known_ids;
#[cfg(feature = "emulator")]
mod local;
mod log;
mod output;

use clap::Parser;

use crate::cli::Cli;
use crate::exit_code::ExitCode;

fn main() -> ExitCode {
    // A usage error ends the process here.
    Cli::parse().run()
}
