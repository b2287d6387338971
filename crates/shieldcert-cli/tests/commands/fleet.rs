//! `shieldcert fleet`, but for the service and what a terminal shows.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use shieldcert::Identity;
use shieldcert_emulator::{EmulatorBuilder, Fault, Operation, ScriptedFault};
use tempfile::TempDir;

use crate::service::{Ran, Service, ZONE, check_schema, run, shieldcert};

/// A fleet in the folder `fleet`, beside a service.
pub(crate) struct TestFleet {
    pub(crate) service: Service,
}

impl TestFleet {
    /// With this policy, beside one zone, and this manifest.
    pub(crate) fn new(policy: &str, manifest: &str) -> Self {
        Self::start_with(|builder| builder, policy, manifest)
    }

    pub(crate) fn start_with(
        set_up: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
        policy: &str,
        manifest: &str,
    ) -> Self {
        let fleet = Self {
            service: Service::start_with(set_up),
        };
        fs::create_dir(fleet.path("")).expect("is made");
        fleet.write(
            "fleet.toml",
            &format!("[zones.main]\nid = \"{ZONE}\"\n{policy}"),
        );
        fleet.write("devices.csv", manifest);
        fleet
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.service.folder.path().join("fleet").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("is written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let arguments = [&["fleet", "--dir", "fleet"], arguments].concat();
        self.service.run(&arguments)
    }

    /// Runs a command that ends with this code.
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        ran
    }

    /// A command's rows.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Value {
        let ran = self.ends(0, &[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    fn active(&self) -> usize {
        let listed = self.service.run(&["list", "--status", "active"]);
        listed.out.lines().count()
    }

    fn sent(&self, operation: Operation) -> usize {
        self.service.emulator.history().count(operation)
    }
}

const THREE: &str = "name,labels\nsensor-1,ground-floor\nsensor-2,ground-floor edge\nsensor-3,\n";

#[test]
fn a_fleet_begins_with_three_commands_and_no_account() {
    let folder = TempDir::new().expect("a folder");
    let local = |arguments: &[&str]| {
        let arguments = [&["--local", "fleet", "--dir", "demo"], arguments].concat();
        run(shieldcert(folder.path()).args(arguments))
    };
    let made = run(shieldcert(folder.path()).args(["--local", "fleet", "init", "demo"]));
    assert_eq!((made.code, made.out.as_str()), (Some(0), ""), "{made:?}");
    assert!(
        made.err
            .ends_with("shieldcert --local fleet --dir demo plan\n"),
        "{made:?}"
    );
    let plan = local(&["plan"]);
    insta::assert_snapshot!("first_plan", plan.text());
    let applied = local(&["apply"]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(
        applied
            .out
            .starts_with("issued    3\ndeployed  3\nrevoked   0\nrequests  4, at least 3\n"),
        "{applied:?}"
    );
    for name in ["sensor-001", "sensor-002", "gateway-01"] {
        let current = folder
            .path()
            .join("demo/devices")
            .join(name)
            .join("current");
        let file = |name: &str| fs::read(current.join(name)).expect(name);
        let pem = [file("key.pem"), file("cert.pem")].concat();
        let identity = Identity::from_pem(pem).expect("they belong together");
        assert_eq!(identity.certificate().common_name(), Some(name));
    }
    let listed = run(shieldcert(folder.path()).args(["--local", "list"]));
    assert_eq!(listed.out.lines().count(), 3, "{listed:?}");
    let again = local(&["apply"]);
    assert!(
        again.code == Some(0) && again.out.starts_with("issued    0\n"),
        "{again:?}"
    );
    assert_eq!(local(&["plan", "--detailed-exit-code"]).code, Some(10));
    let refused = run(shieldcert(folder.path()).args(["--local", "fleet", "init", "demo"]));
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("give another folder"), "{refused:?}");
}

#[test]
fn every_problem_of_a_manifest_is_said_with_its_line() {
    let fleet = TestFleet::new(
        "",
        "name,days,zone\nsensor-1,0,\nsensor-2,90,\nSENSOR-2,90,\ncon,90,\nsensor-3,90,other\n",
    );
    for command in ["plan", "apply"] {
        let ran = fleet.ends(2, &[command]);
        insta::assert_snapshot!("manifest_problems", ran.text());
    }
    assert_eq!(fleet.sent(Operation::Create), 0);
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let fleet = TestFleet::new("", THREE);
    let mut texts = Vec::new();
    let mut refuse = |arguments: &[&str]| {
        let arguments = [&["fleet"], arguments].concat();
        let ran = fleet.service.run(&arguments);
        texts.push(format!(
            "$ shieldcert {}\n{}",
            arguments.join(" "),
            ran.text()
        ));
    };
    refuse(&["plan"]);
    refuse(&["plan", "--dir", "fleet", "--zone", ZONE]);
    refuse(&["apply", "--dir", "fleet", "--token-file", "token"]);
    refuse(&["status", "--dir", "fleet"]);
    refuse(&["history", "--dir", "fleet"]);
    refuse(&["rotate", "--dir", "fleet", "--all"]);
    refuse(&["rotate", "--dir", "fleet"]);
    refuse(&["status", "--dir", "fleet", "--hold", "none"]);
    refuse(&["run", "--dir", "fleet", "--interval", "0s"]);
    // A token in the wrong place is not shown.
    let token = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";
    let text = fleet.read("fleet.toml");
    fleet.write(
        "fleet.toml",
        &format!("{text}\n[budgets.default]\ntoken_env = \"{token}\"\n"),
    );
    refuse(&["plan", "--dir", "fleet"]);
    fleet.write("fleet.toml", "[devices]\ndays = 30\n");
    refuse(&["plan", "--dir", "fleet"]);
    let texts = texts.join("\n");
    assert!(!texts.contains(token), "{texts}");
    insta::assert_snapshot!(texts);
}

#[test]
fn an_empty_or_shortened_manifest_revokes_nothing() {
    let fleet = TestFleet::new("", THREE);
    fleet.ends(0, &["apply"]);
    for (manifest, code) in [
        ("", 0),
        ("name,labels\n", 0),
        ("name,labels\nsensor-1,ground-floor\nsens", 2),
        ("name,labels\nsensor-1,ground-floor\n", 0),
    ] {
        fleet.write("devices.csv", manifest);
        fleet.ends(code, &["plan"]);
        fleet.ends(code, &["apply"]);
        assert_eq!(fleet.sent(Operation::Delete), 0, "{manifest:?}");
    }
    fleet.write("devices.csv", "");
    let plan = fleet.ends(0, &["plan"]);
    assert!(plan.err.contains("the manifest has no device"), "{plan:?}");
    fleet.write("devices.csv", "name,labels\nsensor-1,ground-floor\n");
    let plan = fleet.ends(0, &["plan"]);
    assert!(
        plan.out
            .contains("unmanaged  2, not in the manifest: left alone\n"),
        "{plan:?}"
    );
    assert_eq!(fleet.active(), 3);
}

#[test]
fn rows_are_as_their_schemas_say() {
    let fleet = TestFleet::new("", THREE);
    let one = |row: Value| Value::Array(vec![row]);
    let plan = fleet.rows(&["plan"]);
    check_schema("plan", &plan);
    assert_eq!(plan[0]["device"], "sensor-1");
    assert_eq!(plan[0]["action"], "issue");
    let summary = fleet.rows(&["plan", "--summary"]);
    assert_eq!(summary["actions"]["issue"], 3);
    check_schema("plan_summary", &one(summary));
    let some = fleet.rows(&["plan", "--summary", "--fields", "devices,requests"]);
    assert_eq!(some, serde_json::json!({"devices": 3, "requests": 3}));
    let applied = fleet.rows(&["apply"]);
    assert_eq!(
        (&applied["issued"], &applied["complete"]),
        (&3.into(), &true.into())
    );
    check_schema("apply", &one(applied));
    let status = fleet.rows(&["status"]);
    assert_eq!(status["states"]["verified"], 3);
    assert_eq!(status["worker"], Value::Null);
    check_schema("fleet_status", &one(status));
    let generations = fleet.rows(&["status", "SENSOR-1"]);
    assert_eq!(generations[0]["state"], "verified");
    check_schema("generation", &generations);
    let history = fleet.rows(&["history", "sensor-1"]);
    let acts: Vec<_> = history.as_array().expect("rows").iter().collect();
    let acts: Vec<_> = acts.iter().filter_map(|row| row["act"].as_str()).collect();
    assert_eq!(
        acts,
        [
            "planned", "keyed", "sending", "issued", "written", "deployed", "verified"
        ]
    );
    check_schema("history", &history);
    let devices = fleet.rows(&["rotate", "--label", "edge", "--dry-run"]);
    assert_eq!(devices[0]["device"], "sensor-2");
    assert_eq!(devices.as_array().map(Vec::len), Some(1));
    check_schema("device", &devices);
    let limited = fleet.rows(&["history", "--limit", "2"]);
    assert_eq!(limited.as_array().map(Vec::len), Some(2));
    let all = fleet.rows(&["history", "--since", "2026-01-31"]);
    assert_eq!(all.as_array().map(Vec::len), Some(21));
    let none = fleet.rows(&["history", "--since", "2030-01-31"]);
    assert_eq!(none.as_array().map(Vec::len), Some(0));
    let csv = fleet.ends(0, &["plan", "--output", "csv", "--fields", "device,action"]);
    assert_eq!(
        csv.out,
        "device,action\nsensor-1,leave\nsensor-2,leave\nsensor-3,leave\n"
    );
    assert_eq!(fleet.ends(3, &["status", "sensor-9"]).out, "");
    assert_eq!(fleet.ends(3, &["history", "sensor-9"]).out, "");
}

#[test]
fn who_fails_or_waits_is_in_a_file_until_it_is_done() {
    let fleet = TestFleet::new(
        "[deploy]\ncommand = \"test $SHIELDCERT_DEVICE != sensor-2 || { echo =cmd; exit 1; }\"\n",
        THREE,
    );
    let ran = fleet.ends(7, &["apply"]);
    assert!(
        ran.err.contains("warning: 1 device: a step failed")
            && ran.err.contains("see fleet/failed.csv"),
        "{ran:?}"
    );
    let failed = fleet.read("failed.csv");
    let mut lines = failed.lines();
    assert_eq!(
        lines.next(),
        Some("name,generation,state,hold,problem,retry_at")
    );
    let line = lines.next().expect("a device");
    assert!(
        line.starts_with("sensor-2,1,written,failed,") && line.contains("=cmd"),
        "{line}"
    );
    assert_eq!(lines.next(), None);
    let held = fleet.rows(&["status", "--hold", "failed"]);
    assert_eq!(
        (&held[0]["device"], &held[0]["failures"]),
        (&"sensor-2".into(), &1.into())
    );
    // It is not tried again before its time, and what is in order stays so.
    fleet.ends(7, &["apply"]);
    assert_eq!(fleet.sent(Operation::Create), 3);
    let policy = fleet.read("fleet.toml").replace("exit 1", "exit 0");
    fleet.write("fleet.toml", &policy);
    fleet
        .service
        .emulator
        .advance(std::time::Duration::from_secs(120));
    fleet.ends(0, &["apply"]);
    assert!(!fleet.path("failed.csv").exists());
    assert_eq!(fleet.sent(Operation::Create), 3);
}

#[test]
fn every_outcome_has_its_code() {
    let next = |operation, fault: Fault| vec![ScriptedFault::next(operation, fault).times(1_000)];
    let quota = || Fault::named("quota");
    for (code, script, case) in [
        (0, vec![], "done"),
        (
            7,
            vec![ScriptedFault::nth(Operation::Create, 2, quota()).times(1_000)],
            "a quota for one",
        ),
        (5, next(Operation::Create, quota()), "no place in the quota"),
    ] {
        let fleet = TestFleet::new("[limits]\nconcurrency = 1\n", THREE);
        fleet.service.emulator.script(script);
        let ran = fleet.ends(code, &["apply"]);
        assert_eq!(code == 0, !fleet.path("failed.csv").exists(), "{case}");
        assert_eq!(
            code == 0,
            !ran.err
                .contains("to go on, which is safe: shieldcert fleet"),
            "{case}: {ran:?}"
        );
    }
    let token = "a-token-that-may-only-read";
    let fleet = TestFleet::start_with(|builder| builder.read_only_token(token), "", THREE);
    let arguments = ["fleet", "apply", "--dir", "fleet"];
    let ran = run(fleet
        .service
        .command(&arguments)
        .env("CLOUDFLARE_API_TOKEN", token));
    assert_eq!(ran.code, Some(4), "{ran:?}");
}

#[test]
fn an_unclear_request_is_looked_after() {
    let fleet = TestFleet::new("[limits]\nsettle_window = \"1s\"\n", THREE);
    let lose = || ScriptedFault::next(Operation::Create, Fault::reset_after());
    fleet.service.emulator.script([lose()]);
    let ran = fleet.ends(7, &["apply", "--no-wait", "--output", "json"]);
    let row: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&row["issued"], &row["recovered"], &row["looks_owed"]),
        (&3.into(), &1.into(), &1.into())
    );
    let ran = fleet.ends(0, &["apply"]);
    assert!(!ran.out.contains("looks owed"), "{ran:?}");
    assert_eq!(fleet.active(), 3);
}

#[test]
fn many_absent_devices_must_be_confirmed() {
    let fleet = TestFleet::new("[limits]\nmax_revoke = 1\n", THREE);
    fleet.ends(0, &["apply"]);
    fleet.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,absent\nsensor-3,present\n",
    );
    let plan = fleet.ends(0, &["plan"]);
    assert!(plan.err.contains("--confirm-revoke 2"), "{plan:?}");
    let ran = fleet.ends(2, &["apply", "--yes"]);
    assert!(ran.err.contains("--confirm-revoke 2"), "{ran:?}");
    assert_eq!(fleet.sent(Operation::Delete), 0);
    fleet.ends(0, &["apply", "--confirm-revoke", "2"]);
    assert_eq!((fleet.sent(Operation::Delete), fleet.active()), (2, 1));
}

#[test]
fn operators_rotate_and_revoke() {
    let fleet = TestFleet::new("[limits]\nmax_revoke = 0\n", THREE);
    fleet.ends(0, &["apply"]);
    let refused = fleet.ends(2, &["rotate", "--label", "ground-floor"]);
    assert!(
        refused
            .err
            .contains("2 devices to rotate: that must be confirmed"),
        "{refused:?}"
    );
    let dry = fleet.ends(0, &["rotate", "--all", "--now", "--dry-run"]);
    assert!(
        dry.err
            .contains("would rotate 3 devices: 6 requests, within the rate limit"),
        "{dry:?}"
    );
    assert_eq!(fleet.sent(Operation::Create), 3);
    // The old ones stay for their grace.
    let ran = fleet.ends(0, &["rotate", "--label", "ground-floor", "--yes"]);
    assert!(ran.out.starts_with("issued    2\n"), "{ran:?}");
    assert_eq!((fleet.sent(Operation::Delete), fleet.active()), (0, 5));
    // A leaked key has none. One device that is named needs no confirmation.
    let ran = fleet.ends(0, &["rotate", "--name", "sensor-3", "--now"]);
    assert!(
        ran.out
            .starts_with("issued    1\ndeployed  1\nrevoked   1\n"),
        "{ran:?}"
    );
    let generations = fleet.rows(&["status", "sensor-3"]);
    let state = |place: usize| generations[place]["state"].as_str();
    assert_eq!((state(0), state(1)), (Some("revoked"), Some("verified")));
    assert_eq!(generations[0]["leaked"], true);
    // What is revoked stays so until it is rotated. The number was confirmed: max_revoke is for manifests.
    fleet.ends(
        0,
        &["revoke", "--name", "sensor-?", "--label", "edge", "--yes"],
    );
    assert_eq!(fleet.active(), 3);
    fleet.ends(0, &["apply"]);
    assert_eq!(fleet.active(), 3);
    fleet.ends(0, &["rotate", "--name", "sensor-2"]);
    assert_eq!(fleet.active(), 4);
    let none = fleet.ends(3, &["rotate", "--name", "gateway-*", "--yes"]);
    assert!(none.err.contains("no device was selected"), "{none:?}");
}

#[test]
fn a_restored_backup_revokes_nothing_until_it_is_confirmed() {
    let fleet = TestFleet::new("", THREE);
    fleet.ends(0, &["apply"]);
    let backup = fleet.path("backup.db");
    let file = backup.to_str().expect("UTF-8");
    fleet.ends(0, &["backup", file]);
    fleet.ends(1, &["backup", file]);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(fleet.path(name));
    }
    fs::rename(&backup, fleet.path("journal.db")).expect("is restored");
    fleet.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,\nsensor-3,\n",
    );
    for command in ["plan", "apply", "status"] {
        let ran = fleet.run(&[command]);
        assert!(ran.err.contains("--confirm-restored"), "{command}: {ran:?}");
    }
    assert_eq!(fleet.sent(Operation::Delete), 0);
    let ran = fleet.ends(0, &["apply", "--confirm-restored"]);
    assert!(!ran.err.contains("backup"), "{ran:?}");
    assert_eq!(fleet.sent(Operation::Delete), 1);
}

#[test]
fn a_zone_that_can_not_be_used_is_said_by_the_plan() {
    let fleet = TestFleet::new("", THREE);
    let arguments = ["fleet", "plan", "--dir", "fleet"];
    let ran = run(fleet
        .service
        .command(&arguments)
        .env_remove("CLOUDFLARE_API_TOKEN"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("CLOUDFLARE_API_TOKEN") && ran.err.contains("did not say its time"),
        "{ran:?}"
    );
    let full = TestFleet::start_with(|builder| builder, "quota = 2\n", THREE);
    let ran = full.ends(0, &["plan"]);
    assert!(
        ran.err
            .contains("has no place for 1 new device in its quota of 2"),
        "{ran:?}"
    );
}

#[test]
fn what_failed_is_tried_again_at_once_by_the_command_that_the_summary_names() {
    let fleet = TestFleet::new(
        "[deploy]\ncommand = 'test -e ../mended'\n",
        "name\nsensor-1\nsensor-2\n",
    );
    let failed = fleet.ends(7, &["apply"]);
    let hint = "2 devices: a step failed, and is tried again later, or at once by `shieldcert fleet --dir fleet apply \
                --retry-now`; sensor-1: ";
    assert!(failed.err.contains(hint), "{failed:?}");
    fs::write(fleet.service.folder.path().join("mended"), "").expect("is written");
    let ran = fleet.ends(1, &["apply"]);
    assert!(ran.out.contains("deployed  0\n"), "{ran:?}");
    let ran = fleet.ends(7, &["apply", "--retry-now", "--name", "*-2"]);
    assert!(
        ran.err.contains("1 device tried again at once\n"),
        "{ran:?}"
    );
    let ran = fleet.ends(0, &["apply", "--retry-now"]);
    assert!(ran.out.contains("deployed  1\n"), "{ran:?}");
    let ran = fleet.ends(0, &["apply", "--retry-now"]);
    assert!(
        ran.err.contains("no device waits for the next try"),
        "{ran:?}"
    );
}

/// Hints are commands for this fleet, with the service that was chosen.
#[test]
fn the_commands_of_hints_work_as_they_are_printed() {
    let devices = |state: &str| {
        let rows = (1..=12).map(|device| format!("sensor-{device},{state}\n"));
        format!("name,state\n{}", rows.collect::<String>())
    };
    let fleet = TestFleet::new("[limits]\nmax_revoke = 1\n", &devices("present"));
    let service = &fleet.service;
    let url = service.emulator.base_url().to_string();
    // Without the variable that names the service.
    let run_words = |words: &[&str]| {
        let mut command = service.command(words);
        run(command.env_remove("CLOUDFLARE_BASE_URL"))
    };
    let options = ["--base-url", &url, "fleet", "--dir", "fleet"];
    let applied = run_words(&[&options[..], &["apply"]].concat());
    assert_eq!(applied.code, Some(0), "{applied:?}");
    fleet.write("devices.csv", &devices("absent"));
    let planned = run_words(&[&options[..], &["plan"]].concat());
    let refused = run_words(&[&options[..], &["apply", "--yes"]].concat());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let hint = |text: &str| {
        let start = text.find(&format!(
            "shieldcert --base-url {url} fleet --dir fleet apply --confirm-revoke 12"
        ));
        let hint = &text[start.unwrap_or_else(|| panic!("{text}"))..];
        hint.lines().next().expect("a line").to_owned()
    };
    let hint = [hint(&planned.err), hint(&refused.err)];
    assert_eq!(hint[0], hint[1]);
    let words: Vec<_> = hint[0].split(' ').skip(1).collect();
    let ran = run_words(&words);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("revoked   12\n"), "{ran:?}");
}

#[test]
fn a_unit_for_systemd_is_printed() {
    let folder = TempDir::new().expect("a folder");
    let unit = |arguments: &[&str]| {
        run(shieldcert(folder.path())
            .arg("systemd-unit")
            .args(arguments))
    };
    let printed = unit(&["--fleet", "/srv/sensors", "--print"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let program = env!("CARGO_BIN_EXE_shieldcert");
    insta::assert_snapshot!(printed.out.replace(program, "/usr/bin/shieldcert"));
    assert_eq!(unit(&["--print"]).code, Some(2));
}

#[test]
fn units_that_renew_are_printed_and_systemd_takes_them() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("a b.pem"), "").expect("is written");
    let place = folder.path().canonicalize().expect("a path");
    let unit = |arguments: &[&str]| {
        run(shieldcert(&place)
            .arg("systemd-unit")
            .args(arguments)
            .args(["--print", "--zone", ZONE]))
    };
    let shown = |text: &str| {
        let text = text.replace(env!("CARGO_BIN_EXE_shieldcert"), "/usr/bin/shieldcert");
        text.replace(&place.display().to_string(), "/srv")
    };
    let plain = unit(&["a b.pem"]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    let full = [
        "a b.pem",
        "ids/*.pem",
        "--if-within",
        "10d",
        "--days",
        "90",
        "--exec",
        "systemctl reload nginx",
        "--exec-each",
        "./push.sh \"$SHIELDCERT_OUTPUT_FILE\" 100%",
        "--revoke-old-after",
        "24h",
        "--on-calendar",
        "*-*-* 03:00",
    ];
    let printed = unit(&full);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    insta::assert_snapshot!(shown(&plain.out));
    insta::assert_snapshot!(shown(&printed.out));
    for (arguments, problem) in [
        (&["c.pem"][..], "there is no such file"),
        (&["*/a.pem"], "pattern for the name of the file alone"),
        (&["."], "it is a folder"),
        (&["a b.pem", "--days", "7"], "due at once"),
        (&["a b.pem", "--exec", "a\nb"], "control character"),
        (&["a b.pem", "--fleet", "."], "cannot be used with"),
        (&["--fleet", ".", "--exec", "true"], "cannot be used with"),
    ] {
        let refused = unit(arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(problem), "{arguments:?}: {refused:?}");
    }
    if !crate::service::is_installed("systemd-analyze", "--version") {
        return;
    }
    for (part, name) in [
        ("service", "shieldcert-renew.service"),
        ("timer", "shieldcert-renew.timer"),
    ] {
        let printed = unit(&[&full[..], &["--only", part]].concat());
        fs::write(folder.path().join(name), printed.out).expect("is written");
    }
    let units = ["shieldcert-renew.service", "shieldcert-renew.timer"];
    let verified = std::process::Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.map(|unit| folder.path().join(unit)))
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        verified.status.success() && !said.contains("shieldcert"),
        "{said}"
    );
}
