//! The command line as clap sees it.

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::args::globals::Globals;
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
7 done in part, 8 outcome unknown, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    List(WithGlobals<commands::list::List>),
    Get(WithGlobals<commands::get::Get>),
    Find(WithGlobals<commands::find::Find>),

    Issue(WithGlobals<commands::issue::Issue>),
    Revoke(WithGlobals<commands::revoke::Revoke>),
    Reactivate(WithGlobals<commands::reactivate::Reactivate>),
    Wait(WithGlobals<commands::wait::Wait>),

    Verify(WithGlobals<commands::verify::Verify>),
    Export(WithGlobals<commands::export::Export>),
    Report(WithGlobals<commands::report::Report>),
    Metrics(WithGlobals<commands::metrics::Metrics>),

    Doctor(WithGlobals<commands::doctor::Doctor>),

    #[cfg(feature = "emulator")]
    Emulator(commands::emulator::Emulator),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
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
            Command::Revoke(command) => command.run(globals),
            Command::Reactivate(command) => command.run(globals),
            Command::Wait(command) => command.run(globals),
            Command::Verify(command) => command.run(globals),
            Command::Export(command) => command.run(globals),
            Command::Report(command) => command.run(globals),
            Command::Metrics(command) => command.run(globals),
            Command::Doctor(command) => command.run(globals),
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
    /// Runs the command on a runtime of one thread: it waits for the network most of the time.
    fn run(self, in_front: Globals) -> ExitCode {
        let context = match Context::new(in_front.merge(self.globals)) {
            Ok(context) => context,
            Err(failure) => return report(Err(failure)),
        };
        let result = runtime().and_then(|runtime| {
            let result = runtime.block_on(self.command.run(&context));
            // What a signal has left on a thread for blocking work ends with the process.
            runtime.shutdown_background();
            result
        });
        context.flush_log();
        match result {
            Ok(code) => code,
            Err(failure) => conclude(context.messages(), &failure),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
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
