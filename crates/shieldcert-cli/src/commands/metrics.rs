//! `shieldcert metrics`: the inventory for Prometheus.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use shieldcert::{ClientCertificate, RequestsLeft, Status};
use shieldcert_fleet::commands::escape;

use super::{Run, inventory};
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::file::{self, Existing};
use crate::output::metrics::{Exposition, seconds_left, time_to_expiry};

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
            time_to_expiry: Family::new_with_constructor(time_to_expiry),
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
            self.time_to_expiry
                .get_or_create(&labels(zone, None))
                .observe(seconds_left(end, now));
        }
    }

    fn encode(
        self,
        unreadable: usize,
        now: Timestamp,
        left: Option<RequestsLeft>,
    ) -> Result<String> {
        let mut exposition = Exposition::new("shieldcert");
        exposition.add(
            "certificates",
            "Certificates by status; expired ones can be active",
            self.certificates,
        );
        exposition.add(
            "active_certificates_time_to_expiry_seconds",
            "Time until active certificates expire, 0 if they are expired",
            self.time_to_expiry,
        );
        exposition.gauge(
            "unreadable_records",
            "Records of the list that could not be read and are not counted",
            unreadable as u64,
        );
        exposition.gauge(
            "last_success_timestamp_seconds",
            "When the certificates were last counted",
            now.as_second().unsigned_abs(),
        );
        if let Some(left) = left {
            exposition.gauge(
                "rate_limit_requests_left",
                "Requests that the rate limit had left after the count",
                left.requests,
            );
            exposition.gauge(
                "rate_limit_requests",
                "Requests that the rate limit allows in a window",
                left.quota,
            );
        }
        exposition.encode()
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
