//! What a terminal shows, in tmux.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shieldcert_emulator::{Fault, Fixture, Operation, ScriptedFault};

use crate::service::{Service, TIMEOUT, TOKEN, ZONE, is_installed};

/// A terminal with a shell in it, of a tmux server of its own.
pub(crate) struct Terminal<'a> {
    folder: &'a Path,
    socket: String,
    /// How many commands were run.
    runs: Cell<u32>,
}

/// How many terminals were opened. The server of one may still be about to end when the next is opened.
static OPENED: AtomicU32 = AtomicU32::new(0);

impl<'a> Terminal<'a> {
    pub(crate) fn open(service: &'a Service, width: usize) -> Self {
        let terminal = Self {
            folder: service.folder.path(),
            socket: format!("tmux-{}", OPENED.fetch_add(1, Ordering::Relaxed)),
            runs: Cell::new(0),
        };
        let mut command = terminal.tmux();
        command
            .env("PS1", "$ ")
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8");
        for (name, value) in [
            ("CLOUDFLARE_BASE_URL", service.emulator.base_url().as_str()),
            ("CLOUDFLARE_ZONE_ID", ZONE),
            ("CLOUDFLARE_API_TOKEN", TOKEN),
        ] {
            command.env(name, value);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_shieldcert"))
            .parent()
            .expect("a folder");
        let path = format!("{}:/usr/bin:/bin", program.display());
        command.env("PATH", path).env("HOME", terminal.folder);
        let size = width.to_string();
        command.args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &size,
            "-y",
            "50",
        ]);
        let started = command.arg("sh").status().expect("tmux starts");
        assert!(started.success());
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command
            .env_clear()
            .current_dir(self.folder)
            .arg("-S")
            .arg(self.folder.join(&self.socket));
        command
    }

    pub(crate) fn type_keys(&self, keys: &[&str]) {
        let sent = self
            .tmux()
            .args(["send-keys"])
            .args(keys)
            .status()
            .expect("tmux runs");
        assert!(sent.success());
    }

    /// The screen, with colors or without.
    fn screen(&self, options: &[&str]) -> String {
        let output = self
            .tmux()
            .args(["capture-pane", "-p"])
            .args(options)
            .output()
            .expect("tmux runs");
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .trim_end()
            .to_owned()
    }

    /// Waits until the screen is as expected, and returns it.
    pub(crate) fn wait_for(&self, is_expected: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen(&[]);
            if is_expected(&screen) {
                return screen;
            }
            assert!(started.elapsed() < TIMEOUT, "{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until what is typed is not shown.
    pub(crate) fn wait_for_silence(&self) {
        let shown = self
            .tmux()
            .args(["display-message", "-p", "#{pane_tty}"])
            .output()
            .expect("tmux runs");
        let device = String::from_utf8(shown.stdout).expect("UTF-8");
        let started = Instant::now();
        loop {
            let device = std::fs::File::open(device.trim()).expect("a terminal");
            let stty = Command::new("stty").arg("-a").stdin(device).output();
            let settings = String::from_utf8(stty.expect("stty runs").stdout).expect("UTF-8");
            if settings
                .split_whitespace()
                .any(|setting| setting == "-echo")
            {
                return;
            }
            assert!(started.elapsed() < TIMEOUT, "{settings}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command, and returns the screen after it.
    pub(crate) fn run(&self, command: &str) -> String {
        self.start(command);
        self.end()
    }

    /// Types a command, on a screen of its own.
    pub(crate) fn start(&self, command: &str) {
        // What an earlier command has left on the screen is not taken for this one's.
        let earlier = format!("end of {}, ", self.runs.get());
        self.type_keys(&["clear", "Enter"]);
        self.wait_for(|screen| !screen.contains(&earlier));
        let run = self.runs.get() + 1;
        self.runs.set(run);
        self.type_keys(&[
            &format!("clear; {command}; echo end of {run}, code: $?"),
            "Enter",
        ]);
    }

    /// Waits for the end of the command, and returns the screen without the shell's prompt.
    pub(crate) fn end(&self) -> String {
        let end = format!("end of {}, ", self.runs.get());
        let screen = self.wait_for(|screen| screen.lines().any(|line| line.starts_with(&end)));
        let lines: Vec<_> = screen.lines().collect();
        let last = lines
            .iter()
            .position(|line| line.starts_with(&end))
            .expect("it was found");
        lines[..=last].join("\n").replace(&end, "")
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").status();
    }
}

fn fleet() -> Service {
    let service = Service::start();
    for (name, days) in [
        ("sensor-001", 365),
        ("sensor-with-a-name-that-is-quite-long", 3),
        ("\u{202e}gnp.exe", 90),
    ] {
        service.add(
            Fixture::new(name)
                .issued_on("2026-01-30T00:00:00Z")
                .validity_days(days),
        );
    }
    service
}

#[test]
fn tables_fit_the_terminal() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    let screens = [60, 90, 200].map(|width| {
        let terminal = Terminal::open(&service, width);
        let screen = terminal.run("shieldcert list");
        assert!(
            screen.lines().all(|line| line.chars().count() <= width),
            "{screen}"
        );
        screen
    });
    insta::assert_snapshot!(screens.join("\n---\n"));
}

#[test]
fn colors_are_for_terminals_that_want_them() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    let terminal = Terminal::open(&service, 120);
    let is_colored = |command: &str| {
        terminal.run(command);
        terminal.screen(&["-e"]).contains("\u{1b}[32m")
    };
    for (command, expected) in [
        ("shieldcert list", true),
        ("NO_COLOR=1 shieldcert list", false),
        ("shieldcert list --color never", false),
        ("NO_COLOR=1 shieldcert list --color always", true),
        ("TERM=dumb shieldcert list", false),
        ("shieldcert list --output table | cat", false),
        (
            "CLICOLOR_FORCE=1 shieldcert list --output table | cat",
            true,
        ),
    ] {
        assert_eq!(is_colored(command), expected, "{command}");
    }
}

#[test]
fn the_number_is_typed_to_confirm() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    let terminal = Terminal::open(&service, 120);
    let ask = |answer: &str| {
        terminal.start("shieldcert revoke --name 'sensor-*' --wait");
        terminal.wait_for(|screen| screen.contains("Type 2 to revoke them:"));
        terminal.type_keys(&[answer, "Enter"]);
        terminal.end()
    };
    let refused = ask("y");
    assert_eq!(service.emulator.history().count(Operation::Delete), 0);
    let done = ask("2");
    let plan = "revoke 2 certificates: 2 requests, within the rate limit\nType 2 to revoke them: ";
    assert_eq!(
        refused,
        format!("{plan}y\nerror: not confirmed: \"y\" is not 2; nothing was done\ncode: 1")
    );
    let end = done.strip_prefix(&format!("{plan}2\nNAME  ")).expect(&done);
    assert!(end.ends_with("\n2 revoked\ncode: 0"), "{done}");
    assert!(
        end.contains("\nsensor-001  ") && end.contains("\nsensor-with-a-name-that-is-quite-long  "),
        "{done}"
    );
}

#[test]
fn progress_and_waits_are_shown_and_ctrl_c_says_how_to_go_on() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = Service::start_with(|builder| builder.populate(ZONE, 200));
    let stall = Fault::stall(Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::nth(Operation::Delete, 21, stall).times(16)]);
    let terminal = Terminal::open(&service, 100);
    terminal.start("shieldcert revoke --status active --yes --output id > ids");
    let progress = terminal.wait_for(|screen| screen.contains("revoked 20 of "));
    assert!(progress.contains("left"), "{progress}");
    terminal.type_keys(&["C-c"]);
    terminal.wait_for(|screen| screen.contains("finishing what is in flight"));
    service.emulator.advance(Duration::from_secs(3_600));
    let end = terminal.end();
    assert!(
        end.contains("code: 130") && end.contains("36 revoked"),
        "{end}"
    );
    assert!(
        end.contains("to go on, which is safe: shieldcert revoke --status active --yes"),
        "{end}"
    );
    assert!(
        !end.contains("revoked 36 of"),
        "the progress is gone: {end}"
    );
}

#[test]
fn a_wait_for_the_rate_limit_is_said() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    service.emulator.script([ScriptedFault::next(
        Operation::List,
        Fault::rate_limit(Duration::from_secs(2)),
    )]);
    let terminal = Terminal::open(&service, 100);
    let screen = terminal.run("shieldcert list");
    assert!(
        screen.contains("waiting 2 s for the rate limit")
            || screen.contains("waiting 3 s for the rate limit"),
        "{screen}"
    );
    assert!(screen.contains("sensor-001"), "{screen}");
    service.emulator.script([ScriptedFault::next(
        Operation::List,
        Fault::rate_limit(Duration::from_secs(2)),
    )]);
    let quiet = terminal.run("shieldcert list --quiet");
    assert!(!quiet.contains("waiting"), "{quiet}");
}

#[test]
fn columns_that_do_not_fit_are_left_out_and_named() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    let id = service.add(Fixture::new("sensor-002").issued_on("2026-01-30T00:00:00Z"));
    let ran = service.run(&["revoke", &id]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let terminal = Terminal::open(&service, 60);
    let screens = [
        "shieldcert list",
        "shieldcert report",
        "shieldcert list --fields status,not_after,common_name,id,country",
    ]
    .map(|command| terminal.run(command));
    insta::assert_snapshot!(screens.join("\n---\n"));
    // Nothing is missing elsewhere, and nothing is said.
    for command in [
        "shieldcert report --output wide",
        "shieldcert list --output wide",
        "shieldcert doctor",
        "shieldcert list --output table | cat",
    ] {
        let screen = terminal.run(command);
        assert!(!screen.contains("left out"), "{screen}");
        let end = ["OTHER", "ZONE", "CHECK", "LEFT"];
        let text = screen.replace('\n', "");
        assert!(end.iter().any(|title| text.contains(title)), "{screen}");
    }
}

#[test]
fn who_resumes_sees_that_something_goes_on() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let service = fleet();
    let stall = || Fault::stall(Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::next(Operation::Create, stall())]);
    let mut child = service
        .command(&["issue", "device"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    while service.emulator.history().count(Operation::Create) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    service
        .emulator
        .script([ScriptedFault::next(Operation::List, stall()).times(3)]);
    let terminal = Terminal::open(&service, 100);
    terminal.start("shieldcert issue device --output id");
    terminal.wait_for(|screen| screen.contains("finding out what came of it: "));
    service.emulator.advance(Duration::from_secs(3_600));
    let end = terminal.end();
    assert!(end.ends_with("\ncode: 0"), "{end}");
    assert!(!end.contains("finding out what came of it: "), "{end}");
}
