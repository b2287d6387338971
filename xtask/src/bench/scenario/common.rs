//! What the scenarios with certificates share.

use std::ffi::OsString;

use anyhow::ensure;

use super::super::contender::{self, Contender, FLOOR};
use super::super::measure::Usage;
use super::super::outcome::{Metric, Sample};
use super::super::setup::Bench;
use super::super::tally::Tally;

pub(super) fn contenders(
    bench: &Bench,
) -> anyhow::Result<impl Iterator<Item = (&'static str, Result<Contender, String>)>> {
    let all = contender::all(bench)?.into_iter();
    Ok(all.map(|contender| match &contender.command {
        Ok(_) => (contender.name, Ok(contender)),
        Err(why) => (contender.name, Err(why.clone())),
    }))
}

pub(super) fn sample(usage: Usage) -> Sample {
    Sample::from([
        (Metric::Wall, usage.wall),
        (Metric::Processor, usage.processor),
        (Metric::Memory, usage.peak_kib as f64 / 1024.0),
    ])
}

/// Checks a tally against what is in the zone. The floor discards responses, so only its count is checked.
pub(super) fn check(name: &str, tally: Tally, expected: Tally) -> anyhow::Result<()> {
    ensure!(
        tally.count == expected.count,
        "wrong: {} certificates, not {}",
        tally.count,
        expected.count
    );
    ensure!(
        name == FLOOR || tally.checksum == expected.checksum,
        "wrong: other certificates than those in the zone"
    );
    Ok(())
}

pub(super) fn strings<const N: usize>(words: [&str; N]) -> [OsString; N] {
    words.map(OsString::from)
}
