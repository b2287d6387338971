//! `shieldcert report`, but for the look of its page.

use shieldcert_emulator::{Fault, Fixture, Operation, ScriptedFault};

use crate::service::{Service, check_schema, run};

/// Certificates of several statuses and months.
pub(crate) fn fleet() -> Service {
    // What is pending stays so.
    let hour = std::time::Duration::from_secs(3_600);
    let service = Service::start_with(|builder| builder.transition_delay(hour));
    for (name, issued_on, days, status) in [
        ("sensor-001", "2026-01-30T00:00:00Z", 365, "active"),
        ("sensor-002", "2025-12-01T00:00:00Z", 90, "active"),
        ("sensor-003", "2025-01-01T00:00:00Z", 90, "active"),
        ("sensor-004", "2025-12-01T06:00:00Z", 90, "revoked"),
        (
            "sensor-005",
            "2025-12-02T00:00:00Z",
            90,
            "pending_revocation",
        ),
        ("gateway-1", "2025-06-01T00:00:00Z", 245, "active"),
    ] {
        let fixture = Fixture::new(name).issued_on(issued_on).validity_days(days);
        service.add(fixture.status(status));
    }
    service
}

/// What differs from run to run: the service's second.
fn steady(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once(",2026-01-31T12:00:") {
            Some((counted, _)) => format!("{counted},(taken at)\n"),
            None => format!("{line}\n"),
        });
    lines.collect()
}

#[test]
fn the_inventory_is_counted_for_people_and_programs() {
    let service = fleet();
    let table = service.run(&["report"]);
    insta::assert_snapshot!("table", table.text());
    let csv = service.run(&["report", "--output", "csv"]);
    insta::assert_snapshot!("csv", steady(&csv.out));
    let rows = service.json(&["report"]);
    check_schema("report", &rows);
    assert_eq!(
        rows.as_array().map(Vec::len),
        Some(csv.out.lines().count() - 1)
    );
}

#[test]
fn zones_without_certificates_are_counted_too() {
    let service = fleet();
    let other = "123e105f4ecef8ad9ca31a8372d0c353";
    let arguments = [
        "report",
        "--zone",
        other,
        "--output",
        "csv",
        "--fields",
        "by,value,certificates",
    ];
    let ran = run(service.command(&arguments).env_remove("CLOUDFLARE_ZONE_ID"));
    let expected = format!("by,value,certificates\ntotal,,0\nzone,{other},0\n");
    assert_eq!((ran.code, ran.out), (Some(0), expected));
}

#[test]
fn a_report_of_a_part_is_none() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 120));
    service
        .emulator
        .script([ScriptedFault::nth(Operation::List, 3, Fault::status(403))]);
    let ran = service.run(&["report", "--html", "report.html"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(!service.folder.path().join("report.html").exists());
}

#[test]
fn a_page_replaces_no_file_unless_told_to() {
    let service = fleet();
    let file = service.folder.path().join("report.html");
    std::fs::write(&file, "mine").expect("is written");
    let ran = service.run(&["report", "--html", "report.html"]);
    insta::assert_snapshot!(ran.text(), @r"
    code: 1
    --- out
    --- err
    error: report.html: it exists; give another file, or --force
    ");
    assert_eq!(
        service.emulator.history().count(Operation::List),
        0,
        "nothing was asked for in vain"
    );
    assert_eq!(std::fs::read_to_string(&file).expect("is there"), "mine");
    let ran = service.run(&["report", "--html", "report.html", "--force"]);
    insta::assert_snapshot!(ran.text(), @r"
    code: 0
    --- out
    --- err
    report.html: 6 certificates
    ");
    let page = std::fs::read_to_string(&file).expect("is there");
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    let ran = service.run(&["report", "--html", "-"]);
    assert!(ran.out.starts_with("<!DOCTYPE html>"), "{ran:?}");
}

#[test]
fn what_cannot_be_read_is_said_and_makes_the_report_partial() {
    let service = fleet();
    let rule = "list@1: quirk=no-id".parse::<ScriptedFault>();
    service.emulator.script([rule.expect("a rule")]);
    let ran = service.run(&["report", "--html", "report.html"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let page = std::fs::read_to_string(service.folder.path().join("report.html"));
    assert!(page.expect("is there").contains("could not be read and"));
}
