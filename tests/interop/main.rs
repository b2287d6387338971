//! Clients that are not ours run the whole life of certificates against the emulator: the official SDKs
//! for Python and TypeScript, curl with openssl, and Schemathesis over the spec.
//!
//! `tests/interop/install.sh` installs them. Where one is missing, its test says so and passes, unless
//! `SHIELDCERT_INTEROP=require` is set, as it is in `.ci/run`.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shieldcert_emulator::{Emulator, EmulatorBuilder, IdStyle};
use shieldcert_tests::{TOKEN, ZONE};

/// How long a peer may take. None needs half of it.
const PEER_LIMIT: Duration = Duration::from_secs(120);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the peers' programs are.
fn interop() -> PathBuf {
    workspace().join("tests/interop")
}

/// Where `install.sh` installs.
fn installed() -> PathBuf {
    workspace().join("target/interop")
}

/// Whether the peer can run. Where it must, that it can't is a failure.
fn is_installed(peer: &str, installed: bool) -> bool {
    if installed {
        return true;
    }
    let required = std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
    assert!(!required, "{peer} is not installed, and it is required");
    // Not `eprintln!`: the harness hides what a test that passes prints with it.
    writeln!(
        std::io::stderr(),
        "skipped: {peer} is not installed; `tests/interop/install.sh` installs it"
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

/// Runs a peer against a new emulator, and fails with what it printed if it fails.
async fn run(emulator: EmulatorBuilder, mut peer: Command) {
    let emulator = emulator.start().await.expect("starts");
    let edge = emulator.edge_address().expect("has an edge");
    let scratch = tempfile::tempdir().expect("a folder");
    let ca = scratch.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca_pem()).expect("is written");
    // A file takes whatever is printed, whether or not somebody reads along.
    let mut printed = tempfile::tempfile().expect("a file");
    let writer = |file: &File| file.try_clone().expect("a handle");
    let mut child = peer
        .current_dir(scratch.path())
        .env("SHIELDCERT_BASE_URL", emulator.base_url())
        .env("SHIELDCERT_TOKEN", TOKEN)
        .env("SHIELDCERT_ZONE", ZONE)
        .env("SHIELDCERT_CA", &ca)
        .env("SHIELDCERT_EDGE", edge.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // A proxy knows nothing of this machine's ports.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(writer(&printed))
        .stderr(writer(&printed))
        .spawn()
        .expect("is spawned");
    let started = Instant::now();
    let outcome = loop {
        if let Some(status) = child.try_wait().expect("can be waited for") {
            break (!status.success()).then(|| status.to_string());
        }
        if started.elapsed() > PEER_LIMIT {
            child.kill().expect("can be killed");
            child.wait().expect("ends");
            break Some(format!("killed after {PEER_LIMIT:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    printed.rewind().expect("can be read");
    let printed = std::io::read_to_string(printed).expect("is text");
    if let Some(failure) = outcome {
        panic!("{failure}\n{printed}");
    }
    println!("{printed}");
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk() {
    let python = installed().join("venv/bin/python");
    if is_installed("the Python SDK", python.exists()) {
        let mut peer = Command::new(python);
        peer.arg(interop().join("python/lifecycle.py"));
        run(emulator(), peer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk() {
    let node = installed().join("node");
    let sdk = node.join("node_modules/cloudflare");
    if is_installed(
        "the TypeScript SDK",
        sdk.exists() && runs("node", "--version"),
    ) {
        // Imports are looked for beside the program that has them.
        let program = node.join("lifecycle.mjs");
        std::fs::copy(interop().join("node/lifecycle.mjs"), &program).expect("is copied");
        let mut peer = Command::new("node");
        peer.arg(program);
        run(emulator(), peer).await;
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
        let mut peer = Command::new("bash");
        peer.arg(interop().join("curl/lifecycle.sh"));
        run(emulator(), peer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis() {
    let schemathesis = installed().join("venv/bin/schemathesis");
    if is_installed("Schemathesis", schemathesis.exists()) {
        let settings = interop().join("schemathesis");
        let mut peer = Command::new(schemathesis);
        peer.env("SCHEMATHESIS_HOOKS", settings.join("hooks.py"))
            .arg("--config-file")
            .arg(settings.join("schemathesis.toml"))
            .arg("run")
            .arg(workspace().join("spec/client_certificates.yaml"));
        // The spec allows ids of 32 characters. The default, a UUID, is what breaks it on purpose.
        run(emulator().ids(IdStyle::Hex), peer).await;
    }
}
