//! The fixtures of the emulator's README, run by pytest and Vitest.
//!
//! `tests/interop/install.sh` installs both. If one is missing, its test prints `skipped: …` and passes, or fails where
//! `SHIELDCERT_INTEROP=require` is set.
#![cfg(all(feature = "emulator", unix))]
#![allow(missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../../shieldcert-emulator/README.md");

const PYTHON_TEST: &str = r#"
import http.client
import urllib.parse

PATH = "/zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates"


def test_thousands_of_requests(base_url):
    url = urllib.parse.urlsplit(base_url)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    for _ in range(5_000):
        connection.request("GET", url.path + PATH, headers={"Authorization": "Bearer t"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
"#;

const VITEST_CONFIG: &str = "export default { test: { globalSetup: './emulator.setup.mjs' } };";

const VITEST_TEST: &str = r#"
import { expect, inject, test } from 'vitest';

test('the emulator responds', async () => {
  const url = `${inject('baseURL')}/zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates`;
  const response = await fetch(url, { headers: { authorization: 'Bearer t' } });
  expect(response.status).toBe(200);
});
"#;

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop")
}

/// Whether the test runner can run. Panics if it must and can't.
fn is_installed(runner: &str, program: &Path) -> bool {
    if program.exists() {
        return true;
    }
    let required = std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
    assert!(
        !required,
        "{runner} is not installed, and SHIELDCERT_INTEROP requires it"
    );
    // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
    let message =
        format!("skipped: {runner} is not installed; `tests/interop/install.sh` installs it\n");
    std::io::stderr()
        .write_all(message.as_bytes())
        .expect("can be written to");
    false
}

/// Returns the README's block in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = README
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    rest.split_once("```").expect("its end").0
}

/// Runs a test runner that finds the command on its path.
fn run(mut runner: Command, folder: &Path) {
    let command = Path::new(env!("CARGO_BIN_EXE_shieldcert"));
    let mut path = command.parent().expect("a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = runner
        .current_dir(folder)
        .env("PATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("it ran");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn pytest() {
    let python = installed().join("venv/bin/python");
    if is_installed("pytest", &python) {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("conftest.py", block("python")).expect("is written");
        write("test_emulator.py", PYTHON_TEST).expect("is written");
        let mut runner = Command::new(python);
        runner.args(["-m", "pytest", "-p", "no:cacheprovider", "-q"]);
        run(runner, folder.path());
    }
}

#[test]
fn vitest() {
    let node = installed().join("node");
    let program = node.join("node_modules/vitest/vitest.mjs");
    if is_installed("Vitest", &program) {
        // Node looks for imports next to the program.
        let folder = tempfile::tempdir_in(&node).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("emulator.setup.mjs", block("javascript")).expect("is written");
        write("vitest.config.mjs", VITEST_CONFIG).expect("is written");
        write("emulator.test.mjs", VITEST_TEST).expect("is written");
        let mut runner = Command::new("node");
        runner.arg(program).args(["run", "--root", "."]);
        run(runner, folder.path());
    }
}
