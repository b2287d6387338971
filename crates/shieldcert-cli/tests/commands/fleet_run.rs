//! `shieldcert fleet run`: a process that is told what to do by files, by other processes and by signals.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fleet::TestFleet;
use crate::service::{TIMEOUT, is_installed, run, wait_until};

/// A process that keeps a fleet. It is killed when it is dropped.
struct Running {
    child: Child,
    manager: UnixDatagram,
    heard: String,
}

impl Running {
    fn start(fleet: &TestFleet) -> Self {
        // Paths of sockets are short.
        let socket = fleet.service.folder.path().join("s");
        let manager = UnixDatagram::bind(&socket).expect("a socket");
        manager
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("is set");
        let mut command = fleet.service.command(&[
            "fleet",
            "--dir",
            "fleet",
            "run",
            "--interval",
            "1h",
            "--metrics-textfile",
            "fleet.prom",
        ]);
        let child = command
            .env("NOTIFY_SOCKET", &socket)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut running = Self {
            child,
            manager,
            heard: String::new(),
        };
        running.wait_to_hear("READY=1");
        running
    }

    fn wait_to_hear(&mut self, message: &str) {
        let started = Instant::now();
        let mut buffer = [0; 1024];
        while !self.heard.contains(message) {
            assert!(started.elapsed() < TIMEOUT, "{message}: {}", self.heard);
            if let Ok(count) = self.manager.recv(&mut buffer) {
                self.heard
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
                self.heard.push('\n');
            }
        }
    }

    /// Ends it by a signal. Returns its code and log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill").success());
        self.wait_to_hear("STOPPING=1");
        let mut log = String::new();
        let mut err = self.child.stderr.take().expect("piped");
        err.read_to_string(&mut log).expect("UTF-8");
        (self.child.wait().expect("it ended").code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_follows_files_and_operators_until_it_is_told_to_stop() {
    let fleet = TestFleet::new("", "name\nsensor-1\n");
    let mut running = Running::start(&fleet);
    let is_current = |name: &str, generation: &str| {
        let link = fleet.path("devices").join(name).join("current");
        std::fs::read_link(link).is_ok_and(|target| target.ends_with(generation))
    };
    wait_until("the first device", || is_current("sensor-1", "1"));
    running.wait_to_hear("WATCHDOG=1");
    let pid = running.child.id();

    // Nobody else works on it, and is told who does.
    let refused = fleet.ends(1, &["apply"]);
    assert!(
        refused
            .err
            .contains(&format!("another process (pid {pid})")),
        "{refused:?}"
    );
    let status = fleet.ends(0, &["status"]);
    assert!(
        status.out.ends_with(&format!("process {pid}\n")),
        "{status:?}"
    );

    // What is wrong changes nothing; what is mended does.
    fleet.write("devices.csv", "name,state\nsensor-1,absnet\n");
    let prom = || std::fs::read_to_string(fleet.service.folder.path().join("fleet.prom"));
    let has_line = |line: &str| prom().is_ok_and(|text| text.lines().any(|own| own == line));
    wait_until("the failed run", || {
        has_line("shieldcert_fleet_failed_runs_total 1")
    });
    fleet.write("devices.csv", "name\nsensor-1\nsensor-2\n");
    wait_until("the second device", || is_current("sensor-2", "1"));

    // Operators ask, and it does.
    let asked = fleet.ends(0, &["rotate", "--name", "sensor-1"]);
    assert!(
        asked
            .err
            .contains(&format!("process {pid} works on this fleet")),
        "{asked:?}"
    );
    wait_until("the rotation", || is_current("sensor-1", "2"));
    wait_until("the metrics", || {
        has_line("shieldcert_fleet_devices{state=\"verified\"} 2")
    });
    assert!(has_line("shieldcert_fleet_time_to_expiry_seconds_count 2"));
    assert!(has_line("shieldcert_fleet_waiting{hold=\"failed\"} 0"));
    check_with_promtool(&prom().expect("metrics"));

    let (code, log) = running.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    for part in [
        "device=sensor-1 generation=1",
        "device=sensor-2 generation=1",
        "device=sensor-1 generation=2",
        "line 2, column state",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains(crate::service::TOKEN), "{log}");
    // The lock is free.
    fleet.ends(0, &["apply"]);
}

#[test]
fn a_token_that_is_refused_is_seen_in_log_and_metrics() {
    const READS: &str = "a-token-that-only-reads-0123456789";
    let fleet = TestFleet::start_with(
        |builder| builder.read_only_token(READS),
        "[budgets.default]\ntoken_file = \"token\"\n",
        "name\nsensor-1\nsensor-2\n",
    );
    let prom = || std::fs::read_to_string(fleet.service.folder.path().join("fleet.prom"));
    let has_line = |line: &str| prom().is_ok_and(|text| text.lines().any(|own| own == line));
    for (token, unusable) in [(READS, 0), ("no-token-of-the-service-0123456789", 1)] {
        fleet.write("token", token);
        let _ = std::fs::remove_file(fleet.service.folder.path().join("fleet.prom"));
        let running = Running::start(&fleet);
        wait_until("the metrics", || {
            has_line("shieldcert_fleet_waiting{hold=\"permission\"} 2")
        });
        assert!(
            has_line(&format!("shieldcert_fleet_unusable_zones {unusable}")),
            "{:?}",
            prom()
        );
        assert!(has_line(
            "shieldcert_fleet_last_success_timestamp_seconds 0"
        ));
        let (code, log) = running.end("-TERM");
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("waiting=\"permission:2\""), "{log}");
        assert!(
            log.contains("devices wait for permission: the service refuses the token"),
            "{log}"
        );
        std::fs::remove_file(fleet.service.folder.path().join("s")).expect("the socket");
    }
    // With a token that may write, the last success is one.
    fleet.write("token", crate::service::TOKEN);
    let running = Running::start(&fleet);
    wait_until("the metrics", || {
        has_line("shieldcert_fleet_waiting{hold=\"permission\"} 0")
    });
    assert!(!has_line(
        "shieldcert_fleet_last_success_timestamp_seconds 0"
    ));
    running.end("-TERM");
}

#[test]
fn an_interrupt_ends_it_too_and_what_is_wrong_at_the_start_is_said() {
    let fleet = TestFleet::new("", "name\nsensor-1\n");
    let (code, log) = Running::start(&fleet).end("-INT");
    assert_eq!(code, Some(0), "{log}");
    fleet.write("fleet.toml", "[zones.main]\nid = \"1\"\n");
    let ran = fleet.ends(2, &["run"]);
    assert!(ran.err.contains("fleet.toml"), "{ran:?}");
}

fn check_with_promtool(text: &str) {
    if !is_installed("promtool", "--version") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("metrics");
    std::fs::write(&file, text).expect("is written");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    promtool.stdin(std::fs::File::open(&file).expect("is there"));
    let checked = run(&mut promtool);
    assert_eq!(
        (checked.code, checked.out.as_str(), checked.err.as_str()),
        (Some(0), "", "")
    );
}
