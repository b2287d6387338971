//! The command line as clap sees it.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::args::globals::Globals;
use crate::commands::fleet::{InFolder, Placed};
use crate::commands::{self, Run};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::messages::Messages;

/// Manage Cloudflare API Shield's mTLS client certificates
#[derive(Debug, Parser)]
#[command(
    name = "shieldcert",
    version,
    arg_required_else_help = true,
    max_term_width = 120,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 rate limited or quota reached, 6 timed out, \
7 done in part, 8 outcome unknown, 10 nothing due (with --detailed-exit-code), 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    List(WithGlobals<commands::list::List>),
    Get(WithGlobals<commands::get::Get>),
    Find(WithGlobals<commands::find::Find>),

    Issue(WithGlobals<commands::issue::Issue>),
    Renew(WithGlobals<commands::renew::Renew>),
    Revoke(WithGlobals<commands::revoke::Revoke>),
    Reactivate(WithGlobals<commands::reactivate::Reactivate>),
    Wait(WithGlobals<commands::wait::Wait>),

    Verify(WithGlobals<commands::verify::Verify>),
    Export(WithGlobals<commands::export::Export>),
    Report(WithGlobals<commands::report::Report>),
    Metrics(WithGlobals<commands::metrics::Metrics>),

    Doctor(WithGlobals<commands::doctor::Doctor>),

    Fleet(Fleet),
    SystemdUnit(commands::systemd_unit::SystemdUnit),

    #[cfg(feature = "emulator")]
    Emulator(commands::emulator::Emulator),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
}

/// Keep the certificates of a fleet as its manifest says
///
/// A fleet is a folder: fleet.toml has the policy, devices.csv (or .jsonl) the devices, and journal.db what was done. `plan`
/// compares them, `apply` does what is due, and `run` keeps doing it. Each can be killed at any instant, and called again.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "\
Examples:
  shieldcert --local fleet init demo
  shieldcert --local fleet --dir demo plan
  shieldcert --local fleet --dir demo apply"
)]
struct Fleet {
    /// The folder of the fleet
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    dir: PathBuf,

    #[command(subcommand)]
    command: FleetCommand,

    #[command(flatten)]
    globals: Globals,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    Init(WithGlobals<commands::fleet::init::Init>),
    Adopt(WithGlobals<commands::fleet::adopt::Adopt>),
    Plan(WithGlobals<commands::fleet::plan::Plan>),
    Apply(WithGlobals<commands::fleet::apply::Apply>),
    Run(WithGlobals<commands::fleet::run::Run>),
    Status(WithGlobals<commands::fleet::status::Status>),
    History(WithGlobals<commands::fleet::history::History>),
    Rotate(WithGlobals<commands::fleet::ask::Rotate>),
    Revoke(WithGlobals<commands::fleet::ask::Revoke>),
    Backup(WithGlobals<commands::fleet::backup::Backup>),
}

impl Fleet {
    fn run(self, in_front: Globals) -> ExitCode {
        let globals = in_front.merge(self.globals);
        let folder = self.dir;
        match self.command {
            FleetCommand::Init(command) => command.run_in(folder, globals),
            FleetCommand::Adopt(command) => command.run_in(folder, globals),
            FleetCommand::Plan(command) => command.run_in(folder, globals),
            FleetCommand::Apply(command) => command.run_in(folder, globals),
            FleetCommand::Run(command) => command.run_in(folder, globals),
            FleetCommand::Status(command) => command.run_in(folder, globals),
            FleetCommand::History(command) => command.run_in(folder, globals),
            FleetCommand::Rotate(command) => command.run_in(folder, globals),
            FleetCommand::Revoke(command) => command.run_in(folder, globals),
            FleetCommand::Backup(command) => command.run_in(folder, globals),
        }
    }
}

// Takes the global options behind the command's name too. Not a doc comment: it would become the command's.
#[derive(Debug, Args)]
struct WithGlobals<C: Args> {
    #[command(flatten)]
    command: C,

    #[command(flatten)]
    globals: Globals,
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let globals = self.globals;
        match self.command {
            Command::List(command) => command.run(globals),
            Command::Get(command) => command.run(globals),
            Command::Find(command) => command.run(globals),
            Command::Issue(command) => command.run(globals),
            Command::Renew(command) => command.run(globals),
            Command::Revoke(command) => command.run(globals),
            Command::Reactivate(command) => command.run(globals),
            Command::Wait(command) => command.run(globals),
            Command::Verify(command) => command.run(globals),
            Command::Export(command) => command.run(globals),
            Command::Report(command) => command.run(globals),
            Command::Metrics(command) => command.run(globals),
            Command::Doctor(command) => command.run(globals),
            Command::Fleet(command) => command.run(globals),
            Command::SystemdUnit(command) => {
                report(globals.reject("systemd-unit").and_then(|()| command.run()))
            }
            Command::Completions(command) => report(
                globals
                    .reject("completions")
                    .and_then(|()| command.run(Self::command())),
            ),
            Command::Man(command) => report(
                globals
                    .reject("man")
                    .and_then(|()| command.run(Self::command())),
            ),
            #[cfg(feature = "emulator")]
            Command::Emulator(command) => {
                report(globals.reject("emulator").and_then(|()| command.run()))
            }
        }
    }
}

impl<C: Args + Run> WithGlobals<C> {
    fn run(self, in_front: Globals) -> ExitCode {
        execute(self.command, in_front.merge(self.globals))
    }
}

impl<C: Args + InFolder> WithGlobals<C> {
    fn run_in(self, folder: PathBuf, in_front: Globals) -> ExitCode {
        let command = Placed {
            command: self.command,
            folder,
        };
        execute(command, in_front.merge(self.globals))
    }
}

fn execute<C: Run>(command: C, globals: Globals) -> ExitCode {
    let context = match Context::new(globals, C::IS_SERVICE) {
        Ok(context) => context,
        Err(failure) => return report(Err(failure)),
    };
    let result = runtime(C::IS_PARALLEL).and_then(|runtime| {
        let result = runtime.block_on(command.run(&context));
        // What a signal has left on a thread for blocking work ends with the process.
        runtime.shutdown_background();
        result
    });
    context.flush_log();
    match result {
        Ok(code) => code,
        Err(mut failure) => {
            failure.message = context.complete(&failure.message);
            for hint in &mut failure.hints {
                *hint = context.complete(hint);
            }
            conclude(context.messages(), &failure)
        }
    }
}

/// A runtime. Most commands wait for the network most of the time: one thread is enough for them.
fn runtime(is_parallel: bool) -> Result<tokio::runtime::Runtime> {
    let mut builder = match is_parallel {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the async runtime does not start: {error}")))
}

fn report(result: Result) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(failure) => conclude(&Messages::new(false, false), &failure),
    }
}

fn conclude(messages: &Messages, failure: &Failure) -> ExitCode {
    if failure.is_broken_pipe {
        // Who reads the output has seen enough.
        return ExitCode::Done;
    }
    messages.error(failure);
    failure.code
}
