//! `shieldcert find`.

use shieldcert_emulator::Fixture;

use crate::service::{Service, run};

#[test]
fn a_certificate_is_found_by_everything_that_it_has() {
    let service = Service::start();
    service.add(Fixture::new("another"));
    let issued = service.json(&["issue", "sensor-001", "-o", "sensor.pem"]);
    let field = |name: &str| issued[0][name].as_str().expect("a text").to_owned();
    let id = field("id");
    let csr = service.json(&["get", &id])[0]["csr"]
        .as_str()
        .expect("PEM")
        .to_owned();
    std::fs::write(service.folder.path().join("sensor.csr"), csr).expect("is written");
    let decimal = u128::from_str_radix(&field("serial_number")[8..], 16).expect("hex");
    assert!(decimal > 0);
    for what in [
        "sensor.pem",
        "sensor.csr",
        &id,
        &id[..8],
        &id[..8].to_uppercase(),
        &field("serial_number"),
        &field("fingerprint_sha256").to_uppercase(),
    ] {
        let ran = service.run(&["find", what]);
        assert_eq!(
            (ran.code, ran.out),
            (Some(0), format!("{id}\n")),
            "{what}: {}",
            ran.err
        );
    }
    let several = service.run(&["find", "sensor.pem", "sensor.csr", "7bf7f70c"]);
    assert_eq!(several.code, Some(7), "{several:?}");
    assert_eq!(several.out, format!("{id}\n{id}\n"));
}

#[test]
fn a_complete_id_takes_one_request() {
    let service = Service::start_with(|builder| builder.populate(crate::service::ZONE, 300));
    let id = service.add(Fixture::new("sensor-001"));
    let before = service.emulator.history().len();
    assert_eq!(service.run(&["find", &id]).code, Some(0));
    assert_eq!(service.emulator.history().len() - before, 1);
}

#[test]
fn what_is_not_found_is_named() {
    let service = Service::start();
    let key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    std::fs::write(service.folder.path().join("key.pem"), key).expect("is written");
    let texts = [&["7bf7f70c"][..], &["7bf"], &["none.pem"], &["key.pem"]].map(|what| {
        let ran = run(service
            .command(&[&["find"], what].concat())
            .env("LC_ALL", "C"));
        format!("$ shieldcert find {}\n{}", what.join(" "), ran.text())
    });
    insta::assert_snapshot!(texts.join("\n"));
}
