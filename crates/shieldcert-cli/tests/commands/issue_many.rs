//! `shieldcert issue --from`: many certificates, each exactly once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use shieldcert::{Identity, KeyAlgorithm, PrivateKey, Subject, X509Certificate};
use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::service::{Ran, Service, TOKEN, wait_until};

const FROM: &[&str] = &["issue", "--from", "devices.csv", "--out-dir", "ids"];

fn with_rows(rows: &str) -> Service {
    let service = Service::start();
    write(&service, "devices.csv", rows);
    service
}

fn write(service: &Service, name: &str, text: &str) {
    fs::write(service.folder.path().join(name), text).expect("is written");
}

fn ends(service: &Service, code: i32, more: &[&str]) -> Ran {
    let ran = service.run(&[FROM, more].concat());
    assert_eq!(ran.code, Some(code), "{more:?}: {ran:?}");
    ran
}

fn created(service: &Service) -> usize {
    service.emulator.history().count(Operation::Create)
}

#[test]
fn each_row_gets_a_file_and_the_same_command_issues_nothing_twice() {
    let service = with_rows(
        "name,organization,days,csr\nsensor-1,Acme,,\nsensor-2,,30,\ngateway,,,gateway.csr\n",
    );
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let csr = key.csr(&Subject::common_name("gateway")).expect("a CSR");
    write(&service, "gateway.csr", &csr.to_pem());
    let planned = ends(&service, 0, &["--dry-run"]);
    assert!(planned.out.contains("issue     3\n"), "{planned:?}");
    assert!(!service.folder.path().join("ids").exists());
    let ran = ends(&service, 0, &["--days", "90"]);
    assert!(ran.out.starts_with("issued    3\n"), "{ran:?}");
    let ids = service.folder.path().join("ids");
    let file = ids.join("sensor-1.pem");
    let mode = fs::metadata(&file).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let identity = Identity::from_pem(fs::read(&file).expect("is read")).expect("an identity");
    assert_eq!(identity.certificate().subject(), "CN=sensor-1,O=Acme");
    let gateway = fs::read(ids.join("gateway.pem")).expect("is read");
    let gateway = X509Certificate::from_pem(gateway).expect("a certificate");
    assert_eq!(gateway.public_key(), csr.public_key());
    let again = ends(&service, 0, &["--days", "90"]);
    assert!(again.out.starts_with("issued    0\n"), "{again:?}");
    assert_eq!(created(&service), 3);
    // Other options are another job.
    let refused = ends(&service, 2, &["--days", "30"]);
    assert!(refused.err.contains("with --days 90"), "{refused:?}");
    write(&service, "devices.csv", "name\nsensor-1\nsensor-3\n");
    assert_eq!(created(&service), 3);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_revoked() {
    let service = with_rows("name\nsensor-1\nsensor-2\n");
    fs::create_dir(service.folder.path().join("ids")).expect("is made");
    write(&service, "ids/sensor-1.pem", "mine");
    let refused = ends(&service, 1, &[]);
    assert!(
        refused
            .err
            .contains("ids/sensor-1.pem: it exists; give another folder, or --force"),
        "{refused:?}"
    );
    assert_eq!(created(&service), 0);
    ends(&service, 0, &["--force"]);
    write(
        &service,
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,\n",
    );
    let refused = ends(&service, 2, &[]);
    assert!(refused.err.contains("`absent`"), "{refused:?}");
    assert_eq!(service.emulator.history().count(Operation::Delete), 0);
    write(&service, "devices.csv", "name,days\nsensor-1,0\n");
    let refused = ends(&service, 2, &[]);
    assert!(
        refused.err.contains("devices.csv:2: column days: "),
        "{refused:?}"
    );
}

#[test]
fn who_is_stopped_goes_on() {
    let rows: String = (1..=60)
        .map(|device| format!("sensor-{device}\n"))
        .collect();
    let service = with_rows(&format!("name\n{rows}"));
    let stall = Fault::stall(Duration::from_secs(3_600));
    service
        .emulator
        .script([ScriptedFault::nth(Operation::Create, 11, stall).times(32)]);
    let mut child = service
        .command(FROM)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let ids = service.folder.path().join("ids");
    let written = || {
        let entries = fs::read_dir(&ids).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter(|name| name.ends_with(".pem") && !name.starts_with('.'))
            .count()
    };
    // A request that arrives after the clock was moved would stall for an hour.
    wait_until("the first files", || {
        written() >= 10 && created(&service) >= 42
    });
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status();
    assert!(sent.expect("kill").success());
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let is_stopping =
        lines.any(|line| line.expect("UTF-8").contains("finishing what is in flight"));
    assert!(is_stopping);
    service.emulator.advance(Duration::from_secs(3_600));
    let said: Vec<_> = lines.map(|line| line.expect("UTF-8")).collect();
    assert_eq!(child.wait().expect("it ended").code(), Some(130));
    let last = said.last().expect("a line");
    assert!(
        last.ends_with("shieldcert issue --from devices.csv --out-dir ids"),
        "{said:?}"
    );
    // What was in flight is issued. Its files are the next run's.
    assert_eq!(created(&service), 42);
    let ran = ends(&service, 0, &[]);
    assert!(ran.out.contains("in order  60 devices\n"), "{ran:?}");
    assert_eq!((written(), created(&service)), (60, 60));
    let active = service.run(&["list", "--status", "active"]);
    assert_eq!(active.out.lines().count(), 60);
    assert!(!ran.err.contains(TOKEN), "{ran:?}");
}

#[test]
fn what_fails_is_in_a_file() {
    let service = with_rows("name\nsensor-1\nsensor-2\n");
    service
        .emulator
        .script([ScriptedFault::nth(Operation::Create, 2, Fault::named("quota")).times(1_000)]);
    let ran = ends(&service, 7, &[]);
    assert!(ran.err.contains("see ids/failed.csv"), "{ran:?}");
    let failed = fs::read_to_string(service.folder.path().join("ids/failed.csv"));
    assert_eq!(failed.expect("is there").lines().count(), 2);
}
