//! `shieldcert fleet run`.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use shieldcert_fleet::{RunEvent, RunOptions, parse_duration};
use tokio::sync::watch;

use super::metrics::Totals;
use super::{InFolder, failure, open};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;
use crate::interrupts::Interrupts;
use crate::output::file::{self, Existing};

/// Keep doing what is due in a fleet
///
/// Applies at intervals, when fleet.toml or the manifest was changed, and when `rotate` or `revoke` asked for something. A
/// file with problems changes nothing until it is mended. It logs to standard error which device and generation each line
/// is about. Ctrl-C and SIGTERM finish what is in flight, and end it.
///
/// It tells systemd when it is ready, and that it is alive; `shieldcert systemd-unit --fleet DIR --print` prints a unit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert fleet --dir /srv/sensors run --metrics-textfile /var/lib/node_exporter/textfile/fleet.prom

Alerts:
  certificates in use that expire within 7 days:
    shieldcert_fleet_time_to_expiry_seconds_bucket{le=\"604800.0\"} > 0
  no success in an hour:
    time() - shieldcert_fleet_last_success_timestamp_seconds > 3600
  devices that fail:
    shieldcert_fleet_waiting{hold=\"failed\"} > 0
  a token that the service refuses:
    shieldcert_fleet_waiting{hold=\"permission\"} > 0 or shieldcert_fleet_unusable_zones > 0")]
pub(crate) struct Run {
    /// Apply this often, at least
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_interval)]
    interval: Duration,

    /// After each run, write metrics for Prometheus to this file, which appears whole
    #[arg(long, value_name = "FILE")]
    metrics_textfile: Option<PathBuf>,
}

fn parse_interval(text: &str) -> std::result::Result<Duration, String> {
    const MIN: Duration = Duration::from_secs(1);
    match parse_duration(text)? {
        interval if interval < MIN => Err("write at least 1s".to_owned()),
        interval => Ok(interval),
    }
}

impl InFolder for Run {
    const IS_PARALLEL: bool = true;
    const IS_SERVICE: bool = true;

    async fn run(self, context: &Context, folder: &Path) -> Result {
        // Before it is ready: a signal right after that must stop it cleanly.
        let mut interrupts = Interrupts::listen();
        let fleet = open(context, folder).await?;
        let mut options = RunOptions::default();
        options.interval = self.interval;
        let (stop, stopped) = watch::channel(false);
        let mut totals = Totals::default();
        let mut is_ready = false;
        let running = fleet.run(options, stopped, |event| {
            match event {
                RunEvent::Alive => notify(State::Alive),
                RunEvent::Begun(_) if !is_ready => {
                    is_ready = true;
                    notify(State::Ready);
                }
                RunEvent::Ended(fleet, summary) => {
                    totals.ended(summary);
                    self.write_metrics(&totals, fleet);
                }
                RunEvent::Failed(fleet, _) => {
                    totals.failed();
                    self.write_metrics(&totals, fleet);
                }
                _ => {}
            };
        });
        let mut running = pin!(running);
        loop {
            tokio::select! {
                biased;
                () = interrupts.next() => {
                    if *stop.borrow() {
                        return Ok(ExitCode::Interrupted);
                    }
                    notify(State::Stopping);
                    tracing::info!("finishing what is in flight; a second signal stops at once");
                    stop.send_replace(true);
                }
                ended = &mut running => {
                    ended.map_err(|error| failure(context, error))?;
                    return Ok(ExitCode::Done);
                }
            }
        }
    }
}

impl Run {
    fn write_metrics(&self, totals: &Totals, fleet: &shieldcert_fleet::Fleet) {
        let Some(path) = &self.metrics_textfile else {
            return;
        };
        let written = totals
            .encode(fleet)
            .and_then(|text| file::write(path, text.as_bytes(), Existing::Replace));
        if let Err(failure) = written {
            tracing::warn!(problem = failure.message, "the metrics were not written");
        }
    }
}

/// What the service manager is told.
enum State {
    Ready,
    Alive,
    Stopping,
}

#[cfg(unix)]
fn notify(state: State) {
    use sd_notify::NotifyState;
    let state = match state {
        State::Ready => NotifyState::Ready,
        State::Alive => NotifyState::Watchdog,
        State::Stopping => NotifyState::Stopping,
    };
    // Without a service manager nothing is sent, and that is no error.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

#[cfg(not(unix))]
fn notify(_: State) {}
