//! A fleet whose process crashes, against the emulator and its faults.
//!
//! A seed changes the manifest, asks for rotations and revocations, lets time pass, and starts the engine again and again:
//! each run is dropped at an instant of its own. In the end faults stop, and the fleet must be what the manifest says.

mod checks;
mod deployer;
mod manifest;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use shieldcert::{Client, Transport};
use shieldcert_emulator::EmulatorTransport;
use shieldcert_fleet::{ApplyOptions, Ask, Connector, Error, Fleet, Summary};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::deployer::Deployer;
use self::manifest::Manifest;
use super::history::History;
use super::record::Outcome;
use super::secrets::TOKEN;
use super::settings::{Settings, pick};
use super::world::{MAX_DURATION, World};
use crate::kit::ZONE;

/// How long a day is.
const DAY: Duration = Duration::from_secs(86_400);

/// A fleet and its world.
struct Play {
    world: World,
    folder: TempDir,
    manifest: Manifest,
    random: Rng,
    deployer: Arc<Deployer>,
}

/// Runs a seed and checks the promises.
pub(super) async fn run(seed: u64, keeps_history: bool) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let history = History::new(keeps_history);
    let settings = draw(&mut random);
    history.add(format_args!("{settings:?}"));
    let mut world = World::of_seed(seed, settings, history);
    world.populate(&mut random).await;
    let mut play = Play {
        folder: folder(),
        manifest: Manifest::draw(&mut random),
        deployer: Arc::new(Deployer::new(random.fork(), world.history.clone())),
        world,
        random,
    };
    play.write_policy();
    for _ in 0..play.random.usize(2..=6) {
        play.round().await;
    }
    play.finish().await;
    let tally = play.world.record().tally.clone();
    let (history, broken) = play.world.history.take();
    Outcome {
        broken,
        history,
        tally,
    }
}

/// Settings under which a fleet can be what its manifest says in the end.
fn draw(random: &mut Rng) -> Settings {
    loop {
        let settings = Settings::draw(random);
        // Without any time of the service, this machine's clock counts, which is another one than the emulator's.
        let has_dates = !settings.quirks.to_string().contains("no-date");
        // Ids that other responses don't know are an id's notation in one of the emulator's quirks alone.
        if has_dates && !settings.has_odd_ids && settings.size < 60 {
            return settings;
        }
    }
}

/// A folder in memory where there is one: a seed flushes hundreds of files.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => TempDir::new_in(memory),
        false => TempDir::new(),
    };
    made.expect("a folder")
}

impl Play {
    fn write_policy(&mut self) {
        let grace = pick(&mut self.random, &["0s", "10m", "1d"]);
        let jitter = pick(&mut self.random, &["0.0", "0.3"]);
        let concurrency = pick(&mut self.random, &[1, 4, 32]);
        let policy = format!(
            "[zones.main]\nid = \"{ZONE}\"\n[budgets.default]\ntoken_env = \"UNUSED\"\nreserve_share = 0.0\n\
             [renew]\ngrace = \"{grace}\"\njitter = {jitter}\n[limits]\nconcurrency = {concurrency}\n"
        );
        self.world.history.add(&policy);
        self.write("fleet.toml", &policy);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("is written");
    }

    /// The fleet, as a new process opens it.
    fn fleet(&mut self) -> Fleet {
        let (_, network) = self.world.connect(0, &mut self.random);
        self.fleet_through(network)
    }

    fn fleet_through(&self, transport: Arc<dyn Transport>) -> Fleet {
        let connector = Connector::new(move || {
            Ok(Client::builder()
                .token(TOKEN)
                .base_url(EmulatorTransport::BASE_URL)
                .transport(transport.clone()))
        });
        let fleet = Fleet::open(self.folder.path(), connector.with_credentials());
        fleet.expect("a fleet").with_deploy(self.deployer.clone())
    }

    /// Changes something, and runs the engine until it ends or crashes.
    async fn round(&mut self) {
        if self.random.u8(0..3) > 0 {
            self.manifest.change(&mut self.random);
        }
        self.write("devices.csv", &self.manifest.to_csv());
        self.world
            .history
            .add(format_args!("the manifest is\n{}", self.manifest.to_csv()));
        let fleet = self.fleet();
        if self.random.u8(0..4) == 0 {
            self.ask(&fleet);
        }
        let longest = pick(&mut self.random, &[5_000, 60_000, 400_000, 4_000_000]);
        let crash = Duration::from_millis(self.random.u64(0..longest));
        let options = self.options();
        match timeout(crash, apply(&fleet, &options)).await {
            Ok(result) => self.note(&result),
            Err(_) => {
                self.world.record().count("fleet", "crashed");
                self.world.history.add("the process crashes");
            }
        }
        checks::check_midway(&fleet, &self.world.history);
        let pause = pick(
            &mut self.random,
            &[0, 30, 300, 86_400, 5 * 86_400, 20 * 86_400],
        );
        sleep(Duration::from_secs(self.random.u64(0..=pause))).await;
    }

    fn options(&mut self) -> ApplyOptions {
        let mut options = ApplyOptions::default();
        options.confirmed_revocations = 1_000;
        options.refresh = self.random.u8(0..5) == 0;
        options.skip_reconciliation = self.random.u8(0..4) == 0;
        options
    }

    fn ask(&mut self, fleet: &Fleet) {
        let Ok(journal) = fleet.journal() else { return };
        let ask = pick(
            &mut self.random,
            &[Ask::Rotate, Ask::RotateNow, Ask::Revoke, Ask::RevokeNow],
        );
        let Some(name) = self.manifest.any(&mut self.random) else {
            return;
        };
        self.world
            .history
            .add(format_args!("an operator asks to {ask} {name}"));
        let now = journal.service_time().ok().flatten().unwrap_or_default();
        if journal.ask(ask, [&name], now).is_ok_and(|count| count > 0) {
            self.manifest.asked(&name, ask);
        }
    }

    fn note(&self, result: &Result<Summary, Error>) {
        let kind = match result {
            Ok(summary) if summary.is_complete() => "complete",
            Ok(_) => "partial",
            Err(_) => "failed",
        };
        self.world.record().count("fleet", kind);
        self.world
            .history
            .add(format_args!("the run ends: {result:?}"));
    }

    /// Faults stop. The fleet is run until nothing is left to do, and compared with the manifest.
    async fn finish(&mut self) {
        self.deployer.succeed_always();
        self.write("devices.csv", &self.manifest.to_csv());
        self.write(
            "fleet.toml",
            &format!("[zones.main]\nid = \"{ZONE}\"\n[renew]\ngrace = \"0s\"\n"),
        );
        // Everything that was sent is over, and so are the pauses after failures.
        sleep(DAY).await;
        let transport: Arc<dyn Transport> = Arc::new(self.world.transport());
        let fleet = self.fleet_through(transport);
        let mut options = ApplyOptions::default();
        options.confirmed_revocations = 1_000;
        // What the service does after the settle window, only the inventory shows.
        options.refresh = self.world.settings.acts_after_settle_window || self.random.bool();
        let mut is_idle = false;
        for run in 0..8 {
            // By then the grace periods are over that were set before. New ones have none.
            if run == 1 {
                sleep(DAY + Duration::from_secs(3600)).await;
            }
            let result = match timeout(MAX_DURATION, apply(&fleet, &options)).await {
                Ok(result) => result,
                Err(_) => {
                    self.world.history.broken("promise 9: a run does not end");
                    break;
                }
            };
            self.note(&result);
            match result {
                Ok(summary) => is_idle = summary.is_complete() && summary.progress.devices == 0,
                Err(error) => {
                    let broken = format_args!("promise 9: a run without faults fails: {error}");
                    self.world.history.broken(broken);
                    break;
                }
            }
            if is_idle && run > 1 {
                break;
            }
        }
        sleep(Duration::from_secs(120)).await;
        if !is_idle {
            self.world
                .history
                .broken("promise 9: the fleet does not settle");
        }
        checks::check_end(&self.world, &self.manifest, &fleet).await;
    }
}

async fn apply(fleet: &Fleet, options: &ApplyOptions) -> Result<Summary, Error> {
    let (_stop, stopped) = watch::channel(false);
    fleet.apply(options, stopped, |_| {}).await
}
