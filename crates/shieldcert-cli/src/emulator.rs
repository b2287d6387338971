//! `shieldcert emulator`: the service on this machine, until it is told to stop.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use jiff::SignedDuration;
use shieldcert_emulator::{Chaos, Emulator, EmulatorBuilder, RateLimit};

/// Run the service on this machine, for tests in any language
///
/// Serves the client_certificates operations of Cloudflare's API over HTTP, with a CA of its own, in memory or in a
/// file. Prints one line with the base URL on standard output when it is ready, logs to standard error, and stops on
/// Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct Emulate {
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address)]
    listen: SocketAddr,

    /// Accept this API token; may be repeated. Without it, any token is accepted
    #[arg(long = "token", value_name = "TOKEN", value_parser = TokenParser)]
    tokens: Vec<Token>,

    /// Serve the mTLS edge too, which lets certificates in or blocks them; 127.0.0.1:8443 for instance
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    edge: Option<SocketAddr>,

    /// Keep everything in this SQLite file, the CA and its key included, and go on from what is in it
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// Fill the zone up to so many certificates before the first request, always the same ones but for keys and dates;
    /// they were issued over two years, so that some are expired, some revoked, and few pending
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_hyphen_values = true)]
    seed_certificates: Option<usize>,

    /// The zone that --seed-certificates fills; every other zone is there too, and empty. Otherwise the zone of the
    /// environment variable CLOUDFLARE_ZONE_ID, or 023e105f4ecef8ad9ca31a8372d0c353
    #[arg(long, value_name = "ID", value_parser = zone)]
    zone: Option<String>,

    /// How long a revocation or reactivation stays pending, such as 2s, 500ms or 1m
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration, allow_hyphen_values = true)]
    transition_delay: Duration,

    /// How long every request is on its way, there and back together, such as 30ms
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration, allow_hyphen_values = true)]
    latency: Duration,

    /// Refuse requests past so many in so many seconds, or `off` for no limit; the service's own is the default
    #[arg(long, value_name = "LIMIT", default_value = "1200/300s")]
    rate_limit: Limit,

    /// Refuse to issue when a zone has so many active certificates
    #[arg(long, value_name = "CERTIFICATES", value_parser = whole::<usize>, allow_hyphen_values = true)]
    quota: Option<usize>,

    /// Faults and how often they strike, such as "lose-answer=5%, late=2%:1s..60s"; an unknown one gets the list of them
    #[arg(long, value_name = "FAULTS", default_value = "")]
    chaos: Chaos,

    /// Draw the faults from this seed, so that the same requests meet the same ones
    #[arg(long, value_name = "SEED", value_parser = whole::<u64>, allow_hyphen_values = true)]
    chaos_seed: Option<u64>,

    /// Serve /__shieldcert/chaos and /__shieldcert/history, to set faults and read what happened
    #[arg(long)]
    control: bool,
}

/// A rate limit, or none.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Off,
    Of(RateLimit),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            limit => limit
                .parse()
                .map(Self::Of)
                .map_err(|why| format!("{why}, or off")),
        }
    }
}

/// A token, which no Debug output shows.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Emulate {
    /// Looks at the environment only where a zone is needed: what stands there is for other commands too.
    fn seeded_zone(&self) -> String {
        const VARIABLE: &str = "CLOUDFLARE_ZONE_ID";
        if let Some(zone) = &self.zone {
            return zone.clone();
        }
        let found = std::env::var(VARIABLE).unwrap_or_default();
        if found.is_empty() {
            return "023e105f4ecef8ad9ca31a8372d0c353".to_owned();
        }
        zone(&found).unwrap_or_else(|why| refused(&format!("invalid value in {VARIABLE}: {why}")))
    }

    fn limited(&self, builder: EmulatorBuilder) -> EmulatorBuilder {
        let builder = match self.rate_limit {
            Limit::Off => builder,
            Limit::Of(limit) => builder.rate_limit(limit),
        };
        match self.quota {
            None => builder,
            Some(certificates) => builder.quota(certificates),
        }
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.edge == Some(self.listen) && self.listen.port() != 0 {
            refused("--listen and --edge have the same address: give them different ports");
        }
        let seeded = self
            .seed_certificates
            .map(|count| (self.seeded_zone(), count));
        // Before the line that says it is ready: a signal right after it must stop the emulator cleanly.
        let stop = stop_signal().context("could not listen for signals")?;
        let mut builder = Emulator::builder()
            .listen(self.listen)
            .transition_delay(self.transition_delay);
        builder = self
            .limited(builder)
            .latency(self.latency)
            .chaos(self.chaos.clone())
            .control(self.control);
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
        if let Some((zone, certificates)) = seeded {
            builder = builder.seed_certificates(zone, certificates);
        }
        let mut stop = pin!(stop);
        let emulator = tokio::select! {
            emulator = builder.start() => emulator?,
            () = &mut stop => return Ok(()),
        };
        if !emulator.address().ip().is_loopback() {
            eprintln!(
                "warning: {} can be reached from other machines, over plain HTTP",
                emulator.address()
            );
        }
        if let Some(address) = emulator.edge_address() {
            eprintln!(
                "the edge is at https://{address}/, its CA at http://{}/__shieldcert/ca.pem",
                emulator.address()
            );
        }
        let mut out = io::stdout();
        writeln!(out, "listening on {}", emulator.base_url())
            .and_then(|()| out.flush())
            .context("could not write to standard output")?;
        stop.await;
        emulator.shutdown().await;
        Ok(())
    }
}

/// Reads a token. The usual parser's error would show its value.
#[derive(Clone)]
struct TokenParser;

impl TypedValueParser for TokenParser {
    type Value = Token;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Token, clap::Error> {
        let why = match value.to_str() {
            Some("") => "it is empty",
            Some(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Ok(Token(text.to_owned()));
            }
            _ => "it has visible ASCII characters only: no spaces, no line ends",
        };
        let message = format!(
            "invalid value for '--token <TOKEN>': {why}\n\nFor more information, try '--help'.\n"
        );
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}

/// Ends as clap does where an option can't be used.
fn refused(why: &str) -> ! {
    let message = format!("{why}\n\nFor more information, try '--help'.\n");
    clap::Error::raw(ErrorKind::ValueValidation, message).exit()
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8787".to_owned())
}

fn zone(text: &str) -> Result<String, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no zone id: one has 32 hex digits"))
}

fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "write a whole number, such as 1000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "write a number with its unit, such as 2s, 500ms or 1m".to_owned())?;
    Duration::try_from(duration).map_err(|_| "it can't be negative".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, expected) in [
            ("2s", 2_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h 30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(expected)),
                "{text}"
            );
        }
        assert_eq!(duration("-2s"), Err("it can't be negative".to_owned()));
        for text in ["", "2", "s", "soon", "2 parsecs"] {
            assert!(
                duration(text).is_err_and(|error| error.contains("500ms")),
                "{text:?}"
            );
        }
    }
}
