//! Files that other people's tools make, in a folder of each test's own.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{installed, is_installed, runs};

/// The distinguished name of what the tools make, unless a script says otherwise, and functions for the scripts.
const PRELUDE: &str = r#"
set -euo pipefail
subject='/O=Temperature Testers, Inc./CN=sensor-001'
# Makes a CSR with a key on P-256.
request() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr "$@"; }
# Makes an unencrypted key on P-256.
p256() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 "$@"; }
java_key() {
  keytool -genkeypair -dname 'CN=sensor-001, O="Temperature Testers, Inc."' -validity 30 -storetype PKCS12 \
    -storepass changeit -keystore "$@"
}
java_request() {
  java_key store "$@" -alias 1
  keytool -certreq -alias 1 -storepass changeit -keystore store -file csr
}
"#;

/// Whether openssl, keytool and bash can run.
pub(crate) fn are_installed() -> bool {
    let tools = [
        ("bash", "--version"),
        ("keytool", "-help"),
        ("openssl", "version"),
    ];
    let installed = tools.iter().all(|(tool, version)| runs(tool, version));
    is_installed("bash, keytool (of Java) or openssl", installed)
}

/// Whether Python's cryptography and Node's @peculiar/x509 can run, which the SDKs' tests use too.
pub(crate) fn are_packages_installed() -> bool {
    let node = installed().join("node/node_modules/@peculiar/x509");
    let python = installed().join("venv/bin/python");
    let can_run = python.exists() && node.exists() && runs("node", "--version");
    is_installed(
        "cryptography for Python, or @peculiar/x509 for Node",
        can_run,
    )
}

/// Runs a script of bash in this folder and returns what it prints, its messages included. Panics if it fails.
pub(crate) fn run_script(folder: &Path, script: &str) -> String {
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!("{PRELUDE}\n{{\n{script}\n}} 2>&1"))
        .current_dir(folder)
        // Messages in English, and names in UTF-8.
        .env("LC_ALL", "C.UTF-8")
        .env_remove("OPENSSL_CONF")
        .env("PYTHON", installed().join("venv/bin/python"))
        .env("NODE_PATH", installed().join("node/node_modules"))
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{script}\n{printed}",
        output.status
    );
    printed
}

/// Compares what a function returned with what a row of a table expects: the value, or a part of the message.
pub(crate) fn compare(
    row: &str,
    expected: Result<&str, &str>,
    found: Result<String, String>,
) -> Option<String> {
    let is_as_expected = match (expected, &found) {
        (Ok(expected), Ok(found)) => found == expected,
        (Err(expected), Err(found)) => found.contains(expected),
        _ => false,
    };
    (!is_as_expected).then(|| format!("{row}: {found:?} instead of {expected:?}"))
}
