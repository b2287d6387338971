//! `shieldcert metrics`.

use std::fs;
use std::process::{Command, Stdio};

use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::report::fleet;
use crate::tools::is_installed;

/// The emulator's second differs from run to run.
fn steady(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some((name, _)) if name.contains("timestamp") => format!("{name} (now)\n"),
        Some((name, _)) if name.contains("seconds_sum") => format!("{name} (seconds)\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_inventory_is_counted_for_prometheus() {
    let service = fleet();
    let ran = service.run(&["metrics", "--textfile", "-"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    insta::assert_snapshot!(steady(&ran.out));
}

#[test]
fn a_status_of_the_future_is_a_label_that_breaks_no_line() {
    let service = fleet();
    let rule = ScriptedFault::nth(Operation::List, 1, Fault::unknown_status());
    service.emulator.script([rule]);
    let ran = service.run(&["metrics", "--textfile", "-"]);
    assert!(ran.out.contains("status=\"archived\"} 6\n"), "{ran:?}");
}

#[test]
fn promtool_finds_no_fault() {
    if !is_installed("promtool") {
        return;
    }
    let service = fleet();
    let ran = service.run(&["metrics", "--textfile", "metrics.prom"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), "", "")
    );
    let file = fs::File::open(service.folder.path().join("metrics.prom")).expect("is there");
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(file))
        .output();
    let checked = checked.expect("it runs");
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
