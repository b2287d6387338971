//! From the manifest to certificates and back.

use std::fs;

use shieldcert::{Identity, Status};
use shieldcert_emulator::Emulator;
use shieldcert_fleet::Action;

use crate::kit::World;

#[tokio::test]
async fn a_manifest_becomes_certificates_and_a_second_run_does_nothing() {
    let world = World::new(
        Emulator::builder(),
        "",
        "name,organization\nsensor-1,Acme\nsensor-2,Acme\nsensor-3,\n",
    );
    let (plan, entries) = world.plan().await;
    assert_eq!(plan.actions[&Action::Issue], 3);
    assert_eq!(entries.len(), 3);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.progress.issued, 3);
    // One request tells the time.
    assert_eq!(
        summary.progress.requests,
        summary.progress.least_requests + 1
    );
    let held = world.certificates().await;
    assert_eq!(held.len(), 3);
    for name in ["sensor-1", "sensor-2", "sensor-3"] {
        let current = world.path("devices").join(name).join("current");
        let key = fs::read(current.join("key.pem")).expect("a key");
        let certificate = fs::read(current.join("cert.pem")).expect("a certificate");
        let identity =
            Identity::from_pem([key, certificate].concat()).expect("they belong together");
        let serial = identity.certificate().serial_number();
        let of_zone = held
            .iter()
            .find(|held| held.has_serial_number(&serial) == Some(true));
        assert_eq!(of_zone.expect("is in the zone").status(), &Status::Active);
    }
    let again = world.apply().await;
    assert_eq!((again.progress.issued, again.progress.requests), (0, 1));
    let (plan, _) = world.plan().await;
    assert_eq!(plan.actions[&Action::Leave], 3);
    assert!(plan.next.is_some());
}

#[tokio::test]
async fn an_absent_device_loses_its_certificate_and_an_unmanaged_one_keeps_it() {
    let world = World::new(
        Emulator::builder(),
        "",
        "name\nsensor-1\nsensor-2\nsensor-3\n",
    );
    world.apply().await;
    world.write(
        "devices.csv",
        "name,state\nsensor-1,absent\nsensor-2,present\n",
    );
    let (plan, _) = world.plan().await;
    assert_eq!(
        (
            plan.actions[&Action::Revoke],
            plan.actions[&Action::Unmanaged]
        ),
        (1, 1)
    );
    let summary = world.apply().await;
    assert_eq!(summary.progress.revoked, 1);
    let held = world.certificates().await;
    let active = held.iter().filter(|held| held.status() == &Status::Active);
    let mut names: Vec<_> = active.filter_map(|held| held.common_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["sensor-2", "sensor-3"]);
}
