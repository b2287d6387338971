//! The command line as clap sees it.

use clap::{Parser, Subcommand};

use crate::commands;

/// Manage Cloudflare API Shield's mTLS client certificates
#[derive(Debug, Parser)]
#[command(name = "shieldcert", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "emulator")]
    Emulator(commands::emulator::Emulator),
}

impl Cli {
    pub(crate) async fn run(self) -> commands::Result {
        match self.command {
            #[cfg(feature = "emulator")]
            Command::Emulator(command) => command.run().await,
        }
    }
}
