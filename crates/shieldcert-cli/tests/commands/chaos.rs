//! Commands that change nothing, on a network that loses and damages.

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
    let commands = [
        &["list"][..],
        &["list", "--status", "active", "--name", "sensor-001"],
        &["get", &id],
        &["find", "sensor.pem"],
        &["find", &id[..8]],
        &["wait", &id, "--for", "active"],
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
                _ => assert!(
                    arguments[0] == "doctor" || ran.err.contains("error: "),
                    "{arguments:?}: {ran:?}"
                ),
            }
        }
    }
    assert_eq!(service.emulator.history().count(Operation::Create), 0);
}
