//! The emulator: a release build, in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::measure::{self, Running};
use super::setup::Bench;
use super::tally::Tally;

pub(crate) const TOKEN: &str = "bench-token-0123456789abcdefghijklmnopqr";
pub(crate) const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// Never reached. The window is a day, so that the remaining requests count those of a run.
const RATE_LIMIT: &str = "100000000/86400s";

const TRANSITION_DELAY: &str = "2s";

/// An emulator that runs until it is dropped.
pub(crate) struct Emulator {
    pub(crate) base_url: String,
    floor: PathBuf,
    _process: Running,
}

/// What is in the zone, as printed by `bench-floor contents`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Contents {
    pub(crate) count: u64,
    pub(crate) checksum: u64,
    pub(crate) fingerprints: u64,
    pub(crate) active: u64,
    pub(crate) revoked: u64,
    pub(crate) requests: u64,
    pub(crate) sample_id: Option<String>,
}

impl Contents {
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            count: self.count,
            checksum: self.checksum,
        }
    }
}

impl Emulator {
    /// Starts an emulator with `certificates` in its zone and a latency in milliseconds.
    pub(crate) fn start(bench: &Bench, certificates: u32, latency: u32) -> anyhow::Result<Self> {
        Self::start_with(bench, certificates, latency, &[])
    }

    /// Starts an emulator with further arguments.
    pub(crate) fn start_with(
        bench: &Bench,
        certificates: u32,
        latency: u32,
        further: &[&str],
    ) -> anyhow::Result<Self> {
        let programs = &bench.programs;
        let populate = certificates.to_string();
        let latency = format!("{latency}ms");
        let arguments = [
            ("--listen", "127.0.0.1:0"),
            ("--token", TOKEN),
            ("--rate-limit", RATE_LIMIT),
            ("--transition-delay", TRANSITION_DELAY),
            ("--latency", &latency),
            ("--zone", ZONE),
            ("--populate", &populate),
        ];
        let mut line = vec![programs.get("shieldcert")?.into(), "emulator".into()];
        for (name, value) in arguments {
            line.extend([name.into(), value.into()]);
        }
        line.extend(further.iter().map(Into::into));
        let mut command = measure::command(&line)?;
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Running::start(command)?;
        let mut ready = String::new();
        BufReader::new(process.stdout()?).read_line(&mut ready)?;
        let base_url = ready
            .trim()
            .strip_prefix("listening on ")
            .context("the emulator did not start")?;
        Ok(Self {
            base_url: base_url.to_owned(),
            floor: programs.get("bench-floor")?.to_owned(),
            _process: process,
        })
    }

    /// Sets the environment variables that name the service.
    pub(crate) fn configure(&self, command: &mut Command) {
        command
            .env("CLOUDFLARE_BASE_URL", &self.base_url)
            .env("CLOUDFLARE_API_TOKEN", TOKEN)
            .env("CLOUDFLARE_ZONE_ID", ZONE)
            .env_remove("CLOUDFLARE_API_KEY")
            .env_remove("CLOUDFLARE_EMAIL");
    }

    /// Issues certificates, all of them active. A zone that is populated at the start has other statuses, too.
    pub(crate) fn issue(&self, certificates: u32) -> anyhow::Result<()> {
        // The folder is not used: the floor discards the responses.
        let task = ["issue", &certificates.to_string(), "."];
        self.ask(task.map(OsStr::new)).map(drop)
    }

    /// Reads what is in the zone, and writes the ids to the file.
    pub(crate) fn contents(&self, ids: Option<&Path>) -> anyhow::Result<Contents> {
        let file = ids.map(Path::as_os_str);
        let output = self.ask([OsStr::new("contents")].into_iter().chain(file))?;
        Ok(serde_json::from_slice(&output)?)
    }

    /// Returns how many requests the service has counted, those of this method included.
    pub(crate) fn count_requests(&self) -> anyhow::Result<u64> {
        let output = self.ask([OsStr::new("requests")])?;
        Ok(serde_json::from_slice::<u64>(&output)? + 1)
    }

    /// Sets how the service differs from a well-behaved one. Needs `--control`.
    pub(crate) fn set_quirks(&self, quirks: &str) -> anyhow::Result<()> {
        self.ask(["quirks", quirks].map(OsStr::new)).map(drop)
    }

    /// Returns the program that tasks for the runner are run with.
    pub(crate) fn floor(&self) -> &Path {
        &self.floor
    }

    /// Runs a task of the floor to its end.
    fn ask<'a>(&self, task: impl IntoIterator<Item = &'a OsStr>) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.floor);
        command.args(task);
        self.configure(&mut command);
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "the emulator can't be asked: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }
}
