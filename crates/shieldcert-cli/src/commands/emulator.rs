//! `shieldcert emulator`: the service on this machine, until it is told to stop.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args};
use shieldcert::ZoneId;
use shieldcert_emulator::{Chaos, EdgeRule, EmulatorBuilder, Quirks};
use shieldcert_fleet::parse_duration;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::args::or_help::OrHelp;
use crate::args::rate_limit::RateLimitArg;
use crate::args::token::{Token, TokenParser};
use crate::args::usage::exit_with_usage_error;
use crate::args::{address, chaos, log_level, number, zone};
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::log::Log;

/// Run the service on this machine, for tests in any language
///
/// Serves the client_certificates operations of Cloudflare's API over HTTP, with a CA of its own, in memory or in a
/// file. It is not for production. When it is ready it prints one line with the base URL to standard output. It logs
/// to standard error, and stops on Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("certificate").multiple(true))]
pub(crate) struct Emulator {
    /// Listen on this address; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address::parse)]
    listen: SocketAddr,

    /// Serve the API over TLS, with a certificate of the emulator's CA, which is at /__shieldcert/ca.pem
    #[arg(long, group = "certificate")]
    tls: bool,

    /// Make the certificates of the API and of the edge valid for this name too, such as that of a container; may be repeated
    #[arg(long = "tls-name", value_name = "NAME", requires = "certificate", value_parser = NonEmptyStringValueParser::new())]
    tls_names: Vec<String>,

    /// Accept this API token; may be repeated [default: every token is accepted]
    #[arg(long = "token", value_name = "TOKEN", value_parser = TokenParser)]
    tokens: Vec<Token>,

    /// Serve the mTLS edge on this address, such as 127.0.0.1:8443: it admits or blocks client certificates
    #[arg(long, value_name = "ADDRESS", group = "certificate", value_parser = address::parse)]
    edge: Option<SocketAddr>,

    /// Block revoked certificates at the edge, or check `verified` alone, as many rules do, to see what that admits
    #[arg(
        long,
        value_name = "RULE",
        default_value = "not-revoked",
        requires = "edge"
    )]
    edge_rule: EdgeRuleArg,

    /// Keep the certificates, the CA and its key in this SQLite file, and go on from what is in it
    ///
    /// The clock is not kept: after a restart it is this machine's again, however far a control endpoint has moved it.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(parse_file))]
    db: Option<PathBuf>,

    /// Fill the zone with certificates until it holds N
    ///
    /// They are the same ones each time, but for keys and dates. They were issued over the last two years: some are
    /// expired, some revoked, and few pending.
    #[arg(long, value_name = "N", value_parser = parse_population, allow_hyphen_values = true)]
    populate: Option<usize>,

    /// The zone that --populate fills [default: CLOUDFLARE_ZONE_ID, or else 023e105f4ecef8ad9ca31a8372d0c353]
    ///
    /// Every other zone exists too, and is empty.
    #[arg(long, value_name = "ID", value_parser = zone::parse, requires = "populate")]
    zone: Option<ZoneId>,

    /// How long a revocation or reactivation stays pending, such as 2s, 500ms or 1m
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_delay, allow_hyphen_values = true)]
    transition_delay: Duration,

    /// Add this time to every request, such as 30ms
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_delay, allow_hyphen_values = true)]
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

    /// Serve the control endpoints for tests; GET /__shieldcert/ lists them
    #[arg(long)]
    control: bool,

    /// Serve the control endpoints to who presents this secret as a bearer token, on any address
    #[arg(long, value_name = "SECRET", value_parser = TokenParser)]
    control_secret: Option<Token>,

    /// Stop when the process that started this one ends
    #[cfg(unix)]
    #[arg(long)]
    exit_with_parent: bool,

    /// Log nothing but errors
    #[arg(short, long, conflicts_with = "log")]
    quiet: bool,

    /// Log messages of this level and above: off, error, warn, info, debug or trace [default: RUST_LOG, or else info]
    #[arg(long, value_name = "LEVEL", value_parser = log_level::parse)]
    log: Option<LevelFilter>,
}

/// A million takes some minutes and 3 KiB each.
const MAX_POPULATION: usize = 10_000_000;

fn parse_population(text: &str) -> std::result::Result<usize, String> {
    match number::parse(text)? {
        count if count > MAX_POPULATION => Err(format!("write at most {MAX_POPULATION}")),
        count => Ok(count),
    }
}

/// Longer than any test waits.
const MAX_DELAY: Duration = Duration::from_secs(86_400);

fn parse_delay(text: &str) -> std::result::Result<Duration, String> {
    match parse_duration(text)? {
        delay if delay > MAX_DELAY => Err("write at most 24h".to_owned()),
        delay => Ok(delay),
    }
}

/// Refuses what SQLite would take for something else than a file.
fn parse_file(name: OsString) -> std::result::Result<PathBuf, String> {
    match name.to_str() {
        Some(":memory:" | "") => {
            Err("it is no file; leave out --db, and everything is kept in memory".to_owned())
        }
        Some(url) if url.starts_with("file:") => {
            Err("it is a URL; write the path of a file".to_owned())
        }
        _ => Ok(name.into()),
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EdgeRuleArg {
    NotRevoked,
    Verified,
}

impl From<EdgeRuleArg> for EdgeRule {
    fn from(rule: EdgeRuleArg) -> Self {
        match rule {
            EdgeRuleArg::NotRevoked => Self::VerifiedAndNotRevoked,
            EdgeRuleArg::Verified => Self::Verified,
        }
    }
}

impl Emulator {
    /// Runs it on a runtime with a thread for each core.
    pub(crate) fn run(self) -> Result {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| {
            Failure::failed(format!("the async runtime does not start: {error}"))
        })?;
        runtime.block_on(self.run_inner())
    }

    async fn run_inner(self) -> Result {
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
        let log = Log::start(self.log_filter()).map_err(|error| {
            Failure::failed(format!(
                "the thread that writes the log does not start: {error}"
            ))
        })?;
        let reason = self.serve().await;
        if let Ok(reason) = &reason {
            // Makes room for the last line.
            log.flush();
            tracing::info!(reason, "stopped");
        }
        log.flush();
        reason.map(|_| ExitCode::Done)
    }

    /// Serves until there is a reason to stop, and returns that.
    async fn serve(self) -> Result<&'static str> {
        // Before the emulator is ready: a signal right after that must stop it cleanly.
        let stop = self
            .stop_reason()
            .map_err(|error| Failure::failed(format!("signals can't be listened for: {error}")))?;
        let has_names = !self.tls_names.is_empty();
        let serves_tls = self.tls;
        let builder = self.into_builder();
        let mut stop = pin!(stop);
        let emulator = tokio::select! {
            emulator = builder.start() => emulator?,
            reason = &mut stop => return Ok(reason),
        };
        let address = emulator.address();
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the API can be reached from other machines");
        }
        if let Some(edge) = emulator.edge_address() {
            if !edge.ip().is_loopback() {
                tracing::warn!(address = %edge, "the edge can be reached from other machines");
            }
            tracing::info!(
                edge = format!("https://{edge}/"),
                ca = emulator.ca_url(),
                "serving the edge"
            );
        }
        let listens_anywhere = [serves_tls.then_some(address), emulator.edge_address()]
            .into_iter()
            .flatten()
            .any(|address| address.ip().is_unspecified());
        if listens_anywhere && !has_names {
            tracing::warn!(
                "the certificate is for localhost, 127.0.0.1 and ::1 alone; name this machine as others do with --tls-name"
            );
        }
        print(&format!("listening on {}\n", emulator.base_url()))?;
        let reason = stop.await;
        emulator.shutdown().await;
        Ok(reason)
    }

    fn log_filter(&self) -> Targets {
        let level = match self.quiet {
            true => Some(LevelFilter::ERROR),
            false => self.log,
        };
        match level {
            Some(level) => Targets::new().with_default(level),
            None => log_level::from_environment(),
        }
    }

    /// Waits for a reason to stop.
    fn stop_reason(&self) -> io::Result<impl Future<Output = &'static str> + use<>> {
        let signal = stop_signal()?;
        #[cfg(unix)]
        let exits_with_parent = self.exit_with_parent;
        #[cfg(not(unix))]
        let exits_with_parent = false;
        // The parent is the one of now, and not of when this is first waited for.
        let parent_exit = parent_exit();
        Ok(async move {
            tokio::select! {
                signal = signal => signal,
                () = parent_exit, if exits_with_parent => "the process that started this one has ended",
            }
        })
    }

    fn into_builder(self) -> EmulatorBuilder {
        let mut builder = shieldcert_emulator::Emulator::builder()
            .listen(self.listen)
            .transition_delay(self.transition_delay)
            .latency(self.latency)
            .tls(self.tls)
            .edge_rule(self.edge_rule.into())
            .control(self.control);
        for name in self.tls_names {
            builder = builder.tls_name(name);
        }
        if let Some(Token(secret)) = &self.control_secret {
            builder = builder.control_secret(secret);
        }
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
            let zone = self.zone.or_else(zone::from_environment);
            let zone = zone.unwrap_or_else(zone::example);
            builder = builder.populate(zone.as_str(), certificates);
        }
        builder
    }
}

fn print(text: &str) -> Result {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::Done)
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = &'static str>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        "Ctrl-C"
    })
}

/// Waits until the process has another parent than now, since its own has ended.
#[cfg(unix)]
fn parent_exit() -> impl Future<Output = ()> {
    const POLL_INTERVAL: Duration = Duration::from_millis(200);
    let parent = std::os::unix::process::parent_id();
    let is_orphan = is_orphan(parent);
    async move {
        while !is_orphan && std::os::unix::process::parent_id() == parent {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Whether this parent has adopted the process, because its own ended before it could be asked for.
///
/// A process is born into its parent's session. Another session than the parent's, without having begun one of its own,
/// is that of a parent that has ended. Where nothing shows it, the parent counts as the one that started the process.
#[cfg(target_os = "linux")]
fn is_orphan(parent: u32) -> bool {
    let own = std::process::id();
    match (session(own), session(parent)) {
        (Some(session), Some(other)) => session != own && session != other,
        _ => false,
    }
}

/// The session of a process.
#[cfg(target_os = "linux")]
fn session(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything: state, parent, group, session.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(all(unix, not(target_os = "linux")))]
fn is_orphan(parent: u32) -> bool {
    // What launchd starts has no need to end with it.
    parent == 1
}

#[cfg(not(unix))]
fn parent_exit() -> impl Future<Output = ()> {
    std::future::pending()
}
