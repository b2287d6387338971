//! Fleets whose process is killed, over and over: beside a service with chaos, on a disk that fills up, and with the
//! service killed too.
#![cfg(all(feature = "emulator", unix))]
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use shieldcert::{Client, ClientCertificate, Identity, Status};
use tempfile::TempDir;

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

/// Lost, late and broken requests. The service is late by less than the settle window of two seconds.
const CHAOS: &str = "create: lose-request=2%, create: lose-response=3%, create: late=2%:0s..1s, \
                     create: late-lost=2%:0s..1s, reset=2%, 502-before=1%, 502-after=1%, truncate=1%, html=1%";

fn shieldcert() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shieldcert"));
    command.stdin(Stdio::null()).env("FLEET_TOKEN", TOKEN);
    command
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL. It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service, as a process that keeps its certificates in a file.
struct Service {
    process: Option<Process>,
    folder: TempDir,
    address: String,
}

impl Service {
    fn new() -> Self {
        let mut service = Self {
            process: None,
            folder: tempfile::tempdir().expect("a folder"),
            address: "127.0.0.1:0".to_owned(),
        };
        service.start(CHAOS);
        service
    }

    /// Starts it, with these faults, where it was.
    fn start(&mut self, chaos: &str) {
        self.process = None;
        let mut child = shieldcert()
            .args([
                "emulator",
                "--listen",
                &self.address,
                "--token",
                TOKEN,
                "--quiet",
            ])
            .args(["--rate-limit", "4000000/300s", "--chaos", chaos, "--db"])
            .arg(self.folder.path().join("service.db"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("is piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.strip_prefix("listening on http://");
        let address = address.and_then(|rest| rest.strip_suffix("/client/v4\n"));
        self.address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        self.process = Some(Process(child));
    }

    fn base_url(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }
}

/// A fleet in a folder.
struct Fleet {
    folder: PathBuf,
    devices: usize,
    random: fastrand::Rng,
}

impl Fleet {
    fn new(folder: &Path, devices: usize) -> Self {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let fleet = Self {
            folder: folder.to_owned(),
            devices,
            random: fastrand::Rng::with_seed(seed),
        };
        let policy = format!(
            "[zones.main]\nid = \"{ZONE}\"\n[budgets.default]\ntoken_env = \"FLEET_TOKEN\"\nreserve_share = 0.0\n\
             [limits]\nsettle_window = \"2s\"\n"
        );
        fs::write(folder.join("fleet.toml"), policy).expect("is written");
        let names = (0..devices).map(|number| format!("device-{number:03}\n"));
        fs::write(
            folder.join("devices.csv"),
            format!("name\n{}", names.collect::<String>()),
        )
        .expect("is written");
        fleet
    }

    fn apply(&self, service: &Service) -> Command {
        let mut command = shieldcert();
        command
            .args(["--base-url", &service.base_url(), "fleet", "--dir"])
            .arg(&self.folder)
            .arg("apply");
        command
    }

    /// Starts the process, and kills it at an instant of its life. Returns whether it had ended before.
    fn kill_once(&mut self, service: &Service) -> bool {
        let mut command = self.apply(service);
        let mut process = Process(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts"),
        );
        sleep(Duration::from_millis(self.random.u64(5..700)));
        process.0.try_wait().expect("is asked").is_some()
    }

    /// Runs it until everything is done.
    fn finish(&self, service: &Service) {
        let mut last = None;
        for _ in 0..5 {
            let output = self.apply(service).output().expect("runs");
            if output.status.success() {
                return;
            }
            last = Some(output);
        }
        panic!("it does not end: {}", last.map(said).unwrap_or_default());
    }

    /// Each device has one active certificate, with the key on the disk.
    fn check(&self, service: &Service) {
        let client = Client::builder().token(TOKEN).base_url(service.base_url());
        let zone = client
            .build()
            .expect("a client")
            .zone(ZONE.parse().expect("an id"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let list = runtime.expect("a runtime").block_on(zone.list().send());
        let mut active = BTreeMap::<String, Vec<ClientCertificate>>::new();
        for certificate in list.expect("is listed") {
            if certificate.status() == &Status::Active {
                let name = certificate.common_name().unwrap_or_default().to_owned();
                active.entry(name).or_default().push(certificate);
            }
        }
        assert_eq!(active.len(), self.devices);
        for (name, certificates) in active {
            let ids: Vec<_> = certificates.iter().map(ClientCertificate::id).collect();
            assert_eq!(ids.len(), 1, "{name}: {ids:?}");
            let current = self.folder.join("devices").join(&name).join("current");
            let read = |file: &str| fs::read(current.join(file)).expect("is there");
            let identity = Identity::from_pem([read("key.pem"), read("cert.pem")].concat());
            let serial = identity
                .expect("belongs together")
                .certificate()
                .serial_number();
            assert_eq!(
                certificates[0].has_serial_number(&serial),
                Some(true),
                "{name}"
            );
        }
    }
}

fn said(output: Output) -> String {
    format!(
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_fleet_that_is_killed_a_hundred_times_is_what_its_manifest_says() {
    let mut service = Service::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::new(folder.path(), 300);
    let ended = (0..100).filter(|_| fleet.kill_once(&service)).count();
    println!("{ended} of 100 had ended before they were killed");
    service.start("");
    fleet.finish(&service);
    fleet.check(&service);
}

#[test]
fn a_fleet_and_a_service_that_are_killed_in_turns_agree_in_the_end() {
    let mut service = Service::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::new(folder.path(), 100);
    for _ in 0..15 {
        let mut command = fleet.apply(&service);
        let process = Process(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts"),
        );
        for _ in 0..3 {
            sleep(Duration::from_millis(fleet.random.u64(5..400)));
            service.start(CHAOS);
        }
        drop(process);
        fleet.kill_once(&service);
    }
    service.start("");
    fleet.finish(&service);
    fleet.check(&service);
}

/// Says where the small disk is.
const DISK: &str = "SHIELDCERT_TEST_DISK";

#[test]
fn a_fleet_whose_disk_fills_up_goes_on_when_there_is_room() {
    let unshared = Command::new("unshare").args(["-rm", "true"]).status();
    if !unshared.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("SHIELDCERT_INTEROP").is_none_or(|value| value != "require"),
            "unshare can't make a mount namespace here"
        );
        eprintln!("skipped: unshare can't make a mount namespace here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=12m tmpfs . && cd . && exec "$0" --exact on_the_small_disk --ignored --nocapture"#)
        .arg(std::env::current_exe().expect("this test"))
        .current_dir(folder.path())
        .env(DISK, folder.path())
        .output()
        .expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        said(output)
    );
}

#[test]
#[ignore = "another test runs it in a mount namespace"]
fn on_the_small_disk() {
    let folder = PathBuf::from(std::env::var_os(DISK).expect("is set"));
    let mut service = Service::new();
    let mut fleet = Fleet::new(&folder, 200);
    let filler = folder.join("filler");
    let mut refusals = 0;
    for _ in 0..8 {
        // Room for a dozen devices.
        let left = fleet.random.usize(0..400_000);
        fill(&filler, left);
        // What fails for one device stands in this file alone. That of an earlier run would excuse this one.
        let failed = fleet.folder.join("failed.csv");
        let _ = fs::remove_file(&failed);
        let output = fleet.apply(&service).output().expect("runs");
        let is_done = output.status.success();
        let failed = fs::read_to_string(failed).unwrap_or_default();
        let said = said(output) + &failed;
        assert!(!said.contains("panicked"), "{said}");
        let is_full = ["is full", "no space left", "No space left"];
        if is_full.iter().any(|full| said.contains(full)) {
            refusals += 1;
        } else {
            assert!(is_done, "it says something else: {said}");
        }
        fs::remove_file(&filler).expect("is removed");
        fleet.kill_once(&service);
    }
    println!("{refusals} runs met a full disk");
    assert!(refusals > 0, "no run met a full disk");
    service.start("");
    fleet.finish(&service);
    fleet.check(&service);
}

/// Takes all the room of the disk but so much.
fn fill(path: &Path, left: usize) {
    let mut file = fs::File::create(path).expect("is made");
    let block = [0; 4096];
    let mut written: u64 = 0;
    while file.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    file.set_len(written.saturating_sub(left as u64))
        .expect("is cut");
}
