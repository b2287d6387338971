//! An emulator, and the command line against it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use shieldcert_emulator::{Emulator, EmulatorBuilder, Fixture, RunningEmulator};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const TOKEN: &str = "a-token-of-the-tests-1234567890";

/// A running emulator, and a folder for the command line to work in.
pub(crate) struct Service {
    pub(crate) emulator: RunningEmulator,
    pub(crate) folder: TempDir,
    runtime: Runtime,
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// Ids are drawn from a seed, and it is noon on 31 January 2026.
    pub(crate) fn start_with(set_up: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        let builder = Emulator::builder().seed(1).clock_start(noon).token(TOKEN);
        let emulator = runtime
            .block_on(set_up(builder).start())
            .expect("it starts");
        Self {
            emulator,
            folder: TempDir::new().expect("a folder"),
            runtime,
        }
    }

    /// Adds a certificate, and returns its id.
    pub(crate) fn add(&self, fixture: Fixture) -> String {
        let added = self.runtime.block_on(self.emulator.add(ZONE, fixture));
        added.expect("is added").id.expect("an id").to_string()
    }

    /// The command line, with the emulator, zone and token in its environment and nothing else.
    pub(crate) fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = shieldcert(self.folder.path());
        command
            .args(arguments)
            .env("CLOUDFLARE_BASE_URL", self.emulator.base_url())
            .env("CLOUDFLARE_ZONE_ID", ZONE)
            .env("CLOUDFLARE_API_TOKEN", TOKEN);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// A command's standard output, in a format, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }
}

/// The command line in a folder, which is its home too, without the environment of the tests.
pub(crate) fn shieldcert(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shieldcert"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    Ran::new(command.output().expect("it ran"))
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Code, output and messages in one text, for a snapshot.
    pub(crate) fn text(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        format!("code: {code}\n--- out\n{}--- err\n{}", self.out, self.err)
    }
}

/// How long something may take. Only a failure takes that long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < TIMEOUT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a program can run. Says so where it can't, and panics where it must.
pub(crate) fn is_installed(program: &str, version: &str) -> bool {
    if Command::new(program).arg(version).output().is_ok() {
        return true;
    }
    let required = std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
    assert!(
        !required,
        "{program} is not installed, and SHIELDCERT_INTEROP requires it"
    );
    // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
    let message =
        format!("skipped: {program} is not installed; `tests/interop/install.sh` installs it\n");
    std::io::stderr()
        .write_all(message.as_bytes())
        .expect("is written");
    false
}

/// Holds every object of an output to its schema.
pub(crate) fn check_schema(name: &str, rows: &Value) {
    let path = format!("{}/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let schema = std::fs::read_to_string(&path).expect("the schema is there");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let rows = rows.as_array().expect("an array");
    assert!(!rows.is_empty(), "nothing to check");
    for row in rows {
        let unknown: Vec<_> = row
            .as_object()
            .expect("an object")
            .keys()
            .filter(|name| schema["properties"].get(name).is_none())
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let problems: Vec<_> = validator
            .iter_errors(row)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(problems, Vec::<String>::new(), "{row}");
    }
}
