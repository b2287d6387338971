//! The handle of a fleet.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shieldcert::{StatusFilter, ZoneId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adopt::{Adopted, Adoptee, adopt};
use crate::apply::{ApplyOptions, Progress, Summary};
use crate::budgets::{Budgets, Connector};
use crate::config::Config;
use crate::deploy::{Commands, Deploy};
use crate::engine::{Engine, Gate};
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::forecast::{Forecast, Modelled, forecast, imagine};
use crate::inventory::{Differences, Finding, Inventory};
use crate::journal::Journal;
use crate::load::load;
use crate::lock::Lock;
use crate::plan::{Action, Plan, PlanEntry, seconds, survey};
use crate::policy::Now;
use crate::restore::import_folders;

/// A fleet: a folder with its policy, its manifest, its journal, and the keys and certificates of its devices.
#[derive(Clone)]
pub struct Fleet {
    pub(crate) folder: Folder,
    pub(crate) config: Arc<Config>,
    pub(crate) connector: Connector,
    deploy: Arc<dyn Deploy>,
    /// It outlives a run: what fails everywhere fails in the next one too.
    pub(crate) gate: Arc<Gate>,
}

impl Fleet {
    /// Opens the fleet of a folder. Its `fleet.toml` is read.
    ///
    /// # Errors
    /// Returns an error if there is no `fleet.toml`, or what it says is not possible.
    pub fn open(folder: impl AsRef<Path>, connector: Connector) -> Result<Self> {
        let folder = Folder::new(folder.as_ref());
        let config = Config::read(&folder.config())?;
        Ok(Self::new(folder, config, connector))
    }

    /// Creates the fleet of a folder from a policy that is in memory: no `fleet.toml` is read. Relative paths start at
    /// `base`, and commands run there.
    pub fn with_config(
        folder: impl AsRef<Path>,
        base: impl AsRef<Path>,
        config: Config,
        connector: Connector,
    ) -> Self {
        let folder = Folder::with_base(folder.as_ref(), base.as_ref());
        Self::new(folder, config, connector)
    }

    pub(crate) fn new(folder: Folder, config: Config, connector: Connector) -> Self {
        Self {
            gate: Arc::new(Gate::new(config.deploy.max_failures)),
            deploy: Arc::new(Commands::new(&config.deploy, folder.base())),
            folder,
            config: Arc::new(config),
            connector,
        }
    }

    /// Brings certificates into use by this, and not by the commands of `fleet.toml`.
    #[must_use]
    pub fn with_deploy(mut self, deploy: Arc<dyn Deploy>) -> Self {
        self.deploy = deploy;
        self
    }

    pub(crate) fn deploy(&self) -> &Arc<dyn Deploy> {
        &self.deploy
    }

    /// Returns the policy.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens the journal beside a process that may work on the fleet.
    ///
    /// # Errors
    /// Returns an error if there is none, or it can't be read.
    pub fn journal(&self) -> Result<Journal> {
        Journal::open_beside(&self.folder.journal())
    }

    /// Returns the process that works on the fleet, if one does.
    pub fn worker(&self) -> Option<u32> {
        Lock::holder(&self.folder.lock())
    }

    /// Returns how long so many requests take under the rate limit, at best.
    pub fn time_for(&self, requests: u64) -> Duration {
        Duration::from_secs(seconds(requests, &self.config))
    }

    /// Reads the manifest, and compares it with the journal. `each` gets every device, in the order of the manifest. Nothing
    /// is changed. One request tells the service's time.
    ///
    /// # Errors
    /// Returns an error if the manifest has problems, or the journal can't be read.
    pub async fn plan(&self, each: impl FnMut(PlanEntry)) -> Result<Plan> {
        let budgets = self.budgets();
        let (now, problems) = ask_time(&budgets, &self.config).await?;
        let journal = match self.folder.journal().exists() {
            true => Journal::open_beside(&self.folder.journal())?,
            false => Journal::open_empty()?,
        };
        load(&journal, &self.folder, &self.config)?;
        let mut plan = survey(&journal, &self.folder, &self.config, now, each)?.plan;
        for (zone, problem) in problems {
            plan.zones.entry(zone).or_default().problem = Some(problem);
        }
        Ok(plan)
    }

    /// Simulates a year: the policy decides, and a modelled service takes as many requests as the rate limit allows. Nothing
    /// is sent. With `devices`, of so many devices that don't exist yet, and otherwise of those of the manifest and what
    /// the journal has of them.
    ///
    /// # Errors
    /// Returns an error if the manifest has problems, or the journal can't be read.
    pub fn forecast(&self, devices: Option<u64>) -> Result<Forecast> {
        let devices = match devices {
            Some(count) => imagine(count, &self.config),
            None => {
                let journal = match self.folder.journal().exists() {
                    true => Journal::open_beside(&self.folder.journal())?,
                    false => Journal::open_empty()?,
                };
                load(&journal, &self.folder, &self.config)?;
                let mut devices = Vec::new();
                journal.each_device(|snapshot| devices.extend(Modelled::of(snapshot)))?;
                devices
            }
        };
        Ok(forecast(devices, &self.config, Timestamp::now()))
    }

    /// Compares the journal with what the zones hold, and with the files. `each` gets what differs. Nothing is changed:
    /// [`apply`](Self::apply) with [`refresh`](ApplyOptions::refresh) does.
    ///
    /// # Errors
    /// Returns an error if a zone can't be read to its end, or the journal can't be read.
    pub async fn compare(&self, each: impl FnMut(Finding)) -> Result<Differences> {
        let budgets = self.budgets();
        let (now, _) = ask_time(&budgets, &self.config).await?;
        let journal = self.journal()?;
        let inventory = Inventory {
            journal: &journal,
            folder: &self.folder,
            config: &self.config,
            budgets: &budgets,
            records: false,
        };
        inventory.compare(now.time, each).await
    }

    /// Takes over certificates that exist already. Each zone is listed once.
    ///
    /// # Errors
    /// Returns an error if another process works on the fleet, if a zone can't be read to its end, or if the journal or
    /// files can't be written. Those before it are taken over then.
    pub async fn adopt(&self, adoptees: Vec<Adoptee>) -> Result<Vec<Adopted>> {
        crate::folder::create_private(self.folder.path())?;
        let _lock = Lock::take(&self.folder.lock())?;
        let journal = Journal::open(&self.folder.journal())?;
        load(&journal, &self.folder, &self.config)?;
        let budgets = self.budgets();
        let (now, _) = ask_time(&budgets, &self.config).await?;
        adopt(
            &journal,
            &self.folder,
            &self.config,
            &budgets,
            adoptees,
            now.time,
        )
        .await
    }

    fn budgets(&self) -> Budgets {
        Budgets::new(
            self.connector.clone(),
            self.folder.clone(),
            self.config.clone(),
        )
    }

    /// Makes the fleet what the manifest says, as far as that is possible now. It can be killed and called again at any
    /// instant.
    ///
    /// `progress` is called about five times a second. When `stop` becomes true, the steps in flight are finished, and the
    /// rest is left for the next run.
    ///
    /// # Errors
    /// Returns an error if the manifest has problems, if the plan needs a confirmation, if another process works on the
    /// fleet, or if the journal or the files can't be written. What was done until then is recorded.
    ///
    /// # Cancel safety
    /// Dropping the future is like killing the process: the next call goes on.
    pub async fn apply(
        &self,
        options: &ApplyOptions,
        stop: watch::Receiver<bool>,
        progress: impl FnMut(&Progress),
    ) -> Result<Summary> {
        crate::folder::create_private(self.folder.path())?;
        let _lock = Lock::take(&self.folder.lock())?;
        let journal = Journal::open(&self.folder.journal())?;
        self.apply_with(journal, options, stop, progress).await
    }

    pub(crate) async fn apply_with(
        &self,
        journal: Journal,
        options: &ApplyOptions,
        stop: watch::Receiver<bool>,
        mut progress: impl FnMut(&Progress),
    ) -> Result<Summary> {
        // The lock is held.
        let locked = Instant::now();
        let budgets = self.budgets();
        load(&journal, &self.folder, &self.config)?;
        let (now, problems) = ask_time(&budgets, &self.config).await?;
        if now.is_service_time {
            journal.correct_times(now.time)?;
        }
        let is_restored = journal.is_restored()?;
        if is_restored {
            import_folders(&journal, &self.folder, &self.config, now.time)?;
        }
        // A restored journal may not know the newest certificates.
        if options.refresh || is_restored {
            let inventory = Inventory {
                journal: &journal,
                folder: &self.folder,
                config: &self.config,
                budgets: &budgets,
                records: true,
            };
            inventory.compare(now.time, |_| {}).await?;
        }
        // Not before it knows what happened since the backup.
        if options.confirm_restored {
            journal.confirm_restored()?;
        }
        journal.add_devices()?;
        let engine = Engine::new(
            self.folder.clone(),
            self.config.clone(),
            journal,
            budgets,
            (self.deploy.clone(), self.gate.clone()),
            !is_restored || options.confirm_restored,
            stop,
        );
        // The process whose journal was restored may be alive elsewhere, beside a lock of its own.
        let others_ended = (!is_restored).then_some(locked);
        let engine = Arc::new(engine.with_others_ended(others_ended));
        let mut plan = self.survey(&engine, now, options)?;
        let mut devices = 0;
        let mut before = None;
        loop {
            let changes = plan.tasks.len() as u64;
            devices += changes;
            let pass = engine.clone();
            engine.set_places(std::mem::take(&mut plan.places));
            let tasks = std::mem::take(&mut plan.tasks);
            watch_progress(&engine, devices, &mut progress, async move {
                pass.run(tasks).await?;
                pass.reconcile().await
            })
            .await?;
            if engine.is_stopped() {
                break;
            }
            plan = self.survey(&engine, engine.now(), options)?;
            // What is due by now, and was not begun in the pass before. What fails waits for its time.
            let is_same = before == Some((plan.tasks.len(), engine.tally.changes()));
            before = Some((plan.tasks.len(), engine.tally.changes()));
            if !plan.tasks.is_empty() && !is_same {
                continue;
            }
            match engine.next_looks()? {
                Some(left) if !options.skip_reconciliation => {
                    let patience = self.config.limits.settle_window * 3 + Duration::from_secs(1);
                    if left > patience {
                        break;
                    }
                    let owed = engine.journal.looks_owed()?;
                    let waiting = engine.clone();
                    progress(&Progress {
                        look_wait: Some(left),
                        ..engine.progress(devices)
                    });
                    watch_progress(&engine, devices, &mut progress, async move {
                        waiting.pause(left).await;
                        waiting.reconcile().await
                    })
                    .await?;
                    // What can't be looked at now is left for the next run.
                    if engine.journal.looks_owed()? >= owed {
                        break;
                    }
                }
                _ => break,
            }
        }
        let history =
            SignedDuration::try_from(self.config.limits.history).unwrap_or(SignedDuration::MAX);
        if let Ok(begin) = engine.now().time.checked_sub(history) {
            engine.journal.forget_before(begin)?;
        }
        let left = plan.plan;
        Ok(Summary {
            progress: engine.progress(devices),
            settled: left
                .actions
                .get(&Action::Leave)
                .copied()
                .unwrap_or_default(),
            is_stopped: engine.is_stopped(),
            waiting: left.holds,
            looks_owed: engine.journal.looks_owed()?,
            surplus: engine.journal.surplus()?.len() as u64,
            next: left.next,
            unusable_zones: problems.into_iter().collect(),
        })
    }

    fn survey(
        &self,
        engine: &Engine,
        now: Now,
        options: &ApplyOptions,
    ) -> Result<crate::plan::Survey> {
        let survey = survey(&engine.journal, &self.folder, &self.config, now, |_| {})?;
        let (devices, max) = (survey.plan.left_without, survey.plan.max_revoke);
        if devices > max.max(options.confirmed_revocations) {
            return Err(Error::TooManyRevocations { devices, max });
        }
        Ok(survey)
    }
}

/// Runs `work`, and reports what is done meanwhile.
async fn watch_progress(
    engine: &Arc<Engine>,
    devices: u64,
    progress: &mut impl FnMut(&Progress),
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let mut work = std::pin::pin!(work);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                progress(&engine.progress(devices));
                return done;
            }
            _ = ticks.tick() => progress(&engine.progress(devices)),
        }
    }
}

/// Makes one request to each budget, which tells the service's time. Returns also which zones can't be used, and why.
pub(crate) async fn ask_time(
    budgets: &Budgets,
    config: &Config,
) -> Result<(Now, Vec<(ZoneId, String)>)> {
    let mut asked = Vec::<&str>::new();
    let mut zones: Vec<&ZoneId> = Vec::new();
    for zone in config.zones.values() {
        if !asked.contains(&zone.budget.as_str()) {
            asked.push(&zone.budget);
            zones.push(&zone.id);
        }
    }
    let mut problems = Vec::new();
    for id in zones {
        // What is wrong with a zone or its token stops no other.
        let problem = match budgets.zone(id).await {
            Ok(zone) => {
                let mut pages = zone.list().status(StatusFilter::Active).pages();
                pages.try_next().await.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            tracing::warn!(zone = %id, problem, "the zone can't be listed");
            problems.push((id.clone(), problem));
        }
    }
    let service = budgets.service_time();
    if service.is_none() {
        tracing::warn!(
            "the service does not say its time; this machine's decides on renewals, and nothing is revoked by it"
        );
    }
    let now = Now {
        time: service.unwrap_or_else(Timestamp::now),
        is_service_time: service.is_some(),
    };
    Ok((now, problems))
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}
