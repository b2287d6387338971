//! The workspace's own tasks. `cargo xtask --help` lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod document;
mod generate;
mod overlay;
mod regen;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Tasks of the Shieldcert workspace"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Generate shieldcert-api and shieldcert-httpmock from spec/client_certificates.yaml and spec/overlay.yaml
    Regen {
        /// Write nothing; print what differs and fail if anything does
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let outcome = match task {
        Task::Regen { check } => regen::run(check),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
