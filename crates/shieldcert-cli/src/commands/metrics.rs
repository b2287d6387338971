//! `shieldcert metrics`: the inventory for Prometheus.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use shieldcert::{ClientCertificate, RequestsLeft, Status};

use super::{Run, inventory};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::escape::escape;
use crate::output::file::{self, Existing};

/// Count certificates for Prometheus
///
/// Writes the certificates of the zones by status, a histogram of the time until the active ones expire, when this
/// command last succeeded, and how many requests the rate limit has left. There is no series per certificate.
///
/// The file appears whole and replaces the one before, as the textfile collector of node_exporter needs it. It stays as
/// it was if the list can't be read to its end, so an alert on
/// `time() - shieldcert_last_success_timestamp_seconds` finds out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert metrics --textfile /var/lib/node_exporter/textfile/shieldcert.prom

Alerts:
  active certificates that expire within 7 days:
    shieldcert_active_certificates_time_to_expiry_seconds_bucket{le=\"604800.0\"}
      - ignoring(le) shieldcert_active_certificates_time_to_expiry_seconds_bucket{le=\"0.0\"} > 0
  no success in a day:
    time() - shieldcert_last_success_timestamp_seconds > 86400")]
pub(crate) struct Metrics {
    /// Write to this file, or to standard output with -
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "fields"])]
    textfile: PathBuf,
}

const DAY: f64 = 86_400.0;

/// The upper bounds of the histogram: expired, and then a day to ten years.
const BUCKETS: [f64; 11] = [
    0.0,
    DAY,
    3.0 * DAY,
    7.0 * DAY,
    14.0 * DAY,
    30.0 * DAY,
    60.0 * DAY,
    90.0 * DAY,
    180.0 * DAY,
    365.0 * DAY,
    3_650.0 * DAY,
];

/// Counted even where there are none, so that no alert loses its series.
const STATUSES: [Status; 4] = [
    Status::Active,
    Status::PendingRevocation,
    Status::Revoked,
    Status::PendingReactivation,
];

type Labels = Vec<(&'static str, String)>;

impl Run for Metrics {
    async fn run(self, context: &Context) -> Result {
        let zones = context.zones().await?;
        let ids: Vec<String> = zones.iter().map(|zone| zone.id().to_string()).collect();
        let series = Series::new(&ids);
        let inventory = inventory::read(context, &zones, |zone, certificate, now| {
            series.count(&ids[zone], certificate, now);
        })
        .await?;
        let left = context.client().await?.requests_left();
        let text = series.encode(inventory.unreadable, context.now(), left)?;
        if self.textfile == Path::new("-") {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map_err(|error| Failure::output(&error))?;
        } else {
            file::write(&self.textfile, text.as_bytes(), Existing::Replace)?;
        }
        Ok(match inventory.unreadable {
            0 => ExitCode::Done,
            _ => ExitCode::Partial,
        })
    }
}

/// The series of the certificates, by zone.
struct Series {
    certificates: Family<Labels, Gauge>,
    time_to_expiry: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Series {
    /// Begins at zero.
    fn new(zones: &[String]) -> Self {
        let series = Self {
            certificates: Family::default(),
            time_to_expiry: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        };
        for zone in zones {
            for status in &STATUSES {
                drop(
                    series
                        .certificates
                        .get_or_create(&labels(zone, Some(status))),
                );
            }
            drop(series.time_to_expiry.get_or_create(&labels(zone, None)));
        }
        series
    }

    fn count(&self, zone: &str, certificate: &ClientCertificate, now: Timestamp) {
        let status = certificate.status();
        self.certificates
            .get_or_create(&labels(zone, Some(status)))
            .inc();
        if *status == Status::Active
            && let Some(end) = certificate.not_after()
        {
            // The sum of a histogram with negative values could fall.
            let left = end.duration_since(now).as_secs_f64().max(0.0);
            self.time_to_expiry
                .get_or_create(&labels(zone, None))
                .observe(left);
        }
    }

    fn encode(
        self,
        unreadable: usize,
        now: Timestamp,
        left: Option<RequestsLeft>,
    ) -> Result<String> {
        let mut registry = Registry::with_prefix("shieldcert");
        registry.register(
            "certificates",
            "Certificates by status; expired ones can be active",
            self.certificates,
        );
        registry.register(
            "active_certificates_time_to_expiry_seconds",
            "Time until active certificates expire, 0 if they are expired",
            self.time_to_expiry,
        );
        let mut gauge = |name, help, value: u64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        gauge(
            "unreadable_records",
            "Records of the list that could not be read and are not counted",
            unreadable as u64,
        );
        gauge(
            "last_success_timestamp_seconds",
            "When the certificates were last counted",
            now.as_second().unsigned_abs(),
        );
        if let Some(left) = left {
            gauge(
                "rate_limit_requests_left",
                "Requests that the rate limit had left after the count",
                left.requests,
            );
            gauge(
                "rate_limit_requests",
                "Requests that the rate limit allows in a window",
                left.quota,
            );
        }
        let mut text = String::new();
        encode(&mut text, &registry)
            .map_err(|error| Failure::failed(format!("the metrics can't be written: {error}")))?;
        Ok(text)
    }
}

fn labels(zone: &str, status: Option<&Status>) -> Labels {
    let zone = ("zone", zone.to_owned());
    match status {
        // A status that is not known here may be any text.
        Some(status) => vec![zone, ("status", escape(status.as_str()).into_owned())],
        None => vec![zone],
    }
}
