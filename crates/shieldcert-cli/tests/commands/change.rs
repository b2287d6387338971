//! `shieldcert revoke`, `reactivate` and `wait`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use shieldcert_emulator::{Fault, Fixture, Operation, RateLimit, ScriptedFault};

use crate::service::{Ran, Service, ZONE, check_schema, run};

const UNKNOWN: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

fn fleet() -> (Service, Vec<String>) {
    // Nothing waits for the machine's clock.
    let service = Service::start_with(|builder| builder.transition_delay(Duration::ZERO));
    let ids = ["sensor-001", "sensor-002", "sensor-003"]
        .map(|name| service.add(Fixture::new(name).issued_on("2026-01-30T00:00:00Z")));
    (service, ids.to_vec())
}

fn with_input(service: &Service, arguments: &[&str], input: &str) -> Ran {
    let mut child = service
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("is read");
    Ran::new(child.wait_with_output().expect("it ended"))
}

fn statuses(service: &Service) -> String {
    let rows = service.json(&["list"]);
    let mut statuses: Vec<_> = rows
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| {
            format!(
                "{} {}",
                row["common_name"].as_str().unwrap_or(""),
                row["status"].as_str().unwrap_or("")
            )
        })
        .collect();
    statuses.sort_unstable();
    statuses.join(", ")
}

#[test]
fn one_id_needs_no_confirmation() {
    let (service, ids) = fleet();
    let rows = service.json(&["revoke", &ids[0], "--wait"]);
    check_schema("certificate", &rows);
    assert_eq!(rows[0]["status"], "revoked");
    let back = service.json(&["reactivate", &ids[0], "--wait"]);
    assert_eq!(back[0]["status"], "active");
    let ran = service.run(&["revoke", &ids[0]]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}\n", ids[0])));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn many_must_be_confirmed() {
    let (service, ids) = fleet();
    let texts = [
        &["revoke"][..],
        &["revoke", "--name", "sensor-*"],
        &["revoke", &ids[0], &ids[1]],
        &["revoke", &ids[0], "--name", "sensor-*"],
        &["revoke", "--name", "none"],
    ]
    .map(|arguments| {
        let ran = service.run(arguments);
        format!(
            "$ shieldcert {}\n{}",
            arguments
                .join(" ")
                .replace(&ids[0], "ID")
                .replace(&ids[1], "ID"),
            ran.text()
        )
    });
    insta::assert_snapshot!(texts.join("\n"));
    assert_eq!(service.emulator.history().count(Operation::Delete), 0);
}

#[test]
fn a_dry_run_shows_the_plan() {
    let (service, ids) = fleet();
    service.run(&["revoke", &ids[0], "--wait"]);
    let before = service.emulator.history().count(Operation::Delete);
    let ran = service.run(&[
        "revoke",
        "--name",
        "sensor-*",
        "--dry-run",
        "--output",
        "table",
    ]);
    insta::assert_snapshot!(ran.text());
    let named = service.run(&["revoke", &ids[0], &ids[1], UNKNOWN, "--dry-run"]);
    assert_eq!(
        (named.code, named.out),
        (Some(7), format!("{}\n", ids[1])),
        "{}",
        named.err
    );
    assert_eq!(service.emulator.history().count(Operation::Delete), before);
}

#[test]
fn selectors_files_and_standard_input_name_certificates() {
    let (service, ids) = fleet();
    let ran = service.run(&["revoke", "--name", "sensor-00[12]", "--yes", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        statuses(&service),
        "sensor-001 revoked, sensor-002 revoked, sensor-003 active"
    );
    let again = service.run(&["revoke", "--name", "*", "--yes", "--wait"]);
    assert!(
        again.err.contains("1 revoked, 2 were already revoked"),
        "{again:?}"
    );
    std::fs::write(
        service.folder.path().join("ids"),
        format!("# comment\n{}\n\n{}\n", ids[0], ids[1]),
    )
    .expect("is written");
    let ran = service.run(&["reactivate", "ids", "--yes", "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let refused = with_input(&service, &["revoke", "-"], &ids[0]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let ran = with_input(
        &service,
        &["revoke", "-", "--yes", "--wait"],
        &format!("{}\n{}\n", ids[0], ids[0]),
    );
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}\n", ids[0])));
    let pem = service.run(&["get", &ids[1], "--pem"]).out;
    std::fs::write(service.folder.path().join("sensor.pem"), pem).expect("is written");
    let ran = service.run(&["revoke", "sensor.pem", "--yes", "--wait"]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}\n", ids[1])));
    let odd = with_input(&service, &["revoke", "-", "--yes"], "id,status\n");
    assert_eq!(odd.code, Some(2), "{odd:?}");
    assert!(odd.err.contains("-, line 1"), "{odd:?}");
}

#[test]
fn what_fails_is_named_and_the_rest_is_done() {
    let (service, ids) = fleet();
    let ran = service.run(&["revoke", &ids[0], UNKNOWN, "--yes"]);
    assert_eq!((ran.code, ran.out), (Some(7), format!("{}\n", ids[0])));
    insta::assert_snapshot!(
        ran.err
            .lines()
            .map(|line| line.split(" (ray ").next().unwrap_or(""))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let none = service.run(&["revoke", UNKNOWN]);
    assert_eq!(none.code, Some(3), "{none:?}");
}

#[test]
fn a_refused_token_is_tried_no_further() {
    let service = Service::start_with(|builder| {
        builder
            .populate(ZONE, 300)
            .read_only_token("a-token-that-may-only-read")
    });
    let ran = run(service
        .command(&["revoke", "--status", "active", "--yes"])
        .env("CLOUDFLARE_API_TOKEN", "a-token-that-may-only-read"));
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(service.emulator.history().count(Operation::Delete) <= 32);
    assert!(ran.err.contains("not sent"), "{ran:?}");
}

#[test]
fn a_list_that_breaks_off_revokes_nothing() {
    let service = Service::start_with(|builder| builder.populate(ZONE, 120));
    service
        .emulator
        .script([ScriptedFault::nth(Operation::List, 3, Fault::status(403))]);
    let ran = service.run(&["revoke", "--name", "*", "--yes"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(service.emulator.history().count(Operation::Delete), 0);
}

#[test]
fn an_interrupt_finishes_what_is_in_flight_and_says_how_to_go_on() {
    let service = Service::start_with(|builder| builder.populate(ZONE, 200));
    let stall = Fault::stall(Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::next(Operation::Delete, stall).times(16)]);
    let mut child = service
        .command(&["revoke", "--status", "active", "--yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while service.emulator.history().count(Operation::Delete) < 16 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("finishing what is in flight") {
        line.clear();
        assert_ne!(err.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    service.emulator.advance(Duration::from_secs(3_600));
    let mut ran = Ran::new(child.wait_with_output().expect("it ended"));
    err.read_to_string(&mut ran.err).expect("text");
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 16, "{ran:?}");
    assert!(
        ran.err
            .contains("to go on, which is safe: shieldcert revoke --status active --yes"),
        "{ran:?}"
    );
}

/// Runs a command that waits for the service, and interrupts it once so many were sent.
fn interrupt_after(service: &Service, arguments: &[&str], sent: usize) -> Ran {
    let child = service
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while service.emulator.history().count(Operation::Delete) < sent {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    Ran::new(child.wait_with_output().expect("it ended"))
}

#[test]
fn who_waits_and_is_interrupted_hears_what_is_pending() {
    let never = Duration::from_secs(3_600);
    let service = Service::start_with(|builder| builder.transition_delay(never));
    for name in ["sensor-001", "sensor-002", "sensor-003"] {
        service.add(Fixture::new(name).issued_on("2026-01-30T00:00:00Z"));
    }
    let revoke = ["revoke", "--name", "*", "--yes", "--wait"];
    let ran = interrupt_after(&service, &revoke, 3);
    assert_eq!(
        (ran.code, ran.out.lines().count()),
        (Some(130), 3),
        "{ran:?}"
    );
    // There is nothing to go on with.
    insta::assert_snapshot!(ran.err, @"
    finishing what is in flight; Ctrl-C again stops at once
    0 revoked, 3 pending
    the service completes what is pending within seconds
    ");
    let service =
        Service::start_with(|builder| builder.populate(ZONE, 200).transition_delay(never));
    let revoke = ["revoke", "--status", "active", "--yes", "--wait"];
    let ran = interrupt_after(&service, &revoke, 16);
    assert_eq!(
        (ran.code, ran.out.lines().count()),
        (Some(130), 16),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("0 revoked, 16 pending, ") && ran.err.contains(" not sent\n"),
        "{ran:?}"
    );
    assert!(
        ran.err
            .ends_with("to go on, which is safe: shieldcert revoke --status active --yes --wait\n"),
        "{ran:?}"
    );
}

#[test]
fn who_interrupts_the_last_requests_is_not_told_to_go_on() {
    let (service, ids) = fleet();
    let stall = Fault::stall(Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::next(Operation::Delete, stall).times(3)]);
    let mut child = service
        .command(&["revoke", "--name", "*", "--yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while service.emulator.history().count(Operation::Delete) < ids.len() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("finishing what is in flight") {
        line.clear();
        assert_ne!(err.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    service.emulator.advance(Duration::from_secs(3_600));
    let mut ran = Ran::new(child.wait_with_output().expect("it ended"));
    err.read_to_string(&mut ran.err).expect("text");
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(
        ran.err.contains("3 revoked\n") && !ran.err.contains("to go on"),
        "{ran:?}"
    );
}

#[test]
fn what_needs_nothing_is_said_to() {
    let (service, ids) = fleet();
    let text = |arguments: &[&str]| {
        let ran = service.run(arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.err
    };
    let mut texts = vec![text(&["reactivate", "--name", "sensor-001", "--yes"])];
    text(&["revoke", &ids[0], "--wait"]);
    texts.push(text(&["reactivate", "--name", "*", "--yes", "--wait"]));
    texts.push(text(&["reactivate", "--name", "*", "--dry-run"]));
    texts.push(text(&["revoke", "--name", "*", "--dry-run", "--wait"]));
    insta::assert_snapshot!(texts.join("---\n"), @"
    nothing to reactivate: 1 was already active
    ---
    1 reactivated, 2 were already active
    ---
    would reactivate 0 certificates; 3 need nothing
    checked: the permission to read
    ---
    would revoke 3 certificates: 3 requests, within the rate limit
    --wait takes more requests
    checked: the permission to read
    not checked: the permission to write, which `shieldcert doctor --probe-write` checks
    ");
}

#[test]
fn a_dry_run_counts_with_what_the_rate_limit_has_left() {
    let limit = RateLimit::new(10, Duration::from_secs(300));
    let service = Service::start_with(|builder| builder.rate_limit(limit));
    for name in 0..9 {
        service.add(Fixture::new(format!("sensor-{name}")));
    }
    let ran = service.run(&["revoke", "--name", "*", "--dry-run"]);
    let first = ran.err.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("would revoke 9 certificates: 9 requests, at least ")
            && first.contains(" under the rate limit, which has "),
        "{ran:?}"
    );
}

#[test]
fn a_closed_pipe_stops_nothing() {
    let (service, _) = fleet();
    let mut child = service
        .command(&["revoke", "--name", "*", "--yes", "--output", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ended").code(), Some(0));
    assert_eq!(
        statuses(&service),
        "sensor-001 revoked, sensor-002 revoked, sensor-003 revoked"
    );
}

#[test]
fn a_wait_ends_with_the_status_or_in_time() {
    let service =
        Service::start_with(|builder| builder.transition_delay(Duration::from_secs(3_600)));
    let id = service.add(Fixture::new("sensor-001"));
    service.run(&["revoke", &id]);
    let late = service.run(&["wait", &id, "--for", "revoked", "--timeout", "1s"]);
    assert_eq!(late.code, Some(6), "{late:?}");
    service.emulator.advance(Duration::from_secs(3_600));
    let rows = service.json(&["wait", &id, "--for", "revoked"]);
    assert_eq!(rows[0]["status"], "revoked");
    let settled = with_input(&service, &["wait", "-"], &format!("{id}\n"));
    assert_eq!((settled.code, settled.out), (Some(0), format!("{id}\n")));
}

#[test]
fn a_fleet_is_revoked_under_chaos() {
    let chaos = "delete: reset-after=20%, delete: 502-after=10%, read: html=10%, read: reset=10%";
    let service =
        Service::start_with(|builder| builder.populate(ZONE, 60).transition_delay(Duration::ZERO));
    service.emulator.set_chaos(chaos.parse().expect("chaos"));
    let mut tries = 0;
    while service
        .run(&["revoke", "--name", "*", "--yes", "--wait"])
        .code
        != Some(0)
    {
        tries += 1;
        assert!(tries < 10);
    }
    service.emulator.set_chaos("".parse().expect("none"));
    assert_eq!(
        service
            .json(&["list", "--status", "active"])
            .as_array()
            .map(Vec::len),
        Some(0)
    );
}
