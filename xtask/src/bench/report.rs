//! The report: Markdown that also reads well in a terminal, and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::contender::FLOOR;
use super::machine::Facts;
use super::outcome::{Failure, Metric, Outcome, Row};

pub(crate) fn heading(machine: &Facts, quick: bool) -> String {
    let mut text = String::from("# Side by side\n\n");
    for (name, value) in machine {
        let _ = writeln!(text, "- {name}: {value}");
    }
    if quick {
        text.push_str("\nA quick run tests the benchmark. Its figures mean nothing.\n");
    }
    text
}

pub(crate) fn section(outcome: &Outcome) -> String {
    let mut text = format!("## ({}) {}\n", outcome.letter, outcome.title);
    for (place, metric) in outcome.metrics.iter().enumerate() {
        // A metric without figures has no table. The first table names failures.
        if place > 0
            && outcome
                .rows
                .iter()
                .all(|row| row.summary(*metric).is_none())
        {
            continue;
        }
        let _ = write!(text, "\n{}", table(outcome, *metric));
    }
    let _ = writeln!(text, "\n{}", outcome.floor);
    for note in &outcome.notes {
        let _ = writeln!(text, "{note}");
    }
    for target in &outcome.targets {
        let _ = writeln!(
            text,
            "target: {}: {}, {}",
            target.target,
            target.measured,
            describe_target(target.is_met)
        );
    }
    text
}

fn describe_target(is_met: Option<bool>) -> &'static str {
    match is_met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "open",
    }
}

fn table(outcome: &Outcome, metric: Metric) -> String {
    // The first row is Shieldcert's.
    let own = outcome.rows.first().and_then(|row| row.summary(metric));
    let own = own.map(|summary| summary.median);
    let floor = outcome.summary(FLOOR, metric).map(|summary| summary.median);
    let header = [
        name(metric),
        "median",
        "spread",
        "to Shieldcert",
        "to the floor",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    for row in &outcome.rows {
        if row.failure.is_none() && row.summary(metric).is_none() {
            continue;
        }
        lines.push(line(row, metric, own, floor));
    }
    format_table(&lines)
}

fn line(row: &Row, metric: Metric, own: Option<f64>, floor: Option<f64>) -> [String; 5] {
    let nothing = || "–".to_owned();
    if let Some(failure) = &row.failure {
        let mark = match failure {
            Failure::Missing(_) => "missing",
            Failure::Wrong(_) => "WRONG",
        };
        return [
            row.name.into(),
            mark.into(),
            nothing(),
            nothing(),
            nothing(),
        ];
    }
    let Some(summary) = row.summary(metric) else {
        return [row.name.into(), nothing(), nothing(), nothing(), nothing()];
    };
    let ratio = |to: Option<f64>| match to {
        Some(to) if to > 0.0 => format!("{:.2}", summary.median / to),
        _ => nothing(),
    };
    let spread = format!(
        "{} – {}",
        figure(metric, summary.least),
        figure(metric, summary.most)
    );
    [
        row.name.into(),
        figure(metric, summary.median),
        spread,
        ratio(own),
        ratio(floor),
    ]
}

fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::Wall => "wall time, s",
        Metric::Processor => "processor time, s",
        Metric::Memory => "peak memory, MiB",
        Metric::Requests => "requests",
        Metric::Waiting => "requests to wait",
        Metric::Surplus => "certificates too many after a kill",
        Metric::Allocations => "allocations a call",
        Metric::Rate => "requests a second",
        Metric::Crates => "crates",
    }
}

fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Wall | Metric::Processor => format!("{value:.3}"),
        Metric::Memory | Metric::Allocations => format!("{value:.1}"),
        Metric::Requests | Metric::Waiting | Metric::Surplus | Metric::Rate | Metric::Crates => {
            format!("{value:.0}")
        }
    }
}

/// Formats a Markdown table with aligned columns, the first line being the header.
pub(crate) fn format_table<Line: AsRef<[String]>>(lines: &[Line]) -> String {
    let columns = lines.first().map_or(0, |line| line.as_ref().len());
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.as_ref().get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.as_ref().iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                let _ = write!(text, "|{dashes}{}", if column == 0 { "-" } else { ":" });
            }
            text.push_str("|\n");
        }
    }
    text
}

pub(crate) fn targets(outcomes: &[Outcome]) -> String {
    let mut text = String::from("## Targets\n\n");
    for outcome in outcomes {
        for target in &outcome.targets {
            let _ = writeln!(
                text,
                "- ({}) {}: {}, {}",
                outcome.letter,
                target.target,
                target.measured,
                describe_target(target.is_met)
            );
        }
    }
    text
}

/// Returns what a reader of the tables must know.
pub(crate) fn legend() -> &'static str {
    "\
## How to read this

- Every contender is a process. Its figures are the system's, from its start to its end, and include the start of an
  interpreter, modules and root certificates.
- Contenders run in turns, round after round. `spread` is the minimum and the maximum of all rounds.
- All have default settings, and the same emulator. It allows 100,000,000 requests a day and states that in `Ratelimit`
  and `Ratelimit-Policy`. Shieldcert reads these headers; the others do not.
- The emulator shares the machine's cores with the contender. Without latency, part of the wall time is the emulator's.
- The connections are plain HTTP on the loopback interface: nobody pays for TLS.
- The SDKs, reqwest + serde and shieldcert-api list and issue one call after another, as the SDKs' documentation shows and
  as a plain loop does. Shieldcert fetches 8 pages at once by itself, and issues as many certificates at once as its user
  has in flight, here 16 (`buffer_unordered(16)`). With a thread pool, asyncio or `Promise.all`, users of the SDKs could
  do so, too: the difference at 30 ms is mostly that.
- Issue: Shieldcert writes each file atomically and waits for the disk, twice a file. The others write without waiting.
- Revoke: only Shieldcert can wait by itself. Each of the others polls every certificate that is pending once a second:
  the SDKs one by one; reqwest + serde and shieldcert-api, like Shieldcert and the floor, with 16 requests in flight.
- `reqwest + serde` deserializes every documented field into a struct. It stops by `total_count`; the SDKs read until a
  page is empty, which is one request more.
- All Rust contenders start tokio's multi-threaded runtime, as `#[tokio::main]` does, and have the same build of reqwest:
  HTTP/1.1 only, with ring for TLS. That is less than reqwest's default features, in reqwest's favor.
- Allocations are counted in separate runs, after the connection is made, and include reallocations.
- Prism responds with the examples of the spec and stores nothing; the emulator stores, checks and signs. Both write one
  log line a request, to nowhere.
- Fleet (i): the fleet keeps 32 devices in flight, writes each file atomically, waits for the disk, and records every step in
  its journal. The loop and the script do one device after another and write without waiting; they skip a device whose
  certificate is on the disk. A kill costs them at most one certificate, if it comes between the create and the file.
- Simulated time (j): the clock jumps to the next timer when nothing can run. Client, service and journal are the real ones,
  in one process. A run is from one seed and is the same each time, so it is run once.
- WRONG means that the contender failed, or found another number of certificates or others than there are. It has no
  figures.
"
}

/// Returns the contenders that failed or were wrong.
pub(crate) fn failures(outcome: &Outcome) -> impl Iterator<Item = String> + '_ {
    outcome.rows.iter().filter_map(|row| match &row.failure {
        Some(Failure::Wrong(why)) => Some(format!("({}) {}: {why}", outcome.letter, row.name)),
        _ => None,
    })
}

pub(crate) fn json(machine: &Facts, outcomes: &[Outcome], rounds: u32, quick: bool) -> Value {
    let row = |outcome: &Outcome, row: &Row| {
        let summaries: serde_json::Map<String, Value> = outcome
            .metrics
            .iter()
            .filter_map(|metric| {
                let summary = row.summary(*metric)?;
                let key = serde_json::to_value(metric).ok()?.as_str()?.to_owned();
                let value = json!({
                    "median": summary.median,
                    "least": summary.least,
                    "most": summary.most,
                });
                Some((key, value))
            })
            .collect();
        let (status, why) = match &row.failure {
            None => ("ok", None),
            Some(Failure::Missing(why)) => ("missing", Some(why)),
            Some(Failure::Wrong(why)) => ("wrong", Some(why)),
        };
        json!({
            "contender": row.name,
            "status": status,
            "why": why,
            "summary": summaries,
            "samples": row.samples,
        })
    };
    let scenario = |outcome: &Outcome| {
        let rows: Vec<_> = outcome.rows.iter().map(|each| row(outcome, each)).collect();
        json!({
            "scenario": outcome.letter,
            "title": outcome.title,
            "floor": outcome.floor,
            "contenders": rows,
            "targets": outcome.targets,
            "notes": outcome.notes,
        })
    };
    json!({
        "machine": machine,
        "rounds": rounds,
        "quick": quick,
        "scenarios": outcomes.iter().map(scenario).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::contender::SHIELDCERT;
    use crate::bench::outcome::Sample;

    fn row(name: &'static str, walls: &[f64]) -> Row {
        Row {
            name,
            samples: walls
                .iter()
                .map(|wall| Sample::from([(Metric::Wall, *wall)]))
                .collect(),
            failure: None,
        }
    }

    #[test]
    fn a_wrong_or_missing_contender_has_no_figures() {
        let mut outcome = Outcome {
            letter: 'a',
            title: "list".into(),
            floor: "floor: raw",
            metrics: &[Metric::Wall],
            rows: vec![
                row(SHIELDCERT, &[2.0, 1.0, 4.0]),
                row(FLOOR, &[1.0]),
                row("other", &[0.001]),
                row("gone", &[]),
            ],
            targets: Vec::new(),
            notes: Vec::new(),
        };
        outcome.rows[2].failure = Some(Failure::Wrong("3 certificates, not 4".into()));
        outcome.rows[3].failure = Some(Failure::Missing("no npm".into()));
        outcome.add_quotient("fast", Some(2.0), Some(1.0), |times| times <= 1.3);
        outcome.add_quotient("faster", None, Some(1.0), |_| true);
        insta::assert_snapshot!(section(&outcome));
        assert_eq!(
            failures(&outcome).collect::<Vec<_>>(),
            ["(a) other: 3 certificates, not 4"]
        );
        let json = json(&Facts::new(), &[outcome], 3, false);
        assert_eq!(json["scenarios"][0]["contenders"][2]["status"], "wrong");
        assert_eq!(
            json["scenarios"][0]["contenders"][0]["summary"]["wall"]["median"],
            2.0
        );
    }
}
