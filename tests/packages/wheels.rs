//! The wheels, installed into an empty environment.

use std::path::Path;
use std::process::Command;

use crate::{dist, run, workspace};

/// Makes an environment, and installs packages from the built files alone.
fn install(folder: &Path, dist: &Path, packages: &[&str]) {
    let venv = workspace().join("target/interop/venv/bin/python");
    run(Command::new(venv).args(["-m", "venv"]).arg(folder));
    run(Command::new(folder.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-index",
        ])
        .arg("--find-links")
        .arg(dist)
        .arg("--find-links")
        .arg(workspace().join("target/interop/wheels"))
        .args(packages));
}

#[test]
fn the_plugin_passes_its_tests_in_an_empty_environment() {
    let Some(dist) = dist() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let venv = scratch.path().join("venv");
    install(&venv, &dist, &["pytest-shieldcert", "pytest-xdist"]);
    let tests = workspace().join("crates/shieldcert-emulator/pytest-shieldcert/tests");
    let output = run(Command::new(venv.join("bin/python"))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(tests)
        .current_dir(scratch.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("SHIELDCERT_COMMAND")
        // The command is that of the environment, and not one on the path.
        .env("PATH", "/usr/bin:/bin"));
    assert!(output.contains(" passed"), "{output}");
}

#[test]
fn a_wheel_says_what_is_in_it() {
    let Some(dist) = dist() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let venv = scratch.path().join("venv");
    install(&venv, &dist, &["shieldcert"]);
    let code = "import importlib.metadata as m; d = m.metadata('shieldcert'); \
                print(d['License-Expression'], [f.name for f in m.files('shieldcert') if f.name.startswith('LICENSE')])";
    let printed = run(Command::new(venv.join("bin/python")).args(["-c", code]));
    assert_eq!(
        printed.trim_end(),
        "MIT OR Apache-2.0 ['LICENSE-APACHE', 'LICENSE-MIT']"
    );
    let version = run(Command::new(venv.join("bin/shieldcert")).arg("--version"));
    assert!(version.starts_with("shieldcert "), "{version}");
}
