//! Certificates from before the fleet.

use std::fs;

use shieldcert::{CertificateId, KeyAlgorithm, PrivateKey, Subject};
use shieldcert_emulator::{Fixture, Operation};
use shieldcert_fleet::{AdoptBy, AdoptOutcome, Adopted, Adoptee, Ask, Hold};

use crate::kit::{DAY, World, ZONE, emulator, name};

struct Old {
    id: CertificateId,
    key: PrivateKey,
    csr: shieldcert::Csr,
    certificate: shieldcert::X509Certificate,
}

/// A certificate that was issued without the fleet.
async fn issue(world: &World, common_name: &str) -> Old {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = key
        .csr(&Subject::common_name(common_name))
        .expect("is made");
    let issued = world.zone(ZONE).issue(&csr).await.expect("is issued");
    Old {
        id: issued.certificate.id().clone(),
        certificate: issued.certificate.x509().expect("a certificate"),
        key,
        csr,
    }
}

async fn adopt(world: &World, device: &str, by: AdoptBy) -> Adopted {
    let adopted = world
        .fleet()
        .adopt(vec![Adoptee::new(name(device), by)])
        .await;
    adopted.expect("is adopted").remove(0)
}

fn world() -> World {
    World::new(emulator(), "", "name\nsensor-1\n")
}

#[tokio::test(start_paused = true)]
async fn with_its_key_it_is_managed_and_renewed() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    let by = AdoptBy::Certificate(Box::new(old.certificate.clone()), Some(Box::new(old.key)));
    let adopted = adopt(&world, "sensor-1", by).await;
    assert_eq!(adopted.outcome, AdoptOutcome::Managed);
    assert_eq!(adopted.certificates, [old.id]);
    let (number, identity) = world.current("sensor-1");
    assert_eq!(
        (number, identity.certificate().der()),
        (1, old.certificate.der())
    );
    let again = adopt(&world, "sensor-1", AdoptBy::Csr(old.csr)).await;
    assert_eq!(again.outcome, AdoptOutcome::Known);
    let summary = world.apply().await;
    assert_eq!((summary.progress.issued, summary.progress.devices), (0, 0));
    tokio::time::sleep(DAY * 300).await;
    world.apply().await;
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    assert_eq!(world.current("sensor-1").0, 2);
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn without_its_key_it_is_watched_and_revoked_where_the_manifest_says_so() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    let by = AdoptBy::Certificate(Box::new(old.certificate), None);
    assert_eq!(
        adopt(&world, "sensor-1", by).await.outcome,
        AdoptOutcome::Watched
    );
    let summary = world.apply().await;
    assert_eq!((summary.progress.issued, summary.progress.devices), (0, 0));
    // It is due, and nobody has asked.
    tokio::time::sleep(DAY * 300).await;
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::Watched), Some(&1), "{summary:?}");
    assert_eq!(world.count(Operation::Create), 1, "the one before");
    // A comparison does not end it.
    world.refresh().await;
    assert_eq!(world.apply().await.progress.issued, 0);
    world.write("devices.csv", "name,state\nsensor-1,absent\n");
    assert_eq!(world.apply().await.progress.revoked, 1);
    assert_eq!(world.active().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watched_one_is_replaced_when_somebody_asks() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    adopt(&world, "sensor-1", AdoptBy::Csr(old.csr)).await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 2);
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn by_its_csr_a_device_with_its_key_is_managed() {
    let world = World::new(emulator(), "", "name,csr\nsensor-1,sensor-1.csr\n");
    let old = issue(&world, "sensor-1").await;
    world.write("sensor-1.csr", &old.csr.to_pem());
    let adopted = adopt(&world, "sensor-1", AdoptBy::Csr(old.csr.clone())).await;
    assert_eq!(adopted.outcome, AdoptOutcome::Managed);
    let file = fs::read(world.path("devices/sensor-1/current/cert.pem")).expect("is read");
    let file = shieldcert::X509Certificate::from_pem(file).expect("a certificate");
    assert_eq!(file.der(), old.certificate.der());
    assert_eq!(world.apply().await.progress.issued, 0);
    // A renewal waits for a new CSR.
    tokio::time::sleep(DAY * 300).await;
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::Csr), Some(&1));
    assert!(summary.is_complete(), "nothing is wrong with that");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = key.csr(&Subject::common_name("sensor-1")).expect("is made");
    world.write("sensor-1.csr", &csr.to_pem());
    assert_eq!(world.apply().await.progress.issued, 1);
}

#[tokio::test(start_paused = true)]
async fn by_its_common_name_if_only_one_has_it() {
    let world = World::new(emulator(), "", "name\nsensor-1\nsensor-2\nsensor-3\n");
    let one = issue(&world, "one").await;
    let mut two = Vec::new();
    for _ in 0..2 {
        two.push(issue(&world, "two").await.id);
    }
    let revoked = Fixture::new("revoked").status("revoked");
    world.emulator.add(ZONE, revoked).await.expect("is added");
    let by = |name: &str| AdoptBy::CommonName(name.to_owned());
    let adopted = adopt(&world, "sensor-1", by("one")).await;
    assert_eq!(
        (adopted.outcome, adopted.certificates),
        (AdoptOutcome::Watched, vec![one.id])
    );
    let mut ambiguous = adopt(&world, "sensor-2", by("two")).await;
    ambiguous.certificates.sort_by_key(ToString::to_string);
    two.sort_by_key(ToString::to_string);
    assert_eq!(
        (ambiguous.outcome, ambiguous.certificates),
        (AdoptOutcome::Ambiguous, two)
    );
    for missing in ["revoked", "sensor-3", ""] {
        let adopted = adopt(&world, "sensor-3", by(missing)).await;
        assert_eq!(
            (adopted.outcome, adopted.certificates),
            (AdoptOutcome::NotFound, vec![])
        );
    }
}

/// Many are taken over by one list.
#[tokio::test(start_paused = true)]
async fn many_are_found_by_one_list() {
    let world = World::new(emulator(), "", &crate::kit::manifest(5));
    let mut adoptees = Vec::new();
    for number in 1..=5 {
        let device = format!("sensor-{number}");
        let old = issue(&world, &device).await;
        let by = AdoptBy::Certificate(Box::new(old.certificate), Some(Box::new(old.key)));
        adoptees.push(Adoptee::new(name(&device), by));
    }
    let scan = world.list_requests().await;
    let lists = world.count(Operation::List);
    let adopted = world.fleet().adopt(adoptees).await.expect("are adopted");
    assert_eq!(adopted.len(), 5);
    assert!(
        adopted
            .iter()
            .all(|adopted| adopted.outcome == AdoptOutcome::Managed)
    );
    assert_eq!(
        world.count(Operation::List),
        lists + 1 + scan,
        "the time, and the zone"
    );
    let summary = world.refresh().await;
    assert_eq!((summary.progress.issued, summary.progress.revoked), (0, 0));
    assert!(summary.is_complete(), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_the_certificates_is_refused() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let by = AdoptBy::Certificate(Box::new(old.certificate), Some(Box::new(other)));
    let refused = world
        .fleet()
        .adopt(vec![Adoptee::new(name("sensor-1"), by)])
        .await;
    refused.expect_err("is another key");
    // Nothing is left of it.
    assert!(!world.path("devices/sensor-1/1").exists());
}

/// A file that was revoked is no file that nobody knows.
#[tokio::test(start_paused = true)]
async fn what_is_revoked_is_said_to_be() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    world.zone(ZONE).revoke(&old.id).await.expect("is revoked");
    let by = AdoptBy::Certificate(Box::new(old.certificate), Some(Box::new(old.key)));
    let adopted = adopt(&world, "sensor-1", by).await;
    assert_eq!(
        (adopted.outcome, adopted.certificates),
        (AdoptOutcome::Revoked, vec![old.id])
    );
}

/// A run that ends between the key on the disk and the journal is repeated.
#[tokio::test(start_paused = true)]
async fn one_that_was_killed_after_the_key_was_stored_goes_on() {
    let world = world();
    let old = issue(&world, "sensor-1").await;
    let pem = old.key.to_pem();
    let by = || {
        let key = PrivateKey::from_pem(pem.as_bytes()).expect("a key");
        AdoptBy::Certificate(Box::new(old.certificate.clone()), Some(Box::new(key)))
    };
    let forget = || {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(world.path(name));
        }
    };
    adopt(&world, "sensor-1", by()).await;
    forget();
    let again = adopt(&world, "sensor-1", by()).await;
    assert_eq!(again.outcome, AdoptOutcome::Managed);
    assert_eq!(world.current("sensor-1").0, 1);
    assert_eq!(world.apply().await.progress.issued, 0);
    // What is not its own is never overwritten.
    forget();
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = other
        .csr(&Subject::common_name("sensor-1"))
        .expect("is made");
    for (name, text) in [
        ("key.pem", &*other.to_pem()),
        ("request.csr.pem", &csr.to_pem()),
    ] {
        world.write(&format!("devices/sensor-1/1/{name}"), text);
    }
    adopt(&world, "sensor-1", by()).await;
    assert_eq!(world.current("sensor-1").0, 2);
}

/// A row that comes later is no reason to renew, and the file that it names is replaced by the first renewal.
#[tokio::test(start_paused = true)]
async fn a_row_may_come_later_and_a_file_is_left_alone_until_it_is_renewed() {
    let world = World::new(emulator(), "", "name\nother\n");
    let old = issue(&world, "sensor-1").await;
    let by = AdoptBy::Certificate(Box::new(old.certificate), Some(Box::new(old.key)));
    let adopted = adopt(&world, "sensor-1", by).await;
    assert_eq!(adopted.outcome, AdoptOutcome::Managed);
    world.write("out.pem", "as it was");
    world.write(
        "devices.csv",
        "name,days,output\nsensor-1,30,out.pem\nsensor-2,365,two.pem\n",
    );
    world.write("two.pem", "as it was");
    let two = issue(&world, "sensor-2").await;
    let by = AdoptBy::Certificate(Box::new(two.certificate), Some(Box::new(two.key)));
    adopt(&world, "sensor-2", by).await;
    assert_eq!(world.apply().await.progress.issued, 0);
    let read = || fs::read_to_string(world.path("out.pem")).expect("is read");
    assert_eq!(read(), "as it was");
    let two = fs::read_to_string(world.path("two.pem")).expect("is read");
    assert_eq!(two, "as it was");
    world.ask(Ask::Rotate, &["sensor-1"]);
    assert_eq!(world.apply().await.progress.issued, 1);
    let identity = shieldcert::Identity::from_pem(read()).expect("an identity");
    let (_, current) = world.current("sensor-1");
    assert_eq!(identity.certificate().der(), current.certificate().der());
    // From now on it is what the row says.
    world.write("devices.csv", "name,days,output\nsensor-1,60,out.pem\n");
    assert_eq!(world.apply().await.progress.issued, 1);
}
