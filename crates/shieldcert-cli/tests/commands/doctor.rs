//! `shieldcert doctor`.

use std::time::Duration;

use serde_json::Value;
use shieldcert_emulator::{Operation, RateLimit};

use crate::service::{Ran, Service, ZONE, check_schema, run};

fn result_of<'a>(rows: &'a Value, check: &str) -> &'a str {
    let rows = rows.as_array().expect("an array");
    let row = rows.iter().find(|row| row["check"] == check);
    row.unwrap_or_else(|| panic!("{check}: {rows:?}"))["result"]
        .as_str()
        .expect("a text")
}

fn doctor(service: &Service, arguments: &[&str], variables: &[(&str, &str)]) -> (Ran, Value) {
    let arguments = [&["doctor", "--output", "json"], arguments].concat();
    let ran = run(service.command(&arguments).envs(variables.iter().copied()));
    let rows = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran, rows)
}

#[test]
fn a_good_set_up_is_shown_as_such() {
    let limit = RateLimit::new(1_200, Duration::from_secs(300));
    let service = Service::start_with(|builder| builder.rate_limit(limit).populate(ZONE, 7));
    let ran = service.run(&["doctor", "--probe-write"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let shown = ran.out.replace(&service.emulator.base_url(), "(base URL)");
    // The emulator's clock is in the past.
    let shown: Vec<_> = shown
        .lines()
        .filter(|line| !line.starts_with("clock"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    let (ran, rows) = doctor(&service, &[], &[]);
    check_schema("check", &rows);
    assert_eq!(ran.code, Some(0));
    assert_eq!(result_of(&rows, "write permission"), "unknown");
    assert_eq!(result_of(&rows, "clock"), "warning");
    assert_eq!(service.emulator.history().count(Operation::Create), 0);
}

#[test]
fn what_is_wrong_is_named_with_its_fix() {
    let service =
        Service::start_with(|builder| builder.read_only_token("a-token-that-may-only-read"));
    for (arguments, variables, check, code) in [
        (
            &[][..],
            &[("CLOUDFLARE_API_TOKEN", "")][..],
            "credentials",
            2,
        ),
        (&[], &[("CLOUDFLARE_ZONE_ID", "")], "zone", 2),
        (
            &[],
            &[("CLOUDFLARE_API_TOKEN", "wrong-token-wrong-token")],
            "read permission",
            4,
        ),
        (
            &["--probe-write"],
            &[("CLOUDFLARE_API_TOKEN", "a-token-that-may-only-read")],
            "write permission",
            4,
        ),
        (&["--base-url", "http://127.0.0.1:1"], &[], "service", 1),
    ] {
        let (ran, rows) = doctor(&service, arguments, variables);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(result_of(&rows, check), "failed", "{ran:?}");
        let failed = rows.as_array().into_iter().flatten();
        let mut failed = failed.filter(|row| row["result"] == "failed");
        assert!(failed.all(|row| row["fix"].is_string()), "{rows}");
        assert!(!ran.out.contains("wrong-token-wrong-token"), "{ran:?}");
    }
}
