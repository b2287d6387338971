//! What a fleet costs: its plan, and what it takes under the rate limit in simulated time.
//!
//! Run by `bench-fleet`, a process for each figure, so that each has its own peak of memory.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use serde::Serialize;
use shieldcert::{Client, Transport};
use shieldcert_emulator::{Chaos, Emulator, EmulatorTransport, Moment, Observation, RateLimit};
use shieldcert_fleet::{ApplyOptions, Connector, Fleet};
use tempfile::TempDir;
use tokio::sync::watch;

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

/// The service's documented limit.
const QUOTA: u32 = 1_200;
const WINDOW: Duration = Duration::from_secs(300);

/// A plan of a fleet that has no journal yet.
#[derive(Debug, Serialize)]
pub struct PlanCost {
    /// How many devices the manifest has.
    pub devices: u64,
    /// How long the first plan took, in seconds.
    pub plan_seconds: f64,
    /// How long a year in simulated time took, three times, in seconds.
    pub forecast_seconds: f64,
}

/// A fleet that is issued in simulated time, under the rate limit.
#[derive(Debug, Serialize)]
pub struct LimitCost {
    /// How many devices were issued.
    pub devices: u64,
    /// How long it took in the service's time, in seconds.
    pub simulated_seconds: f64,
    /// The least time in which the limit allows so many requests, in seconds.
    pub ideal_seconds: f64,
    /// How many requests were sent.
    pub requests: u64,
    /// How many of them were refused with 429.
    pub refused: u64,
    /// How many faults were drawn.
    pub faults: u64,
    /// How many certificates are active in the end.
    pub active: u64,
    /// How long it took on this machine, in seconds.
    pub wall_seconds: f64,
    /// How long a plan of the complete fleet took, in seconds.
    pub plan_seconds: f64,
}

/// A folder in memory where there is one: what the disk costs is measured elsewhere.
fn folder() -> anyhow::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(match memory.is_dir() {
        true => TempDir::new_in(memory)?,
        false => TempDir::new()?,
    })
}

fn write_fleet(folder: &Path, devices: u64) -> anyhow::Result<()> {
    let policy = format!(
        "[zones.main]\nid = \"{ZONE}\"\n[budgets.default]\ntoken_env = \"UNUSED\"\nreserve_share = 0.0\n"
    );
    fs::write(folder.join("fleet.toml"), policy)?;
    let mut manifest = std::io::BufWriter::new(fs::File::create(folder.join("devices.csv"))?);
    writeln!(manifest, "name,organization,days")?;
    for number in 0..devices {
        writeln!(manifest, "device-{number:07},Acme,365")?;
    }
    manifest.flush()?;
    Ok(())
}

fn open(folder: &Path, transport: Arc<dyn Transport>) -> anyhow::Result<Fleet> {
    let connector = Connector::new(move || {
        Ok(Client::builder()
            .token(TOKEN)
            .base_url(EmulatorTransport::BASE_URL)
            .transport(transport.clone()))
    });
    Ok(Fleet::open(folder, connector.with_credentials())?)
}

/// Measures the first plan of so many devices.
pub async fn measure_plan(devices: u64) -> anyhow::Result<PlanCost> {
    let folder = folder()?;
    write_fleet(folder.path(), devices)?;
    let emulator = Emulator::builder().token(TOKEN).build()?;
    let fleet = open(folder.path(), Arc::new(emulator.transport()))?;
    let started = Instant::now();
    let mut count = 0;
    let plan = fleet.plan(|_| count += 1).await?;
    let plan_seconds = started.elapsed().as_secs_f64();
    ensure!(
        plan.devices == devices && count == devices,
        "the plan is not complete"
    );
    Ok(PlanCost {
        devices,
        plan_seconds,
        forecast_seconds: 0.0,
    })
}

/// Measures a year of so many devices in simulated time.
pub fn measure_forecast(devices: u64) -> anyhow::Result<PlanCost> {
    let folder = folder()?;
    write_fleet(folder.path(), 0)?;
    let emulator = Emulator::builder().token(TOKEN).build()?;
    let fleet = open(folder.path(), Arc::new(emulator.transport()))?;
    let started = Instant::now();
    let forecast = fleet.forecast(Some(devices))?;
    ensure!(forecast.devices == devices, "the forecast is not complete");
    Ok(PlanCost {
        devices,
        plan_seconds: 0.0,
        forecast_seconds: started.elapsed().as_secs_f64(),
    })
}

/// Issues so many devices under the documented limit, with these faults. Needs a runtime whose clock is paused.
pub async fn measure_limit(devices: u64, chaos: &str) -> anyhow::Result<LimitCost> {
    let folder = folder()?;
    write_fleet(folder.path(), devices)?;
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(1)
        .sign_inline(true)
        .clock_start(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .build()?;
    let (sent, refused, faults) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let observer = {
        let (sent, refused, faults) = (sent.clone(), refused.clone(), faults.clone());
        move |observation: &Observation<'_>| match observation.moment {
            Moment::Sent { fault, .. } => {
                sent.fetch_add(1, Ordering::Relaxed);
                faults.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
            }
            Moment::Responded { status: 429, .. } => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    };
    let chaos: Chaos = chaos.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let connection = emulator
        .connect()
        .seed(1)
        .rate_limit(RateLimit::new(QUOTA, WINDOW))
        .chaos(chaos)
        .observe(observer);
    let fleet = open(folder.path(), Arc::new(connection))?;
    let (wall, began) = (Instant::now(), tokio::time::Instant::now());
    let (_stop, stopped) = watch::channel(false);
    let mut summary = fleet
        .apply(&ApplyOptions::default(), stopped.clone(), |_| {})
        .await?;
    let mut runs = 1;
    while !summary.is_complete() && runs < 20 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        summary = fleet
            .apply(&ApplyOptions::default(), stopped.clone(), |_| {})
            .await?;
        runs += 1;
    }
    let simulated_seconds = began.elapsed().as_secs_f64();
    let wall_seconds = wall.elapsed().as_secs_f64();
    let requests = sent.load(Ordering::Relaxed);
    let clean = open(folder.path(), Arc::new(emulator.transport()))?;
    let started = Instant::now();
    let plan = clean.plan(|_| {}).await?;
    let plan_seconds = started.elapsed().as_secs_f64();
    ensure!(
        plan.changes() == 0,
        "the fleet is not complete: {:?}",
        plan.actions
    );
    let client = Client::builder()
        .token(TOKEN)
        .base_url(EmulatorTransport::BASE_URL)
        .transport(Arc::new(emulator.transport()))
        .build()?;
    let zone = client.zone(ZONE.parse()?);
    let mut active = 0;
    let mut pages = zone.list().status(shieldcert::StatusFilter::Active).pages();
    while let Some(page) = pages.try_next().await? {
        active += page.certificates.len() as u64;
    }
    let full_windows = devices / u64::from(QUOTA);
    Ok(LimitCost {
        devices,
        simulated_seconds,
        ideal_seconds: (WINDOW * u32::try_from(full_windows)?).as_secs_f64(),
        requests,
        refused: refused.load(Ordering::Relaxed),
        faults: faults.load(Ordering::Relaxed),
        active,
        wall_seconds,
        plan_seconds,
    })
}
