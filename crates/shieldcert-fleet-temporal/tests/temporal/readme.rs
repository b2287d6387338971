//! The README's commands, in the form in which they stand there.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::kit::{TOKEN, program};

const README: &str = include_str!("../../README.md");

/// What differs from a reader's machine: it has a network of its own, the emulator in place of the service, and wheels in
/// place of an index. `cargo install` has built the commands already, and ends once the server responds, which takes less
/// than a build. An operator is asked at a terminal, and says yes.
const PRELUDE: &str = r#"
set -euo pipefail
ip link set lo up
fail() { echo "FAILED: $*" >&2; exit 1; }
until_so() { # command...
  local tries
  for ((tries = 0; tries < 600; tries += 1)); do
    ! "$@" &>>waiting.log || return 0
    sleep 0.1
  done
  fail "after a minute: $*"
}
cargo() {
  [[ "$*" == "install shieldcert-cli shieldcert-fleet-temporal" ]] || fail "cargo $*"
  until_so venv/bin/temporal operator cluster health
}
shieldcert-temporal() {
  case " $* " in
    *" apply "*) command shieldcert-temporal "$@" 2>&1 | tee applied ;;
    *" worker-lost "*) script --quiet --return --command "shieldcert-temporal $*" /dev/null <<<yes ;;
    # No subshell between it and the process that is waited for, or killed.
    *" worker "*) exec shieldcert-temporal "$@" ;;
    *) command shieldcert-temporal "$@" ;;
  esac
}
shieldcert emulator --token "$CLOUDFLARE_API_TOKEN" >emulator.log 2>&1 &
until_so grep -q '^listening on ' emulator.log
"#;

/// A device whose key is at the second worker, which is gone for good then.
const LOSE: &str = r#"
mv applied first-applied
printf 'far-01,Acme,,worker:two,present\n' >>one/devices.csv
shieldcert-temporal --dir one apply
kill "$worker_two"
wait "$worker_two" || true
rm -r two
sed -i 's/,worker:two,/,,/' one/devices.csv
shieldcert-temporal --dir one apply
"#;

/// Every device has a key at the first worker.
const RENEWED: &str = r#"
is_renewed() {
  command shieldcert-temporal --dir one --output jsonl status >status.jsonl
  grep -F '"workers":{"one":4}' status.jsonl && grep -F '"states":{"verified":4}' status.jsonl
}
until_so is_renewed
"#;

/// A session, with all that it has started.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).expect("a process id");
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn workspace() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    folder.canonicalize().expect("the workspace is there")
}

/// Builds the command line, which is no dependency of this crate, and returns the folder of both commands.
fn build_commands() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_shieldcert-temporal"));
    let folder = built.parent().expect("a folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "-p", "shieldcert-cli"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    // Some build scripts would run again because of them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.current_dir(workspace()).status().expect("cargo runs");
    assert!(status.success(), "{status}");
    assert!(folder.join("shieldcert").exists(), "{}", folder.display());
    folder.to_owned()
}

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, after)) = rest.split_once(&format!("```{language}\n")) {
        let (block, after) = after.split_once("```").expect("it ends");
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// Times differ from run to run.
fn mask_times(text: &str) -> String {
    let is_day = |word: &str| word.parse::<jiff::civil::Date>().is_ok();
    let lines = text.lines().map(|line| {
        let words = line.split(' ');
        let words = words.map(|word| if is_day(word) { "DAY" } else { word });
        format!("{}\n", words.collect::<Vec<_>>().join(" "))
    });
    lines.collect()
}

#[test]
fn the_readme_does_what_it_shows() {
    if program().is_none() {
        return;
    }
    let wheels = workspace().join("target/interop/temporal/wheels");
    assert!(
        wheels.exists(),
        "there is no wheel; `tests/interop/temporal.sh` downloads it"
    );
    let [ten_lines, worker_lost, measure] = &blocks("sh")[..] else {
        panic!("another block of `sh`; run it here");
    };
    assert_eq!(ten_lines.lines().count(), 10);
    // It takes minutes. Its test is there.
    let measured = include_str!("measure.rs");
    let (_, name) = measure
        .trim_end()
        .rsplit_once(" measure::")
        .expect("a test");
    assert!(
        measured.contains(&format!("async fn {name}()")),
        "{measure}"
    );

    let scratch = tempfile::tempdir().expect("a folder");
    let script = scratch.path().join("session.sh");
    let text = format!("{PRELUDE}\n{ten_lines}\nworker_two=$!\n{LOSE}\n{worker_lost}\n{RENEWED}\n");
    fs::write(&script, text).expect("is written");
    let mut path = build_commands().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let printed = scratch.path().join("printed");
    let log = fs::File::create(&printed).expect("a log");
    let child = Command::new("unshare")
        .args(["--map-root-user", "--net", "bash"])
        .arg(&script)
        .current_dir(scratch.path())
        .env("PATH", path)
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", wheels)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("CLOUDFLARE_API_TOKEN", TOKEN)
        .env("CLOUDFLARE_BASE_URL", "http://127.0.0.1:8787/client/v4")
        .env_remove("CLOUDFLARE_ZONE_ID")
        .envs(
            [
                "HTTP_PROXY",
                "http_proxy",
                "HTTPS_PROXY",
                "https_proxy",
                "ALL_PROXY",
            ]
            .map(|name| (name, "")),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("unshare runs");
    let mut session = Session(child);
    let end = Instant::now() + Duration::from_secs(300);
    let status = loop {
        if let Some(status) = session.0.try_wait().expect("is asked") {
            break Some(status);
        }
        if Instant::now() > end {
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    drop(session);
    let printed = fs::read_to_string(&printed).unwrap_or_default();
    let has_succeeded = status.is_some_and(|status| status.success());
    assert!(has_succeeded, "{status:?}\n{printed}");

    let shown = &blocks("text")[0];
    let applied = fs::read_to_string(scratch.path().join("first-applied")).expect("is there");
    assert_eq!(mask_times(&applied), mask_times(shown), "{printed}");
}
