//! A year of a fleet as it is printed.

use jiff::Timestamp;
use serde::Serialize;
use shieldcert_fleet::{Forecast, Year};

use crate::output::row::{Cell, Column, Row};

/// A year of a fleet in simulated time.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "forecast"))]
pub(crate) struct ForecastRow {
    /// How many devices there are.
    devices: u64,
    /// The year as it is planned.
    plan: YearRow,
    /// The same year with no request for two days, from the beginning of the busiest day after the first issue.
    outage: YearRow,
    /// The same year with every key leaked in its middle.
    leak: YearRow,
}

/// A year of a fleet.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct YearRow {
    /// The requests of each day, from today.
    days: Vec<DayRow>,
    /// The most requests of a day after the first issue.
    peak: u64,
    /// When that day is, from 0.
    peak_day: usize,
    /// How many hours it takes until each device has its first certificate.
    first_issue_hours: u64,
    /// In how many hours of the year the rate limit is used up, after the first issue.
    limited_hours: u64,
    /// The most hours that a renewal or revocation waits for the rate limit, after the first issue.
    longest_wait_hours: u64,
    /// How many certificates expire before they are renewed.
    expired: u64,
    /// How many hours it takes after what has happened until every device has a good certificate again. `null`: nothing
    /// has happened, or it takes longer than the year.
    recovery_hours: Option<u64>,
}

/// The requests of a day.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DayRow {
    /// How many certificates are issued.
    issued: u64,
    /// How many are revoked.
    revoked: u64,
}

impl From<&Year> for YearRow {
    fn from(year: &Year) -> Self {
        let days = year.days.iter().map(|day| DayRow {
            issued: day.issued,
            revoked: day.revoked,
        });
        Self {
            days: days.collect(),
            peak: year.peak,
            peak_day: year.peak_day,
            first_issue_hours: year.first_issue_hours,
            limited_hours: year.limited_hours,
            longest_wait_hours: year.longest_wait_hours,
            expired: year.expired,
            recovery_hours: year.recovery_hours,
        }
    }
}

impl From<&Forecast> for ForecastRow {
    fn from(forecast: &Forecast) -> Self {
        Self {
            devices: forecast.devices,
            plan: (&forecast.plan).into(),
            outage: (&forecast.outage).into(),
            leak: (&forecast.leak).into(),
        }
    }
}

impl Row for ForecastRow {
    const FIELDS: &'static [&'static str] = &["devices", "plan", "outage", "leak"];
    const LONG_FIELDS: &'static [&'static str] = &["plan", "outage", "leak"];
    const COLUMNS: &'static [Column] = &[
        Column::new("DEVICES"),
        Column::new("PEAK"),
        Column::new("PEAK DAY"),
        Column::new("FIRST ISSUE HOURS"),
        Column::new("LIMITED HOURS"),
        Column::new("LONGEST WAIT HOURS"),
        Column::new("EXPIRED"),
    ];

    fn id(&self) -> &str {
        "forecast"
    }

    fn cells(&self, _: Timestamp) -> Vec<Cell<'_>> {
        let plan = &self.plan;
        let numbers = [
            self.devices,
            plan.peak,
            plan.peak_day as u64,
            plan.first_issue_hours,
            plan.limited_hours,
            plan.longest_wait_hours,
            plan.expired,
        ];
        numbers.map(|number| Cell::new(number.to_string())).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_that_of_the_output() {
        crate::output::schemas::check::<ForecastRow>("forecast");
    }
}
