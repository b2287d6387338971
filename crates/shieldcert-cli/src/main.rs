#![doc = include_str!("../README.md")]

#[cfg(feature = "emulator")]
mod args;
mod cli;
mod commands;
mod exit_code;

use std::io::{self, IsTerminal};

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::Cli;
use crate::exit_code::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // A usage error ends the process here.
    let cli = Cli::parse();
    // Standard output is for results alone.
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(LevelFilter::INFO)
        .with_target(false)
        .init();
    match cli.run().await {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::Failed
        }
    }
}
