//! The database: what is in it stays, and a file that can't be used is left as it is.
#![cfg(feature = "sqlite")]
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::*;
use shieldcert_emulator::{Emulator, EmulatorBuilder};

fn kept_in(file: &Path) -> EmulatorBuilder {
    Emulator::builder()
        .db(file)
        .transition_delay(Duration::ZERO)
}

async fn open(file: &Path) -> Emulator {
    kept_in(file).open().await.expect("opens")
}

/// Why the file can't be used.
async fn refused(file: &Path) -> String {
    let Err(error) = kept_in(file).open().await else {
        panic!("{} was used", file.display());
    };
    let why = std::error::Error::source(&error).expect("a reason");
    format!("{error}: {why}")
}

#[tokio::test]
async fn certificates_statuses_and_the_ca_outlive_the_emulator() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let emulator = open(&file).await;
    let (kept, revoked) = (
        issue(&emulator, "kept").await,
        issue(&emulator, "gone").await,
    );
    call(&emulator, "DELETE", &format!("/{revoked}"), "")
        .await
        .assert_succeeded();
    let before = call(&emulator, "GET", "", "").await;
    let ca = emulator.ca_pem().to_owned();
    drop(emulator);

    let emulator = open(&file).await;
    assert_eq!(emulator.ca_pem(), ca);
    let after = call(&emulator, "GET", "", "").await;
    assert_eq!(after.body, before.body);
    let status = |answer: Answer| answer.result("status").to_owned();
    let active = status(call(&emulator, "GET", &format!("/{kept}"), "").await);
    let gone = status(call(&emulator, "GET", &format!("/{revoked}"), "").await);
    assert_eq!((active.as_str(), gone.as_str()), ("active", "revoked"));
    // The same CA signs on.
    let ids = [
        call(&emulator, "GET", &format!("/{kept}"), "").await,
        call(
            &emulator,
            "GET",
            &format!("/{}", issue(&emulator, "new").await),
            "",
        )
        .await,
    ]
    .map(|answer| answer.body["result"]["certificate_authority"]["id"].clone());
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].is_string());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let emulator = open(&file).await;
    issue(&emulator, "one").await;
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("is read") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files > 1, "the log beside the database was looked at too");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_could_read_is_taken_from_their_eyes() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    fs::write(&file, "").expect("is made");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("is set");
    let emulator = open(&file).await;
    issue(&emulator, "one").await;
    for entry in fs::read_dir(&folder).expect("is read") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    let link = folder.path().join("link.db");
    symlink(folder.path().join("nothing"), &link).expect("is made");
    let error = refused(&link).await;
    assert!(error.contains("a link that leads nowhere"), "{error}");
}

#[tokio::test]
async fn two_emulators_share_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let (one, other) = tokio::join!(open(&file), open(&file));
    assert_eq!(one.ca_pem(), other.ca_pem());
    let issue_20 = async |emulator: &Emulator, name: &str| {
        for number in 0..20 {
            issue(emulator, &format!("{name}-{number}")).await;
        }
    };
    tokio::join!(issue_20(&one, "one"), issue_20(&other, "other"));
    for emulator in [&one, &other] {
        let list = call(emulator, "GET", "?per_page=50", "").await;
        assert_eq!(list.body["result"].as_array().map(Vec::len), Some(40));
    }
    let id = issue(&one, "seen by both").await;
    call(&other, "DELETE", &format!("/{id}"), "")
        .await
        .assert_succeeded();
    let seen = call(&one, "GET", &format!("/{id}"), "").await;
    assert_eq!(seen.result("status"), "revoked");
}

#[tokio::test]
async fn a_zone_is_filled_once_with_the_same_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let filled = async |builder: EmulatorBuilder, count| {
        let emulator = builder.seed_certificates(ZONE, count).open().await;
        emulator.expect("opens")
    };
    let names = async |emulator: &Emulator| {
        let list = call(emulator, "GET", "?limit=1000", "").await;
        let names = list.body["result"].as_array().expect("a list").iter();
        let fields = |certificate: &serde_json::Value| {
            ["id", "serial_number", "common_name", "status"].map(|field| certificate[field].clone())
        };
        names.map(fields).collect::<Vec<_>>()
    };
    let in_file = names(&filled(kept_in(&file), 120).await).await;
    assert_eq!(in_file.len(), 120);
    let settled = Emulator::builder().transition_delay(Duration::ZERO);
    assert_eq!(names(&filled(settled, 120).await).await, in_file);
    // Again, and with fewer: nothing is added, and nothing taken away.
    assert_eq!(names(&filled(kept_in(&file), 120).await).await, in_file);
    assert_eq!(names(&filled(kept_in(&file), 7).await).await, in_file);
    let more = names(&filled(kept_in(&file), 130).await).await;
    assert_eq!(more.len(), 130);
    assert_eq!(more[10..], in_file);
    // They are what the CA of the file signed, some of them expired, some revoked.
    let emulator = open(&file).await;
    let list = call(&emulator, "GET", "?limit=1000", "").await;
    let result = list.body["result"].as_array().expect("a list");
    let (_, ca) = x509_parser::pem::parse_x509_pem(emulator.ca_pem().as_bytes()).expect("PEM");
    let ca = ca.parse_x509().expect("a certificate");
    for certificate in result {
        let pem = certificate["certificate"].as_str().expect("PEM");
        let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let signed = der.parse_x509().expect("a certificate");
        signed
            .verify_signature(Some(ca.public_key()))
            .expect("the CA signed it");
        assert!(ca.validity().not_before < signed.validity().not_before);
    }
    let count = |field: &str, test: &dyn Fn(&str) -> bool| {
        let matches =
            |certificate: &&serde_json::Value| certificate[field].as_str().is_some_and(test);
        result.iter().filter(matches).count()
    };
    let now = jiff::Timestamp::now().to_string();
    assert!(count("expires_on", &|at| at < now.as_str()) > 20);
    assert!(count("expires_on", &|at| at > now.as_str()) > 20);
    assert_eq!(count("status", &|status| status == "revoked"), 26);
}

#[tokio::test]
async fn a_seed_goes_on_where_the_file_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let emulator = kept_in(&file).seed(7).open().await.expect("opens");
        ids.push(issue(&emulator, "one").await);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_file_that_cant_be_used_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let whole = path("whole.db");
    let emulator = Emulator::builder()
        .db(&whole)
        .start()
        .await
        .expect("starts");
    issue(&emulator, "one").await;
    emulator.shutdown().await;
    let bytes = fs::read(&whole).expect("is read");
    // From SQLite's description of its file format: the schema's version, and the application's id.
    let patched = |at: usize, to: [u8; 4]| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&to);
        bytes
    };
    for (name, content, why) in [
        (
            "text.db",
            b"not a database, whatever its name".repeat(99),
            "it is not a database",
        ),
        (
            "cut.db",
            bytes[..bytes.len() / 2].to_vec(),
            "it is damaged or cut off",
        ),
        (
            "header.db",
            bytes[..50].to_vec(),
            "it is damaged or cut off",
        ),
        ("newer.db", patched(60, [0, 0, 0, 9]), "version 9"),
        (
            "other.db",
            patched(68, [0, 0, 0, 1]),
            "another program's database",
        ),
    ] {
        fs::write(path(name), &content).expect("is written");
        let error = refused(&path(name)).await;
        assert!(
            error.contains(name) && error.contains(why),
            "{name}: {error}"
        );
        assert_eq!(fs::read(path(name)).expect("is read"), content, "{name}");
    }
    let error = refused(&path("missing/emulator.db")).await;
    assert!(error.contains("its folder does not exist"), "{error}");
    let error = refused(folder.path()).await;
    assert!(error.contains("it is a folder"), "{error}");
    // And the one that they were made from can be.
    assert_eq!(
        call(&open(&whole).await, "GET", "", "").await.body["result"][0]["common_name"],
        "one"
    );
}

#[tokio::test]
async fn what_takes_time_is_not_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let error = kept_in(&file).build().expect_err("a database").to_string();
    assert!(error.contains("a database, which takes `open`"), "{error}");
    assert!(!file.exists());
    let seeded = Emulator::builder().seed_certificates(ZONE, 1);
    let error = seeded.build().expect_err("certificates").to_string();
    assert!(error.contains("`open` or `start`"), "{error}");
    let seeded = Emulator::builder().seed_certificates("here", 1);
    let error = seeded.open().await.expect_err("a zone").to_string();
    assert!(
        error.contains("\"here\"") && error.contains("32 hex digits"),
        "{error}"
    );
}
