#![doc = include_str!("../README.md")]

#[cfg(feature = "emulator")]
mod emulator;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

/// Cloudflare API Shield's mTLS client certificates.
#[derive(Debug, Parser)]
#[command(name = "shieldcert", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "emulator")]
    Emulator(emulator::Emulate),
}

#[tokio::main]
async fn main() -> ExitCode {
    // A usage error ends the process here, with exit code 2.
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    // Standard output is for results alone.
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(LevelFilter::INFO)
        .with_target(false)
        .init();
    match cli.command {
        #[cfg(feature = "emulator")]
        Command::Emulator(emulate) => emulate.run().await,
    }
}
