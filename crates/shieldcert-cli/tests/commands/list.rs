//! `shieldcert list`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::json;
use shieldcert_emulator::{Fault, Fixture, Operation, ScriptedFault};

use crate::service::{Service, check_schema, run};

fn fleet() -> Service {
    let service = Service::start();
    for (name, issued_on, days, status) in [
        ("sensor-001", "2026-01-30T00:00:00Z", 365, "active"),
        ("sensor-002", "2025-12-01T00:00:00Z", 90, "active"),
        ("sensor-003", "2025-01-01T00:00:00Z", 90, "active"),
        ("sensor-004", "2025-12-01T00:00:00Z", 90, "revoked"),
        ("gateway-1", "2025-06-01T00:00:00Z", 246, "active"),
    ] {
        let fixture = Fixture::new(name).issued_on(issued_on).validity_days(days);
        service.add(fixture.status(status));
    }
    service
}

#[test]
fn a_table_shows_what_expires_and_counts_what_has_expired() {
    let service = fleet();
    let texts = [
        &["list", "--output", "table"][..],
        &["list", "--output", "table", "--expires-within", "30d"],
        &[
            "list",
            "--output",
            "table",
            "--expires-within",
            "30d",
            "--status",
            "active",
            "--expired",
        ],
        &["list", "--output", "wide", "--name", "gateway-*"],
        &[
            "list",
            "--output",
            "csv",
            "--fields",
            "common_name,status,not_after,expired",
        ],
        &["list", "--fields", "common_name,status", "--expired"],
        &["list", "--name", "none", "--output", "json"],
        &[
            "list",
            "--name",
            "none",
            "--output",
            "csv",
            "--fields",
            "id,status",
        ],
        &["list", "--name", "none", "--output", "table"],
    ]
    .map(|arguments| {
        let ran = service.run(arguments);
        format!("$ shieldcert {}\n{}", arguments.join(" "), ran.text())
    });
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn selectors_select() {
    let service = fleet();
    let names = |arguments: &[&str]| {
        let rows = service.json(&[&["list"], arguments].concat());
        let rows = rows.as_array().expect("an array").clone();
        let name =
            |row: &serde_json::Value| row["common_name"].as_str().expect("a name").to_owned();
        let mut names: Vec<String> = rows.iter().map(name).collect();
        names.sort_unstable();
        names.join(" ")
    };
    let all = service.json(&["list"]);
    let first = &all[0];
    let text = |field: &str| first[field].as_str().expect("a text").to_owned();
    let name = text("common_name");
    for (arguments, expected) in [
        (&["--status", "revoked"][..], "sensor-004"),
        (
            &[
                "--status", "revoked", "--status", "active", "--name", "*-00[14]",
            ],
            "sensor-001 sensor-004",
        ),
        (
            &["--name", "gateway-*", "--name", "sensor-001"],
            "gateway-1 sensor-001",
        ),
        (&["--subject", "cn=SENSOR-*"], ""),
        (&["--subject", "CN=sensor-00{2,3}"], "sensor-002 sensor-003"),
        (
            &["--expires-within", "30d"],
            "gateway-1 sensor-002 sensor-004",
        ),
        (
            &["--expires-within", "30d", "--status", "active"],
            "gateway-1 sensor-002",
        ),
        (&["--expired"], "sensor-003"),
        (
            &["--expired", "--expires-within", "3d"],
            "gateway-1 sensor-003",
        ),
        (&["--issued-before", "2025-06-02"], "gateway-1 sensor-003"),
        (&["--issued-before", "300d"], "sensor-003"),
        (&["--serial", &text("serial_number")], &name),
        (
            &["--fingerprint", &text("fingerprint_sha256").to_uppercase()],
            &name,
        ),
        (&["--fingerprint", "ab"], ""),
    ] {
        assert_eq!(names(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn json_follows_the_schema_and_csv_has_the_same_fields() {
    let service = fleet();
    let rows = service.json(&["list"]);
    check_schema("certificate", &rows);
    let lines = service.run(&["list", "--output", "jsonl"]).out;
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(json!(lines), rows);
    let csv = service.run(&["list", "--output", "csv"]).out;
    assert_eq!(csv.lines().count(), 6, "{csv}");
    assert!(csv.starts_with("id,zone_id,status,common_name,"), "{csv}");
    assert!(!csv.contains("BEGIN"), "{csv}");
}

#[test]
fn a_pipe_gets_the_ids_alone() {
    let service = fleet();
    let ran = service.run(&["list"]);
    let rows = service.json(&["list"]);
    let ids: Vec<_> = rows
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| row["id"].as_str().expect("an id"))
        .collect();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), ids);
}

#[test]
fn the_first_row_appears_before_the_last_page_was_read() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 120));
    let count = || service.emulator.history().count(Operation::List);
    assert_eq!(service.run(&["list"]).code, Some(0));
    let expected = count();
    // The third page does not come before the clock moves.
    let stall = Fault::stall(std::time::Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::nth(Operation::List, 3, stall)]);
    let mut child = service
        .command(&["list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    out.read_line(&mut first).expect("a line");
    assert_eq!(first.trim_end().len(), 36, "{first:?}");
    assert!(child.try_wait().expect("is known").is_none(), "it reads on");
    while count() < expected + 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    service
        .emulator
        .advance(std::time::Duration::from_secs(3_600));
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("it ended").success());
    assert_eq!(rest.lines().count(), 119);
    // The row did not come because the request was given up, and sent again.
    assert_eq!(count(), 2 * expected);
}

#[test]
fn a_list_that_breaks_off_is_an_error_after_what_was_read() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 120));
    let refuse = Fault::status(403);
    service
        .emulator
        .script([ScriptedFault::nth(Operation::List, 3, refuse)]);
    let ran = service.run(&["list", "--output", "json"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.err.starts_with("error: "), "{ran:?}");
    let rows: serde_json::Value = serde_json::from_str(&ran.out).expect("complete JSON");
    assert!(!rows.as_array().expect("an array").is_empty());
}

#[test]
fn hostile_names_are_shown_escaped_in_every_format() {
    let service = Service::start();
    for name in [
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "=HYPERLINK(\"http://example.com\")",
        "\u{202e}txt.exe\u{2066}",
        "two\nlines\r\0",
        "<script>alert(1)</script>",
    ] {
        service.add(Fixture::new(name).issued_on("2026-01-30T00:00:00Z"));
    }
    let is_safe = |text: &str| {
        let hidden = |c: char| {
            c.is_control() && c != '\n'
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        !text.contains(hidden)
    };
    for format in ["table", "wide", "json", "jsonl", "csv"] {
        let ran = service.run(&["list", "--output", format]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            is_safe(&ran.out) && is_safe(&ran.err),
            "{format}: {:?}",
            ran.out
        );
    }
    let fields = service.run(&["list", "--output", "csv", "--fields", "common_name"]);
    insta::assert_snapshot!(fields.out);
    let rows = service.json(&["list"]);
    let names: Vec<_> = rows
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| row["common_name"].as_str())
        .collect();
    assert!(names.contains(&Some("two\nlines\r\0")), "{names:?}");
}

#[test]
fn several_zones_are_listed_one_after_the_other() {
    let service = fleet();
    let other = "123e105f4ecef8ad9ca31a8372d0c353";
    let ran = run(service
        .command(&[
            "list",
            "--zone",
            crate::service::ZONE,
            "--zone",
            other,
            "--zone",
            crate::service::ZONE,
            "--output",
            "jsonl",
        ])
        .env_remove("CLOUDFLARE_ZONE_ID"));
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 5), "{ran:?}");
}

#[test]
fn nobody_reading_is_no_error() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 2_000));
    let mut child = service
        .command(&["list", "--output", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ended");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_token_comes_from_a_file_or_a_command_and_is_never_shown() {
    let service = fleet();
    let file = service.folder.path().join("token");
    std::fs::write(&file, format!("{}\n", crate::service::TOKEN)).expect("is written");
    for (arguments, code) in [
        (&["--token-file", "token", "list"][..], Some(0)),
        (&["list", "--token-command", "cat token"], Some(0)),
        (&["list", "--token-command", "echo wrong"], Some(4)),
    ] {
        let ran = run(service
            .command(arguments)
            .env_remove("CLOUDFLARE_API_TOKEN"));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(!ran.err.contains("wrong") || code == Some(0), "{ran:?}");
    }
    let logged = service.run(&["-vvv", "list"]);
    assert!(
        logged.err.contains("list_client_certificates"),
        "{}",
        logged.err
    );
    assert!(
        !logged.err.contains(crate::service::TOKEN),
        "{}",
        logged.err
    );
}
