//! Commands on a network that loses and damages: what they say is right, or they fail and say that.

use std::time::Duration;

use serde_json::Value;
use shieldcert_emulator::{Fixture, Operation};

use crate::service::{Service, ZONE};

/// What a good tool retries, and what it may give up on, but never mistakes for a success.
const CHAOS: &str = "read: reset=10%, read: html=10%, read: truncate=10%, read: 502-before=5%, read: empty-object=5%, \
                     read: maintenance=5%, read: rate-limit=5%:1s";

#[test]
fn what_is_read_is_right_or_an_error() {
    let service =
        Service::start_with(|builder| builder.populate(ZONE, 200).transition_delay(Duration::ZERO));
    let id = service.add(Fixture::new("sensor-001"));
    let pem = service.run(&["get", &id, "--pem"]).out;
    std::fs::write(service.folder.path().join("sensor.pem"), pem).expect("is written");
    let issued = service.run(&["issue", "own"]);
    assert_eq!(issued.code, Some(0), "{issued:?}");
    // As on another machine than the one that issued it: the list is read.
    std::fs::remove_dir_all(service.folder.path().join(".local/state")).expect("it was remembered");
    let creates = service.emulator.history().count(Operation::Create);
    let commands = [
        &["list"][..],
        &["list", "--status", "active", "--name", "sensor-001"],
        &["get", &id],
        &["find", "sensor.pem"],
        &["find", &id[..8]],
        &["wait", &id, "--for", "active"],
        &["report", "--fields", "by,value,certificates,active,revoked"],
        &["verify", "own.pem", "--fields", "check,result"],
        &["doctor", "--fields", "check,result"],
    ];
    let right = commands.map(|arguments| service.json(arguments));
    for seed in 0..2 {
        let chaos = CHAOS.parse().expect("chaos");
        service.emulator.set_chaos(chaos);
        for (arguments, right) in commands.iter().zip(&right) {
            let ran = service.run(&[*arguments, &["--output", "json"]].concat());
            match ran.code {
                Some(0) => {
                    let rows: Value = serde_json::from_str(&ran.out).expect("JSON");
                    assert_eq!(&rows, right, "{seed}: {arguments:?}");
                }
                // These print what could not be found out as a row.
                _ if matches!(arguments[0], "doctor" | "verify") => assert!(
                    ran.out.contains("\"failed\"") || ran.out.contains("\"unknown\""),
                    "{arguments:?}: {ran:?}"
                ),
                _ => assert!(ran.err.contains("error: "), "{arguments:?}: {ran:?}"),
            }
        }
    }
    assert_eq!(service.emulator.history().count(Operation::Create), creates);
}

#[test]
fn the_metrics_are_right_or_those_of_before() {
    let service =
        Service::start_with(|builder| builder.populate(ZONE, 200).transition_delay(Duration::ZERO));
    let counts = || {
        let path = service.folder.path().join("shieldcert.prom");
        let text = std::fs::read_to_string(path).expect("is there");
        let lines = text.lines().filter(|line| line.contains("status="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let metrics = ["metrics", "--textfile", "shieldcert.prom"];
    assert_eq!(service.run(&metrics).code, Some(0));
    let mut right = counts();
    for seed in 0..4 {
        service.emulator.set_chaos("".parse().expect("none"));
        service.add(Fixture::new(format!("sensor-{seed}")));
        let active = service.json(&["list", "--status", "active"]);
        let active = active.as_array().map(Vec::len).expect("an array");
        service.emulator.set_chaos(CHAOS.parse().expect("chaos"));
        let ran = service.run(&metrics);
        let now = counts();
        match ran.code {
            Some(0) => {
                let line = now.iter().find(|line| line.contains("\"active\""));
                let line = line.expect("active ones");
                assert!(line.ends_with(&format!(" {active}")), "{line}: {active}");
                right = now;
            }
            _ => assert!(now == right && ran.err.contains("error: "), "{ran:?}"),
        }
    }
}

#[test]
fn a_life_goes_on_until_each_step_is_done() {
    const WRITES: &str = "create: reset-after=30%, create: html=10%, edit: reset-after=20%, edit: 502-after=20%, \
                          delete: reset-after=20%, delete: 502-after=20%, read: html=5%, read: reset=5%";
    let service = Service::start_with(|builder| builder.transition_delay(Duration::ZERO));
    service.emulator.set_chaos(WRITES.parse().expect("chaos"));
    let until_done = |arguments: &[&str]| {
        for _ in 0..20 {
            let ran = service.run(arguments);
            if ran.code == Some(0) {
                return;
            }
            assert!(
                ran.err.contains("error: ") || arguments[0] == "verify",
                "{arguments:?}: {ran:?}"
            );
        }
        panic!("{arguments:?} is never done");
    };
    for name in ["sensor-001", "sensor-002", "sensor-003"] {
        let pem = format!("{name}.pem");
        until_done(&["issue", name]);
        until_done(&["verify", &pem]);
        until_done(&["revoke", &pem, "--yes", "--wait"]);
        until_done(&["wait", &pem, "--for", "revoked"]);
        until_done(&["reactivate", &pem, "--yes", "--wait"]);
    }
    service.emulator.set_chaos("".parse().expect("none"));
    let rows = service.json(&["list"]);
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().all(|row| row["status"] == "active"), "{rows:?}");
}
