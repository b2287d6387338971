use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use shieldcert::{ClientCertificate, Csr, KeyAlgorithm, Subject};
use shieldcert_emulator::{Emulator, EmulatorTransport};

use super::*;
use crate::config::Config;
use crate::keystore::Stored;
use crate::manifest::{DeviceKey, DeviceState, DeviceSubject};

const ZONE: &str = "00000000000000000000000000000000";

struct World {
    folder: tempfile::TempDir,
    fleet: Folder,
    device: Device,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            fleet: Folder::new(folder.path()),
            folder,
            device: Device {
                name: "sensor-1".parse().expect("a name"),
                state: DeviceState::Present,
                subject: DeviceSubject {
                    common_name: "sensor-1".to_owned(),
                    ..DeviceSubject::default()
                },
                key: DeviceKey::Generated(KeyAlgorithm::EcdsaP256),
                validity_days: 365,
                zone: None,
                labels: Vec::new(),
                output: None,
            },
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.fleet.generation(&self.device.name, number)
    }

    fn config(&self, outputs: &str) -> OutputsConfig {
        let text = format!("[zones.main]\nid = \"{ZONE}\"\n[outputs]\n{outputs}");
        Config::from_toml(&text).expect("a policy").outputs
    }

    fn keyed(&self, number: u32) -> Keyed {
        self.fleet.make_key(&self.device, number).expect("is made")
    }

    async fn make(&self, number: u32, config: &OutputsConfig) -> X509Certificate {
        let keyed = self.keyed(number);
        let certificate = issue(&keyed.csr).await;
        write(&self.fleet, &self.path(number), keyed, &certificate, config).expect("is written");
        certificate
    }

    fn mode(&self, number: u32, name: &str) -> u32 {
        let path = self.path(number).join(name);
        path.metadata().expect("is there").permissions().mode() & 0o777
    }
}

async fn issue(csr: &Csr) -> X509Certificate {
    let emulator = Emulator::builder().build().expect("builds");
    let client = shieldcert::Client::builder()
        .token("test")
        .base_url(EmulatorTransport::BASE_URL)
        .transport(std::sync::Arc::new(emulator.transport()))
        .build()
        .expect("a client");
    let zone = client.zone(ZONE.parse().expect("an id"));
    let certificate: ClientCertificate = zone.issue(csr).await.expect("is issued").certificate;
    certificate.x509().expect("a certificate")
}

#[tokio::test]
async fn every_form_can_be_read() {
    let world = World::new();
    fs::write(world.folder.path().join("password"), "secret words\r\n").expect("is written");
    let config = world.config(
        "formats = [\"pem\", \"combined\", \"pkcs12\"]\npkcs12_password_file = \"password\"\n",
    );
    let certificate = world.make(1, &config).await;
    let read = |name: &str| fs::read(world.path(1).join(name)).expect("is read");
    let separate = [read(KEY), read(CERTIFICATE)].concat();
    let pkcs12 = Identity::from_pkcs12(read(PKCS12), "secret words").expect("is read");
    for identity in [
        Identity::from_pem(separate).expect("they belong together"),
        Identity::from_pem(read(COMBINED)).expect("they belong together"),
        pkcs12,
    ] {
        assert_eq!(identity.certificate().der(), certificate.der());
    }
    for name in [KEY, CERTIFICATE, COMBINED, PKCS12] {
        assert_eq!(world.mode(1, name), 0o600, "{name}");
    }
    assert!(are_complete(&world.path(1), &certificate, &config));
    let path = world.path(1).join(PKCS12);
    let openssl = Command::new("openssl")
        .args(["pkcs12", "-nodes", "-passin", "pass:secret words", "-in"])
        .arg(path)
        .output();
    // Where it is installed.
    if let Ok(output) = openssl {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("PRIVATE KEY") && text.contains("BEGIN CERTIFICATE"));
        assert!(text.contains("friendlyName: sensor-1"), "{text}");
    }
}

#[tokio::test]
async fn pem_is_all_that_is_written_by_default() {
    let world = World::new();
    world.make(1, &world.config("")).await;
    let found: Vec<_> = files(&world.path(1))
        .into_iter()
        .map(|(what, _)| what)
        .collect();
    assert_eq!(found, ["KEY", "CERTIFICATE"]);
}

#[tokio::test]
async fn files_have_the_mode_and_the_owner_of_the_policy() {
    let world = World::new();
    let folder = world.folder.path().metadata().expect("is there");
    let owner = format!("{}:{}", folder.uid(), folder.gid());
    let policy = format!("formats = [\"combined\"]\nmode = \"0640\"\nowner = \"{owner}\"\n");
    world.make(1, &world.config(&policy)).await;
    for name in [KEY, CERTIFICATE, COMBINED] {
        assert_eq!(world.mode(1, name), 0o640, "{name}");
        let written = world.path(1).join(name).metadata().expect("is there");
        assert_eq!((written.uid(), written.gid()), (folder.uid(), folder.gid()));
    }
    let keyed = world.keyed(2);
    let certificate = issue(&keyed.csr).await;
    let config = world.config("owner = \"no-such-user\"\n");
    let error = write(&world.fleet, &world.path(2), keyed, &certificate, &config)
        .expect_err("there is no such user");
    assert!(error.to_string().contains("no-such-user"), "{error}");
    // What says that the files are complete is not there.
    assert!(!world.path(2).join(CERTIFICATE).exists());
}

#[tokio::test]
async fn a_group_that_may_read_passes_through_the_folders_and_nobody_else_does() {
    let world = World::new();
    let metadata = |path: PathBuf| path.metadata().expect("is there");
    let folder = metadata(world.folder.path().to_owned());
    // Any group, where this may be.
    let group = match folder.uid() {
        0 => 12_345,
        _ => folder.gid(),
    };
    let (user, before) = (folder.uid(), folder.mode());
    let folders = |number: u32| {
        let generation = world.path(number);
        let device = world.fleet.device(&world.device.name);
        [generation, device, world.fleet.devices()]
    };
    for (number, owner, mode) in [
        (1, format!("{user}"), "0640"),
        (2, format!("{user}:{group}"), "0600"),
    ] {
        let policy = format!("owner = \"{owner}\"\nmode = \"{mode}\"\n");
        world.make(number, &world.config(&policy)).await;
        for folder in folders(number) {
            assert_eq!(metadata(folder).mode() & 0o777, 0o700, "{owner} {mode}");
        }
    }
    let policy = format!("owner = \"{user}:{group}\"\nmode = \"0640\"\n");
    world.make(3, &world.config(&policy)).await;
    for folder in folders(3) {
        let folder = metadata(folder);
        assert_eq!((folder.mode() & 0o777, folder.gid()), (0o710, group));
        assert_eq!(folder.uid(), user);
    }
    // A key without a certificate, and the folder of the fleet, stay as they are.
    world.keyed(4);
    assert_eq!(metadata(world.path(4)).mode() & 0o777, 0o700);
    assert_eq!(metadata(world.folder.path().to_owned()).mode(), before);
}

#[tokio::test]
async fn writing_again_changes_nothing() {
    let world = World::new();
    let config = world.config("formats = [\"combined\"]\n");
    let certificate = world.make(1, &config).await;
    let key = fs::read(world.path(1).join(KEY)).expect("is read");
    fs::remove_file(world.path(1).join(COMBINED)).expect("is removed");
    assert!(!are_complete(&world.path(1), &certificate, &config));
    write(
        &world.fleet,
        &world.path(1),
        world.keyed(1),
        &certificate,
        &config,
    )
    .expect("is written");
    assert!(are_complete(&world.path(1), &certificate, &config));
    assert_eq!(fs::read(world.path(1).join(KEY)).expect("is read"), key);
}

#[tokio::test]
async fn a_certificate_with_another_key_is_refused() {
    let world = World::new();
    let keyed = world.keyed(1);
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = other
        .csr(&Subject::common_name("sensor-1"))
        .expect("is made");
    let certificate = issue(&csr).await;
    let error = write(
        &world.fleet,
        &world.path(1),
        keyed,
        &certificate,
        &world.config(""),
    )
    .expect_err("has another key");
    assert!(
        error
            .to_string()
            .ends_with("the certificate has another key than the CSR"),
        "{error}"
    );
    assert!(!world.path(1).join(CERTIFICATE).exists());
}

#[tokio::test]
async fn a_missing_password_is_named() {
    let world = World::new();
    let config = world.config("formats = [\"pkcs12\"]\npkcs12_password_file = \"password\"\n");
    let keyed = world.keyed(1);
    let certificate = issue(&keyed.csr).await;
    let error = write(&world.fleet, &world.path(1), keyed, &certificate, &config)
        .expect_err("there is no password");
    assert!(error.to_string().contains("password"), "{error}");
}

#[tokio::test]
async fn current_is_switched_in_one_step_and_again() {
    let world = World::new();
    let config = world.config("");
    world.make(1, &config).await;
    world.make(2, &config).await;
    let link = world.fleet.current(&world.device.name);
    let leads_to = || fs::read_link(&link).expect("is a link");
    for number in [1, 1, 2, 2, 1] {
        publish(&world.fleet, &world.device, number).expect("is published");
        assert_eq!(leads_to(), Path::new(&number.to_string()));
        assert!(link.join(CERTIFICATE).exists());
    }
    // A run ended between the two steps.
    let temporary = world.fleet.device(&world.device.name).join(".current");
    symlink("1", &temporary).expect("is made");
    publish(&world.fleet, &world.device, 2).expect("is published");
    assert_eq!(leads_to(), Path::new("2"));
    assert!(
        fs::symlink_metadata(&temporary).is_err(),
        "nothing is left behind"
    );
}

/// At no instant there is no `current`.
#[tokio::test]
async fn whoever_reads_current_meanwhile_finds_a_whole_generation() {
    let world = World::new();
    let config = world.config("");
    world.make(1, &config).await;
    world.make(2, &config).await;
    publish(&world.fleet, &world.device, 1).expect("is published");
    let link = world.fleet.current(&world.device.name);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
                fs::read_link(&link).expect("there is always one");
                reads += 1;
            }
        });
        for turn in 0..500 {
            publish(&world.fleet, &world.device, 1 + turn % 2).expect("is published");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("found one each time");
    });
}

#[tokio::test]
async fn the_file_of_the_row_has_key_and_certificate() {
    let mut world = World::new();
    let target = world.folder.path().join("sensor.pem");
    world.device.output = Some("sensor.pem".into());
    let config = world.config("");
    for number in [1, 2] {
        let certificate = world.make(number, &config).await;
        publish(&world.fleet, &world.device, number).expect("is published");
        let identity = Identity::from_pem(fs::read(&target).expect("is read"));
        let identity = identity.expect("they belong together");
        assert_eq!(identity.certificate().der(), certificate.der());
        let mode = target.metadata().expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Somebody has changed it: publishing again restores it.
    fs::write(&target, "changed").expect("is written");
    publish(&world.fleet, &world.device, 2).expect("is published");
    Identity::from_pem(fs::read(&target).expect("is read")).expect("is restored");
}

#[tokio::test]
async fn of_a_device_with_its_key_the_certificate_alone_is_written() {
    let mut world = World::new();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("is made");
    let csr = key.csr(&Subject::common_name("own")).expect("is made");
    fs::write(world.folder.path().join("own.csr"), csr.to_pem()).expect("is written");
    world.device.key = DeviceKey::Csr("own.csr".into());
    world.device.output = Some("own.pem".into());
    let config = world.config("formats = [\"combined\"]\n");
    let certificate = world.make(1, &config).await;
    let found: Vec<_> = files(&world.path(1))
        .into_iter()
        .map(|(what, _)| what)
        .collect();
    assert_eq!(found, ["CERTIFICATE"]);
    assert!(are_complete(&world.path(1), &certificate, &config));
    publish(&world.fleet, &world.device, 1).expect("is published");
    let written = fs::read(world.folder.path().join("own.pem")).expect("is read");
    let written = X509Certificate::from_pem(written).expect("a certificate");
    assert_eq!(written.der(), certificate.der());
    assert!(matches!(
        world.fleet.stored(&world.path(1)),
        Ok(Stored::Complete(_))
    ));
}
