//! The contenders.

use std::ffi::OsString;
use std::process::Command;

use super::emulator::Emulator;
use super::measure::{self, Usage};
use super::setup::Bench;
use super::tally::Tally;

/// A program that is measured, and the name that is printed.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// The program with its first arguments, or the reason why it is missing.
    pub(crate) command: Result<Vec<OsString>, String>,
}

pub(crate) const SHIELDCERT: &str = "shieldcert";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const REQWEST: &str = "reqwest + serde";
pub(crate) const GENERATED: &str = "shieldcert-api";
pub(crate) const PYTHON: &str = "Python SDK";
pub(crate) const TYPESCRIPT: &str = "TypeScript SDK";

/// Returns all contenders, in the order in which they run.
pub(crate) fn all(bench: &Bench) -> anyhow::Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for (name, program) in [
        (SHIELDCERT, "bench-shieldcert"),
        (FLOOR, "bench-floor"),
        (REQWEST, "bench-reqwest"),
        (GENERATED, "bench-generated"),
    ] {
        let command = vec![bench.programs.get(program)?.into()];
        contenders.push(Contender {
            name,
            command: Ok(command),
        });
    }
    contenders.extend(python(bench));
    if let Some(node) = &bench.peers.node {
        contenders.push(Contender {
            name: TYPESCRIPT,
            command: node
                .clone()
                .map(|script| vec!["node".into(), script.into()]),
        });
    }
    Ok(contenders)
}

/// Returns the official Python SDK, if peers are measured.
pub(crate) fn python(bench: &Bench) -> Option<Contender> {
    let python = bench.peers.python.clone()?;
    let script = bench.root.join("tests/bench/python/contender.py");
    Some(Contender {
        name: PYTHON,
        command: python.map(|python| vec![python.into(), script.into()]),
    })
}

impl Contender {
    /// Runs a task against the emulator. Returns what was found, and the resources that were used.
    pub(crate) fn run(
        &self,
        emulator: &Emulator,
        task: &[OsString],
    ) -> anyhow::Result<(Tally, Usage)> {
        let command = self.command.clone().map_err(anyhow::Error::msg)?;
        let mut measured: Command = measure::command(&[&command[..], task].concat())?;
        emulator.configure(&mut measured);
        let (printed, usage) = measure::run(measured)?;
        Ok((serde_json::from_str(&printed)?, usage))
    }
}
