//! `shieldcert metrics`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::report::fleet;
use crate::service::{Service, is_installed};

/// The emulator's second differs from run to run.
fn steady(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some((name, _)) if name.contains("timestamp") => format!("{name} (now)\n"),
        Some((name, _)) if name.contains("seconds_sum") => format!("{name} (seconds)\n"),
        _ => format!("{line}\n"),
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    // The series of a metric come in any order.
    let is_count = |line: &String| line.starts_with("shieldcert_certificates{");
    for counts in lines.chunk_by_mut(|a, b| is_count(a) && is_count(b)) {
        counts.sort_unstable();
    }
    lines.concat()
}

#[test]
fn the_inventory_is_counted_for_prometheus() {
    let service = fleet();
    let ran = service.run(&["metrics", "--textfile", "-"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    insta::assert_snapshot!(steady(&ran.out));
    check_with_promtool(ran.out.as_bytes());
}

#[test]
fn a_status_of_the_future_is_a_label_that_breaks_no_line() {
    let service = Service::start();
    let body = r#"{"success":true,"errors":[],"messages":[],"result":[{"id":"7bf7f70c-7600-42e1-81c4-e4c0da9aa515","status":"archived\n\"}\u202e\\"}],"result_info":{"page":1,"per_page":50,"count":1,"total_count":1}}"#;
    let rule = format!("list@1: respond=200 {body}").parse::<ScriptedFault>();
    service.emulator.script([rule.expect("a rule")]);
    let ran = service.run(&["metrics", "--textfile", "-"]);
    let expected = r#"status="archived\\n\"}\\u{202e}\\"} 1"#;
    assert!(
        ran.out.lines().any(|line| line.ends_with(expected)),
        "{}",
        ran.out
    );
    check_with_promtool(ran.out.as_bytes());
}

#[test]
fn what_the_rate_limit_has_left_is_counted_where_the_service_says_it() {
    let service = Service::start_with(|builder| {
        let limit = "1200/300s".parse().expect("a limit");
        builder
            .rate_limit(limit)
            .populate(crate::service::ZONE, 120)
    });
    let ran = service.run(&["metrics", "--textfile", "-"]);
    let sent = service.emulator.history().count(Operation::List);
    let left = format!("shieldcert_rate_limit_requests_left {}", 1_200 - sent);
    assert!(
        ran.out.lines().any(|line| line == left),
        "{left}: {}",
        ran.out
    );
    assert!(
        ran.out.contains("\nshieldcert_rate_limit_requests 1200\n"),
        "{}",
        ran.out
    );
}

fn check_with_promtool(text: &[u8]) {
    if !is_installed("promtool", "--version") {
        return;
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(text).expect("is read");
    drop(stdin);
    let checked = promtool.wait_with_output().expect("it ended");
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_file_is_replaced_and_stays_where_the_list_breaks_off() {
    let service = fleet();
    let file = service.folder.path().join("metrics.prom");
    fs::write(&file, "before").expect("is written");
    service
        .emulator
        .script([ScriptedFault::nth(Operation::List, 1, Fault::status(403))]);
    let ran = service.run(&["metrics", "--textfile", "metrics.prom"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).expect("is there"), "before");
    let ran = service.run(&["metrics", "--textfile", "metrics.prom"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        fs::read_to_string(&file)
            .expect("is there")
            .starts_with("# HELP shieldcert_certificates ")
    );
}
