//! `shieldcert get`.

use shieldcert_emulator::Fixture;

use crate::service::{Service, check_schema, run};

const UNKNOWN: &str = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515";

/// What differs from run to run.
fn steady(text: &str) -> String {
    let line = |line: &str| {
        let (name, _) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "fingerprint_sha256"
            | "serial_number"
            | "subject_key_identifier"
            | "certificate_authority_id" => {
                format!("{name}  (varies)\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[test]
fn details_are_shown_line_by_line() {
    let service = Service::start();
    let id = service.add(Fixture::new("sensor-001").issued_on("2026-01-30T00:00:00Z"));
    let ran = service.run(&["get", &id, "--output", "table"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(steady(&ran.out).replace(&id, "(id)"));
    check_schema("certificate", &service.json(&["get", &id]));
    let pem = service.run(&["get", &id, "--pem"]).out;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    assert_eq!(service.run(&["get", &id]).out, format!("{id}\n"));
}

#[test]
fn what_is_not_there_is_named() {
    let service = Service::start();
    let id = service.add(Fixture::new("sensor-001"));
    let ran = service.run(&["get", UNKNOWN]);
    insta::assert_snapshot!(ran.text());
    let ran = service.run(&["get", UNKNOWN, &id]);
    assert_eq!((ran.code, ran.out), (Some(7), format!("{id}\n")));
}

#[test]
fn a_certificate_is_looked_for_in_each_zone() {
    let service = Service::start();
    let id = service.add(Fixture::new("sensor-001"));
    let other = "123e105f4ecef8ad9ca31a8372d0c353";
    let ran =
        run(&mut service.command(&["get", &id, "--zone", other, "--zone", crate::service::ZONE]));
    assert_eq!((ran.code, ran.out), (Some(0), format!("{id}\n")));
}

#[test]
fn failures_have_codes_of_their_own() {
    let service = Service::start();
    let code = |set_up: fn(&mut std::process::Command)| {
        let mut command = service.command(&["get", UNKNOWN]);
        set_up(&mut command);
        run(&mut command).code
    };
    assert_eq!(code(|_| {}), Some(3));
    assert_eq!(
        code(|command| {
            command.env("CLOUDFLARE_API_TOKEN", "another");
        }),
        Some(4)
    );
    assert_eq!(
        code(|command| {
            command.env_remove("CLOUDFLARE_API_TOKEN");
        }),
        Some(2)
    );
    assert_eq!(
        code(|command| {
            command.env("CLOUDFLARE_BASE_URL", "ftp://x");
        }),
        Some(2)
    );
}
