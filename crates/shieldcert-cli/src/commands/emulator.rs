//! `shieldcert emulator`: the service on this machine, until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use shieldcert_emulator::{Chaos, EmulatorBuilder, Quirks};

use super::Result;
use crate::args::or_help::OrHelp;
use crate::args::rate_limit::RateLimitArg;
use crate::args::token::{Token, TokenParser};
use crate::args::usage::exit_with_usage_error;
use crate::args::{address, chaos, duration, number, zone};

/// Run the service on this machine, for tests in any language
///
/// Serves the client_certificates operations of Cloudflare's API over HTTP, with a CA of its own, in memory or in a
/// file. It is not for production. When it is ready it prints one line with the base URL to standard output. It logs
/// to standard error, and stops on Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct Emulator {
    /// Listen on this address; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address::parse)]
    listen: SocketAddr,

    /// Accept this API token; may be repeated [default: every token is accepted]
    #[arg(long = "token", value_name = "TOKEN", value_parser = TokenParser)]
    tokens: Vec<Token>,

    /// Serve the mTLS edge on this address, such as 127.0.0.1:8443: it admits or blocks client certificates
    #[arg(long, value_name = "ADDRESS", value_parser = address::parse)]
    edge: Option<SocketAddr>,

    /// Keep everything in this SQLite file, the CA and its key included, and go on from what is in it
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// Fill the zone with certificates until it holds N
    ///
    /// They are the same ones each time, but for keys and dates. They were issued over the last two years: some are
    /// expired, some revoked, and few pending.
    #[arg(long, value_name = "N", value_parser = number::parse::<usize>, allow_hyphen_values = true)]
    populate: Option<usize>,

    /// The zone that --populate fills [default: CLOUDFLARE_ZONE_ID, or else 023e105f4ecef8ad9ca31a8372d0c353]
    ///
    /// Every other zone exists too, and is empty.
    #[arg(long, value_name = "ID", value_parser = zone::parse)]
    zone: Option<String>,

    /// How long a revocation or reactivation stays pending, such as 2s, 500ms or 1m
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse, allow_hyphen_values = true)]
    transition_delay: Duration,

    /// Add this time to every request, such as 30ms
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration::parse, allow_hyphen_values = true)]
    latency: Duration,

    /// Refuse requests past this many in this many seconds, or `off`; the default is the service's own limit
    #[arg(long, value_name = "LIMIT", default_value = "1200/300s")]
    rate_limit: RateLimitArg,

    /// Refuse to issue when a zone has this many active certificates [default: no quota]
    #[arg(long, value_name = "N", value_parser = number::parse::<usize>, allow_hyphen_values = true)]
    quota: Option<usize>,

    /// Inject faults by chance, such as "lose-response=5%, late=2%:1s..60s"; `help` lists them
    #[arg(
        long,
        value_name = "FAULTS",
        default_value = "",
        hide_default_value = true
    )]
    chaos: OrHelp<Chaos>,

    /// Draw the faults from this seed, so that the same requests meet the same faults [default: random, logged]
    #[arg(long, value_name = "SEED", value_parser = number::parse::<u64>, allow_hyphen_values = true)]
    chaos_seed: Option<u64>,

    /// Differ from a well-behaved service, such as "cap=25, total=missing"; `help` lists the quirks
    #[arg(
        long,
        value_name = "QUIRKS",
        default_value = "",
        hide_default_value = true
    )]
    quirks: OrHelp<Quirks>,

    /// Serve the control endpoints at /__shieldcert/: chaos, quirks, script, history, reset and clock
    #[arg(long)]
    control: bool,
}

impl Emulator {
    pub(crate) async fn run(self) -> Result {
        if self.edge == Some(self.listen) && self.listen.port() != 0 {
            exit_with_usage_error(
                "--listen and --edge have the same address; give them different ports",
            );
        }
        if let OrHelp::Help = self.chaos {
            return print(&chaos::help());
        }
        if let OrHelp::Help = self.quirks {
            return print(&chaos::quirks_help());
        }
        // Before the emulator is ready: a signal right after that must stop it cleanly.
        let stop = stop_signal().map_err(|error| format!("can't listen for signals: {error}"))?;
        let builder = self.into_builder();
        let mut stop = pin!(stop);
        let emulator = tokio::select! {
            emulator = builder.start() => emulator?,
            () = &mut stop => return Ok(()),
        };
        let address = emulator.address();
        if !address.ip().is_loopback() {
            eprintln!("warning: {address} can be reached from other machines, over plain HTTP");
        }
        if let Some(edge) = emulator.edge_address() {
            eprintln!(
                "the edge is at https://{edge}/, its CA at http://{address}/__shieldcert/ca.pem"
            );
        }
        print(&format!("listening on {}\n", emulator.base_url()))?;
        stop.await;
        emulator.shutdown().await;
        Ok(())
    }

    fn into_builder(self) -> EmulatorBuilder {
        let mut builder = shieldcert_emulator::Emulator::builder()
            .listen(self.listen)
            .transition_delay(self.transition_delay)
            .latency(self.latency)
            .control(self.control);
        if let RateLimitArg::Limit(limit) = self.rate_limit {
            builder = builder.rate_limit(limit);
        }
        if let Some(certificates) = self.quota {
            builder = builder.quota(certificates);
        }
        if let OrHelp::Value(chaos) = self.chaos {
            builder = builder.chaos(chaos);
        }
        if let OrHelp::Value(quirks) = self.quirks {
            builder = builder.quirks(quirks);
        }
        if let Some(seed) = self.chaos_seed {
            builder = builder.chaos_seed(seed);
        }
        if let Some(address) = self.edge {
            builder = builder.edge(address);
        }
        for Token(token) in &self.tokens {
            builder = builder.token(token);
        }
        if let Some(file) = self.db {
            builder = builder.db(file);
        }
        if let Some(certificates) = self.populate {
            let zone = self.zone.unwrap_or_else(zone::from_environment_or_example);
            builder = builder.populate(zone, certificates);
        }
        builder
    }
}

fn print(text: &str) -> Result {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(|error| format!("can't write to standard output: {error}"))?)
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
