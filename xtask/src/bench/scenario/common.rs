//! What the scenarios with certificates share.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

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

/// Returns an empty folder on the disk.
pub(super) fn make_folder(bench: &Bench, name: &str) -> anyhow::Result<PathBuf> {
    let folder = bench.folder.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Checks that each device has a certificate and its key, which these files hold together. Returns the certificates.
pub(super) fn verify_files(
    bench: &Bench,
    devices: u32,
    files: impl Fn(u32) -> Vec<PathBuf>,
) -> anyhow::Result<Tally> {
    let collected = make_folder(bench, "fleet-files")?;
    for device in 0..devices {
        let mut text = String::new();
        for file in files(device) {
            let read = fs::read_to_string(&file);
            text += &read.with_context(|| format!("wrong: {} can't be read", file.display()))?;
        }
        fs::write(collected.join(format!("{device}.pem")), text)?;
    }
    let floor = bench.programs.get("bench-floor")?;
    let verified = Command::new(floor).arg("verify").arg(&collected).output()?;
    ensure!(
        verified.status.success(),
        "wrong files: {}",
        String::from_utf8_lossy(&verified.stderr)
    );
    fs::remove_dir_all(&collected)?;
    Ok(serde_json::from_slice(&verified.stdout)?)
}
