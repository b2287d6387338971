use std::path::PathBuf;

use shieldcert::{KeyAlgorithm, Subject};

use super::*;
use crate::manifest::{DeviceState, DeviceSubject};

fn device(key: DeviceKey) -> Device {
    Device {
        name: "sensor-1".parse().expect("a name"),
        state: DeviceState::Present,
        subject: DeviceSubject {
            common_name: "sensor-1".to_owned(),
            organization: Some("Acme".to_owned()),
            ..DeviceSubject::default()
        },
        key,
        validity_days: 365,
        zone: None,
        labels: Vec::new(),
        output: None,
    }
}

fn generated() -> Device {
    device(DeviceKey::Generated(KeyAlgorithm::EcdsaP256))
}

fn fleet() -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Folder::new(folder.path());
    (folder, fleet)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("is read");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("is read")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_folder_appears_with_key_and_csr() {
    let (_folder, fleet) = fleet();
    let device = generated();
    let keyed = fleet.make_key(&device, 1).expect("is made");
    assert_eq!(keyed.csr.subject(), "CN=sensor-1,O=Acme");
    assert_eq!(names(&fleet.device(&device.name)), ["1"]);
    let path = fleet.generation(&device.name, 1);
    assert_eq!(names(&path), [KEY, CSR]);
    let Stored::Complete(stored) = fleet.stored(&path).expect("is read") else {
        panic!("it is complete");
    };
    assert_eq!(stored.csr.sha256(), keyed.csr.sha256());
    let key = stored.key.expect("a key");
    assert_eq!(key.public_key(), stored.csr.public_key());
    assert_eq!(key.algorithm(), KeyAlgorithm::EcdsaP256);
}

#[cfg(unix)]
#[test]
fn others_can_read_neither_the_folders_nor_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, fleet) = fleet();
    let device = generated();
    fleet.make_key(&device, 1).expect("is made");
    let path = fleet.generation(&device.name, 1);
    let mode = |path: PathBuf| path.metadata().expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(fleet.devices()), 0o700);
    assert_eq!(mode(fleet.device(&device.name)), 0o700);
    assert_eq!(mode(path.clone()), 0o700);
    assert_eq!(mode(path.join(KEY)), 0o600);
}

#[test]
fn what_a_run_made_before_it_ended_is_taken_over() {
    let (_folder, fleet) = fleet();
    let device = generated();
    let first = fleet.make_key(&device, 1).expect("is made");
    let again = fleet.make_key(&device, 1).expect("is there");
    assert_eq!(again.csr.sha256(), first.csr.sha256());
}

#[test]
fn a_folder_is_never_overwritten() {
    let (_folder, fleet) = fleet();
    let device = generated();
    let path = fleet.generation(&device.name, 1);
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = other.csr(&Subject::common_name("other")).expect("is made");
    for (files, problem) in [
        (vec![], "request.csr.pem is missing"),
        (
            vec![(KEY, other.to_pem().to_string())],
            "request.csr.pem is missing",
        ),
        (vec![(CSR, "no PEM".to_owned())], "request.csr.pem: "),
        (
            vec![(CSR, csr.to_pem()), (KEY, "no PEM".to_owned())],
            "key.pem: ",
        ),
        (
            vec![
                (CSR, csr.to_pem()),
                (
                    KEY,
                    PrivateKey::generate(KeyAlgorithm::EcdsaP256)
                        .expect("is made")
                        .to_pem()
                        .to_string(),
                ),
            ],
            "key.pem is not the key of request.csr.pem",
        ),
        // The device does not have it: the fleet makes its keys.
        (vec![(CSR, csr.to_pem())], "key.pem is missing"),
    ] {
        fs::create_dir_all(&path).expect("is made");
        for (name, text) in &files {
            fs::write(path.join(name), text).expect("is written");
        }
        let error = fleet.make_key(&device, 1).expect_err(problem).to_string();
        assert!(error.contains(problem), "{problem}: {error}");
        for (name, text) in &files {
            assert_eq!(&fs::read_to_string(path.join(name)).expect("is read"), text);
        }
        fs::remove_dir_all(&path).expect("is removed");
    }
    fs::create_dir_all(&path).expect("is made");
    fs::write(path.join("other"), "").expect("is written");
    let keyed = Keyed {
        csr,
        key: Some(other),
    };
    fleet
        .store(&device.name, 1, keyed)
        .expect_err("it is there");
    assert_eq!(names(&path), ["other"]);
    assert_eq!(
        names(&fleet.device(&device.name)),
        ["1"],
        "nothing is left behind"
    );
}

#[test]
fn what_a_run_left_half_made_is_ignored() {
    let (_folder, fleet) = fleet();
    let device = generated();
    let half = fleet.device(&device.name).join(".new-abc");
    fs::create_dir_all(&half).expect("is made");
    fs::write(half.join(KEY), "half").expect("is written");
    fleet.make_key(&device, 1).expect("is made");
    assert_eq!(names(&fleet.device(&device.name)), [".new-abc", "1"]);
}

#[test]
fn of_a_device_with_its_key_the_csr_is_copied() {
    let (folder, fleet) = fleet();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = key.csr(&Subject::common_name("own")).expect("is made");
    let device = device(DeviceKey::Csr("in/sensor-1.csr".into()));
    let missing = fleet
        .make_key(&device, 1)
        .expect_err("there is none")
        .to_string();
    assert!(missing.contains("sensor-1.csr"), "{missing}");
    fs::create_dir(folder.path().join("in")).expect("is made");
    let path = folder.path().join("in/sensor-1.csr");
    fs::write(&path, "no CSR").expect("is written");
    let odd = fleet.make_key(&device, 1).expect_err("is none").to_string();
    assert!(odd.contains("sensor-1.csr"), "{odd}");
    assert!(!fleet.generation(&device.name, 1).exists());
    fs::write(&path, csr.to_pem()).expect("is written");
    let keyed = fleet.make_key(&device, 1).expect("is made");
    assert_eq!(keyed.csr.sha256(), csr.sha256());
    assert_eq!(names(&fleet.generation(&device.name, 1)), [CSR]);
}
