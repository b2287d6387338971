//! The Dockerfile, without a daemon: what it copies is there, and its commands do what they are for.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{dist, find, run, workspace};

/// Returns the instructions, with lines that go on joined.
fn instructions() -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("Dockerfile")).expect("can be read");
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Returns the arguments of the last instruction that begins like this, which is a list in JSON.
fn list(start: &str) -> Vec<String> {
    let instructions = instructions();
    let found = instructions
        .iter()
        .rfind(|line| line.starts_with(start))
        .expect("the instruction");
    let json = &found[found.find('[').expect("a list")..];
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn hadolint_has_nothing_to_say() {
    let hadolint = workspace().join("target/interop/venv/bin/hadolint");
    if hadolint.exists() {
        run(Command::new(hadolint).arg(workspace().join("Dockerfile")));
    } else {
        println!("skipped: hadolint is not installed; `tests/interop/install.sh` installs it");
    }
}

#[test]
fn it_builds_what_is_released_and_runs_it_without_rights_and_shell() {
    let instructions = instructions();
    let from = instructions
        .iter()
        .rfind(|line| line.starts_with("FROM "))
        .expect("a base");
    assert!(from.ends_with(":nonroot"), "{from}");
    let build = "RUN cargo build --release --locked --package shieldcert-cli";
    assert!(
        instructions.iter().any(|line| line == build),
        "{instructions:?}"
    );
    for start in ["ENTRYPOINT", "HEALTHCHECK"] {
        // A list, which needs no shell.
        assert!(list(start)[0].starts_with('/'), "{start}");
    }
    // The toolchain is one that builds all crates.
    let rust = instructions
        .iter()
        .find(|line| line.starts_with("FROM rust:"))
        .expect("a toolchain");
    let version = rust["FROM rust:".len()..]
        .split('-')
        .next()
        .expect("a version");
    let minor = version
        .split('.')
        .nth(1)
        .expect("a minor version")
        .parse::<u32>()
        .expect("a number");
    assert!(minor >= 94, "{rust}");
}

/// `.dockerignore` lets pass what cargo needs to read the workspace.
#[test]
fn the_context_holds_the_workspace() {
    let ignored = std::fs::read_to_string(workspace().join(".dockerignore")).expect("can be read");
    let taken = ignored.lines().filter_map(|line| line.strip_prefix('!'));
    let scratch = tempfile::tempdir().expect("a folder");
    for name in taken {
        run(Command::new("cp")
            .args(["-R", "--"])
            .arg(workspace().join(name))
            .arg(scratch.path()));
    }
    let metadata = run(Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--no-deps",
        ])
        .current_dir(scratch.path()));
    assert!(metadata.contains("\"shieldcert-cli\""));
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the entry point and the health check as they stand there, on a network of their own.
#[test]
fn its_health_check_notices_whether_the_emulator_runs() {
    let Some(dist) = dist() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    run(Command::new("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(find(&dist, "shieldcert-", ".tar.gz"))
        .arg("-C")
        .arg(scratch.path()));
    let command = |arguments: Vec<String>, program: &Path| {
        let quoted = arguments
            .iter()
            .skip(1)
            .map(|argument| format!("'{argument}'"));
        format!(
            "{} {}",
            program.display(),
            quoted.collect::<Vec<_>>().join(" ")
        )
    };
    let entry = command(list("ENTRYPOINT"), &scratch.path().join("shieldcert"));
    let check = command(list("HEALTHCHECK"), Path::new("busybox wget"));
    let script = format!(
        "set -u; ip link set lo up\n\
         ! {check} 2>/dev/null || exit 1\n\
         {entry} --token s3cret >ready 2>log & server=$!\n\
         for try in $(seq 300); do ! grep -q listening ready || break; sleep 0.1; done\n\
         {check} || exit 2\n\
         kill $server; wait $server || exit 3\n\
         ! {check} 2>/dev/null || exit 4\n"
    );
    let child = Command::new("unshare")
        .args(["--map-root-user", "--net", "bash", "-c", &script])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .spawn();
    let mut running = Running(child.expect("unshare is run"));
    let end = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = running.0.try_wait().expect("can be waited for") {
            break status;
        }
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
}
