//! Metrics for Prometheus: what the commands that write them have in common.

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::failure::{Failure, Result};

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

/// A histogram of the time until certificates expire.
pub(crate) fn time_to_expiry() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The time until a certificate expires, 0 if it is expired: the sum of a histogram with negative values could fall.
pub(crate) fn seconds_left(end: Timestamp, now: Timestamp) -> f64 {
    end.duration_since(now).as_secs_f64().max(0.0)
}

/// Metrics that are going to be written.
pub(crate) struct Exposition(Registry);

impl Exposition {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(Registry::with_prefix(prefix))
    }

    pub(crate) fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.add(name, help, gauge);
    }

    pub(crate) fn encode(self) -> Result<String> {
        let mut text = String::new();
        encode(&mut text, &self.0)
            .map_err(|error| Failure::failed(format!("the metrics can't be written: {error}")))?;
        Ok(name_counters(&text))
    }
}

/// Names counters in their descriptions as in their samples, as Prometheus' text format does: OpenMetrics leaves out the
/// `_total` there.
fn name_counters(text: &str) -> String {
    let is_counter = |name: &str| text.contains(&format!("# TYPE {name} counter\n"));
    let mut named = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if is_counter(name) => {
                named.push_str(&format!("# {kind} {name}_total {rest}"));
            }
            _ => named.push_str(line),
        }
        named.push('\n');
    }
    named
}
