#![doc = include_str!("../README.md")]

#[cfg(feature = "emulator")]
mod args;
mod cli;
mod commands;
mod exit_code;
#[cfg(feature = "emulator")]
mod log;

use clap::Parser;

use crate::cli::Cli;
use crate::exit_code::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // A usage error ends the process here.
    let cli = Cli::parse();
    match cli.run().await {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::Failed
        }
    }
}
