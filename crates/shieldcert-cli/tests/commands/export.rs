//! `shieldcert export`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::service::{Ran, Service, is_installed, run, shieldcert};
use crate::terminal::Terminal;

const PASSWORD: &str = "correct horse battery staple";

/// A folder with `sensor.pem`, the CA above it in `ca.pem`, and a password.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "A CA");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).expect("a CA");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut sensor = rcgen::CertificateParams::default();
    sensor
        .distinguished_name
        .push(rcgen::DnType::CommonName, "sensor-001");
    let sensor = sensor.signed_by(&key, &ca).expect("is signed");
    for (name, text) in [
        ("sensor.pem", sensor.pem() + &key.serialize_pem()),
        ("sensor.crt", sensor.pem()),
        ("sensor.key", key.serialize_pem()),
        ("ca.pem", ca.pem()),
        ("password", format!("{PASSWORD}\nnot this line\n")),
    ] {
        fs::write(folder.path().join(name), text).expect("is written");
    }
    folder
}

fn export(folder: &Path, arguments: &[&str]) -> Ran {
    run(shieldcert(folder).arg("export").args(arguments))
}

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn openssl_reads_both_kinds_with_their_chain() {
    if !is_installed("openssl", "version") {
        return;
    }
    let folder = folder();
    let path = folder.path();
    for (compat, algorithm) in [
        ("modern", "AES-256-CBC"),
        ("legacy", "pbeWithSHA1And3-KeyTripleDES-CBC"),
    ] {
        let ran = export(
            path,
            &[
                "sensor.pem",
                "--add-chain",
                "ca.pem",
                "--p12",
                "sensor.p12",
                "--compat",
                compat,
                "--password-file",
                "password",
                "--force",
            ],
        );
        let said =
            "sensor.p12: CN=sensor-001, with 1 certificate of its chain and its key, encrypted\n";
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (Some(0), "", said)
        );
        let shown = openssl(
            path,
            &[
                "pkcs12",
                "-in",
                "sensor.p12",
                "-passin",
                &format!("pass:{PASSWORD}"),
                "-nodes",
                "-info",
            ],
        );
        assert!(shown.contains(algorithm), "{shown}");
        assert!(shown.contains("friendlyName: sensor-001"), "{shown}");
        assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 2, "{shown}");
        assert_eq!(shown.matches("BEGIN PRIVATE KEY").count(), 1, "{shown}");
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path.join("sensor.p12"))
            .expect("is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn pem_files_are_combined_and_taken_apart() {
    let folder = folder();
    let path = folder.path();
    let read = |name: &str| fs::read_to_string(path.join(name)).expect("is there");
    let ran = export(
        path,
        &[
            "sensor.crt",
            "--key",
            "sensor.key",
            "--add-chain",
            "ca.pem",
            "--pem",
            "all.pem",
            "--fullchain",
            "chain.pem",
        ],
    );
    insta::assert_snapshot!(ran.text(), @r"
    code: 0
    --- out
    --- err
    all.pem: CN=sensor-001, with 1 certificate of its chain and its key, not encrypted
    chain.pem: CN=sensor-001, with 1 certificate of its chain and without its key
    ");
    let chain = read("sensor.crt") + &read("ca.pem");
    assert_eq!(read("chain.pem").replace('\r', ""), chain.replace('\r', ""));
    assert!(read("all.pem").contains("PRIVATE KEY"));
    let ran = export(path, &["all.pem", "--fullchain", "-"]);
    assert_eq!(ran.out, read("chain.pem"));
}

#[test]
fn the_password_of_an_encrypted_key_is_asked_for_apart() {
    if !is_installed("openssl", "version") {
        return;
    }
    let folder = folder();
    let path = folder.path();
    openssl(
        path,
        &[
            "pkcs8",
            "-topk8",
            "-in",
            "sensor.key",
            "-out",
            "locked.key",
            "-passout",
            "file:password",
        ],
    );
    let arguments = ["sensor.crt", "--key", "locked.key", "--pem", "-"];
    let ran = export(path, &arguments);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    insta::assert_snapshot!(ran.err, @"error: the password of the private key in locked.key is needed, and there is no terminal to ask at; give --key-password-file or --key-password-fd");
    let ran = export(
        path,
        &[&arguments[..], &["--key-password-file", "password"]].concat(),
    );
    assert!(
        ran.code == Some(0) && ran.out.contains("BEGIN PRIVATE KEY"),
        "{ran:?}"
    );
    fs::write(path.join("wrong"), "wrong").expect("is written");
    let ran = export(
        path,
        &[&arguments[..], &["--key-password-file", "wrong"]].concat(),
    );
    insta::assert_snapshot!(ran.err, @"error: sensor.crt: private key: the password is wrong; give the one that the key was encrypted with");
}

#[test]
fn a_descriptor_gives_the_password_and_standard_output_gets_the_file() {
    let folder = folder();
    let binary = env!("CARGO_BIN_EXE_shieldcert");
    let script = format!("{binary} export sensor.pem --p12 - --password-fd 3 3<password >out.p12");
    let ran = run(Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path()));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let der = fs::read(folder.path().join("out.p12")).expect("is there");
    shieldcert::Identity::from_pkcs12(der, PASSWORD).expect("is read");
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_written() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("mine"), "mine").expect("is written");
    fs::write(path.join("empty"), "\n").expect("is written");
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    fs::write(path.join("other.key"), other).expect("is written");
    let texts = [
        &["sensor.pem", "--p12", "new"][..],
        &["sensor.pem", "--p12", "mine", "--password-file", "password"],
        &["sensor.pem", "--p12", "new", "--password-file", "none"],
        &["sensor.pem", "--p12", "new", "--password-file", "empty"],
        &["sensor.pem", "--p12", "new", "--password-fd", "77"],
        &["sensor.pem", "--p12", "new", "--pem", "new"],
        &["sensor.crt", "--pem", "new"],
        &["sensor.crt", "--key", "other.key", "--pem", "new"],
        &["none.pem", "--pem", "new"],
        &["sensor.pem", "--pem", "no/folder/new"],
        &["sensor.pem"],
        &["sensor.pem", "--pem", "new", "--compat", "legacy"],
    ]
    .map(|arguments| {
        let ran = export(path, arguments);
        assert!(!path.join("new").exists(), "{ran:?}");
        format!(
            "$ shieldcert export {}\n{}",
            arguments.join(" "),
            ran.text()
        )
    });
    assert_eq!(
        fs::read_to_string(path.join("mine")).expect("is there"),
        "mine"
    );
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn at_a_terminal_the_password_is_asked_for_twice_and_not_shown() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let folder = folder();
    let service = Service::start();
    let copied = service.folder.path().join("sensor.pem");
    fs::copy(folder.path().join("sensor.pem"), copied).expect("is copied");
    for (second, code) in [("hidden", "code: 0"), ("other", "code: 2")] {
        let terminal = Terminal::open(&service, 100);
        let command = "clear; shieldcert export sensor.pem --p12 sensor.p12 --force; echo code: $?";
        terminal.type_keys(&[command, "Enter"]);
        terminal.wait_for(|screen| screen.contains("Password of the PKCS#12 file:"));
        terminal.wait_for_silence();
        terminal.type_keys(&["hidden", "Enter"]);
        terminal.wait_for(|screen| screen.contains("The same again:"));
        terminal.wait_for_silence();
        terminal.type_keys(&[second, "Enter"]);
        let screen =
            terminal.wait_for(|screen| screen.lines().any(|line| line.starts_with("code: ")));
        assert!(
            screen.contains(code) && !screen.contains("hidden"),
            "{screen}"
        );
    }
    let der = fs::read(service.folder.path().join("sensor.p12")).expect("is there");
    shieldcert::Identity::from_pkcs12(der, "hidden").expect("is read");
}
