//! `shieldcert issue`: exactly once, whatever happens to the process or the network.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use shieldcert::{Identity, KeyAlgorithm, PrivateKey, Subject, X509Certificate};
use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::service::{Ran, Service, TOKEN, check_schema, run};

fn read(service: &Service, name: &str) -> String {
    std::fs::read_to_string(service.folder.path().join(name)).expect(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    // The home is the same folder.
    names.retain(|name| name != ".local");
    names.sort_unstable();
    names
}

fn total(service: &Service) -> usize {
    service.run(&["list"]).out.lines().count()
}

#[test]
fn certificate_and_key_are_in_one_private_file() {
    let service = Service::start();
    let rows = service.json(&[
        "issue",
        "sensor-001",
        "--days",
        "90",
        "--subject",
        "O=Acme, Inc.",
        "--subject",
        "c=DE",
    ]);
    check_schema("issued", &rows);
    let row = &rows[0];
    assert_eq!(
        (&row["outcome"], &row["file"], &row["file_mode"]),
        (&"issued".into(), &"sensor-001.pem".into(), &"0600".into())
    );
    let identity = Identity::from_pem(read(&service, "sensor-001.pem")).expect("an identity");
    assert_eq!(
        identity.certificate().subject(),
        r"CN=sensor-001,O=Acme\, Inc.,C=DE"
    );
    assert_eq!(names(service.folder.path()), ["sensor-001.pem"]);
    let listed = service.json(&["list"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["validity_days"]),
        (&row["id"], &90.into())
    );
}

#[test]
fn a_pipe_gets_the_id_and_people_get_details() {
    let service = Service::start();
    let ran = service.run(&["issue", "sensor-001"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, service.run(&["list"]).out);
    let details = service.run(&["issue", "sensor-002", "--output", "table"]);
    assert!(
        details.out.contains("file                sensor-002.pem\n"),
        "{}",
        details.out
    );
}

#[test]
fn the_same_command_again_issues_nothing_and_says_so() {
    let service = Service::start();
    let first = service.run(&["issue", "sensor-001"]);
    let second = service.run(&["issue", "sensor-001"]);
    assert_eq!(
        (second.code, &second.out),
        (Some(0), &first.out),
        "{second:?}"
    );
    assert!(
        second.err.contains("sensor-001.pem is already there"),
        "{second:?}"
    );
    assert_eq!(total(&service), 1);
    let forced = service.run(&["issue", "sensor-001", "--force"]);
    assert_eq!((forced.code, total(&service)), (Some(0), 2), "{forced:?}");
    assert_ne!(forced.out, first.out);
}

#[test]
fn what_was_issued_here_is_found_with_one_request() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 300));
    let id = service.run(&["issue", "sensor-001"]).out;
    for arguments in [&["issue", "sensor-001"][..], &["find", "sensor-001.pem"]] {
        let before = service.emulator.history().len();
        assert_eq!(service.run(arguments).out, id);
        assert_eq!(
            service.emulator.history().len() - before,
            1,
            "{arguments:?}"
        );
    }
    // Without what is remembered, and with something wrong.
    let folder = service.folder.path().join(".local/state/shieldcert/ids");
    let [name] = &names(&folder)[..] else {
        panic!("one is remembered");
    };
    let other = service
        .run(&["list"])
        .out
        .lines()
        .last()
        .expect("one")
        .to_owned();
    std::fs::write(folder.join(name), other).expect("is written");
    assert_eq!(service.run(&["find", "sensor-001.pem"]).out, id);
    std::fs::remove_dir_all(&folder).expect("is removed");
    assert_eq!(service.run(&["find", "sensor-001.pem"]).out, id);
}

#[test]
fn nothing_is_overwritten() {
    let service = Service::start();
    let folder = service.folder.path();
    std::fs::write(folder.join("sensor-001.pem"), "mine").expect("is written");
    assert_eq!(service.run(&["issue", "sensor-002"]).code, Some(0));
    let texts = [
        &["issue", "sensor-001"][..],
        &["issue", "sensor-001", "-o", "sensor-002.pem"],
        &["issue", "a/b"],
        &["issue", "sensor-003", "--days", "0"],
        &["issue", "sensor-003", "--subject", "CN=x"],
        &["issue", "sensor-003", "--subject", "C=Germany"],
        &["issue", "sensor-003", "-o", "none/sensor-003.pem"],
        &["issue", "sensor-003", "--csr", "none.csr"],
    ]
    .map(|arguments| {
        let ran = service.run(arguments);
        assert_ne!(ran.code, Some(0), "{arguments:?}");
        format!("$ shieldcert {}\n{}", arguments.join(" "), ran.text())
    });
    insta::assert_snapshot!(texts.join("\n"));
    assert_eq!(read(&service, "sensor-001.pem"), "mine");
    assert_eq!(names(folder), ["sensor-001.pem", "sensor-002.pem"]);
    assert_eq!(total(&service), 1);
}

#[test]
fn a_csr_gets_the_certificate_alone() {
    let service = Service::start();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP384).expect("a key");
    let csr = key.csr(&Subject::common_name("device")).expect("a CSR");
    csr.write_pem(service.folder.path().join("device.csr"))
        .expect("is written");
    let ran = service.run(&["issue", "--csr", "device.csr", "-o", "device.crt"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = read(&service, "device.crt");
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    let x509 = X509Certificate::from_pem(&text).expect("a certificate");
    assert_eq!(x509.public_key(), csr.public_key());
    key.write_pem(service.folder.path().join("device.key"))
        .expect("is written");
    let with_key = service.run(&[
        "issue",
        "--csr",
        "device.csr",
        "--key",
        "device.key",
        "-o",
        "device.pem",
    ]);
    assert_eq!(with_key.code, Some(0), "{with_key:?}");
    Identity::from_pem(read(&service, "device.pem")).expect("an identity");
    let key_alone = service.run(&["issue", "other", "--key", "device.key"]);
    assert_eq!(key_alone.code, Some(0), "{key_alone:?}");
    let identity = Identity::from_pem(read(&service, "other.pem")).expect("an identity");
    assert_eq!(identity.key().public_key(), key.public_key());
}

#[test]
fn standard_output_gets_the_pem_alone() {
    let service = Service::start();
    let ran = service.run(&["issue", "sensor-001", "-o", "-"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Identity::from_pem(&ran.out).expect("an identity");
    assert!(ran.err.starts_with("issued "), "{ran:?}");
    assert_eq!(names(service.folder.path()), [""; 0]);
    let csr = PrivateKey::generate(KeyAlgorithm::EcdsaP256)
        .and_then(|key| key.csr(&Subject::common_name("device")))
        .expect("a CSR");
    let mut child = service
        .command(&["issue", "--csr", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    std::io::Write::write_all(
        &mut child.stdin.take().expect("piped"),
        csr.to_pem().as_bytes(),
    )
    .expect("is read");
    let ran = Ran::new(child.wait_with_output().expect("it ended"));
    X509Certificate::from_pem(&ran.out).expect("a certificate");
}

/// Waits until the service has received a request to issue.
fn wait_for_create(service: &Service) {
    while service.emulator.history().count(Operation::Create) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_is_killed_while_the_request_is_under_way_goes_on_with_the_same_command() {
    let service = Service::start();
    service.emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::stall(Duration::from_secs(3_600)),
    )]);
    let mut child = service
        .command(&["issue", "sensor-001"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for_create(&service);
    let pending = service.folder.path().join("sensor-001.pem.issuing");
    assert_eq!(
        names(&pending),
        ["csr.pem", "key.pem", "lock", "request.json"]
    );
    for name in ["csr.pem", "key.pem", "request.json"] {
        let mode = pending
            .join(name)
            .metadata()
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        pending.metadata().expect("a folder").permissions().mode() & 0o777,
        0o700
    );
    let meanwhile = service.run(&["issue", "sensor-001"]);
    assert!(
        meanwhile.err.contains("another process is issuing"),
        "{meanwhile:?}"
    );
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    let other = service.run(&["issue", "sensor-001", "--days", "7"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.err.contains("--days 365"), "{other:?}");
    let key = read(&service, "sensor-001.pem.issuing/key.pem");
    let rows = service.json(&["issue", "sensor-001"]);
    assert_eq!(rows[0]["outcome"], "recovered");
    assert_eq!(total(&service), 1);
    assert!(read(&service, "sensor-001.pem").contains(&key));
    assert_eq!(names(service.folder.path()), ["sensor-001.pem"]);
}

#[test]
fn who_is_killed_at_any_instant_has_one_certificate_at_most() {
    let service = Service::start_with(|builder| builder.latency(Duration::from_millis(15)));
    let mut finished = 0;
    for instant in 0..12 {
        let name = format!("sensor-{instant}");
        let mut child = service
            .command(&["issue", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        // It takes about 40 ms. Wherever it is killed, the next run must go on.
        std::thread::sleep(Duration::from_millis(4 * instant));
        child.kill().expect("is killed");
        child.wait().expect("it ended");
        // What may have been sent is waited for; not here.
        let ran = service.run(&["issue", &name, "--timeout", "1s"]);
        let issued = service.run(&["list", "--name", &name]).out.lines().count();
        let file = std::fs::read(service.folder.path().join(format!("{name}.pem")));
        match ran.code {
            Some(0) => {
                assert_eq!(issued, 1, "{ran:?}");
                Identity::from_pem(file.expect("a file")).expect("an identity");
                finished += 1;
            }
            Some(8) => assert!(issued == 0 && file.is_err(), "{ran:?}"),
            _ => panic!("{ran:?}"),
        }
    }
    assert!(finished > 0);
}

#[test]
fn who_is_interrupted_hears_what_is_open() {
    let service = Service::start();
    service.emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::stall(Duration::from_secs(3_600)),
    )]);
    let child = service
        .command(&["issue", "sensor-001"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_for_create(&service);
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
    let ran = Ran::new(child.wait_with_output().expect("it ended"));
    insta::assert_snapshot!(ran.text());
    assert_eq!(service.run(&["issue", "sensor-001"]).code, Some(0));
    assert_eq!(total(&service), 1);
}

#[test]
fn a_lost_response_costs_no_second_certificate() {
    let service = Service::start();
    service
        .emulator
        .script([ScriptedFault::next(Operation::Create, Fault::reset_after())]);
    let rows = service.json(&["issue", "sensor-001"]);
    assert_eq!(
        (&rows[0]["outcome"], total(&service)),
        (&"recovered".into(), 1)
    );
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let service = Service::start_with(|builder| {
        builder
            .quota(1)
            .read_only_token("a-token-that-may-only-read")
    });
    let read_only = run(service
        .command(&["issue", "sensor-001"])
        .env("CLOUDFLARE_API_TOKEN", "a-token-that-may-only-read"));
    assert_eq!(read_only.code, Some(4), "{read_only:?}");
    assert_eq!(names(service.folder.path()), [""; 0]);
    assert_eq!(service.run(&["issue", "sensor-001"]).code, Some(0));
    let full = service.run(&["issue", "sensor-002"]);
    assert_eq!(full.code, Some(5), "{full:?}");
    assert_eq!(names(service.folder.path()), ["sensor-001.pem"]);
}

#[test]
fn a_file_that_cannot_be_written_keeps_the_certificate() {
    let service = Service::start();
    let folder = service.folder.path();
    // A folder in the place of the file, made while the response is under way.
    service.emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::stall(Duration::from_secs(3_600)),
    )]);
    let child = service
        .command(&["issue", "sensor-001"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_for_create(&service);
    std::fs::create_dir(folder.join("sensor-001.pem")).expect("is made");
    service.emulator.advance(Duration::from_secs(3_600));
    let ran = Ran::new(child.wait_with_output().expect("it ended"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("was issued") && ran.err.contains("sensor-001.pem.issuing"),
        "{ran:?}"
    );
    std::fs::remove_dir(folder.join("sensor-001.pem")).expect("is removed");
    assert_eq!(service.run(&["issue", "sensor-001"]).code, Some(0));
    assert_eq!(total(&service), 1);
}

#[test]
fn a_dry_run_sends_nothing_that_changes_anything() {
    let service = Service::start();
    let ran = service.run(&["issue", "sensor-001", "--dry-run", "--subject", "O=Acme"]);
    insta::assert_snapshot!(ran.text());
    assert_eq!(service.emulator.history().count(Operation::Create), 0);
    assert_eq!(names(service.folder.path()), [""; 0]);
    let refused = run(service
        .command(&["issue", "sensor-001", "--dry-run"])
        .env("CLOUDFLARE_API_TOKEN", "another"));
    assert_eq!(refused.code, Some(4), "{refused:?}");
}

#[test]
fn a_fleet_is_issued_exactly_once_under_chaos() {
    let chaos =
        "create: reset-after=40%, create: html=20%, create: rate-limit=10%:1s, list: html=5%";
    let service =
        Service::start_with(|builder| builder.chaos(chaos.parse().expect("chaos")).chaos_seed(7));
    for device in 0..4 {
        let name = format!("sensor-{device}");
        let mut tries = 0;
        while service.run(&["issue", &name]).code != Some(0) {
            tries += 1;
            assert!(tries < 20, "{name}");
        }
    }
    service.emulator.set_chaos("".parse().expect("none"));
    let rows = service.json(&["list", "--status", "active"]);
    let mut names: Vec<_> = rows
        .as_array()
        .expect("an array")
        .iter()
        .map(|row| row["common_name"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), rows.as_array().map(Vec::len)), (4, Some(4)));
}

/// A process that has seen no file when another one issues: its token comes late.
#[test]
fn processes_at_once_issue_once() {
    let service = Service::start();
    let at = |name: &str| service.folder.path().join(name);
    let waits = format!("touch started; until test -e go; do sleep 0.01; done; echo {TOKEN}");
    std::fs::write(at("token"), waits).expect("writes");
    let mut late = service.command(&["--token-command", "sh token", "issue", "sensor-001"]);
    late.env_remove("CLOUDFLARE_API_TOKEN")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let late = late.spawn().expect("it starts");
    while !at("started").exists() {
        std::thread::yield_now();
    }
    let first = service.run(&["issue", "sensor-001"]);
    std::fs::write(at("go"), "").expect("writes");
    let late = Ran::new(late.wait_with_output().expect("it ends"));
    assert_eq!((first.code, late.code), (Some(0), Some(0)), "{late:?}");
    assert_eq!(first.out, late.out);
    assert!(late.err.contains("is already there"), "{late:?}");
    assert_eq!(total(&service), 1);
    assert!(!at("sensor-001.pem.issuing").exists());
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let service = Service::start();
    assert_eq!(service.run(&["issue", "revoked"]).code, Some(0));
    let revoked = ["revoke", "revoked.pem", "--yes", "--wait"];
    assert_eq!(service.run(&revoked).code, Some(0));
    let mut closed = service.command(&["issue", "sensor-001", "-o", "-"]);
    closed.stdout(Stdio::null());
    let refusals = [
        run(&mut closed),
        service.run(&[
            "issue",
            "sensor-001",
            "--subject",
            "O=A",
            "--subject",
            "O=B",
        ]),
        service.run(&["issue", "revoked"]),
        service.run(&["issue", "sensor-001", "--days", "1y"]),
        service.run(&["issue", "sensor-001", "--days", "-1"]),
        service.run(&["revoke", "nofile.pem", "--yes"]),
        service.run(&["get", "5bbf27e9"]),
    ]
    .map(|ran| ran.text());
    insta::assert_snapshot!(refusals.join("\n\n"));
    assert_eq!(total(&service), 1);
    assert_eq!(names(service.folder.path()), ["revoked.pem"]);
}

#[test]
fn another_certificate_for_the_name_is_not_taken_for_the_same() {
    let service = Service::start();
    let issue = |arguments: &[&str]| service.run(&[&["issue", "sensor-001"], arguments].concat());
    assert_eq!(
        issue(&["--days", "90", "--subject", "O=Acme"]).code,
        Some(0)
    );
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    key.write_pem(service.folder.path().join("other.key"))
        .expect("is written");
    let others = [
        &["--days", "30", "--subject", "O=Acme"][..],
        &["--days", "90", "--subject", "O=Other"],
        &["--days", "90", "--subject", "O=Acme", "--key", "other.key"],
        &["--days", "30", "--subject", "O=Acme", "--dry-run"],
    ];
    let refusals = || {
        others.map(|arguments| {
            let ran = issue(arguments);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            ran.err
        })
    };
    let remembered = refusals();
    // What was asked for matters where it is remembered, and what the record says elsewhere.
    assert_eq!(issue(&["--days", "90"]).code, Some(1));
    std::fs::remove_dir_all(service.folder.path().join(".local/state")).expect("it was remembered");
    assert_eq!(refusals(), remembered);
    let same = issue(&["--days", "90", "--subject", "O=Acme"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!(total(&service), 1);
    insta::assert_snapshot!(remembered.concat(), @"
    error: sensor-001.pem: it exists, and holds a certificate that was asked for with --days 90, and not 30; give another file, or --force
    hint: nothing was issued
    error: sensor-001.pem: it exists, and holds a certificate with another subject, CN=sensor-001,O=Acme; give another file, or --force
    hint: nothing was issued
    error: sensor-001.pem: it exists, and holds another certificate, for CN=sensor-001,O=Acme; give another file, or --force
    error: sensor-001.pem: it exists, and holds a certificate that was asked for with --days 90, and not 30; give another file, or --force
    hint: nothing was issued
    ");
}

#[test]
fn fewer_days_than_were_asked_for_are_the_same_certificate() {
    let quirks = "max-validity=20".parse().expect("a quirk");
    let service = Service::start_with(|builder| builder.quirks(quirks));
    let first = service.run(&["issue", "sensor-001", "--days", "90"]);
    assert!(first.err.contains("granted 20 days"), "{first:?}");
    let second = service.run(&["issue", "sensor-001", "--days", "90"]);
    assert_eq!((second.code, second.out), (Some(0), first.out));
}

#[test]
fn an_encrypted_key_is_used_with_its_password() {
    let service = Service::start();
    let at = |name: &str| service.folder.path().join(name);
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    let pem = key.to_encrypted_pem("correct horse").expect("is encrypted");
    std::fs::write(at("device.key"), pem).expect("is written");
    std::fs::write(at("password"), "correct horse\n").expect("is written");
    std::fs::write(at("wrong"), "battery staple\n").expect("is written");
    let issue = |name: &str, arguments: &[&str]| {
        service.run(&[&["issue", name, "--key", "device.key"], arguments].concat())
    };
    for (name, arguments) in [
        ("by-file", &["--key-password-file", "password"][..]),
        ("by-fd", &["--key-password-fd", "0"]),
    ] {
        let mut command = service.command(&["issue", name, "--key", "device.key"]);
        command.args(arguments);
        let ran = run(command.stdin(std::fs::File::open(at("password")).expect("opens")));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let identity = Identity::from_pem(read(&service, &format!("{name}.pem")));
        let identity = identity.expect("an identity");
        assert_eq!(identity.key().public_key(), key.public_key());
    }
    let refusals = [
        issue("x", &[]),
        issue("x", &["--key-password-file", "wrong"]),
        service.run(&["issue", "x", "--key-password-file", "password"]),
    ]
    .map(|ran| {
        assert_ne!(ran.code, Some(0), "{ran:?}");
        ran.text()
    });
    insta::assert_snapshot!(refusals.join("\n"), @"
    code: 2
    --- out
    --- err
    error: the password of the private key in device.key is needed, and there is no terminal to ask at; give --key-password-file or --key-password-fd

    code: 1
    --- out
    --- err
    error: device.key: private key: the password is wrong; give the one that the key was encrypted with

    code: 2
    --- out
    --- err
    error: --key-password-file and --key-password-fd are for the key of --key; give that too, or leave them out
    ");
    assert_eq!(total(&service), 2);
}

#[test]
fn a_key_that_is_needed_is_not_replaced() {
    let service = Service::start();
    let at = |name: &str| service.folder.path().join(name);
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    key.write_pem(at("device.key")).expect("is written");
    let csr = key.csr(&Subject::common_name("device")).expect("a CSR");
    csr.write_pem(at("device.csr")).expect("is written");
    let sealed = key.to_encrypted_pem("correct horse").expect("is encrypted");
    std::fs::write(at("sealed.key"), sealed).expect("is written");
    std::os::unix::fs::symlink("device.key", at("link")).expect("is made");
    let names = ["device.key", "device.csr", "sealed.key"];
    let before = names.map(|name| read(&service, name));
    let refusals = [
        &["--csr", "device.csr", "-o", "device.key", "--force"][..],
        &["--csr", "device.csr", "-o", "link", "--force"],
        &["--csr", "device.csr", "-o", "sealed.key", "--force"],
        &["--csr", "device.csr", "-o", "./device.csr", "--force"],
        &["other", "--key", "device.key", "-o", "link", "--force"],
        &["other", "--key", "device.key", "-o", "device.key"],
    ]
    .map(|arguments| {
        let ran = service.run(&[&["issue"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        ran.err
    });
    insta::assert_snapshot!(refusals.concat(), @"
    error: device.key: it holds the key that the CSR was made with, which would be lost; give another file with -o
    error: link: it holds the key that the CSR was made with, which would be lost; give another file with -o
    error: sealed.key: it holds a private key that can't be read, which may be that of the CSR and would be lost; give another file with -o
    error: ./device.csr: it is the file of --csr, which would be lost; give another file with -o
    error: link: it is the file of --key, which would be lost; give another file with -o
    error: device.key: it is the file of --key, which would be lost; give another file with -o
    ");
    assert_eq!(names.map(|name| read(&service, name)), before);
    assert_eq!(service.emulator.history().count(Operation::Create), 0);
    // A file that holds another key is what --force is for.
    assert_eq!(service.run(&["issue", "other"]).code, Some(0));
    let forced = ["issue", "--csr", "device.csr", "-o", "other.pem", "--force"];
    assert_eq!(service.run(&forced).code, Some(0));
}

#[test]
fn a_file_that_stays_readable_by_its_group_is_warned_of() {
    let service = Service::start();
    let file = service.folder.path().join("sensor-001.pem");
    std::fs::write(&file, "old").expect("is written");
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&file, mode).expect("is ours");
    let ran = service.run(&["issue", "sensor-001", "--force"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    insta::assert_snapshot!(ran.err, @"warning: sensor-001.pem: its group can read the key, as the file before (mode 0640); unless that is meant: chmod 600 sensor-001.pem");
    let new = service.run(&["issue", "sensor-002"]);
    assert_eq!((new.code, new.err.as_str()), (Some(0), ""));
}

#[test]
fn a_dry_run_predicts_what_would_be_refused() {
    let service = Service::start();
    std::fs::write(service.folder.path().join("file"), "").expect("is written");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
    key.write_pem(service.folder.path().join("device.key"))
        .expect("is written");
    // A request that was begun, and may have been sent.
    service.emulator.script([ScriptedFault::next(
        Operation::Create,
        Fault::stall(Duration::from_secs(3_600)),
    )]);
    let mut child = service
        .command(&["issue", "begun", "--days", "30"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for_create(&service);
    child.kill().expect("is killed");
    child.wait().expect("it ended");
    let goes_on = service.run(&["issue", "begun", "--days", "30", "--dry-run"]);
    assert!(
        goes_on.code == Some(0) && goes_on.err.contains("would go on with the request in"),
        "{goes_on:?}"
    );
    for arguments in [
        &["issue", "sensor-001", "-o", "none/sensor.pem"][..],
        &["issue", "sensor-001", "-o", "file/sensor.pem"],
        &["issue", "begun", "--days", "60"],
        &["issue", "x", "--key", "device.key", "-o", "device.key"],
    ] {
        let rehearsed = service.run(&[arguments, &["--dry-run"]].concat());
        assert_ne!(rehearsed.code, Some(0), "{rehearsed:?}");
        assert_eq!(service.run(arguments).code, rehearsed.code, "{arguments:?}");
    }
    assert_eq!(service.emulator.history().count(Operation::Create), 1);
}
