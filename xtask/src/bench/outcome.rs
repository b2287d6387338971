//! Measurements and their outcome.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statistics::Summary;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Wall time in seconds.
    Wall,
    /// Processor time in seconds.
    Processor,
    /// Peak memory in MiB.
    Memory,
    /// Requests that the service counted.
    Requests,
    /// Requests beyond one for each certificate.
    Waiting,
    /// Active certificates beyond one for each device, after a kill and another start.
    Surplus,
    /// Allocations a call.
    Allocations,
    /// Requests a second.
    Rate,
    /// Crates that are built.
    Crates,
}

/// The measurements of one run.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// The measurements of one contender in one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failure: Option<Failure>,
}

/// Why a contender has no figures.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is not installed.
    Missing(String),
    /// It failed, or its result was wrong.
    Wrong(String),
}

/// A goal.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    /// None if one side of the comparison was not measured.
    pub(crate) is_met: Option<bool>,
}

/// The outcome of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) letter: char,
    pub(crate) title: String,
    pub(crate) floor: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: Vec<Target>,
    /// Figures that are printed after the table.
    pub(crate) notes: Vec<String>,
}

impl Outcome {
    pub(crate) fn summary(&self, name: &str, metric: Metric) -> Option<Summary> {
        let row = self.rows.iter().find(|row| row.name == name)?;
        row.summary(metric)
    }

    pub(crate) fn median(&self, name: &str, metric: Metric) -> Option<f64> {
        Some(self.summary(name, metric)?.median)
    }

    /// Returns the smaller median of two contenders.
    pub(crate) fn best(&self, names: [&str; 2], metric: Metric) -> Option<f64> {
        let both = names.map(|name| self.median(name, metric));
        both.into_iter().flatten().reduce(f64::min)
    }

    /// Adds a target: the quotient of two medians, and whether it holds.
    pub(crate) fn add_quotient(
        &mut self,
        target: &'static str,
        of: Option<f64>,
        by: Option<f64>,
        is_met: impl Fn(f64) -> bool,
    ) {
        let quotient = of.zip(by).map(|(of, by)| of / by);
        self.targets.push(Target {
            target,
            measured: quotient.map_or("not measured".into(), |quotient| format!("{quotient:.2}")),
            is_met: quotient.map(is_met),
        });
    }

    /// Adds a target: a bound that the median of a contender's metric stays below.
    pub(crate) fn add_bound(
        &mut self,
        target: &'static str,
        (name, metric): (&str, Metric),
        unit: &str,
        bound: f64,
    ) {
        let median = self.median(name, metric);
        self.targets.push(Target {
            target,
            measured: median.map_or("not measured".into(), |median| {
                format!("{median:.1} {unit}")
            }),
            is_met: median.map(|median| median < bound),
        });
    }
}

impl Row {
    pub(crate) fn summary(&self, metric: Metric) -> Option<Summary> {
        if self.failure.is_some() {
            return None;
        }
        let figures: Vec<f64> = self
            .samples
            .iter()
            .filter_map(|sample| sample.get(&metric).copied())
            .collect();
        Summary::of(&figures)
    }
}

/// Runs the contenders in turns, so that other load on the machine affects all alike. One that fails is not run again.
pub(crate) fn run_in_turns<'a, T: 'a>(
    rounds: u32,
    label: &str,
    contenders: impl IntoIterator<Item = (&'static str, Result<T, String>)>,
    mut run: impl FnMut(&'static str, &T) -> anyhow::Result<Sample>,
) -> Vec<Row> {
    let mut all: Vec<(Row, Option<T>)> = contenders
        .into_iter()
        .map(|(name, contender)| {
            let (contender, failure) = match contender {
                Ok(contender) => (Some(contender), None),
                Err(why) => (None, Some(Failure::Missing(why))),
            };
            let row = Row {
                name,
                samples: Vec::new(),
                failure,
            };
            (row, contender)
        })
        .collect();
    for round in 1..=rounds {
        for (row, contender) in &mut all {
            let (None, Some(contender)) = (&row.failure, contender) else {
                continue;
            };
            eprintln!("{label}, round {round} of {rounds}: {}", row.name);
            match run(row.name, contender) {
                Ok(sample) => row.samples.push(sample),
                Err(error) => row.failure = Some(Failure::Wrong(format!("{error:#}"))),
            }
        }
    }
    all.into_iter().map(|(row, _)| row).collect()
}
