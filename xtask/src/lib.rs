//! The workspace's own tasks. `cargo xtask --help` lists them.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

mod bench;
mod diff;
mod document;
pub mod fuzz;
mod generate;
mod import;
mod msrv;
mod overlay;
mod regen;
mod spec;

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
    /// Take in a new document of upstream, or say what a change means
    Spec {
        #[command(subcommand)]
        task: spec::Task,
    },
    /// Compare each crate's stated minimum Rust version with those of its dependencies
    Msrv,
    /// Play the client against the emulator through a network that loses, delays and lies
    #[command(disable_help_flag = true)]
    Simulate {
        /// What the simulation is told; `--help` lists it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure Shieldcert beside what its users would otherwise pick
    Bench(bench::Options),
    /// Runs a command for `bench`, and prints what it took
    #[command(hide = true)]
    Measured {
        /// The command with its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Prints a line. Whoever reads may have seen enough and be gone.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The simulation is a program of the tests' package, so that this one stays quick to build.
fn simulate(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let status = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "shieldcert-tests",
        ])
        .args(["--bin", "simulate", "--"])
        .args(arguments)
        .status()
        .context("can't run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the task that the command line names.
pub fn main() -> ExitCode {
    let Arguments { task } = Arguments::parse();
    let outcome = match task {
        Task::Regen { check } => regen::root().and_then(|root| regen::run(root, check)),
        Task::Spec { task } => regen::root().and_then(|root| spec::run(root, task)),
        Task::Msrv => regen::root().and_then(msrv::run),
        Task::Simulate { arguments } => simulate(&arguments),
        Task::Bench(options) => regen::root().and_then(|root| bench::run(root, &options)),
        Task::Measured { command } => bench::measure::measured(&command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
