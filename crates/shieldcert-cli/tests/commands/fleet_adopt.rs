//! `shieldcert fleet adopt`, `plan --refresh` and `plan --simulate`.

use std::fs;

use serde_json::{Value, json};
use shieldcert_emulator::{Fixture, Operation};

use crate::fleet::TestFleet;
use crate::service::{Service, check_schema, is_installed};
use crate::terminal::Terminal;

/// Issues a certificate without the fleet, into a file of the folder above it.
fn issue(service: &Service, name: &str, more: &[&str]) {
    let ran = service.run(&[&["issue", name], more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Splits a file into certificate and key.
fn split(service: &Service, name: &str, certificate: &str, key: &str) {
    let path = |name: &str| service.folder.path().join(name);
    let text = fs::read_to_string(path(name)).expect(name);
    let begin = text.find("-----BEGIN CERTIFICATE").expect("a certificate");
    let end = text.find("-----END CERTIFICATE-----").expect("its end") + 26;
    fs::write(path(certificate), &text[begin..end]).expect("is written");
    fs::write(path(key), [&text[..begin], &text[end..]].concat()).expect("is written");
    fs::remove_file(path(name)).expect("is removed");
}

fn created(fleet: &TestFleet) -> usize {
    fleet.service.emulator.history().count(Operation::Create)
}

fn rows(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn certificates_are_taken_over_with_their_keys_or_watched() {
    let fleet = TestFleet::new(
        "",
        "name,organization,days\nsensor-1,,90\nsensor-2,,90\nsensor-3,,90\n",
    );
    let service = &fleet.service;
    for name in ["sensor-1", "sensor-2", "sensor-3", "sensor-4"] {
        issue(service, name, &["--days", "90"]);
    }
    fs::create_dir(service.folder.path().join("keys")).expect("is made");
    split(service, "sensor-2.pem", "sensor-2.crt", "keys/sensor-2.key");
    split(service, "sensor-3.pem", "sensor-3.crt", "elsewhere");
    split(service, "sensor-4.pem", "sensor-4.crt", "sensor-4.key");
    let before = fs::read(service.folder.path().join("sensor-1.pem")).expect("is read");
    let certificates = [
        "adopt",
        "--output",
        "json",
        "--certificate",
        "sensor-1.pem",
        "sensor-2.crt",
        "sensor-3.crt",
    ];
    let ran = fleet.ends(0, &[&certificates[..], &["--key-dir", "keys"]].concat());
    assert!(
        ran.err
            .contains("1 certificate watched, because the keys are not here"),
        "{ran:?}"
    );
    assert!(ran.err.contains("fleet rotate --name sensor-3"), "{ran:?}");
    let adopted = rows(&ran.out);
    check_schema("adopted", &adopted);
    let outcomes: Vec<_> = (0..3)
        .map(|place| adopted[place]["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["managed", "managed", "watched"], "{adopted}");
    // One without a row, whose key is beside it.
    let ran = fleet.ends(
        0,
        &["adopt", "--certificate", "sensor-4.crt", "--print-rows"],
    );
    assert_eq!(ran.out, "sensor-4,,90\n", "{ran:?}");
    assert!(
        ran.err
            .contains("it has no column key, so the rows leave that out"),
        "{ran:?}"
    );
    assert!(
        ran.err
            .ends_with("add these to fleet/devices.csv: until then 1 device is left alone\n"),
        "{ran:?}"
    );
    let again = fleet.ends(0, &["adopt", "--certificate", "sensor-4.crt"]);
    assert!(
        again
            .err
            .contains("devices.csv has no row for 1 device, such as sensor-4"),
        "{again:?}"
    );
    // Neither the adoption nor the row leads to a new certificate.
    fleet.write(
        "devices.csv",
        &format!("{}{}", fleet.read("devices.csv"), ran.out),
    );
    let applied = fleet.ends(0, &["apply"]);
    assert!(applied.out.contains("in order  4 devices\n"), "{applied:?}");
    assert_eq!(created(&fleet), 4);
    assert_eq!(
        fs::read(service.folder.path().join("sensor-1.pem")).expect("is read"),
        before
    );
    let rotated = fleet.ends(0, &["rotate", "--name", "sensor-3"]);
    assert!(rotated.out.starts_with("issued    1\n"), "{rotated:?}");
}

#[test]
fn what_is_not_found_or_not_meant_is_said() {
    let fleet = TestFleet::new("", "name\nsensor-1\ntwin\n");
    let service = &fleet.service;
    issue(service, "sensor-1", &[]);
    for place in ["a.pem", "b.pem"] {
        issue(service, "twin", &["-o", place]);
    }
    let by_name = ["adopt", "--common-name", "sensor-1", "twin", "none"];
    let refused = fleet.ends(2, &by_name);
    assert!(
        refused.err.contains("common names are not unique"),
        "{refused:?}"
    );
    let ran = fleet.ends(7, &[&by_name[..], &["--yes", "--output", "json"]].concat());
    let adopted = rows(&ran.out);
    let outcomes: Vec<_> = (0..3)
        .map(|place| adopted[place]["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["watched", "ambiguous", "not-found"], "{adopted}");
    assert!(
        ran.err
            .contains("error: twin: 2 active certificates are like that; name one by its file"),
        "{ran:?}"
    );
    fleet.ends(3, &["adopt", "--common-name", "none", "--yes"]);
    let revoked = service.run(&["revoke", "b.pem", "--yes", "--wait"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let ran = fleet.ends(3, &["adopt", "--certificate", "b.pem"]);
    assert!(
        ran.err.contains("error: twin: its certificate is revoked"),
        "{ran:?}"
    );
    for (arguments, expected) in [
        (&["adopt"][..], "required arguments were not provided"),
        (
            &["adopt", "--certificate", "a.pem", "b.pem"],
            "two certificates would be this device's",
        ),
        (
            &["adopt", "--certificate", "a.pem", "b.pem", "--name", "x"],
            "is the name of one device",
        ),
        (
            &["adopt", "--certificate", "none.pem"],
            "none.pem: there is no such file",
        ),
        (
            &["adopt", "--common-name", "a b", "--yes"],
            "is no name of a device",
        ),
    ] {
        let refused = fleet.ends(2, arguments);
        assert!(refused.err.contains(expected), "{expected}: {refused:?}");
    }
    split(service, "a.pem", "a.crt", "a.key");
    split(service, "sensor-1.pem", "s.crt", "s.key");
    fs::copy(
        service.folder.path().join("s.key"),
        service.folder.path().join("a.key"),
    )
    .expect("is copied");
    let refused = fleet.ends(1, &["adopt", "--certificate", "a.crt"]);
    assert!(
        refused
            .err
            .contains("a.crt: a.key is the key of another certificate"),
        "{refused:?}"
    );
    let named = fleet.ends(
        0,
        &[
            "adopt",
            "--certificate",
            "s.crt",
            "--name",
            "other",
            "--output",
            "json",
        ],
    );
    assert_eq!(rows(&named.out)[0]["outcome"], "known", "{named:?}");
}

#[test]
fn a_comparison_counts_what_differs_and_says_what_to_do() {
    let fleet = TestFleet::new("", "name\nsensor-1\nsensor-2\nsensor-3\n");
    let refused = fleet.ends(2, &["plan", "--refresh"]);
    assert!(
        refused.err.contains("there is no journal yet"),
        "{refused:?}"
    );
    fleet.ends(0, &["apply"]);
    let same = fleet.ends(0, &["plan", "--refresh"]);
    assert!(
        same.err
            .contains("the zones and the files are as the journal says"),
        "{same:?}"
    );
    fleet.service.add(Fixture::new("foreign"));
    let status = fleet.rows(&["status", "sensor-1"]);
    let id = status[0]["certificate"].as_str().expect("an id");
    let revoked = fleet.service.run(&["revoke", id, "--yes", "--wait"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    fs::remove_file(fleet.path("devices/sensor-2/1/cert.pem")).expect("is removed");
    fs::remove_file(fleet.path("devices/sensor-3/1/key.pem")).expect("is removed");
    let plan = fleet.ends(0, &["plan", "--refresh"]);
    insta::assert_snapshot!("plan_refresh", plan.text());
    let findings = fleet.rows(&["plan", "--refresh", "--findings"]);
    check_schema("finding", &findings);
    let findings = findings.as_array().expect("an array").iter();
    let mut kinds: Vec<_> = findings
        .map(|row| (row["difference"].clone(), row["device"].clone()))
        .collect();
    kinds.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(
        kinds,
        [
            (json!("file-changed"), json!("sensor-2")),
            (json!("foreign"), Value::Null),
            (json!("key-lost"), json!("sensor-3")),
            (json!("revoked-elsewhere"), json!("sensor-1")),
        ]
    );
    // A plan changes nothing, and apply restores the file.
    assert!(!fleet.path("devices/sensor-2/1/cert.pem").exists());
    fleet.ends(7, &["apply", "--refresh"]);
    assert!(fleet.path("devices/sensor-2/1/cert.pem").exists());
    assert_eq!(created(&fleet), 3);
}

#[test]
fn a_year_is_simulated() {
    let fleet = TestFleet::new("", "name\nsensor-1\nsensor-2\n");
    let ran = fleet.ends(0, &["plan", "--simulate", "--devices", "100"]);
    let mut lines = ran.out.lines();
    assert_eq!(lines.next(), Some("devices       100"), "{ran:?}");
    let first = lines.next().expect("a line");
    assert!(
        first.starts_with("requests      20") && first.contains("  100  ####"),
        "{ran:?}"
    );
    for line in [
        "first issue",
        "peak day",
        "rate limit",
        "longest wait",
        "expired",
        "outage",
        "leak",
    ] {
        assert!(ran.out.contains(&format!("\n{line}")), "{line}: {ran:?}");
    }
    let forecast = fleet.rows(&["plan", "--simulate"]);
    check_schema("forecast", &json!([forecast]));
    assert_eq!(forecast["devices"], 2, "{forecast}");
    let days = forecast["plan"]["days"].as_array().expect("an array");
    assert_eq!((days.len(), &days[0]["issued"]), (365, &json!(2)));
    assert_eq!(fleet.service.emulator.history().count(Operation::List), 0);
    for conflict in [
        &["plan", "--devices", "5"][..],
        &["plan", "--simulate", "--refresh"],
        &["plan", "--findings"],
    ] {
        fleet.ends(2, conflict);
    }
}

#[test]
fn what_is_known_by_its_name_alone_is_asked_about() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let fleet = TestFleet::new("", "name\nsensor-1\n");
    issue(&fleet.service, "sensor-1", &[]);
    let terminal = Terminal::open(&fleet.service, 120);
    let ask = |typed: &str| {
        terminal.start("shieldcert fleet --dir fleet adopt --common-name sensor-1");
        terminal.wait_for(|screen| screen.contains("Type 1 to adopt them:"));
        terminal.type_keys(&[typed, "Enter"]);
        terminal.end()
    };
    let refused = ask("n");
    assert!(refused.ends_with("nothing was done\ncode: 1"), "{refused}");
    assert!(!fleet.path("journal.db").exists());
    let done = ask("1");
    assert!(done.contains("sensor-1  watched"), "{done}");
    assert!(done.ends_with("code: 0"), "{done}");
}
