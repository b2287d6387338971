//! Other clients run the lifecycle of certificates against the emulator: the official SDK for TypeScript, curl with
//! openssl, and Schemathesis with the spec; that for Python does with the pytest plugin, in the command line's tests. CSRs, keys and PKCS#12 files of openssl, Java's keytool, Python and
//! Node are read, and they read ours.
//!
//! `tests/interop/install.sh` installs them. If one is missing, its test prints `skipped: …` and passes, or fails where
//! `SHIELDCERT_INTEROP=require` is set, as it is in `.ci/run`.

mod csrs;
mod files;
mod keys;
mod pkcs12;
mod tools;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shieldcert_emulator::{Emulator, EmulatorBuilder, IdStyle};
use shieldcert_tests::kit::{TOKEN, ZONE};

/// How long a client may take. None needs half of it.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(120);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the folder of the clients' programs.
fn interop() -> PathBuf {
    workspace().join("tests/interop")
}

/// Returns the folder that `install.sh` installs into.
fn installed() -> PathBuf {
    workspace().join("target/interop")
}

/// Whether the client can run. Panics if it must and can't.
fn is_installed(client: &str, installed: bool) -> bool {
    if installed {
        return true;
    }
    let required = std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
    assert!(
        !required,
        "{client} is not installed, and SHIELDCERT_INTEROP requires it"
    );
    // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
    writeln!(
        std::io::stderr(),
        "skipped: {client} is not installed; `tests/interop/install.sh` installs it"
    )
    .expect("standard error can be written to");
    false
}

fn runs(program: &str, argument: &str) -> bool {
    let status = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn emulator() -> EmulatorBuilder {
    Emulator::builder()
        .token(TOKEN)
        .transition_delay(Duration::from_millis(200))
        .edge(([127, 0, 0, 1], 0).into())
}

/// Runs a client against a new emulator. If it fails, the test fails with its output.
async fn run(emulator: EmulatorBuilder, mut client: Command) {
    let emulator = emulator.start().await.expect("starts");
    let edge = emulator.edge_address().expect("has an edge");
    let scratch = tempfile::tempdir().expect("a folder");
    let ca = scratch.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca_pem()).expect("is written");
    // A file, because a pipe that nobody reads blocks the client once it is full.
    let mut output = tempfile::tempfile().expect("a file");
    let writer = |file: &File| file.try_clone().expect("a handle");
    let mut child = client
        .current_dir(scratch.path())
        .env("SHIELDCERT_BASE_URL", emulator.base_url())
        .env("SHIELDCERT_TOKEN", TOKEN)
        .env("SHIELDCERT_ZONE", ZONE)
        .env("SHIELDCERT_CA", &ca)
        .env("SHIELDCERT_EDGE", edge.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A proxy can't reach this machine's ports.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(writer(&output))
        .stderr(writer(&output))
        .spawn()
        .expect("is spawned");
    let started = Instant::now();
    let outcome = loop {
        if let Some(status) = child.try_wait().expect("can be waited for") {
            break (!status.success()).then(|| status.to_string());
        }
        if started.elapsed() > CLIENT_TIMEOUT {
            child.kill().expect("can be killed");
            child.wait().expect("ends");
            break Some(format!("killed after {CLIENT_TIMEOUT:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    output.rewind().expect("can be read");
    let output = std::io::read_to_string(output).expect("is text");
    if let Some(failure) = outcome {
        panic!("{failure}\n{output}");
    }
    println!("{output}");
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk() {
    let node = installed().join("node");
    let sdk = node.join("node_modules/cloudflare");
    if is_installed(
        "the TypeScript SDK",
        sdk.exists() && runs("node", "--version"),
    ) {
        // Node looks for imports next to the program.
        let program = node.join("lifecycle.mjs");
        std::fs::copy(interop().join("node/lifecycle.mjs"), &program).expect("is copied");
        let mut client = Command::new("node");
        client.arg(program);
        run(emulator(), client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl() {
    let tools = [
        ("bash", "--version"),
        ("curl", "--version"),
        ("jq", "--version"),
        ("openssl", "version"),
    ];
    let installed = tools.iter().all(|(tool, version)| runs(tool, version));
    if is_installed("curl, openssl or jq", installed) {
        let mut client = Command::new("bash");
        client.arg(interop().join("curl/lifecycle.sh"));
        run(emulator(), client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis() {
    let bin = installed().join("venv/bin");
    let schemathesis = bin.join("schemathesis");
    if is_installed("Schemathesis", schemathesis.exists()) {
        let settings = interop().join("schemathesis");
        // Through Python, because the script names its interpreter by an absolute path, which breaks if the checkout moves.
        let mut client = Command::new(bin.join("python"));
        client
            .arg(schemathesis)
            .env("SCHEMATHESIS_HOOKS", settings.join("hooks.py"))
            .arg("--config-file")
            .arg(settings.join("schemathesis.toml"))
            .arg("run")
            .arg(workspace().join("spec/client_certificates.yaml"));
        // The spec allows ids of 32 characters. The default, a UUID as the real service has, is longer.
        run(emulator().ids(IdStyle::Hex), client).await;
    }
}
