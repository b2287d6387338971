//! Every sequence of a few faults, played for one issue, one list of three pages and one wait.
//!
//! What chance finds late, this finds at once: the n-th request of an operation meets the n-th fault of a sequence, or
//! none. So the sequences of two faults include those of one, first or second.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use shieldcert::{CertificateId, Csr, Error, Status};
use shieldcert_emulator::{Connection, Emulator, Event, Fault, Operation, ScriptedFault};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};

use super::parallel::for_each;
use super::service::{Service, plain};
use super::world::{MAX_DURATION, csr, start, zone_through};
use super::{catalogue, secrets};

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Issue,
    List,
    Wait,
}

const SCENARIOS: [Scenario; 3] = [Scenario::Issue, Scenario::List, Scenario::Wait];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issue => "issue",
            Self::List => "list",
            Self::Wait => "wait",
        })
    }
}

/// An operation, and the faults of its requests. As text: `issue: lose-response; -; html`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    scenario: Scenario,
    faults: Vec<Option<Fault>>,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scenario)?;
        for (index, fault) in self.faults.iter().enumerate() {
            f.write_str(if index == 0 { " " } else { "; " })?;
            match fault {
                None => f.write_str("-")?,
                Some(fault) => write!(f, "{fault}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Sequence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || format!("{text:?} is no sequence; write one as issue: lose-response; -; html");
        let (name, faults) = text.split_once(':').ok_or_else(problem)?;
        let scenario = SCENARIOS
            .into_iter()
            .find(|scenario| scenario.to_string() == name.trim());
        let parse = |fault: &str| match fault.trim() {
            "-" => Ok(None),
            fault => fault.parse().map(Some).map_err(|error| format!("{error}")),
        };
        Ok(Self {
            scenario: scenario.ok_or_else(problem)?,
            faults: faults.split(';').map(parse).collect::<Result<_, _>>()?,
        })
    }
}

/// What was played, and how it ended.
#[derive(Default)]
pub struct Report {
    /// How many sequences there were.
    pub sequences: u64,
    /// How many ended in which way.
    pub ends: BTreeMap<String, u64>,
    /// The sequences that broke a promise.
    pub failed: Vec<(Sequence, Vec<String>)>,
}

/// How a sequence ended.
pub struct Played {
    /// In a word or two.
    pub end: &'static str,
    /// The broken promises; empty if all hold.
    pub broken: Vec<String>,
    /// The requests, in order, and what happened to them.
    pub history: Vec<String>,
}

/// Plays every sequence of up to `length` faults, on all cores. `visit` sees each with its end, and may stop.
pub fn play_all(
    length: u32,
    visit: impl Fn(&Sequence, &Played) -> ControlFlow<()> + Sync,
) -> Report {
    let faults = catalogue::faults();
    let choices = faults.len() as u64 + 1;
    let each = choices.pow(length);
    let sequence = |number: u64| {
        let mut rest = number % each;
        let mut digit = || {
            let fault = rest % choices;
            rest /= choices;
            fault
                .checked_sub(1)
                .map(|index| faults[index as usize].clone())
        };
        Sequence {
            scenario: SCENARIOS[(number / each) as usize],
            faults: (0..length).map(|_| digit()).collect(),
        }
    };
    let report = Mutex::new(Report::default());
    for_each(
        0..each * SCENARIOS.len() as u64,
        Stage::default,
        |stage, number| {
            let sequence = sequence(number);
            let played = stage.play(&sequence);
            let control = visit(&sequence, &played);
            let mut report = report.lock().expect("not poisoned");
            report.sequences += 1;
            let end = format!("{}: {}", sequence.scenario, played.end);
            *report.ends.entry(end).or_default() += 1;
            if !played.broken.is_empty() {
                report.failed.push((sequence, played.broken));
            }
            control
        },
    );
    report.into_inner().expect("not poisoned")
}

/// Plays one sequence. Must be called outside of a runtime.
pub fn play(sequence: &Sequence) -> Played {
    Stage::default().play(sequence)
}

/// Returns the command that replays a sequence.
pub fn replay_sequence(sequence: &Sequence) -> String {
    format!("cargo xtask simulate --sequence '{sequence}'")
}

/// An emulator in which one sequence after the other is played.
#[derive(Default)]
struct Stage(Option<Scene>);

struct Scene {
    runtime: Runtime,
    emulator: Emulator,
    /// A zone with eleven certificates, three pages.
    list: (Service, Vec<String>),
    /// A zone with a certificate that is revoked, and reactivated after each play.
    wait: (Service, CertificateId),
    /// How many more sequences are played here.
    left: u32,
}

/// How many certificates are listed, and by how many.
const LISTED: usize = 11;
const PAGE_SIZE: u32 = 5;

const LIST_ZONE: &str = "11111111111111111111111111111111";
const WAIT_ZONE: &str = "22222222222222222222222222222222";

/// What the issue asks for. The zone has another certificate, with another key.
const ISSUED: usize = 2;

const WAIT_TIMEOUT: Duration = Duration::from_secs(300);

/// After this, nothing that was sent still acts.
const SETTLED: Duration = Duration::from_secs(120);

impl Stage {
    fn play(&mut self, sequence: &Sequence) -> Played {
        // A zone of its own is left by each issue.
        let mut scene = match self.0.take().filter(|scene| scene.left > 0) {
            Some(scene) => scene,
            None => Scene::new(),
        };
        scene.left -= 1;
        let played = scene.play(sequence);
        self.0 = Some(scene);
        played
    }
}

impl Scene {
    fn new() -> Self {
        let runtime = start();
        let (emulator, list, wait) = runtime.block_on(async {
            let emulator = Emulator::builder()
                .token(secrets::TOKEN)
                .seed(0)
                .clock_start(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
                .build()
                .expect("builds");
            let zone = |id| Service::new(emulator.transport(), id);
            let (list, wait) = (zone(LIST_ZONE), zone(WAIT_ZONE));
            let mut ids = Vec::new();
            for number in 0..LISTED {
                ids.push(plain(&list.issue(&csr(number).to_pem(), 30).await));
            }
            ids.sort();
            let id = wait.issue(&csr(0).to_pem(), 30).await;
            let id = id.parse().expect("an id");
            // Until even a replica that lags has all of it.
            sleep(SETTLED).await;
            (emulator, (list, ids), (wait, id))
        });
        Self {
            runtime,
            emulator,
            list,
            wait,
            left: 200,
        }
    }

    fn play(&mut self, sequence: &Sequence) -> Played {
        // What the client draws itself, for example jitter.
        fastrand::seed(0);
        secrets::watch();
        let connection = self.emulator.connect();
        let id = connection.id();
        let rules = (1..)
            .zip(&sequence.faults)
            .filter_map(|(n, fault)| Some(ScriptedFault::nth(Operation::Any, n, fault.clone()?)));
        connection.script(rules);
        let connection = Arc::new(connection);
        let played = self.runtime.block_on(async {
            let playing = async {
                match sequence.scenario {
                    Scenario::Issue => self.issue(connection).await,
                    Scenario::List => self.list(connection).await,
                    Scenario::Wait => self.wait(connection).await,
                }
            };
            timeout(MAX_DURATION, playing).await
        });
        let (end, mut broken) = match played {
            Ok(played) => played,
            Err(_) => ("endless", vec!["an operation does not end".to_owned()]),
        };
        broken.extend(secrets::found());
        let history = match &*broken {
            [] => Vec::new(),
            _ => self.history(id),
        };
        Played {
            end,
            broken,
            history,
        }
    }

    /// What a connection sent, and what happened to it.
    fn history(&self, connection: u64) -> Vec<String> {
        let history = self.emulator.history();
        let events = history
            .iter()
            .filter(|event| event.connection == connection);
        let describe = |event: &Event| {
            let status = event
                .status
                .map_or("-".to_owned(), |status| status.to_string());
            let fault = event.fault.unwrap_or("no fault");
            let (method, path) = (&event.method, &event.path);
            format!("{:12.3}  {method} {path} → {status}, {fault}", event.at)
        };
        events.map(describe).collect()
    }

    async fn issue(&self, connection: Arc<Connection>) -> (&'static str, Vec<String>) {
        let zone = format!("{:032x}", 0x3000_0000 + u64::from(self.left));
        let service = Service::new(self.emulator.transport(), &zone);
        service.issue(&csr(0).to_pem(), 30).await;
        sleep(SETTLED).await;
        let csr: Csr = csr(ISSUED);
        let outcome = zone_through(connection, &zone)
            .issue(&csr)
            .validity_days(30)
            .await;
        sleep(SETTLED).await;
        let name = csr.common_name().unwrap_or_default();
        let held = service.list().await;
        let active: Vec<_> = held
            .iter()
            .filter(|held| held.common_name == name && held.status == "active")
            .map(|held| plain(&held.id))
            .collect();
        let (end, expected) = match &outcome {
            Ok(issued) if active == [plain(issued.certificate.id().as_str())] => ("issued", None),
            Ok(issued) => {
                let id = issued.certificate.id();
                ("issued", Some(format!("{id} was returned")))
            }
            Err(Error::OutcomeUnknown { .. } | Error::WrongCertificate { .. }) => {
                let too_many = (active.len() > 1).then(|| "the outcome is unknown".to_owned());
                ("unknown", too_many)
            }
            Err(error) => {
                let any = !active.is_empty();
                (
                    "clean failure",
                    any.then(|| format!("it failed cleanly: {error}")),
                )
            }
        };
        let broken =
            expected.map(|expected| format!("promise 1: active are {active:?}, but {expected}"));
        (end, broken.into_iter().collect())
    }

    async fn list(&self, connection: Arc<Connection>) -> (&'static str, Vec<String>) {
        let (_, expected) = &self.list;
        let list = zone_through(connection, LIST_ZONE)
            .list()
            .page_size(PAGE_SIZE);
        match list.await {
            Err(_) => ("failed", Vec::new()),
            Ok(listed) => {
                let mut ids: Vec<_> = listed
                    .iter()
                    .map(|certificate| plain(certificate.id().as_str()))
                    .collect();
                ids.sort();
                let unreadable = listed.unreadable().len();
                let missed = expected.iter().filter(|id| !ids.contains(id)).count();
                // Records that are null look alike.
                let is_reported = missed == 0 || unreadable > 0;
                let is_right = is_reported && ids.len() + missed == expected.len();
                let broken = (!is_right).then(|| {
                    let count = ids.len();
                    format!(
                        "promise 2: a list of {LISTED} has {count}, of which it misses {missed}, and \
                         {unreadable} can't be read: {ids:?}"
                    )
                });
                ("complete", broken.into_iter().collect())
            }
        }
    }

    async fn wait(&self, connection: Arc<Connection>) -> (&'static str, Vec<String>) {
        let (service, id) = &self.wait;
        let mut broken = Vec::new();
        let client = zone_through(connection, WAIT_ZONE);
        let started = Instant::now();
        let outcome = client
            .revoke(id)
            .until_settled()
            .timeout(WAIT_TIMEOUT)
            .await;
        let waited = started.elapsed();
        if waited > WAIT_TIMEOUT + Duration::from_secs(1) {
            broken.push(format!(
                "promise 4: a wait for {WAIT_TIMEOUT:?} ended after {waited:?}"
            ));
        }
        let end = match outcome {
            Ok(certificate) => {
                let actual = service.status(id.as_str()).await;
                let seen = certificate.status();
                if *seen != Status::Revoked || actual != "revoked" {
                    broken.push(format!("promise 4: it returned {seen}, but is {actual}"));
                }
                "settled"
            }
            Err(Error::NotSettled { .. }) => "not settled",
            Err(Error::Overtaken { seen, .. }) => {
                broken.push(format!("promise 4: overtaken by {seen}, but nobody did"));
                "overtaken"
            }
            Err(_) => "failed",
        };
        sleep(SETTLED).await;
        service.reactivate(id.as_str()).await;
        sleep(SETTLED).await;
        (end, broken)
    }
}
