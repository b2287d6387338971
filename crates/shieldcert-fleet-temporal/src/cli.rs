//! The command line.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use shieldcert::ClientBuilder;
use temporalio_client::Client;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use shieldcert_fleet::{Connector, DeviceName, Fleet, Hold};

use crate::commands::reconcile::parse_interval;
use crate::commands::{Context, apply, ask, pause, plan, reconcile, status, worker_lost};
use crate::connect::connect;
use crate::failure::{ExitCode, Failure, Result};
use crate::names::{DEFAULT, FleetName, WorkerName};
use crate::output::Format;
use crate::worker;

/// Fleets of mTLS client certificates on Temporal
///
/// The server is that of the SDK's environment variables and temporal.toml: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
/// TEMPORAL_API_KEY, TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_PROFILE and so on.
#[derive(Debug, Parser)]
#[command(name = "shieldcert-temporal", version)]
struct Cli {
    /// The fleet's folder, with fleet.toml and the manifest
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    dir: PathBuf,

    /// The fleet's name at the server
    #[arg(long, value_name = "NAME", default_value = DEFAULT, global = true)]
    fleet: FleetName,

    /// The service
    #[arg(long, value_name = "URL", global = true)]
    base_url: Option<String>,

    /// Add a root CA for proxies that break TLS open
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,

    /// text, json, jsonl or csv
    #[arg(long, value_name = "FORMAT", global = true)]
    output: Option<Format>,

    /// Say less
    #[arg(short, long, global = true)]
    quiet: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Worker(WorkerArgs),
    Apply(apply::ApplyArgs),
    Plan(plan::PlanArgs),
    Status(StatusArgs),
    Pause(pause::PauseArgs),
    Rotate(ask::AskArgs),
    Revoke(ask::AskArgs),
    WorkerLost(WorkerLostArgs),
    Reconcile(reconcile::ReconcileArgs),
}

/// Work on a fleet until it is stopped
///
/// A worker makes keys in its own folder, writes and deploys the files of its devices, and sends requests with its share of
/// each budget. The folder has its own fleet.toml, with the token's source and the deploy commands of this machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert-temporal --dir sensors worker --name site-1 --share 0.5
  shieldcert-temporal --dir sensors worker --name keys-only --share 0")]
struct WorkerArgs {
    /// The worker's name: where keys are. It stays the same when the worker is started again
    #[arg(long, value_name = "NAME")]
    name: WorkerName,

    /// The share of each budget that it uses, from 0 to 1. Those of all workers add up to 1 at most
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    share: f64,

    /// Take only devices with the label worker:NAME
    #[arg(long)]
    pinned_only: bool,

    /// Serve the SDK's metrics for Prometheus here
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,

    /// How often the zones are compared with the devices, where the fleet is begun by this worker
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_interval)]
    reconcile_every: Duration,
}

/// Show what is known of a fleet, or of a device
///
/// A fleet's numbers come from search attributes, which may lag by seconds. A device's state comes from its workflow, for
/// which a worker must be there.
#[derive(Debug, Args)]
struct StatusArgs {
    /// The device
    #[arg(value_name = "NAME")]
    name: Option<DeviceName>,

    /// Devices with this label in the manifest; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,

    /// Devices that wait for this: quota, permission, csr, unclear, failed, deploy-paused, key-lost, paused or
    /// worker; may be repeated
    #[arg(long = "hold", value_name = "HOLD")]
    holds: Vec<Hold>,
}

/// Say that a worker is gone for good, with the keys on it
///
/// Certificates whose deploy command was never started are revoked and made anew elsewhere. Those in use are renewed
/// elsewhere, and revoked after the new one is verified. Its share of the budgets is free. No timer says this: a worker that
/// is only stopped goes on where it was.
#[derive(Debug, Args)]
struct WorkerLostArgs {
    /// The worker
    #[arg(value_name = "NAME")]
    name: WorkerName,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = std::env::var("SHIELDCERT_LOG").unwrap_or_default();
    let level = level.parse().unwrap_or(match cli.quiet {
        true => tracing::Level::WARN,
        false => tracing::Level::INFO,
    });
    // What the SDK says of its own workings is not for operators.
    let filter = Targets::new()
        .with_default(level)
        // Nor does it matter to a command that a call was tried again.
        .with_target(
            "temporalio",
            level.min(match cli.command {
                Command::Worker(_) => tracing::Level::WARN,
                _ => tracing::Level::ERROR,
            }),
        );
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .with_writer(std::io::stderr),
        )
        .with(filter)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime can't be started: {error}");
            return ExitCode::Failed;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            eprintln!("error: {message}");
            code
        }
    }
}

async fn run(cli: Cli) -> Result {
    let context = Context {
        fleet: open(&cli)?,
        name: cli.fleet,
        output: cli.output,
        quiet: cli.quiet,
    };
    let client = connect().await?;
    let (context, client) = (&context, &client);
    let done: LocalBoxFuture<'_, Result> = match cli.command {
        // It finishes what is in flight when it is interrupted.
        Command::Worker(args) => return work(client, context, args).await,
        Command::Apply(args) => apply::run(context, client, args).boxed_local(),
        Command::Plan(args) => plan::run(context, client, args).boxed_local(),
        Command::Status(args) => {
            status::run(context, client, args.name, args.labels, args.holds).boxed_local()
        }
        Command::Pause(args) => pause::run(context, client, args).boxed_local(),
        Command::Rotate(args) => ask::run(context, client, ask::Verb::Rotate, args).boxed_local(),
        Command::Revoke(args) => ask::run(context, client, ask::Verb::Revoke, args).boxed_local(),
        Command::WorkerLost(args) => {
            worker_lost::run(context, client, args.name, args.yes).boxed_local()
        }
        Command::Reconcile(args) => reconcile::run(context, client, args).boxed_local(),
    };
    tokio::select! {
        ended = done => ended,
        () = worker::interrupted() => Err(Failure::new(
            ExitCode::Interrupted,
            "interrupted; workers go on with what they were told, `shieldcert-temporal status` shows how far, and the \
             same command can be given again",
        )),
    }
}

async fn work(client: &Client, context: &Context, args: WorkerArgs) -> Result {
    if !(0.0..=1.0).contains(&args.share) {
        return Err(Failure::usage(format!(
            "--share {}: it is not a share; give a number from 0 to 1",
            args.share
        )));
    }
    let options = worker::Options {
        fleet: context.name.clone(),
        worker: args.name,
        share: args.share,
        takes_devices: !args.pinned_only,
        metrics: args.metrics,
        interval: args.reconcile_every,
    };
    worker::run(client.clone(), &context.fleet, options).await?;
    Ok(ExitCode::Done)
}

/// Opens the fleet's folder.
fn open(cli: &Cli) -> Result<Fleet> {
    let (base_url, ca_file) = (cli.base_url.clone(), cli.ca_file.clone());
    let connector = Connector::new(move || {
        // The token comes later, and not from here.
        let mut builder = ClientBuilder::from_env()?.token("placeholder");
        if let Some(url) = &base_url {
            builder = builder.base_url(url);
        }
        if let Some(file) = &ca_file {
            builder = builder.ca_file(file);
        }
        Ok(builder)
    });
    Ok(Fleet::open(&cli.dir, connector)?)
}
