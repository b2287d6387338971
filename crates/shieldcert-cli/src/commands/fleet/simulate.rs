//! `shieldcert fleet plan --simulate`: a year of a fleet in simulated time.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use shieldcert_fleet::commands::counted;
use shieldcert_fleet::{Fleet, Forecast, Year};

use super::failure;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::failure::Result;
use crate::output::facts::Facts;
use crate::output::fleet::forecast::ForecastRow;
use crate::output::format::Format;
use crate::output::time;

// Not a doc comment: it would become that of the command.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Simulate a year: requests a day, peaks, time under the rate limit, and what an outage or a leak would do
    #[arg(long, conflicts_with_all = ["refresh", "summary", "detailed_exit_code"])]
    simulate: bool,

    /// Simulate so many devices that have no certificate yet, in place of those of the manifest
    #[arg(long, value_name = "N", requires = "simulate", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    devices: Option<u64>,
}

impl SimulateArgs {
    pub(super) fn is_given(&self) -> bool {
        self.simulate
    }

    /// Nothing is sent.
    pub(super) fn run(&self, context: &Context, fleet: &Fleet) -> Result {
        let start = Timestamp::now();
        let forecast = fleet
            .forecast(self.devices)
            .map_err(|error| failure(context, error))?;
        if context.has_chosen_output() {
            let mut printer = context.printer_or(Format::Table)?.single();
            printer.print(&ForecastRow::from(&forecast), start)?;
            printer.finish()?;
        } else {
            describe(&forecast, start).print(&context.output(Format::Table))?;
        }
        Ok(ExitCode::Done)
    }
}

/// The forecast for people.
fn describe(forecast: &Forecast, start: Timestamp) -> Facts {
    let plan = &forecast.plan;
    let mut facts = Facts::default();
    facts.add("devices", forecast.devices.to_string());
    let months = months(plan, start);
    let most = months.iter().map(|(_, requests)| *requests).max();
    let most = most.unwrap_or_default();
    let width = most.to_string().len();
    for (place, (month, requests)) in months.iter().enumerate() {
        let name = if place == 0 { "requests" } else { "" };
        let line = format!("{month}  {requests:>width$}  {}", bar(*requests, most));
        facts.add(name, line.trim_end());
    }
    let first = match plan.first_issue_hours {
        0 | 1 => "within an hour".to_owned(),
        first => format!("takes {}", hours(first)),
    };
    facts.add("first issue", first);
    if plan.peak > 0 {
        let peak = counted(plan.peak, "request");
        facts.add("peak day", format!("{}: {peak}", day(plan.peak_day, start)));
    }
    let limited = match plan.limited_hours {
        0 => "never used up after the first issue".to_owned(),
        limited => format!("used up for {} after the first issue", hours(limited)),
    };
    facts.add("rate limit", limited);
    facts.add("longest wait", wait(plan.longest_wait_hours));
    facts.add("expired", counted(plan.expired, "certificate"));
    let peak = day(plan.peak_day, start);
    facts.add(
        "outage",
        format!(
            "no request for two days from {peak}: {}",
            consequences(&forecast.outage)
        ),
    );
    facts.add(
        "leak",
        format!(
            "every key after half a year: {}",
            consequences(&forecast.leak)
        ),
    );
    facts
}

/// How wide the chart is.
const CHART: usize = 40;

fn bar(requests: u64, most: u64) -> String {
    let share = requests as f64 / most.max(1) as f64;
    let width = (share * CHART as f64).round() as usize;
    // Whatever there is shows.
    "#".repeat(width.max(usize::from(requests > 0)))
}

/// The requests of each month, UTC.
fn months(year: &Year, start: Timestamp) -> Vec<(String, u64)> {
    let mut months: Vec<(String, u64)> = Vec::new();
    for (place, day_of) in year.days.iter().enumerate() {
        let month: String = day(place, start).chars().take(7).collect();
        match months.last_mut() {
            Some((last, requests)) if *last == month => *requests += day_of.requests(),
            _ => months.push((month, day_of.requests())),
        }
    }
    months
}

fn day(place: usize, start: Timestamp) -> String {
    let after =
        i64::try_from(place).map(|days| SignedDuration::from_hours(days.saturating_mul(24)));
    let at = after.ok().and_then(|after| start.checked_add(after).ok());
    time::day(at.unwrap_or(start))
}

fn hours(hours: u64) -> String {
    match hours {
        0..=48 => counted(hours, "hour"),
        _ => counted(hours / 24, "day"),
    }
}

fn wait(longest: u64) -> String {
    match longest {
        0 => "less than an hour".to_owned(),
        longest => hours(longest),
    }
}

fn consequences(year: &Year) -> String {
    let recovery = match year.recovery_hours {
        Some(recovery) => format!("all is well {} later", hours(recovery)),
        None => "not all is well within the year".to_owned(),
    };
    format!(
        "{recovery}; longest wait {}; expired {}",
        wait(year.longest_wait_hours),
        counted(year.expired, "certificate")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fit_and_show_what_there_is() {
        for (requests, most, width) in [
            (0, 0, 0),
            (0, 9, 0),
            (1, 1_000_000, 1),
            (9, 9, CHART),
            (5, 10, CHART / 2),
        ] {
            assert_eq!(bar(requests, most).len(), width, "{requests} of {most}");
        }
        assert_eq!(
            [hours(1), hours(48), hours(49)],
            ["1 hour", "48 hours", "2 days"]
        );
    }
}
