//! Does what the policy decides, device by device, and records it.

mod deploy;
mod gate;
mod issue;
mod queue;
mod reconcile;
mod revoke;
pub(crate) mod steps;
mod zones;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shieldcert::{Error as ClientError, ZoneId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

pub(crate) use self::gate::Gate;
use self::queue::Queue;
use self::zones::{Admission, Purpose, Zones};
use crate::backoff::backoff;
use crate::budgets::Budgets;
use crate::config::Config;
use crate::deploy::{Deploy, Deployment};
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::journal::{Act, Change, Generation, Hold, Journal, Snapshot, State};
use crate::manifest::{Device, DeviceKey};
use crate::places::Places;
use crate::policy::{Decision, Delivered, Now, RevokeReason, Step, decide};

pub(crate) use self::queue::{Class, Task};

/// What the parts of an engine share.
pub(crate) struct Engine {
    pub(crate) folder: Folder,
    pub(crate) config: Arc<Config>,
    pub(crate) journal: Journal,
    pub(crate) budgets: Budgets,
    /// Whether certificates may be revoked whose keys have not leaked. Not by a restored journal that nobody has confirmed.
    pub(crate) may_revoke: bool,
    pub(crate) tally: Tally,
    deploy: Arc<dyn Deploy>,
    /// What waits to be brought into use together, at the end of a pass.
    together: Mutex<Vec<Together>>,
    zones: Zones,
    gate: Arc<Gate>,
    stop: watch::Receiver<bool>,
    /// When the processes before had ended: nothing but this run has sent anything since. `None` if another one may be
    /// alive.
    others_ended: Option<Instant>,
    /// The generations whose requests this run has sent, and whose outcome is not clear.
    sent: Mutex<HashSet<i64>>,
    /// When the requests of generations that are owed a look had ended, as this run knows.
    ended: Mutex<HashMap<i64, Instant>>,
    open: Mutex<Open>,
}

/// The open requests that are being found out about.
#[derive(Default)]
struct Open {
    count: u64,
    /// When the last of them can have settled.
    settled: Option<Instant>,
}

/// An open request that is being found out about.
struct Waiting<'a>(&'a Engine);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut open = self.0.lock_open();
        open.count -= 1;
        if open.count == 0 {
            *open = Open::default();
        }
    }
}

/// What a run has done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) devices_done: AtomicU64,
    pub(crate) issued: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) deployed: AtomicU64,
    pub(crate) revoked: AtomicU64,
    pub(crate) surplus: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Tally {
    /// Changes with everything that was done.
    pub(crate) fn changes(&self) -> u64 {
        let counters = [&self.issued, &self.deployed, &self.revoked, &self.surplus];
        counters
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }

    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A device's place in the journal, its generation, and what is deployed.
type Together = (i64, Generation, Deployment);

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The device can go on.
    Done,
    /// The device waits.
    Held,
}

/// How many open requests are found out about at once.
const MAX_OPEN: usize = 256;

impl Engine {
    pub(crate) fn new(
        folder: Folder,
        config: Arc<Config>,
        journal: Journal,
        budgets: Budgets,
        (deploy, gate): (Arc<dyn Deploy>, Arc<Gate>),
        may_revoke: bool,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            folder,
            config,
            journal,
            budgets,
            may_revoke,
            tally: Tally::default(),
            deploy,
            together: Mutex::default(),
            zones: Zones::default(),
            gate,
            stop,
            others_ended: None,
            sent: Mutex::default(),
            ended: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Says that the processes that have sent what is open had ended then.
    pub(crate) fn with_others_ended(mut self, ended: Option<Instant>) -> Self {
        self.others_ended = ended;
        self
    }

    fn lock_open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an open request until this is dropped.
    fn begin_to_wait(&self, settles_in: Duration) -> Waiting<'_> {
        let mut open = self.lock_open();
        open.count += 1;
        let settled = Instant::now().checked_add(settles_in);
        open.settled = open.settled.max(settled);
        Waiting(self)
    }

    /// How many open requests are being found out about, and how long it takes until they can have settled.
    pub(crate) fn open_requests(&self) -> (u64, Option<Duration>) {
        let open = self.lock_open();
        let left = |settled: Instant| settled.saturating_duration_since(Instant::now());
        (open.count, open.settled.map(left))
    }

    /// The service's time. This machine's where the service does not say it.
    pub(crate) fn now(&self) -> Now {
        let service = self.budgets.service_time();
        Now {
            time: service.unwrap_or_else(Timestamp::now),
            is_service_time: service.is_some(),
        }
    }

    /// Sets how many new devices get a certificate where, by the quotas of the configuration.
    pub(crate) fn set_places(&self, places: Places) {
        self.zones.set_places(places);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, or until the run is to stop.
    pub(crate) async fn pause(&self, duration: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep(duration) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Works on these devices, and then on what reconciliation is owed.
    pub(crate) async fn run(self: &Arc<Self>, tasks: Vec<Task>) -> Result<()> {
        let workers = self.config.limits.concurrency * self.config.budgets.len();
        // What is open waits until the service has acted, and meanwhile others go on. They share their look-ups.
        let (open, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.is_open);
        let lines = [(MAX_OPEN.min(open.len()), open), (workers, tasks)];
        let lines = lines.map(|(workers, tasks)| (workers, Queue::new(tasks)));
        let lines = Arc::new(lines);
        let mut running = JoinSet::<Result<()>>::new();
        for (place, (workers, _)) in lines.iter().enumerate() {
            for _ in 0..*workers {
                let (engine, lines) = (self.clone(), lines.clone());
                running.spawn(async move {
                    while !engine.is_stopped() {
                        let Some(task) = lines[place].1.next() else {
                            break;
                        };
                        // What ends the run ends it for the others too, once what they do is done.
                        engine
                            .drive(task.device)
                            .await
                            .inspect_err(|_| lines.iter().for_each(|(_, queue)| queue.clear()))?;
                        Tally::add(&engine.tally.devices_done);
                    }
                    Ok(())
                });
            }
        }
        let mut outcome = Ok(());
        while let Some(ended) = running.join_next().await {
            let ended = ended.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(()),
            });
            outcome = outcome.and(ended);
        }
        outcome?;
        self.deploy_together().await?;
        if let Some(time) = self.budgets.service_time() {
            self.journal.set_service_time(time)?;
        }
        Ok(())
    }

    /// Does what can be done for a device now.
    async fn drive(&self, device: i64) -> Result<()> {
        while !self.is_stopped() {
            let Some(snapshot) = self.journal.device(device)? else {
                return Ok(());
            };
            let delivered = self.delivered(snapshot.device.as_ref());
            let step = match decide(&snapshot, &delivered, &self.config, self.now()) {
                Decision::Now(step) => step,
                _ => return Ok(()),
            };
            let number = step.generation();
            let progress = match self.perform(device, &snapshot, step).await {
                Ok(progress) => progress,
                Err(error) => self.fail_alone(device, &snapshot, number, error)?,
            };
            match progress {
                Progress::Done => {}
                Progress::Held => return Ok(()),
            }
        }
        Ok(())
    }

    /// Records an error that is about one device. What is about the journal or the disk ends the run: it is the same for
    /// every device.
    fn fail_alone(
        &self,
        id: i64,
        snapshot: &Snapshot,
        number: Option<u32>,
        error: Error,
    ) -> Result<Progress> {
        let is_alone = !matches!(error, Error::Journal { .. }) && !error.is_about_the_disk();
        let mut generations = snapshot.generations.iter();
        let generation = generations.find(|generation| Some(generation.number) == number);
        let Some(generation) = generation.filter(|_| is_alone) else {
            return Err(error);
        };
        let at = Work {
            id,
            snapshot,
            generation,
            replacements: self.budgets.replacements(),
        };
        self.fail(at, Hold::Failed, Act::Failed, &error.to_string())
    }

    /// What the CSR file of a device holds.
    pub(crate) fn delivered(&self, device: Option<&Device>) -> Delivered {
        delivered(&self.folder, device)
    }

    async fn perform(&self, id: i64, snapshot: &Snapshot, step: Step) -> Result<Progress> {
        if let Step::Begin(reason) = step {
            return self.begin(id, snapshot, reason);
        }
        let number = step.generation();
        let mut generations = snapshot.generations.iter();
        let Some(generation) = generations.find(|generation| Some(generation.number) == number)
        else {
            return Ok(Progress::Held);
        };
        let at = Work {
            id,
            snapshot,
            generation,
            replacements: self.budgets.replacements(),
        };
        tracing::debug!(device = %snapshot.name, generation = generation.number, ?step, "next step");
        match step {
            Step::Begin(_) => Ok(Progress::Held),
            Step::MakeKey(_) => self.make_key(at),
            Step::Send(_) => self.send(at).await,
            Step::Resume(_) => self.resume(at).await,
            Step::Settle(_) => self.settle(at).await,
            Step::Write(_) => self.write(at),
            Step::Deploy(_) => self.deploy(at).await,
            Step::Verify(_) => self.verify(at).await,
            Step::Revoke(_, reason) => self.revoke(at, reason).await,
            Step::Abandon(_) => self.abandon(at, None),
        }
    }

    /// Records a change of a generation.
    fn record(&self, at: Work<'_>, change: Change, act: Act, detail: Option<&str>) -> Result<()> {
        let Work { id, generation, .. } = at;
        self.journal
            .change(id, generation, change, self.now().time, act, detail)
    }

    /// Records that a step failed, and when it is tried again.
    fn fail(&self, at: Work<'_>, hold: Hold, act: Act, problem: &str) -> Result<Progress> {
        let Work {
            snapshot,
            generation,
            ..
        } = at;
        let failures = generation.failures.saturating_add(1);
        tracing::warn!(device = %snapshot.name, generation = generation.number, problem, "a step failed");
        Tally::add(&self.tally.failures);
        let retry_at = self.now().time.checked_add(backoff(failures)).ok();
        let change = Change::hold(hold, Some(problem.to_owned()), retry_at)
            .set("failures", i64::from(failures));
        self.record(at, change, act, Some(problem))?;
        Ok(Progress::Held)
    }

    /// Records what a generation waits for. It is tried again in the next run.
    fn wait_for(&self, at: Work<'_>, hold: Hold, problem: Option<&str>) -> Result<Progress> {
        // What it waits for may have been said by an earlier request.
        let is_known = at.generation.hold == Some(hold)
            && (problem.is_none() || at.generation.problem.as_deref() == problem);
        if !is_known {
            let change = Change::hold(hold, problem.map(str::to_owned), None);
            self.record(at, change, Act::Failed, problem.or(Some(hold.as_str())))?;
        }
        Ok(Progress::Held)
    }

    /// Waits until a zone may be used.
    async fn admit(&self, zone: &ZoneId, purpose: Purpose) -> Result<Admission, Hold> {
        self.zones.admit(zone, purpose).await
    }

    /// Counts that a zone did not respond. A look-up that waits for the rate limit past its deadline says nothing about
    /// that.
    fn count_silence(&self, zone: &ZoneId, error: &ClientError) {
        if is_silent(error) && !self.budgets.is_used_up(zone) {
            self.zones.failed(zone);
        }
    }

    /// Does what an error of the service asks for. Nothing is unclear.
    async fn refused(&self, at: Work<'_>, error: &ClientError) -> Result<Progress> {
        let zone = &at.generation.zone;
        if error.is_rate_limited() {
            const LEAST: Duration = Duration::from_secs(1);
            self.pause(error.retry_after().unwrap_or(LEAST).max(LEAST))
                .await;
            return Ok(Progress::Done);
        }
        if error.is_quota_reached() {
            self.zones.responded(zone);
            self.zones.is_full_now(zone);
            return self.wait_for(at, Hold::Quota, Some(&error.to_string()));
        }
        if error.is_not_allowed() {
            return match self.budgets.read_token_again(zone, at.replacements).await {
                Ok(true) => Ok(Progress::Done),
                Ok(false) => {
                    self.zones.forbid(zone);
                    self.wait_for(at, Hold::Permission, Some(&error.to_string()))
                }
                Err(other) => {
                    self.zones.forbid(zone);
                    self.wait_for(at, Hold::Permission, Some(&other.to_string()))
                }
            };
        }
        if is_silent(error) {
            return match self.zones.failed(zone) {
                true => Ok(Progress::Done),
                false => self.wait_for(at, Hold::Failed, Some(&error.to_string())),
            };
        }
        self.zones.responded(zone);
        self.fail(at, Hold::Failed, Act::Failed, &error.to_string())
    }
}

/// Whether an error shows no response of the API.
fn is_silent(error: &ClientError) -> bool {
    error.is_retryable() || error.is_ambiguous() || error.is_timeout()
}

/// What the CSR file of a device holds.
pub(crate) fn delivered(folder: &Folder, device: Option<&Device>) -> Delivered {
    match device.map(|device| &device.key) {
        Some(DeviceKey::Csr(path)) => match folder.read_csr(path) {
            Ok(csr) => Delivered::Csr(csr.sha256()),
            Err(_) => Delivered::Missing,
        },
        _ => Delivered::NotNeeded,
    }
}

/// A generation that a step is about.
#[derive(Clone, Copy)]
struct Work<'a> {
    /// The device's place in the journal.
    id: i64,
    snapshot: &'a Snapshot,
    generation: &'a Generation,
    /// How often a token had been replaced when the step began.
    replacements: u64,
}

impl Engine {
    /// Reads key and CSR of a generation, or says why they can't be used.
    fn keyed(&self, at: Work<'_>) -> Result<std::result::Result<crate::keystore::Keyed, String>> {
        let Work {
            snapshot,
            generation,
            ..
        } = at;
        let path = self.folder.generation(&snapshot.name, generation.number);
        let is_own = generation.spec.key == crate::policy::CSR;
        self.folder
            .keyed(&path, generation.csr_sha256.as_deref(), is_own)
    }

    fn abandon(&self, at: Work<'_>, problem: Option<&str>) -> Result<Progress> {
        let change = match problem {
            None => Change::to(State::Abandoned),
            Some(problem) => {
                let failures = at.generation.failures.saturating_add(1);
                let retry_at = self.now().time.checked_add(backoff(failures)).ok();
                Change::hold(Hold::Failed, Some(problem.to_owned()), retry_at)
                    .set("state", State::Abandoned.as_str().to_owned())
                    .set("failures", i64::from(failures))
            }
        };
        self.record(at, change, Act::Abandoned, problem)?;
        Ok(Progress::Done)
    }

    fn may_revoke(&self, reason: RevokeReason) -> bool {
        // Of what has leaked nothing is gained by waiting.
        self.may_revoke || reason == RevokeReason::Leaked
    }
}
