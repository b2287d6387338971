//! The workspace's own tasks. `cargo xtask --help` lists them.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

mod api_snapshot;
mod bench;
mod bump;
mod dist;
#[cfg(test)]
mod fuzz;
mod generate;
mod imports;
mod msrv;
mod openapi;
mod output;
mod public_api;
mod published;
mod regen;
mod revision;
mod sabotage;
mod spec;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod user_build;
mod workspace;

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
        /// Write nothing; print the differences, and fail if there are any
        #[arg(long)]
        check: bool,
    },
    /// Import a new document of upstream, or compare two documents
    Spec {
        #[command(subcommand)]
        task: spec::Task,
    },
    /// Check that within each crate files import each other one way
    Imports,
    /// Compare each crate's stated minimum Rust version with those of its dependencies
    Msrv,
    /// List the public API of each published crate in its public-api.txt
    PublicApi {
        /// Write nothing; print the differences, and fail if there are any
        #[arg(long)]
        check: bool,
    },
    /// Write the version of the next release everywhere, and date the changelog
    Bump {
        /// The version, such as 0.2.0
        version: semver::Version,
    },
    /// Build wheels and the release archive, with their sums, in target/dist
    Dist(dist::Options),
    /// Run the client against the emulator through a network that loses, delays and corrupts messages
    #[command(disable_help_flag = true)]
    Simulate {
        /// Arguments of the simulation; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check that the simulation notices each way to break the client in tests/simulation/sabotage
    Sabotage(sabotage::Options),
    /// Compare Shieldcert's performance with its alternatives
    Bench(bench::Options),
    /// Run a command for `bench`, and print the resources that it used
    #[command(hide = true)]
    Measured {
        /// The command with its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Runs the simulation, a program of the tests' package: this package then builds fast, without the client.
fn simulate(arguments: &[String]) -> anyhow::Result<ExitCode> {
    output::print_status("building the simulation for release; the first build takes some minutes");
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release"])
        .args(["--package", "shieldcert-tests", "--bin", "simulate", "--"])
        .args(arguments)
        .status()
        .context("can't run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    match task {
        Task::Regen { check } => regen::run(root, check),
        Task::Spec { task } => spec::run(root, task),
        Task::Imports => imports::run(root),
        Task::Msrv => msrv::run(root),
        Task::PublicApi { check } => api_snapshot::run(root, check),
        Task::Bump { version } => bump::run(root, &version),
        Task::Dist(options) => dist::run(root, &options),
        Task::Simulate { arguments } => simulate(&arguments),
        Task::Sabotage(options) => sabotage::run(root, &options),
        Task::Bench(options) => bench::run(root, &options),
        Task::Measured { command } => bench::measured(&command),
    }
}

fn main() -> ExitCode {
    if let Some(code) = api_snapshot::run_as_rustdoc() {
        return code;
    }
    generate::silence_progenitor();
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            output::print_status(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_task_has_a_help_text() {
        fn help(command: &mut clap::Command, texts: &mut Vec<String>) {
            texts.push(command.render_long_help().to_string());
            for command in command.get_subcommands_mut() {
                if command.get_name() != "help" {
                    help(command, texts);
                }
            }
        }
        let mut command = Arguments::command().term_width(100);
        command.build();
        let mut texts = Vec::new();
        help(&mut command, &mut texts);
        insta::assert_snapshot!(texts.join("\n\n----\n\n"));
    }
}
