//! `shieldcert renew`: new keys and certificates in the same files, each once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use shieldcert::{Identity, KeyAlgorithm, PrivateKey, Subject};
use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::service::{Ran, Service, ZONE, check_schema, wait_until};

const DAY: Duration = Duration::from_secs(86_400);

/// A service, and files that it has issued.
fn with_files(files: &[(&str, u32)]) -> Service {
    let service = Service::start();
    for (name, days) in files {
        let days = days.to_string();
        let ran = service.run(&["issue", name, "--days", &days, "--subject", "O=Acme, Inc."]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    service
}

fn path(service: &Service, name: &str) -> PathBuf {
    service.folder.path().join(name)
}

fn read(service: &Service, name: &str) -> Vec<u8> {
    fs::read(path(service, name)).expect(name)
}

fn identity(service: &Service, name: &str) -> Identity {
    Identity::from_pem(read(service, name)).expect("an identity")
}

fn ends(service: &Service, code: i32, arguments: &[&str]) -> Ran {
    let ran = service.run(&[&["renew"], arguments].concat());
    assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
    ran
}

/// The rows of a command that ends with 0.
fn rows(service: &Service, arguments: &[&str]) -> Value {
    let rows = service.json(&[&["renew"], arguments].concat());
    check_schema("renewed", &rows);
    rows
}

fn active(service: &Service) -> usize {
    let listed = service.run(&["list", "--status", "active"]);
    listed.out.lines().count()
}

fn created(service: &Service) -> usize {
    service.emulator.history().count(Operation::Create)
}

/// The generations of `sensor-1` whose keys are in the state folder.
fn generations(service: &Service) -> Vec<String> {
    let state = path(service, ".local/state/shieldcert/renew");
    let entries = |folder: &std::path::Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    let mut found = Vec::new();
    for place in entries(&state).iter().filter(|place| place.is_dir()) {
        for device in entries(&place.join("devices")) {
            let name = |path: &PathBuf| {
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            };
            if name(&device).starts_with("sensor-1") {
                let keys = entries(&device).into_iter();
                let keys = keys.filter(|generation| {
                    name(generation) != "current" && generation.join("key.pem").exists()
                });
                found.extend(keys.map(|generation| name(&generation)));
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn what_is_due_is_renewed_and_a_later_run_revokes_the_old_one() {
    let service = with_files(&[("sensor-1", 40), ("sensor-2", 90)]);
    service.emulator.advance(DAY * 15);
    let file = path(&service, "sensor-1.pem");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("is set");
    let old = identity(&service, "sensor-1.pem");
    let other = read(&service, "sensor-2.pem");
    let command = [
        "sensor-1.pem",
        "sensor-2.pem",
        "--if-within",
        "30d",
        "--revoke-old-after",
        "24h",
        "--exec",
        "echo once >> ran",
        "--exec-each",
        "echo \"$SHIELDCERT_OUTPUT_FILE\" >> ran",
    ];
    let renewed = rows(&service, &command);
    assert_eq!(renewed[0]["outcome"], "renewed", "{renewed}");
    assert_eq!(renewed[1]["outcome"], "not_due", "{renewed}");
    let new = identity(&service, "sensor-1.pem");
    assert_eq!(new.certificate().subject(), old.certificate().subject());
    assert_eq!(new.certificate().subject(), r"CN=sensor-1,O=Acme\, Inc.");
    assert_ne!(new.key().public_key(), old.key().public_key());
    let days = |identity: &Identity| {
        let certificate = identity.certificate();
        let begin = certificate.not_before().expect("a time");
        certificate
            .not_after()
            .expect("a time")
            .duration_since(begin)
            .as_hours()
            / 24
    };
    assert_eq!(days(&new), days(&old));
    assert!(new.certificate().not_after() > old.certificate().not_after());
    let mode = fs::metadata(&file).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(read(&service, "sensor-2.pem"), other);
    let ran = String::from_utf8(read(&service, "ran")).expect("UTF-8");
    let place = fs::canonicalize(&file).expect("is there");
    assert_eq!(ran, format!("{}\nonce\n", place.display()));
    assert_eq!(active(&service), 3);
    assert_eq!(generations(&service), ["1", "2"]);
    // Nothing is due any more, and nothing is read but the first page.
    let lists = service.emulator.history().count(Operation::List);
    let ran = ends(
        &service,
        10,
        &[&command[..], &["--detailed-exit-code"]].concat(),
    );
    assert!(
        ran.err
            .contains("0 renewed, 2 not due\n1 old certificate is still to be revoked"),
        "{ran:?}"
    );
    assert_eq!(service.emulator.history().count(Operation::List), lists + 1);
    // A run that is about another file revokes what is left.
    service.emulator.advance(DAY + Duration::from_secs(60));
    let ran = ends(&service, 0, &["sensor-2.pem", "--if-within", "30d"]);
    assert!(
        ran.err
            .ends_with("0 renewed, 1 not due, 1 old ones revoked\n"),
        "{ran:?}"
    );
    assert_eq!(active(&service), 2);
    // With the old certificate goes the copy of its key, and no other.
    assert_eq!(generations(&service), ["2"]);
    service.emulator.advance(Duration::from_secs(60));
    let old = renewed[0]["old_certificate"].as_str().expect("an id");
    assert_eq!(service.json(&["get", old])[0]["status"], "revoked");
    assert_eq!(created(&service), 3);
}

#[test]
fn without_a_time_it_renews_now_and_revokes_nothing() {
    let service = with_files(&[("sensor-1", 90)]);
    for round in 2..=3 {
        let renewed = rows(&service, &["sensor-1.pem", "--days", "30"]);
        assert_eq!(renewed[0]["outcome"], "renewed", "{renewed}");
        assert_eq!((created(&service), active(&service)), (round, round));
    }
    service.emulator.advance(DAY * 400);
    let renewed = rows(&service, &["sensor-1.pem", "--if-within", "1d"]);
    assert_eq!(
        renewed[0]["outcome"], "renewed",
        "it has expired: {renewed}"
    );
    assert_eq!(service.emulator.history().count(Operation::Delete), 0);
    let end = identity(&service, "sensor-1.pem").certificate().not_after();
    let begin = identity(&service, "sensor-1.pem")
        .certificate()
        .not_before();
    let lifetime = end.expect("a time").duration_since(begin.expect("a time"));
    assert_eq!(
        (lifetime.as_hours() + 1) / 24,
        30,
        "as long as the one before"
    );
    let refused = ends(
        &service,
        2,
        &["sensor-1.pem", "--days", "30", "--if-within", "30d"],
    );
    assert!(refused.err.contains("would be due at once"), "{refused:?}");
}

/// Starts a renewal whose command does not end, and waits until it runs.
fn start(service: &Service, arguments: &[&str]) -> Child {
    let stay = "echo $$ > pid; mv pid started; [ -e go ] || exec sleep 600";
    let child = service
        .command(&[&["renew"], arguments, &["--exec", stay]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let started = path(service, "started");
    wait_until("the command", || started.exists());
    child
}

fn kill(mut child: Child, service: &Service) {
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    let pid = String::from_utf8(read(service, "started")).expect("UTF-8");
    let killed = Command::new("kill").arg(pid.trim()).status();
    assert!(killed.expect("kill").success());
    fs::write(path(service, "go"), "").expect("is written");
}

#[test]
fn who_was_killed_goes_on_and_issues_nothing_twice() {
    let service = with_files(&[("sensor-1", 90), ("sensor-2", 90)]);
    let command = ["sensor-1.pem", "sensor-2.pem", "--revoke-old-after", "1s"];
    let child = start(&service, &command);
    kill(child, &service);
    assert_eq!((created(&service), active(&service)), (4, 4));
    let written = read(&service, "sensor-1.pem");
    // Both were renewed before the command ran.
    let ran = ends(&service, 0, &command);
    assert!(ran.err.contains("2 renewed\n"), "{ran:?}");
    assert_eq!(read(&service, "sensor-1.pem"), written);
    assert_eq!(created(&service), 4);
    service.emulator.advance(Duration::from_secs(5));
    let ran = ends(&service, 0, &["sensor-1.pem", "--if-within", "30d"]);
    assert!(
        ran.err.contains("1 not due, 2 old ones revoked\n"),
        "{ran:?}"
    );
    assert_eq!((created(&service), active(&service)), (4, 2));
    // It is at its end: the same command is a new one.
    ends(&service, 0, &command);
    assert_eq!(created(&service), 6);
}

#[test]
fn who_was_killed_between_two_files_goes_on_with_the_second() {
    let service = with_files(&[("sensor-1", 90), ("sensor-2", 90)]);
    // The quota is reached for one of them, so that one is renewed and the other is not.
    service.emulator.script([ScriptedFault::nth(
        Operation::Create,
        2,
        Fault::named("quota"),
    )]);
    let command = ["sensor-1.pem", "sensor-2.pem"];
    let ran = ends(&service, 7, &command);
    assert!(ran.err.contains("the zone's quota is reached"), "{ran:?}");
    assert!(
        ran.err
            .contains("1 renewed, 1 failed\nto go on, which is safe: shieldcert renew"),
        "{ran:?}"
    );
    let renewed = rows(&service, &command);
    let outcomes = [&renewed[0]["outcome"], &renewed[1]["outcome"]];
    assert_eq!(outcomes, ["renewed", "renewed"], "{renewed}");
    assert_eq!((active(&service), created(&service)), (4, 5));
}

/// Starts it, and kills it when the service has got the request and has not responded.
fn kill_within_the_request(service: &Service, fault: Fault) {
    let before = created(service);
    let fault = ScriptedFault::nth(Operation::Create, 1, fault);
    service.emulator.script([fault]);
    let mut child = service
        .command(&["renew", "sensor-1.pem"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_until("the request", || created(service) > before);
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    service.emulator.clear_script();
}

/// Longer than the service can still act on a request, whatever its clock shows.
const SETTLED: Duration = Duration::from_secs(7_200);

#[test]
fn who_was_killed_within_the_request_finds_its_certificate() {
    let service = with_files(&[("sensor-1", 90)]);
    let old = identity(&service, "sensor-1.pem");
    kill_within_the_request(&service, Fault::stall(Duration::from_secs(3_600)));
    service.emulator.advance(SETTLED);
    let ran = ends(&service, 0, &["sensor-1.pem"]);
    // It needs no wait: what the killed process has sent has settled.
    assert!(!ran.err.contains("waiting"), "{ran:?}");
    assert!(ran.err.contains("1 renewed\n"), "{ran:?}");
    let new = identity(&service, "sensor-1.pem");
    assert_ne!(new.key().public_key(), old.key().public_key());
    assert_eq!((created(&service), active(&service)), (2, 2));
}

#[test]
fn who_waits_for_the_request_of_a_killed_process_says_so() {
    let service = with_files(&[("sensor-1", 90)]);
    kill_within_the_request(&service, Fault::named("lose-request"));
    let said = path(&service, "said");
    let start = || {
        let file = fs::File::create(&said).expect("is made");
        let mut command = service.command(&["renew", "sensor-1.pem"]);
        command.stdout(Stdio::null()).stderr(file);
        command.spawn().expect("it starts")
    };
    let says = |text: &str| fs::read_to_string(&said).expect("is read").contains(text);
    let mut child = start();
    wait_until("the wait", || {
        says("1 request without a response is open: waiting ")
    });
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    assert_eq!(created(&service), 2);
    service.emulator.advance(SETTLED);
    let mut child = start();
    wait_until("the look", || says("looking again in "));
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.expect("kill").success());
    let status = child.wait().expect("it ended");
    assert_eq!(status.code(), Some(130));
    // It was lost, and sent again once.
    assert_eq!((created(&service), active(&service)), (3, 2));
}

#[test]
fn two_at_once_are_refused() {
    let service = with_files(&[("sensor-1", 90)]);
    let child = start(&service, &["sensor-1.pem"]);
    let pid = child.id();
    let refused = ends(&service, 1, &["sensor-1.pem"]);
    let expected =
        format!("process {pid} renews certificates of this zone; wait until it has ended\n");
    assert!(refused.err.ends_with(&expected), "{refused:?}");
    kill(child, &service);
    ends(&service, 0, &["sensor-1.pem"]);
    assert_eq!(created(&service), 2);
}

#[test]
fn a_command_that_fails_keeps_the_old_certificate_and_is_run_again() {
    let service = with_files(&[("sensor-1", 90)]);
    for option in ["--exec", "--exec-each"] {
        let before = created(&service);
        let command = ["sensor-1.pem", "--revoke-old-after", "1s", option];
        let failed = ends(
            &service,
            1,
            &[&command[..], &["echo no >&2; false"]].concat(),
        );
        assert!(
            failed.err.contains("sensor-1.pem: the new certificate is in the file, and the old one stays active: `echo no"),
            "{failed:?}"
        );
        service.emulator.advance(Duration::from_secs(10));
        let ran = ends(&service, 0, &[&command[..], &["true"]].concat());
        assert!(ran.err.contains("1 renewed\n"), "{ran:?}");
        assert_eq!(created(&service), before + 1);
        service.emulator.advance(Duration::from_secs(10));
        ends(&service, 0, &["sensor-1.pem", "--if-within", "1d"]);
        assert_eq!(active(&service), 1);
    }
}

#[test]
fn what_can_not_be_renewed_is_said_and_the_rest_is_renewed() {
    let service = with_files(&[("sensor-1", 90), ("revoked", 90)]);
    let revoked = service.run(&["revoke", "revoked.pem", "--yes", "--wait"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let write = |name: &str, text: &str| fs::write(path(&service, name), text).expect("is written");
    let text = String::from_utf8(read(&service, "sensor-1.pem")).expect("UTF-8");
    let certificate = &text[text.find("-----BEGIN CERTIFICATE").expect("is there")..];
    let certificate =
        &certificate[..certificate.find("-----END CERTIFICATE").expect("is there") + 26];
    write("no-key.pem", certificate);
    write("text.pem", "hello");
    write("copy.pem", &text);
    let key = identity(&service, "sensor-1.pem");
    let encrypted = key.key().to_encrypted_pem("secret").expect("is encrypted");
    write("encrypted.pem", &format!("{encrypted}{certificate}\n"));
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    write("mixed.pem", &format!("{}{certificate}\n", *other.to_pem()));
    let unknown = unknown();
    write("unknown.pem", &unknown);
    let files = [
        "sensor-1.pem",
        "revoked.pem",
        "no-key.pem",
        "text.pem",
        "copy.pem",
        "encrypted.pem",
        "mixed.pem",
        "unknown.pem",
        "none.pem",
        ".",
    ];
    let before = created(&service);
    let ran = ends(&service, 7, &files);
    let id = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("a pattern");
    // In the second in which it is issued, a whole day more is left.
    let text = ran.text().replace("  90d\n", "  89d\n");
    insta::assert_snapshot!("what_can_not_be_renewed", id.replace_all(&text, "ID"));
    assert_eq!(created(&service), before + 1);
    assert_eq!(
        String::from_utf8(read(&service, "unknown.pem")).expect("UTF-8"),
        unknown
    );
}

/// A certificate that no zone has.
fn unknown() -> String {
    let other = with_files(&[("unknown", 90)]);
    String::from_utf8(read(&other, "unknown.pem")).expect("UTF-8")
}

#[test]
fn a_rehearsal_changes_nothing() {
    let service = with_files(&[("sensor-1", 40), ("sensor-2", 90)]);
    service.emulator.advance(DAY * 15);
    let before = read(&service, "sensor-1.pem");
    let command = [
        "sensor-1.pem",
        "sensor-2.pem",
        "--if-within",
        "30d",
        "--dry-run",
    ];
    let ran = ends(&service, 0, &command);
    insta::assert_snapshot!("a_rehearsal", ran.text());
    assert_eq!(read(&service, "sensor-1.pem"), before);
    assert!(!path(&service, ".local/state/shieldcert/renew").exists());
    assert_eq!(created(&service), 2);
    let within = [
        "sensor-2.pem",
        "--if-within",
        "1d",
        "--dry-run",
        "--detailed-exit-code",
    ];
    ends(&service, 10, &within);
}

#[test]
fn a_file_that_was_moved_or_restored_is_known() {
    let service = with_files(&[("sensor-1", 90)]);
    let oldest = read(&service, "sensor-1.pem");
    ends(&service, 0, &["sensor-1.pem"]);
    fs::rename(path(&service, "sensor-1.pem"), path(&service, "moved.pem")).expect("is moved");
    let renewed = rows(&service, &["moved.pem"]);
    assert_eq!(renewed[0]["outcome"], "renewed", "{renewed}");
    assert!(!path(&service, "sensor-1.pem").exists());
    assert_eq!(created(&service), 3);
    // One that it has replaced, from a backup.
    fs::write(path(&service, "moved.pem"), &oldest).expect("is written");
    let renewed = rows(&service, &["moved.pem", "--revoke-old-after", "1s"]);
    assert_eq!(renewed[0]["outcome"], "renewed", "{renewed}");
    service.emulator.advance(Duration::from_secs(5));
    ends(&service, 0, &["moved.pem", "--if-within", "1d"]);
    assert_eq!((created(&service), active(&service)), (4, 1));
    // And one that it has revoked.
    fs::write(path(&service, "moved.pem"), &oldest).expect("is written");
    let refused = ends(&service, 1, &["moved.pem"]);
    assert!(
        refused.err.contains(" is revoked; issue a new one"),
        "{refused:?}"
    );
    assert_eq!(created(&service), 4);
}

/// A certificate for a CSR with a subject in another order, and a key of another kind.
#[test]
fn subject_and_kind_of_key_stay_the_same() {
    let service = Service::start();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP384).expect("a key");
    let subject = Subject::common_name("Gateway 7")
        .organization("Acme")
        .country("DE")
        .state("BW");
    let csr = key.csr(&subject).expect("a CSR");
    fs::write(path(&service, "g.csr"), csr.to_pem()).expect("is written");
    let issued = service.run(&["issue", "--csr", "g.csr", "-o", "g.crt", "--days", "30"]);
    assert_eq!(issued.code, Some(0), "{issued:?}");
    let text = format!(
        "{}{}",
        *key.to_pem(),
        String::from_utf8(read(&service, "g.crt")).expect("UTF-8")
    );
    fs::write(path(&service, "g.pem"), text).expect("is written");
    let zone = ["g.pem", "--zone", ZONE];
    ends(&service, 0, &zone);
    let renewed = identity(&service, "g.pem");
    assert_eq!(renewed.key().algorithm(), KeyAlgorithm::EcdsaP384);
    assert_ne!(renewed.key().public_key(), key.public_key());
    let subject = renewed.certificate().subject();
    for attribute in ["CN=Gateway 7", "O=Acme", "C=DE", "ST=BW"] {
        assert!(subject.contains(attribute), "{subject}");
    }
}
