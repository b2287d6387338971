//! The requests a second that the emulator handles, compared with Prism, which serves the spec.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::super::emulator::{Emulator, TOKEN, ZONE};
use super::super::measure::{self, Running};
use super::super::outcome::{Metric, Outcome, Sample, run_in_turns};
use super::super::setup::Bench;

const EMULATOR: &str = "shieldcert emulator";
const PRISM: &str = "Prism";
const CONNECTIONS: &str = "16";

/// Some pages.
const CERTIFICATES: u32 = 1000;

#[derive(Deserialize)]
struct Signing {
    one_thread: f64,
    two_threads: f64,
    verify_and_sign_two_threads: f64,
}

pub(crate) fn compare(bench: &Bench) -> anyhow::Result<Vec<Outcome>> {
    let has_wrk = Command::new("wrk").arg("-v").output().is_ok();
    let missing = || "wrk is not installed (Debian's package `wrk`)".to_owned();
    let emulator = Emulator::start(bench, CERTIFICATES, 0)?;
    let id = emulator.contents(None)?.sample_id;
    // Prism accepts ids as the spec does: at most 32 characters, so without hyphens.
    let id = id.context("the zone is empty")?.replace('-', "");
    let prism = match &bench.peers.prism {
        _ if !bench.with_peers => None,
        None => None,
        Some(Err(why)) => Some(Err(why.clone())),
        Some(Ok(script)) => Some(Prism::start(bench, script).map_err(|error| error.to_string())),
    };
    let body = bench.folder.join("create.json");
    fs::write(&body, floor(bench, "body")?)?;
    let signing: Signing = serde_json::from_slice(&floor(bench, "signing")?)?;

    let mut outcomes = Vec::new();
    for (operation, path) in [
        ("get", format!("/{id}")),
        ("list", "?per_page=50".to_owned()),
        ("create", String::new()),
    ] {
        let mut contenders = vec![(EMULATOR, Ok(emulator.base_url.clone()))];
        match &prism {
            None => {}
            Some(Err(why)) => contenders.push((PRISM, Err(why.clone()))),
            Some(Ok(prism)) => contenders.push((PRISM, Ok(prism.base_url.clone()))),
        }
        if !has_wrk {
            contenders
                .iter_mut()
                .for_each(|(_, each)| *each = Err(missing()));
        }
        let title = format!("requests a second: {operation}");
        let rows = run_in_turns(bench.rounds, &title, contenders, |_, base_url| {
            let mut command = Command::new("wrk");
            command
                .args([
                    "-t1",
                    "-c",
                    CONNECTIONS,
                    "-d",
                    &bench.sizes.load.to_string(),
                ])
                .args(["-H", &format!("Authorization: Bearer {TOKEN}")]);
            if operation == "create" {
                command
                    .arg("-s")
                    .arg(bench.root.join("tests/bench/wrk/create.lua"))
                    .env("BENCH_BODY", &body);
            }
            command.arg(format!("{base_url}/zones/{ZONE}/client_certificates{path}"));
            let output = command.output()?;
            let rate = parse(&String::from_utf8(output.stdout)?)?;
            Ok(Sample::from([(Metric::Rate, rate)]))
        });
        let mut outcome = Outcome {
            letter: 'h',
            title,
            floor: "floor: for create the signature, see below; wrk with 16 connections, on the same cores as the server",
            metrics: &[Metric::Rate],
            rows,
            targets: Vec::new(),
            notes: Vec::new(),
        };
        let rate = |name| {
            outcome
                .summary(name, Metric::Rate)
                .map(|summary| summary.median)
        };
        let (own, other) = (rate(EMULATOR), rate(PRISM));
        if operation == "get" {
            outcome.add_quotient("at least 20 times Prism, on get", own, other, |times| {
                times >= 20.0
            });
        }
        if operation == "create" {
            outcome.notes.push(format!(
                "signatures a second, ECDSA P-256: {:.0} on one thread, {:.0} on two, {:.0} on two with the CSR's \
                 verified before each",
                signing.one_thread, signing.two_threads, signing.verify_and_sign_two_threads
            ));
            let signatures = Some(signing.verify_and_sign_two_threads);
            let target =
                "creates at 0.7 of what the signatures alone allow, the CSR's verified before each";
            outcome.add_quotient(target, own, signatures, |share| share >= 0.7);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn floor(bench: &Bench, task: &str) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(bench.programs.get("bench-floor")?)
        .arg(task)
        .output()?;
    ensure!(output.status.success(), "bench-floor {task} failed");
    Ok(output.stdout)
}

/// Parses the requests a second from a report of wrk.
///
/// # Errors
/// A request failed.
fn parse(report: &str) -> anyhow::Result<f64> {
    let line = |start: &str| {
        let mut lines = report.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(start))
    };
    if let Some(failed) = line("Non-2xx or 3xx responses:") {
        bail!("{} responses are failures", failed.trim());
    }
    if let Some(failed) = line("Socket errors:") {
        bail!("socket errors: {}", failed.trim());
    }
    let rate = line("Requests/sec:").context("wrk reports no rate")?;
    Ok(rate.trim().parse()?)
}

struct Prism {
    base_url: String,
    _process: Running,
}

impl Prism {
    /// Prism can't choose a free port, so one is chosen here.
    fn start(bench: &Bench, script: &std::path::Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let spec = bench.root.join("spec/client_certificates.yaml");
        let mut line: Vec<OsString> = vec!["node".into(), script.into(), "mock".into()];
        line.extend(["--host".into(), "127.0.0.1".into()]);
        line.extend([
            "--port".into(),
            address.port().to_string().into(),
            spec.into(),
        ]);
        let mut command = measure::command(&line)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Running::start(command)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < deadline, "Prism does not start");
            sleep(Duration::from_millis(100));
        }
        Ok(Self {
            base_url: format!("http://{address}"),
            _process: process,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_no_rate() {
        let good =
            "  21763 requests in 2.00s, 39.66MB read\nRequests/sec:  10870.30\nTransfer/sec: 1MB\n";
        assert_eq!(parse(good).expect("a rate"), 10870.3);
        for bad in [
            "",
            "  Non-2xx or 3xx responses: 7\n",
            "  Socket errors: connect 0, read 3\n",
        ] {
            assert!(parse(&format!("{bad}{}", if bad.is_empty() { "" } else { good })).is_err());
        }
    }
}
