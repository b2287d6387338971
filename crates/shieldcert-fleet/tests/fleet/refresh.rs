//! What the zones hold otherwise than the journal.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use shieldcert::bytes::Bytes;
use shieldcert::{BoxFuture, Client, Transport, TransportError, http};
use shieldcert_emulator::{EmulatorTransport, Fixture, Operation};
use shieldcert_fleet::{Action, Ask, Connector, Difference, Finding, Fleet, Hold};

use crate::kit::{DAY, Deployer, World, ZONE, emulator, manifest, name};

fn differences(findings: &[Finding]) -> Vec<Difference> {
    findings.iter().map(|finding| finding.difference).collect()
}

/// The CSR of a generation.
fn csr(world: &World, device: &str, generation: u32) -> String {
    let path = format!("devices/{device}/{generation}/request.csr.pem");
    fs::read_to_string(world.path(path)).expect("is read")
}

async fn id_of(world: &World, device: &str) -> shieldcert::CertificateId {
    let held = world.certificates().await;
    let found = held.iter().find(|held| held.common_name() == Some(device));
    found.expect("is held").id().clone()
}

#[tokio::test(start_paused = true)]
async fn nothing_differs_after_a_run() {
    let world = World::new(emulator(), "", &manifest(3));
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    let scan = world.list_requests().await;
    let lists = world.count(Operation::List);
    assert_eq!(differences(&world.compare().await), []);
    assert_eq!(
        world.count(Operation::List),
        lists + 1 + scan,
        "the time, and the zone"
    );
    let summary = world.refresh().await;
    assert_eq!((summary.progress.revoked, summary.progress.issued), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn surplus_is_found_and_revoked_and_what_is_foreign_stays() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    let own = Fixture::for_csr(csr(&world, "sensor-1", 1));
    world.emulator.add(ZONE, own).await.expect("is added");
    let foreign = Fixture::new("sensor-2");
    world.emulator.add(ZONE, foreign).await.expect("is added");
    let findings = world.compare().await;
    let mut found = differences(&findings);
    found.sort_unstable();
    assert_eq!(found, [Difference::Surplus, Difference::Foreign]);
    let surplus = &findings[findings
        .iter()
        .position(|finding| finding.difference == Difference::Surplus)
        .expect("is there")];
    assert_eq!(
        (surplus.device.clone(), surplus.generation),
        (Some(name("sensor-1")), Some(1))
    );
    // A comparison changes nothing.
    assert_eq!(world.apply().await.progress.revoked, 0);
    assert_eq!(world.active().await["sensor-1"], 2);
    let summary = world.refresh().await;
    assert_eq!(summary.progress.revoked, 1);
    world.check_in_use(&["sensor-1"]).await;
    assert_eq!(world.active().await["sensor-2"], 2, "one is foreign");
    assert_eq!(differences(&world.compare().await), [Difference::Foreign]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_revoked_is_a_question() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    let id = id_of(&world, "sensor-1").await;
    world.zone(ZONE).revoke(&id).await.expect("is revoked");
    assert_eq!(
        differences(&world.compare().await),
        [Difference::RevokedElsewhere]
    );
    let summary = world.refresh().await;
    assert_eq!(summary.waiting.get(&Hold::RevokedElsewhere), Some(&1));
    assert!(!summary.is_complete());
    // Nothing is issued before an operator asks, even when it is due.
    tokio::time::sleep(DAY * 300).await;
    world.apply().await;
    assert_eq!(world.active().await.get("sensor-1"), None);
    assert!(!world.path("devices/sensor-1/2").exists());
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
    let summary = world.refresh().await;
    assert!(summary.is_complete(), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_is_over_when_it_is_active_again() {
    let world = World::new(emulator(), "", &manifest(1));
    world.apply().await;
    let id = id_of(&world, "sensor-1").await;
    world.zone(ZONE).revoke(&id).await.expect("is revoked");
    world.refresh().await;
    world
        .zone(ZONE)
        .reactivate(&id)
        .await
        .expect("is reactivated");
    let summary = world.refresh().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
}

/// It was revoked before a device has used it.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_revoked_is_not_deployed() {
    let deploy = Deployer::new(|_, _| Err("can't be reached".to_owned()));
    let world = World::new(emulator(), "", &manifest(1)).with_deploy(&deploy);
    world.apply().await;
    let id = id_of(&world, "sensor-1").await;
    world.zone(ZONE).revoke(&id).await.expect("is revoked");
    deploy.judge(|_, _| Ok(String::new()));
    tokio::time::sleep(DAY).await;
    let begun = deploy.begun("deploy").len();
    let summary = world.refresh().await;
    assert_eq!(
        summary.waiting.get(&Hold::RevokedElsewhere),
        Some(&1),
        "{summary:?}"
    );
    assert_eq!(deploy.begun("deploy").len(), begun);
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_has_reactivated_is_revoked_again() {
    let world = World::new(emulator(), "[renew]\ngrace = \"0s\"\n", &manifest(1));
    world.apply().await;
    let old = id_of(&world, "sensor-1").await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
    world
        .zone(ZONE)
        .reactivate(&old)
        .await
        .expect("is reactivated");
    assert_eq!(
        differences(&world.compare().await),
        [Difference::ReactivatedElsewhere]
    );
    assert_eq!(world.refresh().await.progress.revoked, 1);
    world.check_in_use(&["sensor-1"]).await;
    // Once more, after it was known as surplus.
    world
        .zone(ZONE)
        .reactivate(&old)
        .await
        .expect("is reactivated");
    assert_eq!(world.refresh().await.progress.revoked, 1);
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_the_zone_does_not_have_is_a_question() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    // By then a list would show it.
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.emulator.reset().await.expect("is reset");
    assert_eq!(
        differences(&world.compare().await),
        [Difference::Missing; 2]
    );
    let summary = world.refresh().await;
    assert_eq!(summary.waiting.get(&Hold::Missing), Some(&2));
    assert_eq!(world.active().await.len(), 0);
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    assert_eq!(world.active().await["sensor-1"], 1);
    tokio::time::sleep(DAY * 2).await;
    // What is missing can't be revoked, and is done with.
    let summary = world.refresh().await;
    assert_eq!(summary.waiting.get(&Hold::Missing), Some(&1), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
}

/// A list that can't be read to its end shows nothing.
#[tokio::test(start_paused = true)]
async fn from_a_list_that_breaks_off_nothing_is_concluded() {
    let world = World::new(emulator(), "", &manifest(2));
    world.apply().await;
    // By then a list would show it.
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.emulator.reset().await.expect("is reset");
    world.script("list@2..: respond=400 code=1000");
    let mut options = shieldcert_fleet::ApplyOptions::default();
    options.refresh = true;
    world
        .try_apply(&options)
        .await
        .expect_err("can't be listed");
    world.emulator.clear_script();
    let (plan, _) = world.plan().await;
    assert_eq!(plan.actions[&Action::Leave], 2);
}

#[tokio::test(start_paused = true)]
async fn expired_certificates_that_take_a_place_are_said() {
    let world = World::new(emulator(), "", &manifest(1));
    world.apply().await;
    let expired = Fixture::new("old")
        .issued_on("2020-01-01T00:00:00Z")
        .validity_days(30);
    world.emulator.add(ZONE, expired).await.expect("is added");
    let mut found = differences(&world.compare().await);
    found.sort_unstable();
    assert_eq!(found, [Difference::ExpiredButActive, Difference::Foreign]);
    world.refresh().await;
    assert_eq!(world.count(Operation::Delete), 0, "it is foreign");
}

#[tokio::test(start_paused = true)]
async fn files_that_were_changed_are_restored() {
    let policy =
        "[outputs]\nformats = [\"combined\", \"pkcs12\"]\npkcs12_password_file = \"password\"\n";
    let world = World::new(emulator(), policy, &manifest(1));
    world.write("password", "secret");
    world.apply().await;
    let folder = world.path("devices/sensor-1/1");
    let read = |file: &str| fs::read(folder.join(file)).expect("is read");
    let (key, certificate, combined) = (read("key.pem"), read("cert.pem"), read("combined.pem"));
    for break_it in [
        &|| fs::remove_file(folder.join("cert.pem")),
        &|| fs::write(folder.join("cert.pem"), "changed"),
        &|| fs::remove_file(folder.join("combined.pem")),
        &|| {
            fs::write(
                folder.join("combined.pem"),
                &certificate[..certificate.len() / 2],
            )
        },
        &|| fs::remove_file(folder.join("identity.p12")),
    ] as [&dyn Fn() -> std::io::Result<()>; 5]
    {
        break_it().expect("is broken");
        assert_eq!(
            differences(&world.compare().await),
            [Difference::FileChanged]
        );
        let summary = world.refresh().await;
        assert!(summary.is_complete(), "{summary:?}");
        assert_eq!(read("cert.pem"), certificate);
        assert_eq!(read("combined.pem"), combined);
        assert_eq!(read("key.pem"), key);
        assert!(folder.join("identity.p12").exists());
        assert_eq!(differences(&world.compare().await), []);
    }
    let acts = world.acts("sensor-1");
    let repaired = acts
        .iter()
        .filter(|act| **act == shieldcert_fleet::Act::Repaired);
    assert_eq!(repaired.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_lost_is_a_question_until_it_is_back() {
    let world = World::new(emulator(), "", &manifest(1));
    world.apply().await;
    let folder = world.path("devices/sensor-1/1");
    let key = fs::read(folder.join("key.pem")).expect("is read");
    let other = shieldcert::PrivateKey::generate(shieldcert::KeyAlgorithm::EcdsaP256);
    let other = other.expect("is made").to_pem();
    for lose_it in [
        &|| fs::remove_file(folder.join("key.pem")),
        &|| fs::write(folder.join("key.pem"), &*other),
        &|| fs::write(folder.join("key.pem"), "no key"),
        &|| fs::rename(&folder, world.path("devices/sensor-1/moved")),
    ] as [&dyn Fn() -> std::io::Result<()>; 4]
    {
        lose_it().expect("is lost");
        assert_eq!(differences(&world.compare().await), [Difference::KeyLost]);
        let summary = world.refresh().await;
        assert_eq!(summary.waiting.get(&Hold::KeyLost), Some(&1), "{summary:?}");
        assert_eq!(summary.progress.issued, 0);
        if !folder.exists() {
            fs::rename(world.path("devices/sensor-1/moved"), &folder).expect("is back");
        }
        fs::write(folder.join("key.pem"), &key).expect("is back");
        let summary = world.refresh().await;
        assert!(summary.is_complete(), "{summary:?}");
    }
    assert_eq!(world.count(Operation::Create), 1);
    fs::remove_file(folder.join("key.pem")).expect("is lost");
    world.refresh().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

/// A record that can't be read may be the certificate that the list does not show.
#[tokio::test(start_paused = true)]
async fn what_an_unreadable_record_may_be_is_not_missing() {
    for quirk in ["null-record", "no-id"] {
        let world = World::new(emulator(), "", &manifest(3));
        world.apply().await;
        world
            .emulator
            .set_quirks(format!("{quirk}@50%").parse().expect("a quirk"));
        let findings = differences(&world.compare().await);
        assert!(
            !findings.contains(&Difference::Missing),
            "{quirk}: {findings:?}"
        );
        let summary = world.refresh().await;
        assert!(summary.is_complete(), "{quirk}: {summary:?}");
    }
    let world = World::new(emulator(), "", &manifest(3));
    world.apply().await;
    world
        .emulator
        .set_quirks("null-record".parse().expect("a quirk"));
    // Records that are the same are said once.
    assert_eq!(
        differences(&world.compare().await),
        [Difference::Unreadable]
    );
}

/// What a list shows of a certificate may lack the CSR, the certificate, or both. It is the journal's all the same.
#[tokio::test(start_paused = true)]
async fn own_certificates_are_known_whatever_their_records_lack() {
    for quirks in [
        "csr=null",
        "csr=missing",
        "certificate=null",
        "certificate=chain",
        "csr=null, certificate=missing",
        "serial=colons, fingerprint=upper",
    ] {
        let world = World::new(emulator(), "", &manifest(2));
        world.apply().await;
        world.emulator.set_quirks(quirks.parse().expect("quirks"));
        assert_eq!(differences(&world.compare().await), [], "{quirks}");
        let summary = world.refresh().await;
        assert!(summary.is_complete(), "{quirks}: {summary:?}");
        assert_eq!((summary.progress.issued, summary.progress.revoked), (0, 0));
    }
}

/// Its files could not be written yet when somebody revoked it, and reactivated it.
#[tokio::test(start_paused = true)]
async fn a_question_about_what_is_not_written_yet_is_over_too() {
    let policy = "[outputs]\nformats = [\"pkcs12\"]\npkcs12_password_file = \"password\"\n";
    let world = World::new(emulator(), policy, &manifest(1));
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::Failed), Some(&1), "{summary:?}");
    let id = id_of(&world, "sensor-1").await;
    world.zone(ZONE).revoke(&id).await.expect("is revoked");
    let summary = world.refresh().await;
    assert_eq!(summary.waiting.get(&Hold::RevokedElsewhere), Some(&1));
    world
        .zone(ZONE)
        .reactivate(&id)
        .await
        .expect("is reactivated");
    world.write("password", "secret");
    tokio::time::sleep(DAY).await;
    let summary = world.refresh().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
}

/// Another CA signed the certificates of this device, as lists say.
struct OtherCa {
    emulator: EmulatorTransport,
    common_name: &'static str,
}

impl Transport for OtherCa {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let response = self.emulator.send(request).await?;
            Ok(response.map(|body| {
                let mut json: Value = serde_json::from_slice(&body).expect("is JSON");
                for record in json["result"].as_array_mut().into_iter().flatten() {
                    if record["common_name"] == self.common_name {
                        record["certificate_authority"]["id"] = "before".into();
                    }
                }
                json.to_string().into()
            }))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn certificates_of_another_ca_than_the_newest_are_said() {
    let world = World::new(emulator(), "", &manifest(1));
    world.apply().await;
    tokio::time::sleep(DAY).await;
    world.write("devices.csv", &manifest(2));
    world.apply().await;
    let compare = async |common_name| {
        let emulator = world.emulator.clone();
        let connector = Connector::new(move || {
            let emulator = emulator.transport();
            Ok(Client::builder()
                .token("test")
                .base_url(EmulatorTransport::BASE_URL)
                .transport(Arc::new(OtherCa {
                    emulator,
                    common_name,
                })))
        });
        let fleet = Fleet::open(world.folder.path(), connector.with_credentials());
        let mut found = Vec::new();
        let compared = fleet
            .expect("a fleet")
            .compare(|finding| {
                let device = finding.device.map(|device| device.to_string());
                found.push((finding.difference, device, finding.detail));
            })
            .await;
        compared.expect("is compared");
        found
    };
    let old = (
        Difference::OtherIssuer,
        Some("sensor-1".to_owned()),
        Some("before".to_owned()),
    );
    assert_eq!(compare("sensor-1").await, [old]);
    // The newest tells which CA signs by now.
    let of_the_other = compare("sensor-2").await;
    assert_eq!(of_the_other.len(), 1, "{of_the_other:?}");
    assert_eq!(of_the_other[0].1.as_deref(), Some("sensor-1"));
    assert_eq!(compare("nobody").await, []);
}

/// Lists are as late as the service acts.
#[tokio::test(start_paused = true)]
async fn what_a_late_list_does_not_show_yet_is_not_missing() {
    let deploy = Deployer::new(|_, _| Err("can't be reached".to_owned()));
    let world = World::new(emulator(), "", &manifest(2)).with_deploy(&deploy);
    let lag = emulator_with_lag(&world);
    world.apply().await;
    assert_eq!(differences(&world.compare().await), []);
    deploy.judge(|_, _| Ok(String::new()));
    tokio::time::sleep(lag).await;
    let summary = world.refresh().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
}

/// Has lists show the zone as it was. Returns how long ago.
fn emulator_with_lag(world: &World) -> Duration {
    world
        .emulator
        .set_quirks("lag=70s".parse().expect("a quirk"));
    Duration::from_secs(71)
}
