//! What a release offers, used as users would: the wheels, the archive, the Dockerfile, and every block of every README.
//!
//! `cargo xtask dist` builds the packages. Where they are missing, a test prints `skipped: …` and passes, or fails where
//! `SHIELDCERT_DIST=require` is set, as it is in `.ci/run`.

mod archive;
mod blocks;
mod dockerfile;
mod readmes;
mod registry;
mod session;
mod wheels;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    folder.canonicalize().expect("the workspace is there")
}

/// Returns the folder that `cargo xtask dist` fills, if it has.
fn dist() -> Option<PathBuf> {
    let dist = workspace().join("target/dist");
    if dist.join("SHA256SUMS").exists() {
        return Some(dist);
    }
    let required = std::env::var_os("SHIELDCERT_DIST").is_some_and(|value| value == "require");
    assert!(
        !required,
        "target/dist is empty, and SHIELDCERT_DIST requires it"
    );
    // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
    writeln!(
        std::io::stderr(),
        "skipped: target/dist is empty; `cargo xtask dist` fills it"
    )
    .expect("standard error can be written to");
    None
}

/// Returns the first file of a folder whose name begins and ends like this.
fn find(folder: &Path, start: &str, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found = paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(start) && name.ends_with(end))
    });
    found.next().expect("the file")
}

/// Runs a command and returns what it prints. Panics with that if it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("is run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}
