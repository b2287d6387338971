//! What a fleet costs here, beside the embedded engine, in one run. It measures, and asserts only that both are complete:
//!
//!     cargo test --release -p shieldcert-fleet-temporal --test temporal -- --ignored --nocapture measure::fleets

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use shieldcert::Client;
use shieldcert_emulator::RateLimit;
use shieldcert_fleet::{ApplyOptions, Connector, Fleet};
use tokio::sync::watch;

use crate::kit::{POLICY, TOKEN, World, emulator, manifest};

/// So many devices, unless SHIELDCERT_DEVICES says otherwise.
const DEVICES: usize = 2_000;

/// Says where the fleet of the embedded engine is.
const FOLDER: &str = "SHIELDCERT_MEASURE_FOLDER";
const URL: &str = "SHIELDCERT_MEASURE_URL";

/// The processor time of processes that were waited for.
fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("is known");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

fn size(files: &[PathBuf]) -> u64 {
    let sizes = files
        .iter()
        .map(|file| fs::metadata(file).map_or(0, |data| data.len()));
    sizes.sum()
}

/// A database, and what belongs to it.
fn database(path: &Path) -> Vec<PathBuf> {
    ["", "-wal"]
        .map(|end| format!("{}{end}", path.display()).into())
        .into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn fleets() {
    let devices = std::env::var("SHIELDCERT_DEVICES");
    let devices = devices.map_or(DEVICES, |devices| devices.parse().expect("a number"));
    // Where it states none, a client assumes the service's own limit.
    let limit = RateLimit::new(4_000_000, Duration::from_secs(300));
    let service = || {
        emulator()
            .latency(Duration::from_millis(30))
            .rate_limit(limit)
    };
    let Some(world) = World::new(service(), POLICY, &manifest(devices)).await else {
        return;
    };
    println!("{devices} devices, 30 ms a request, a rate limit that is not met");
    println!("engine    wall s  requests  processor s  storage a device");

    let other = service().token(TOKEN).start().await.expect("starts");
    let folder = world.path("embedded");
    fs::create_dir(&folder).expect("is made");
    for file in ["fleet.toml", "devices.csv"] {
        fs::copy(world.path("fleet").join(file), folder.join(file)).expect("is copied");
    }
    let before = processor_time();
    let began = Instant::now();
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "measure::embedded", "--ignored", "--nocapture"])
        .env(FOLDER, &folder)
        .env(URL, other.base_url())
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    let wall = began.elapsed();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    println!(
        "embedded  {:6.1}  {:8}  {:11.1}  {} bytes",
        wall.as_secs_f64(),
        other.history().len(),
        (processor_time() - before).as_secs_f64(),
        size(&database(&folder.join("journal.db"))) / devices as u64
    );

    let workers = [world.worker("one", 0.5), world.worker("two", 0.5)];
    world.json(&["status"]);
    let before = processor_time();
    let began = Instant::now();
    let applied = world.json(&["apply"]);
    let wall = began.elapsed();
    assert_eq!(applied["settled"], devices, "{applied}");
    let client = processor_time() - before;
    let requests = world.emulator.history().len();
    let before = processor_time();
    workers.into_iter().for_each(crate::kit::Process::stop);
    let at_workers = processor_time() - before;
    let before = processor_time();
    let stored = world.server.stop();
    let at_server = processor_time() - before;
    println!(
        "temporal  {:6.1}  {:8}  {:11.1}  {} bytes",
        wall.as_secs_f64(),
        requests,
        (client + at_workers + at_server).as_secs_f64(),
        size(&database(&stored)) / devices as u64
    );
    println!(
        "processor time of apply {:.1} s, of two workers {:.1} s, of the server {:.1} s",
        client.as_secs_f64(),
        at_workers.as_secs_f64(),
        at_server.as_secs_f64()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "another one runs it as a process"]
async fn embedded() {
    let (Ok(folder), Ok(url)) = (std::env::var(FOLDER), std::env::var(URL)) else {
        return;
    };
    let connector = Connector::new(move || Ok(Client::builder().base_url(&url).token(TOKEN)));
    let fleet = Fleet::open(folder, connector.with_credentials()).expect("a fleet");
    let (_stop, stopped) = watch::channel(false);
    let applied = fleet.apply(&ApplyOptions::default(), stopped, |_| {}).await;
    assert!(applied.expect("is applied").is_complete());
}
