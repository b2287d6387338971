//! The database: what is in it stays, and a file that can't be used stays as it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::*;
use shieldcert_emulator::{Emulator, EmulatorBuilder};

fn with_db(file: &Path) -> EmulatorBuilder {
    Emulator::builder()
        .db(file)
        .transition_delay(Duration::ZERO)
}

async fn open(file: &Path) -> Emulator {
    with_db(file).open().await.expect("opens")
}

/// The error for a file that can't be used.
async fn open_error(file: &Path) -> String {
    let Err(error) = with_db(file).open().await else {
        panic!("{} was used", file.display());
    };
    error.to_string()
}

#[tokio::test]
async fn certificates_statuses_and_the_ca_survive_a_restart() {
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
    let status = |response: Response| response.result("status").to_owned();
    let active = status(call(&emulator, "GET", &format!("/{kept}"), "").await);
    let gone = status(call(&emulator, "GET", &format!("/{revoked}"), "").await);
    assert_eq!((active.as_str(), gone.as_str()), ("active", "revoked"));
    // The same CA goes on signing.
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
    .map(|response| response.body["result"]["certificate_authority"]["id"].clone());
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].is_string());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
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
    assert!(files > 1, "the log next to the database was checked too");
}

#[cfg(unix)]
#[tokio::test]
async fn an_existing_file_becomes_private() {
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
    let error = open_error(&link).await;
    assert!(error.contains("a link to nothing"), "{error}");
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
async fn a_zone_is_populated_once_with_the_same_certificates() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let populate = async |builder: EmulatorBuilder, count| {
        let emulator = builder.populate(ZONE, count).open().await;
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
    let in_file = names(&populate(with_db(&file), 120).await).await;
    assert_eq!(in_file.len(), 120);
    let settled = Emulator::builder().transition_delay(Duration::ZERO);
    assert_eq!(names(&populate(settled, 120).await).await, in_file);
    // The same number again, and fewer, change nothing.
    assert_eq!(names(&populate(with_db(&file), 120).await).await, in_file);
    assert_eq!(names(&populate(with_db(&file), 7).await).await, in_file);
    let more = names(&populate(with_db(&file), 130).await).await;
    assert_eq!(more.len(), 130);
    assert_eq!(more[10..], in_file);
    // The CA of the file signed them. Some are expired, some revoked.
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
async fn a_seed_does_not_repeat_the_ids_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let emulator = with_db(&file).seed(7).open().await.expect("opens");
        ids.push(issue(&emulator, "one").await);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_file_that_cant_be_used_is_named_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let valid = path("valid.db");
    let emulator = Emulator::builder()
        .db(&valid)
        .start()
        .await
        .expect("starts");
    issue(&emulator, "one").await;
    emulator.shutdown().await;
    let bytes = fs::read(&valid).expect("is read");
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
            "it is damaged or truncated",
        ),
        (
            "header.db",
            bytes[..50].to_vec(),
            "it is damaged or truncated",
        ),
        ("newer.db", patched(60, [0, 0, 0, 9]), "version 9"),
        (
            "other.db",
            patched(68, [0, 0, 0, 1]),
            "another program's database",
        ),
    ] {
        fs::write(path(name), &content).expect("is written");
        let error = open_error(&path(name)).await;
        assert!(
            error.contains(name) && error.contains(why),
            "{name}: {error}"
        );
        assert_eq!(fs::read(path(name)).expect("is read"), content, "{name}");
    }
    let error = open_error(&path("missing/emulator.db")).await;
    assert!(error.contains("its folder does not exist"), "{error}");
    let error = open_error(folder.path()).await;
    assert!(error.contains("it is a folder"), "{error}");
    // The file that they were made from can be used.
    assert_eq!(
        call(&open(&valid).await, "GET", "", "").await.body["result"][0]["common_name"],
        "one"
    );
}

#[tokio::test]
async fn build_refuses_what_needs_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let error = with_db(&file).build().expect_err("a database").to_string();
    assert!(
        error.contains("a database can't be set up by `build`"),
        "{error}"
    );
    assert!(!file.exists());
    let populated = Emulator::builder().populate(ZONE, 1);
    let error = populated.build().expect_err("certificates").to_string();
    assert!(error.contains("`open` or `start`"), "{error}");
    let populated = Emulator::builder().populate("here", 1);
    let error = populated.open().await.expect_err("a zone").to_string();
    assert!(
        error.contains("\"here\"") && error.contains("32 hex digits"),
        "{error}"
    );
}
