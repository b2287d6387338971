//! Keeps a fleet as its manifest says, for as long as the process runs.
//!
//! A run is begun at intervals, when `fleet.toml` or the manifest was changed, and when an operator asked for something. A
//! run that is under way is ended then, in the middle of its queue, so that a leaked key does not wait for a thousand
//! renewals; what was begun is finished, and the next run goes on.
//!
//! A file that has problems changes nothing: they are logged, and the fleet stays as it is until they are mended.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::apply::{ApplyOptions, Progress, Summary};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::folder::create_private;
use crate::journal::{Hold, Journal};
use crate::lock::Lock;

/// How a fleet is kept as its manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// How long after the begin of a run the next one begins. Default: 5 minutes.
    pub interval: Duration,
    /// How often files are looked at. A change is acted upon once it was seen twice. Default: 2 seconds.
    pub poll_interval: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            poll_interval: Duration::from_secs(2),
        }
    }
}

/// Why a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The process has begun.
    Start,
    /// The interval is over.
    Interval,
    /// `fleet.toml` or the manifest was changed.
    Changed,
    /// An operator asked for something.
    Asked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Interval => "interval",
            Self::Changed => "changed files",
            Self::Asked => "asked for",
        })
    }
}

/// What happens while a fleet is kept as its manifest says.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// It goes on. Sent at each poll.
    Alive,
    /// A run has begun.
    Begun(Cause),
    /// A run has ended. The fleet is as its files were then.
    Ended(&'a Fleet, &'a Summary),
    /// A run has failed. What was done until then is recorded.
    Failed(&'a Fleet, &'a Error),
}

/// What is looked at to find out whether something has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    files: Vec<(PathBuf, Option<(SystemTime, u64)>)>,
    asks: u64,
}

impl Seen {
    fn of(fleet: &Fleet, journal: &Journal) -> Self {
        let manifest = fleet.folder.resolve(&fleet.config.devices.manifest);
        let files = [fleet.folder.config(), manifest].map(|path| {
            let state = path
                .metadata()
                .and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
            (path, state.ok())
        });
        Self {
            files: files.into(),
            // An error is the next run's to report.
            asks: journal.asks().unwrap_or_default(),
        }
    }

    fn difference(&self, other: &Self) -> Option<Cause> {
        match (self.files == other.files, self.asks == other.asks) {
            (false, _) => Some(Cause::Changed),
            (_, false) => Some(Cause::Asked),
            _ => None,
        }
    }
}

/// Notices changes.
struct Watcher {
    journal: Journal,
    /// What the run before, or the one under way, has seen.
    seen: Seen,
    /// What the poll before has seen.
    last: Seen,
}

impl Watcher {
    fn new(fleet: &Fleet, journal: Journal) -> Self {
        let seen = Seen::of(fleet, &journal);
        Self {
            journal,
            last: seen.clone(),
            seen,
        }
    }

    /// A run begins.
    fn begin(&mut self, fleet: &Fleet) {
        self.seen = Seen::of(fleet, &self.journal);
        self.last = self.seen.clone();
    }

    /// Returns what has changed since the run began, once two polls in a row see the same: files may be half written.
    fn poll(&mut self, fleet: &Fleet) -> Option<Cause> {
        let now = Seen::of(fleet, &self.journal);
        let is_steady = now == self.last;
        self.last = now;
        self.seen
            .difference(&self.last)
            .filter(|cause| is_steady || *cause == Cause::Asked)
    }
}

impl Fleet {
    /// Keeps the fleet as its manifest says until `stop` becomes true. Then the steps in flight are finished.
    ///
    /// What fails in a run is logged, reported, and tried again in the next one.
    ///
    /// # Errors
    /// Returns an error if another process works on the fleet, or the journal can't be opened.
    ///
    /// # Cancel safety
    /// Dropping the future is like killing the process: the next call goes on.
    pub async fn run(
        &self,
        options: RunOptions,
        stop: watch::Receiver<bool>,
        mut each: impl FnMut(RunEvent<'_>),
    ) -> Result<()> {
        create_private(self.folder.path())?;
        let _lock = Lock::take(&self.folder.lock())?;
        let journal = Journal::open(&self.folder.journal())?;
        let mut watcher = Watcher::new(self, journal);
        let mut fleet = self.clone();
        let mut cause = Cause::Start;
        while !*stop.borrow() {
            let begun = Instant::now();
            watcher.begin(&fleet);
            if cause == Cause::Asked {
                // Who asks may have mended what failed.
                fleet.gate.try_now();
            }
            tracing::info!(%cause, "a run begins");
            each(RunEvent::Begun(cause));
            let read = Config::read(&fleet.folder.config());
            if let Ok(config) = &read
                && *config != *fleet.config
            {
                fleet = Self::new(
                    fleet.folder.clone(),
                    config.clone(),
                    fleet.connector.clone(),
                );
                // The manifest may be another one.
                watcher.begin(&fleet);
            }
            let ended = match read {
                Ok(_) => {
                    fleet
                        .apply_watched(&options, &mut watcher, &stop, &mut each)
                        .await
                }
                Err(error) => Err(error.into()),
            };
            match &ended {
                Ok(summary) => {
                    let done = &summary.progress;
                    tracing::info!(
                        issued = done.issued,
                        deployed = done.deployed,
                        revoked = done.revoked,
                        failures = done.failures,
                        waiting = waits(&summary.waiting),
                        requests = done.requests,
                        settled = summary.settled,
                        "a run has ended"
                    );
                    if let Some(devices) = summary.waiting.get(&Hold::Permission) {
                        tracing::warn!(
                            devices,
                            "devices wait for permission: the service refuses the token, or there is none"
                        );
                    }
                    each(RunEvent::Ended(&fleet, summary));
                }
                Err(error) => {
                    log_failure(error);
                    each(RunEvent::Failed(&fleet, error));
                }
            }
            cause = match fleet
                .wait(
                    begun + options.interval,
                    &options,
                    &mut watcher,
                    &stop,
                    &mut each,
                )
                .await
            {
                Some(cause) => cause,
                None => break,
            };
        }
        Ok(())
    }

    /// Runs once. A change ends the run early.
    async fn apply_watched(
        &self,
        options: &RunOptions,
        watcher: &mut Watcher,
        stop: &watch::Receiver<bool>,
        each: &mut impl FnMut(RunEvent<'_>),
    ) -> Result<Summary> {
        let journal = Journal::open(&self.folder.journal())?;
        let (end, ended) = watch::channel(false);
        let apply_options = ApplyOptions::default();
        let mut stop = stop.clone();
        let report = |_: &Progress| {};
        let mut applying = pin!(self.apply_with(journal, &apply_options, ended, report));
        let mut polls = interval(options.poll_interval);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_ending = *end.borrow();
            tokio::select! {
                biased;
                applied = &mut applying => return applied,
                _ = stop.wait_for(|stop| *stop), if !is_ending => {
                    end.send_replace(true);
                }
                _ = polls.tick() => {
                    each(RunEvent::Alive);
                    if watcher.poll(self).is_some() && !is_ending {
                        tracing::info!("a change ends the run early");
                        end.send_replace(true);
                    }
                }
            }
        }
    }

    /// Waits for the next run. `None` if there is none.
    async fn wait(
        &self,
        until: Instant,
        options: &RunOptions,
        watcher: &mut Watcher,
        stop: &watch::Receiver<bool>,
        each: &mut impl FnMut(RunEvent<'_>),
    ) -> Option<Cause> {
        let mut stop = stop.clone();
        let mut polls = interval(options.poll_interval);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                _ = polls.tick() => {
                    each(RunEvent::Alive);
                    if let Some(cause) = watcher.poll(self) {
                        return Some(cause);
                    }
                }
                () = sleep_until(until) => return Some(Cause::Interval),
            }
        }
    }
}

/// What devices wait for, and how many.
fn waits(waiting: &BTreeMap<Hold, u64>) -> String {
    let waits: Vec<_> = waiting
        .iter()
        .map(|(hold, count)| format!("{hold}:{count}"))
        .collect();
    match waits.is_empty() {
        true => "none".to_owned(),
        false => waits.join(","),
    }
}

/// Logs why a run did not do everything, problem by problem.
fn log_failure(error: &Error) {
    if let Error::Manifest {
        path,
        problems,
        more,
    } = error
    {
        const MAX: usize = 20;
        for problem in problems.iter().take(MAX) {
            tracing::error!(file = %path.display(), %problem, "a row of the manifest is wrong");
        }
        let more = *more + problems.len().saturating_sub(MAX) as u64;
        tracing::error!(more, "nothing is done until the manifest is mended");
    } else {
        tracing::error!(%error, "the run failed; the next one tries again");
    }
}
