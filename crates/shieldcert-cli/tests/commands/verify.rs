//! `shieldcert verify`, with an edge.

use std::fs;
use std::time::Duration;

use shieldcert_emulator::{EmulatorBuilder, Fault, Operation, ScriptedFault};

use crate::service::{Ran, Service, check_schema};

/// A service with an edge, whose CA is in `ca.pem`, and an issued `sensor.pem`.
fn service(set_up: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> (Service, String) {
    let service = Service::start_with(|builder| {
        let builder = builder
            .edge(([127, 0, 0, 1], 0).into())
            .transition_delay(Duration::ZERO);
        set_up(builder)
    });
    fs::write(
        service.folder.path().join("ca.pem"),
        service.emulator.ca_pem(),
    )
    .expect("is written");
    let ran = service.run(&["issue", "sensor-001", "--days", "90", "-o", "sensor.pem"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = ran.out.trim().to_owned();
    (service, id)
}

fn verify(service: &Service, arguments: &[&str]) -> Ran {
    let port = service
        .emulator
        .edge_address()
        .expect("there is an edge")
        .port();
    let edge = format!("localhost:{port}");
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|argument| {
            if *argument == "EDGE" {
                &*edge
            } else {
                argument
            }
        })
        .collect();
    service.run(&[&["verify"][..], &arguments].concat())
}

/// With what differs from run to run named.
fn steady(service: &Service, id: &str, ran: &Ran) -> String {
    let port = service
        .emulator
        .edge_address()
        .expect("there is an edge")
        .port();
    let text = ran.text().replace(&format!(":{port}"), ":PORT");
    if id.is_empty() {
        text
    } else {
        text.replace(id, "ID")
    }
}

const CONNECT: [&str; 4] = ["--connect", "EDGE", "--ca-file", "ca.pem"];

#[test]
fn what_belongs_together_is_accepted_until_it_is_revoked() {
    let (service, id) = service(|builder| builder);
    let arguments = [&["sensor.pem"][..], &CONNECT].concat();
    let accepted = verify(&service, &arguments);
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    let ran = service.run(&["revoke", &id, "--wait"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let revoked = verify(&service, &arguments);
    assert_eq!(revoked.code, Some(1), "{revoked:?}");
    service.emulator.advance(Duration::from_secs(91 * 86_400));
    let expired = verify(&service, &arguments);
    let texts = [accepted, revoked, expired].map(|ran| steady(&service, &id, &ran));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn findings_follow_the_schema() {
    let (service, id) = service(|builder| builder);
    let rows = service.json(&["verify", "sensor.pem", "--id", &id]);
    check_schema("check", &rows);
    // Without the id, as on another machine than the one that issued it.
    fs::remove_dir_all(service.folder.path().join(".local/state")).expect("it was remembered");
    assert_eq!(service.json(&["verify", "sensor.pem"]), rows);
    let checks: Vec<_> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["check"])
        .collect();
    assert_eq!(checks, ["key", "record", "status", "expiry"]);
}

#[test]
fn what_does_not_belong_together_is_named_with_what_to_do() {
    let (service, id) = service(|builder| builder);
    let folder = service.folder.path();
    let other = rcgen::KeyPair::generate().expect("a key");
    fs::write(folder.join("other.key"), other.serialize_pem()).expect("is written");
    let own = rcgen::CertificateParams::default()
        .self_signed(&other)
        .expect("a certificate");
    fs::write(
        folder.join("foreign.pem"),
        own.pem() + &other.serialize_pem(),
    )
    .expect("is written");
    let pem = fs::read_to_string(folder.join("sensor.pem")).expect("is there");
    let end = pem.find("-----BEGIN PRIVATE").expect("has a key");
    fs::write(folder.join("sensor.crt"), &pem[..end]).expect("is written");
    let unknown_id = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";
    let other_id = service.run(&["issue", "sensor-002", "-o", "other.pem"]).out;
    let texts = [
        &["sensor.crt", "--connect", "EDGE"][..],
        &["sensor.crt", "--key", "other.key"],
        &["foreign.pem", "--connect", "EDGE", "--ca-file", "ca.pem"],
        &["sensor.pem", "--id", unknown_id],
        &["sensor.pem", "--id", other_id.trim()],
        &["sensor.pem", "--connect", "EDGE"],
        &[
            "sensor.pem",
            "--connect",
            "localhost:1",
            "--ca-file",
            "ca.pem",
        ],
        &["other.key"],
    ]
    .map(|arguments| {
        let ran = verify(&service, arguments);
        assert!(matches!(ran.code, Some(1 | 3)), "{ran:?}");
        let text = steady(&service, &id, &ran).replace(other_id.trim(), "OTHER");
        format!(
            "$ shieldcert verify {}\n{text}",
            arguments.join(" ").replace(other_id.trim(), "OTHER")
        )
    });
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_rule_that_forgets_revocation_is_found() {
    let (service, id) =
        service(|builder| builder.edge_rule(shieldcert_emulator::EdgeRule::Verified));
    service.run(&["revoke", &id, "--wait"]);
    let ran = verify(&service, &[&["sensor.pem"][..], &CONNECT].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.out
            .contains("although it is revoked; let the mTLS rule block"),
        "{ran:?}"
    );
}

#[test]
fn a_server_that_asks_for_no_certificate_is_found() {
    // The API's own port, with TLS, is one.
    let (service, _) = service(|builder| builder);
    let server = Service::start_with(|builder| builder.tls(true));
    fs::write(
        service.folder.path().join("server.pem"),
        server.emulator.ca_pem(),
    )
    .expect("is written");
    let target = format!("localhost:{}", server.emulator.address().port());
    let ran = verify(
        &service,
        &[
            "sensor.pem",
            "--connect",
            &target,
            "--ca-file",
            "server.pem",
        ],
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.out.contains(" does not ask for a client certificate"),
        "{ran:?}"
    );
}

#[test]
fn a_record_that_cannot_be_read_leaves_it_open_and_a_refusal_has_its_code() {
    let (service, _) = service(|builder| builder);
    // As on another machine than the one that issued it.
    fs::remove_dir_all(service.folder.path().join(".local/state")).expect("it was remembered");
    let rule = "list@1: quirk=no-id".parse::<ScriptedFault>();
    service.emulator.script([rule.expect("a rule")]);
    let ran = verify(&service, &["sensor.pem"]);
    assert!(
        ran.code == Some(1) && ran.out.contains("1 of its records can't be read"),
        "{ran:?}"
    );
    service.emulator.script([ScriptedFault::nth(
        Operation::List,
        1,
        Fault::rate_limit(Duration::from_secs(3_600)),
    )]);
    let ran = verify(&service, &["sensor.pem"]);
    assert!(ran.code == Some(5) && ran.out.contains("expiry"), "{ran:?}");
}
