//! What a fleet costs: its plan, and what it takes under the rate limit in simulated time.
//!
//! Run by `bench-fleet`, a process for each figure, so that each has its own peak of memory.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use serde::Serialize;
use shieldcert::{Client, Transport};
use shieldcert_emulator::{
    Chaos, Emulator, EmulatorTransport, Moment, Observation, Operation, RateLimit,
};
use shieldcert_fleet::{ApplyOptions, Connector, Fleet};
use tempfile::TempDir;
use tokio::sync::watch;

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

/// The service's documented limit.
const QUOTA: u32 = 1_200;
const WINDOW: Duration = Duration::from_secs(300);

/// Of a request, in simulated time. Look-ups that begin meanwhile share their requests.
const LATENCY: Duration = Duration::from_millis(30);

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
    /// How many of them asked for a page of a list.
    pub pages: u64,
    /// How many lists that is, from their first page on.
    pub scans: u64,
    /// How many of them were refused with 429.
    pub refused: u64,
    /// How many faults were drawn.
    pub faults: u64,
    /// In how many settle windows, one after another, a request to issue met a fault.
    pub unclear_windows: u64,
    /// How many pages the zone had at the end of each of them, all together.
    pub unclear_pages: u64,
    /// How many certificates are active in the end.
    pub active: u64,
    /// How many runs it took. An hour is between two.
    pub runs: u32,
    /// How long it took on this machine, in seconds.
    pub wall_seconds: f64,
    /// How long a plan of the complete fleet took, in seconds.
    pub plan_seconds: f64,
}

/// What the journal costs beside the rest: the same fleet, issued without latency and limit, with other parts on the disk.
/// Each is the median of several.
#[derive(Debug, Serialize)]
pub struct JournalCost {
    /// How many devices were issued.
    pub devices: u64,
    /// How long it took with everything in memory, in seconds.
    pub memory_seconds: f64,
    /// How long it took with the journal on the disk, in seconds.
    pub journal_seconds: f64,
    /// How long it took with the keys and certificates on the disk as well, in seconds.
    pub disk_seconds: f64,
    /// How many steps the journal's history has.
    pub steps: u64,
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

/// What the service saw of a run.
#[derive(Debug, Default)]
struct Seen {
    requests: u64,
    pages: u64,
    scans: u64,
    refused: u64,
    faults: u64,
    creates: u64,
    /// When a request to issue met a fault, and how many requests to issue there were by then.
    unclear: Vec<(Duration, u64)>,
}

impl Seen {
    fn add(&mut self, observation: &Observation<'_>) {
        match observation.moment {
            Moment::Sent { fault, .. } => {
                self.requests += 1;
                self.faults += u64::from(fault.is_some());
                match observation.operation {
                    Some(Operation::List) => {
                        self.pages += 1;
                        self.scans += u64::from(is_first_page(observation.path));
                    }
                    Some(Operation::Create) => {
                        self.creates += 1;
                        if fault.is_some() {
                            self.unclear.push((observation.at, self.creates));
                        }
                    }
                    _ => {}
                }
            }
            Moment::Responded { status: 429, .. } => self.refused += 1,
            _ => {}
        }
    }
}

/// Whether a request for a page is for the first one of its list.
fn is_first_page(path: &str) -> bool {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let later = |parameter: &str| {
        matches!(parameter.split_once('='), Some(("page", page)) if page != "1")
            || matches!(parameter.split_once('='), Some(("offset", offset)) if offset != "0")
    };
    !query.split('&').any(later)
}

/// Counts windows of this length, each of which begins with the first time that is not in the one before. Also returns how
/// many pages hold what was issued by the end of each of them, all together.
fn count_windows(unclear: &[(Duration, u64)], length: Duration) -> (u64, u64) {
    let mut unclear = unclear.to_vec();
    unclear.sort_unstable();
    let windows = unclear.chunk_by({
        let mut end = unclear
            .first()
            .map_or(Duration::ZERO, |(first, _)| *first + length);
        move |_, (time, _)| {
            let is_same = *time <= end;
            if !is_same {
                end = *time + length;
            }
            is_same
        }
    });
    let lasts = windows.filter_map(|window| window.last());
    lasts.fold((0, 0), |(count, pages), (_, issued)| {
        (count + 1, pages + issued.div_ceil(crate::PAGE_SIZE))
    })
}

/// Issues so many devices under the documented limit, with these faults. Needs a runtime whose clock is paused.
pub async fn measure_limit(devices: u64, chaos: &str) -> anyhow::Result<LimitCost> {
    let folder = folder()?;
    write_fleet(folder.path(), devices)?;
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(1)
        .latency(LATENCY)
        .clock_start(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .build()?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let observer = {
        let seen = seen.clone();
        move |observation: &Observation<'_>| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.add(observation);
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
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let settle_window = fleet.config().limits.settle_window;
    let (unclear_windows, unclear_pages) = count_windows(&seen.unclear, settle_window);
    let clean = open(folder.path(), Arc::new(emulator.transport()))?;
    let started = Instant::now();
    let plan = clean.plan(|_| {}).await?;
    let plan_seconds = started.elapsed().as_secs_f64();
    ensure!(
        plan.changes() == 0,
        "the fleet is not complete after {runs} runs: {:?}, waiting: {:?}; {} requests, {} of them for pages, {} faults",
        plan.actions,
        summary.waiting,
        seen.requests,
        seen.pages,
        seen.faults
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
    // The first of them are sent at once.
    let full_windows = devices.saturating_sub(1) / u64::from(QUOTA);
    Ok(LimitCost {
        devices,
        simulated_seconds,
        ideal_seconds: (WINDOW * u32::try_from(full_windows)?).as_secs_f64(),
        requests: seen.requests,
        pages: seen.pages,
        scans: seen.scans,
        refused: seen.refused,
        faults: seen.faults,
        unclear_windows,
        unclear_pages,
        active,
        runs,
        wall_seconds,
        plan_seconds,
    })
}

/// How often each arrangement of [`measure_journal`] is measured.
const TIMES: usize = 3;

/// Issues so many devices with the fleet in memory, with its journal below `disk`, and with all of it there.
pub async fn measure_journal(devices: u64, disk: &Path) -> anyhow::Result<JournalCost> {
    let mut memory = Vec::new();
    let mut journal = Vec::new();
    let mut all = Vec::new();
    let mut steps = 0;
    for _ in 0..TIMES {
        let on_disk = TempDir::new_in(disk)?;
        let in_memory = folder()?;
        memory.push(time_issue(in_memory.path(), devices).await?.0);

        let files = folder()?;
        link(files.path(), &on_disk.path().join("devices"))?;
        let (seconds, counted) = time_issue(on_disk.path(), devices).await?;
        journal.push(seconds);
        steps = counted;

        let on_disk = TempDir::new_in(disk)?;
        all.push(time_issue(on_disk.path(), devices).await?.0);
    }
    Ok(JournalCost {
        devices,
        memory_seconds: median(memory)?,
        journal_seconds: median(journal)?,
        disk_seconds: median(all)?,
        steps,
    })
}

#[cfg(unix)]
fn link(target: &Path, link: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(target, link)?)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("the journal's cost is measured on Unix only")
}

fn median(mut figures: Vec<f64>) -> anyhow::Result<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.get(figures.len() / 2);
    Ok(*middle.context("nothing was measured")?)
}

/// Issues a fleet as fast as this machine can. Returns how long it took, and how many steps are in its history.
async fn time_issue(folder: &Path, devices: u64) -> anyhow::Result<(f64, u64)> {
    write_fleet(folder, devices)?;
    // Never reached. Where a service states no limit, the client keeps to the documented one.
    let unlimited = RateLimit::new(100_000_000, Duration::from_secs(86_400));
    let emulator = Emulator::builder()
        .token(TOKEN)
        .rate_limit(unlimited)
        .build()?;
    let fleet = open(folder, Arc::new(emulator.transport()))?;
    let (_stop, stopped) = watch::channel(false);
    let started = Instant::now();
    let summary = fleet
        .apply(&ApplyOptions::default(), stopped, |_| {})
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(
        summary.is_complete() && summary.progress.issued == devices,
        "the fleet is not complete"
    );
    let mut steps = 0;
    fleet
        .journal()?
        .each_entry(None, None, u32::MAX, |_| steps += 1)?;
    Ok((seconds, steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_after_the_one_before_and_has_the_pages_of_its_end() {
        // As many are issued as seconds have passed.
        let count = |times: &[u64]| {
            let times: Vec<_> = times
                .iter()
                .map(|time| (Duration::from_secs(*time), *time))
                .collect();
            count_windows(&times, Duration::from_secs(75))
        };
        assert_eq!(count(&[]), (0, 0));
        assert_eq!(count(&[5]), (1, 1));
        assert_eq!(count(&[80, 5, 40]), (1, 2));
        assert_eq!(count(&[5, 40, 81, 150, 157]), (3, 1 + 3 + 4));
    }

    #[test]
    fn a_list_is_counted_by_its_first_page() {
        for path in [
            "/c",
            "/c?per_page=50",
            "/c?page=1&per_page=50",
            "/c?offset=0",
        ] {
            assert!(is_first_page(path), "{path}");
        }
        for path in [
            "/c?page=2",
            "/c?per_page=50&page=11",
            "/c?limit=50&offset=1",
        ] {
            assert!(!is_first_page(path), "{path}");
        }
    }
}
