//! A README as a session of bash: its blocks run one after the other, as they stand there, on a network of their own.
//!
//! What differs from a reader's machine: crates come from a folder ([`registry`](crate::registry)) and wheels from
//! `target/dist`, since ours are not published before they are tested; `cargo install` of a published crate is a dry run,
//! and `cargo test` lists what it would run, since it runs this. A command that goes on until it is stopped, the emulator,
//! goes on until the next one starts.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::blocks::{Block, Runner, blocks};
use crate::{run, workspace};

/// What the commands of the READMEs find on their path, and functions that run the blocks.
const PRELUDE: &str = r#"
set -euo pipefail
ip link set lo up
server=
stop() {
  [[ -z $server ]] || kill -- "-$server" 2>/dev/null || true
  [[ -z $server ]] || wait "$server" 2>/dev/null || true
  server=
}
place=
trap 'code=$?; stop; ((code == 0)) || echo "FAILED: $place" >&2' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
cargo() {
  case "$1 ${2-}" in
    "add "*) (cd "$PROJECT" && command cargo add --quiet "${@:2}") ;;
    "install --path") (cd "$ROOT" && command cargo install --quiet --locked --offline "${@:2}") ;;
    # It reads no project's settings.
    "install "*)
      RUSTC_BOOTSTRAP=1 command cargo install --config "$PROJECT/.cargo/config.toml" -Z unstable-options --dry-run \
        "${@:2}"
      ;;
    "test "*) (cd "$ROOT" && command cargo "$@" --offline -- --list >/dev/null) ;;
    *) (cd "$ROOT" && command cargo "$@") ;;
  esac
}
# A control endpoint that refuses fails the session.
curl() {
  if [[ "$*" == */__shieldcert/* ]]; then command curl --silent --show-error --fail-with-body "$@"; else command curl "$@"; fi
}
wait_until_ready() {
  local tries
  for ((tries = 0; tries < 3000; tries += 1)); do
    ! grep -q '^listening on ' "$WORK/server.out" || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  fail "the emulator does not start: $(cat "$WORK/server.log")"
}
compare() { # expected printed
  diff "$1" "$2" >&2 || fail "something else is printed"
}
"#;

/// Where a session runs.
pub(crate) struct Place {
    scratch: tempfile::TempDir,
    /// A Python environment whose commands come first.
    venv: PathBuf,
}

impl Place {
    /// Makes folders and an empty Python environment, and writes the settings of a project's cargo.
    pub(crate) fn new(cargo_settings: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let path = |name: &str| scratch.path().join(name);
        let venv = path("venv");
        let python = workspace().join("target/interop/venv/bin/python");
        run(Command::new(python).args(["-m", "venv"]).arg(&venv));
        for name in ["home", "work", "project/src", "project/.cargo"] {
            std::fs::create_dir_all(path(name)).expect("is made");
        }
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("is written");
        write(
            "project/Cargo.toml",
            "[package]\nname = \"project\"\nedition = \"2024\"\n",
        );
        write("project/src/main.rs", "fn main() {}\n");
        write("project/.cargo/config.toml", cargo_settings);
        Self { scratch, venv }
    }

    /// Returns the environment's Python.
    pub(crate) fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// Runs the blocks of a README that are a session's, and returns how many. Panics with what is printed if one fails.
    pub(crate) fn run(&self, file: &str) -> usize {
        let blocks = blocks(file);
        let blocks = blocks
            .iter()
            .filter(|block| block.runner() == Some(Runner::Session));
        let mut script = format!("{PRELUDE}\ncd \"$WORK\"\n");
        let mut count = 0;
        for block in blocks {
            self.add(&mut script, block);
            count += 1;
        }
        let path = self.scratch.path().join("session.sh");
        std::fs::write(&path, script).expect("is written");
        self.bash(&path);
        count
    }

    fn bash(&self, script: &Path) {
        let path = |name: &str| self.scratch.path().join(name);
        let mut commands = self.venv.join("bin").into_os_string();
        for folder in [
            path("cargo/bin"),
            Path::new(env!("CARGO")).parent().expect("a folder").into(),
        ] {
            commands.push(":");
            commands.push(folder);
        }
        commands.push(":");
        commands.push(std::env::var_os("PATH").unwrap_or_default());
        let root = workspace();
        let mut links = root.join("target/dist").into_os_string();
        links.push(" ");
        links.push(root.join("target/interop/wheels"));
        let mut session = Command::new("unshare");
        // Some build scripts would run again because of them, and cargo build nearly everything.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                session.env_remove(&name);
            }
        }
        let status = session
            .args(["--map-root-user", "--net", "bash"])
            .arg(script)
            .env("PATH", commands)
            .env("ROOT", &root)
            .env("WORK", path("work"))
            .env("PROJECT", path("project"))
            .env("NODE", root.join("target/interop/node"))
            .env("CARGO_INSTALL_ROOT", path("cargo"))
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", links)
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            // The state and data folders of the command.
            .env("XDG_STATE_HOME", path("home/state"))
            .env("XDG_DATA_HOME", path("home/data"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
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
            .env_remove("CLOUDFLARE_API_TOKEN")
            .env_remove("CLOUDFLARE_ZONE_ID")
            .stdin(Stdio::null())
            // Where it is, and why it fails: a session takes minutes, and the harness shows this at once.
            .stdout(Stdio::null())
            .status()
            .expect("unshare is run");
        assert!(status.success(), "{status}");
    }

    /// Adds a block to the script.
    fn add(&self, script: &mut String, block: &Block) {
        let place = block.place();
        let _ = writeln!(script, "place='{place}'; echo \"== $place\" >&2");
        match block.language.as_str() {
            "python" => {
                let _ = writeln!(
                    script,
                    "cat >block.py <<'END_OF_BLOCK'\n{}END_OF_BLOCK\npython block.py",
                    block.text
                );
            }
            "js" => {
                // Node looks for imports next to the program.
                let file = "\"$NODE/readme-$$.mjs\"";
                let _ = writeln!(
                    script,
                    "cat >{file} <<'END_OF_BLOCK'\n{}END_OF_BLOCK\nnode {file}\nrm {file}",
                    block.text
                );
            }
            "console" => {
                for (command, expected) in parse_console(&block.text) {
                    add_command(script, &command, &expected);
                }
            }
            _ => add_command(script, &block.text, &expected_by_comments(&block.text)),
        }
    }
}

/// Adds commands whose output is compared if any is expected.
fn add_command(script: &mut String, commands: &str, expected: &[String]) {
    if is_server(commands) {
        server(script, commands);
        if let Some(line) = expected.first() {
            expect(script, std::slice::from_ref(line));
            let _ = writeln!(script, "compare expected server.out");
        }
        return;
    }
    // tests/interop/install.sh stands at the workspace's root.
    let commands = commands.replace(
        "tests/interop/install.sh",
        "\"$ROOT/tests/interop/install.sh\"",
    );
    // Not in a subshell, because later commands use the variables of these.
    let _ = writeln!(script, "{{\n{}\n}} >printed", commands.trim_end());
    if !expected.is_empty() {
        expect(script, expected);
        let _ = writeln!(script, "compare expected printed");
    }
}

fn expect(script: &mut String, lines: &[String]) {
    let _ = writeln!(
        script,
        "cat >expected <<'END_OF_BLOCK'\n{}\nEND_OF_BLOCK",
        lines.join("\n")
    );
}

/// Adds the start of a command that goes on.
fn server(script: &mut String, command: &str) {
    let command = command.trim_end();
    let _ = writeln!(
        script,
        "stop; set -m; {{\n{command}\n}} >server.out 2>server.log & server=$!; set +m"
    );
    let _ = writeln!(script, "wait_until_ready");
}

fn is_server(commands: &str) -> bool {
    commands.starts_with("shieldcert emulator") && commands.trim_end().lines().count() == 1
}

/// Returns commands after `$ `, each with the lines below it.
fn parse_console(text: &str) -> Vec<(String, Vec<String>)> {
    // A block without prompts is a command.
    if !text.lines().any(|line| line.starts_with("$ ")) {
        return vec![(text.to_owned(), Vec::new())];
    }
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, expected))) => expected.push(line.to_owned()),
            (None, None) => panic!("{line:?} stands before the first command"),
        }
    }
    commands
}

/// Returns what comments of one word at the end of a line say that is printed. Longer ones explain.
fn expected_by_comments(text: &str) -> Vec<String> {
    let comments = text.lines().filter_map(|line| line.rsplit_once(" # "));
    let words = comments.map(|(_, comment)| comment.trim());
    words
        .filter(|word| !word.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn comments_of_one_word_are_what_is_printed() {
    let text = "one                # 200\ntwo # the second thing\nthree  # \"SUCCESS\"\n# alone\n";
    assert_eq!(expected_by_comments(text), ["200", "\"SUCCESS\""]);
}

#[test]
fn commands_are_found_with_their_output() {
    let text = "$ one\n$ two\n2\n\n22\n";
    let found = parse_console(text);
    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found,
        [
            ("one".to_owned(), vec![]),
            ("two".to_owned(), lines(&["2", "", "22"]))
        ]
    );
    assert_eq!(
        parse_console("cargo add a\n"),
        [("cargo add a\n".to_owned(), vec![])]
    );
}

#[test]
fn a_command_that_goes_on_is_known() {
    assert!(is_server("shieldcert emulator --token s3cret\n"));
    assert!(is_server("shieldcert emulator --edge 127.0.0.1:8443\n"));
    assert!(!is_server("shieldcert --local list\n"));
}
