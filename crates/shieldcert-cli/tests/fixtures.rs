//! The plugin for pytest, and the fixture of the emulator's README for Vitest.
//!
//! `tests/interop/install.sh` installs both. If one is missing, its test prints `skipped: …` and passes, or fails where
//! `SHIELDCERT_INTEROP=require` is set.
#![cfg(all(feature = "emulator", unix))]
#![allow(missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../../shieldcert-emulator/README.md");

const VITEST_CONFIG: &str = "export default { test: { globalSetup: './emulator.setup.mjs' } };";

const VITEST_TEST: &str = r#"
import { expect, inject, test } from 'vitest';

test('the emulator responds', async () => {
  const url = `${inject('baseURL')}/zones/023e105f4ecef8ad9ca31a8372d0c353/client_certificates`;
  const response = await fetch(url, { headers: { authorization: 'Bearer t' } });
  expect(response.status).toBe(200);
});
"#;

const PLUGIN: &str = "crates/shieldcert-emulator/pytest-shieldcert";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn installed() -> PathBuf {
    workspace().join("target/interop")
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

/// Returns a README's block in this language.
fn block<'a>(readme: &'a str, language: &str) -> &'a str {
    let (_, rest) = readme
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

/// Runs pytest with the plugin from its sources, and more arguments. The folder holds what the tests write.
fn pytest(folder: &Path, arguments: &[&str]) {
    let python = installed().join("venv/bin/python");
    if !is_installed("pytest", &python) {
        return;
    }
    let plugin = workspace().join(PLUGIN).join("src");
    let mut runner = Command::new(python);
    runner
        .args(["-m", "pytest", "-p", "no:cacheprovider", "-q"])
        .args(arguments)
        .env("PYTHONPATH", plugin)
        .env("PYTEST_PLUGINS", "pytest_shieldcert")
        .env("SHIELDCERT_COMMAND", env!("CARGO_BIN_EXE_shieldcert"));
    run(runner, folder);
}

#[test]
fn the_pytest_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let tests = workspace().join(PLUGIN).join("tests");
    pytest(folder.path(), &[tests.to_str().expect("text")]);
}

/// Two workers of pytest-xdist share nothing.
#[test]
fn the_python_sdk() {
    let folder = tempfile::tempdir().expect("a folder");
    let tests = workspace().join("tests/interop/python/test_lifecycle.py");
    let options = "shieldcert_options=--transition-delay 200ms";
    let tests = tests.to_str().expect("text");
    pytest(folder.path(), &["-n", "2", "-o", options, tests]);
}

#[test]
fn the_readmes_examples_for_pytest() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = std::fs::read_to_string(workspace().join(PLUGIN).join("README.md"));
    let plugins = plugins.expect("can be read");
    for (name, readme) in [("test_emulator.py", README), ("test_plugin.py", &plugins)] {
        let path = folder.path().join(name);
        std::fs::write(path, block(readme, "python")).expect("is written");
    }
    let settings = block(&plugins, "toml");
    std::fs::write(folder.path().join("pyproject.toml"), settings).expect("is written");
    pytest(folder.path(), &["."]);
}

#[test]
fn vitest() {
    let node = installed().join("node");
    let program = node.join("node_modules/vitest/vitest.mjs");
    if is_installed("Vitest", &program) {
        // Node looks for imports next to the program.
        let folder = tempfile::tempdir_in(&node).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("emulator.setup.mjs", block(README, "javascript")).expect("is written");
        write("vitest.config.mjs", VITEST_CONFIG).expect("is written");
        write("emulator.test.mjs", VITEST_TEST).expect("is written");
        let mut runner = Command::new("node");
        runner.arg(program).args(["run", "--root", "."]);
        run(runner, folder.path());
    }
}
