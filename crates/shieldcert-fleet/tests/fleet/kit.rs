//! What the tests share: a fleet in a temporary folder, and the emulator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shieldcert::{Client, ClientCertificate, Identity, Status, Zone};
use shieldcert_emulator::{Emulator, EmulatorBuilder, EmulatorTransport, Operation, Script};
use shieldcert_fleet::{
    Act, ApplyOptions, Ask, Connector, Deploy, DeployResult, Deployment, DeviceName, Entry, Error,
    Finding, Fleet, Plan, PlanEntry, Summary,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const ZONE_B: &str = "123e105f4ecef8ad9ca31a8372d0c353";

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) emulator: Emulator,
    deploy: Option<Arc<dyn Deploy>>,
    /// Whether the tokens of the policy are used.
    reads_tokens: bool,
}

/// An emulator that settles at once, and whose certificates are signed where they are asked for, so that paused time does
/// not run on meanwhile.
pub(crate) fn emulator() -> EmulatorBuilder {
    Emulator::builder().transition_delay(Duration::ZERO)
}

pub(crate) fn name(name: &str) -> DeviceName {
    name.parse().expect("a name")
}

/// A manifest of so many devices, with another column.
pub(crate) fn manifest(count: usize) -> String {
    let rows = (1..=count).map(|number| format!("sensor-{number}\n"));
    format!("name\n{}", rows.collect::<String>())
}

impl World {
    /// A fleet with this policy, beside one zone, and this manifest.
    pub(crate) fn new(emulator: EmulatorBuilder, policy: &str, manifest: &str) -> Self {
        let policy = format!("[zones.main]\nid = \"{ZONE}\"\n{policy}");
        Self::with_policy(emulator, &policy, manifest)
    }

    /// A fleet with this policy, and this manifest.
    pub(crate) fn with_policy(emulator: EmulatorBuilder, policy: &str, manifest: &str) -> Self {
        let emulator = emulator.build().expect("builds");
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            folder,
            emulator,
            deploy: None,
            reads_tokens: false,
        };
        world.write("fleet.toml", policy);
        world.write("devices.csv", manifest);
        world
    }

    /// Brings certificates into use by this.
    pub(crate) fn with_deploy(mut self, deploy: &Arc<impl Deploy + 'static>) -> Self {
        self.deploy = Some(deploy.clone());
        self
    }

    /// Uses the tokens of the policy.
    pub(crate) fn with_tokens(mut self) -> Self {
        self.reads_tokens = true;
        self
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("is written");
    }

    pub(crate) fn script(&self, script: &str) {
        self.emulator
            .script(script.parse::<Script>().expect(script));
    }

    pub(crate) fn fleet(&self) -> Fleet {
        let emulator = self.emulator.clone();
        let reads_tokens = self.reads_tokens;
        let connector = Connector::new(move || {
            let builder = Client::builder()
                .base_url(EmulatorTransport::BASE_URL)
                .transport(Arc::new(emulator.transport()));
            Ok(match reads_tokens {
                true => builder,
                false => builder.token("test"),
            })
        });
        let connector = match reads_tokens {
            true => connector,
            false => connector.with_credentials(),
        };
        let fleet = Fleet::open(self.folder.path(), connector).expect("a fleet");
        match &self.deploy {
            Some(deploy) => fleet.with_deploy(deploy.clone()),
            None => fleet,
        }
    }

    /// A zone without the fleet.
    pub(crate) fn zone(&self, id: &str) -> Zone {
        let token = match self.reads_tokens {
            true => "writes",
            false => "test",
        };
        let client = Client::builder()
            .token(token)
            .base_url(EmulatorTransport::BASE_URL)
            .transport(Arc::new(self.emulator.transport()))
            .build()
            .expect("a client");
        client.zone(id.parse().expect("an id"))
    }

    pub(crate) async fn certificates(&self) -> Vec<ClientCertificate> {
        self.certificates_of(ZONE).await
    }

    pub(crate) async fn certificates_of(&self, zone: &str) -> Vec<ClientCertificate> {
        let list = self.zone(zone).list().await.expect("is listed");
        list.into_iter().collect()
    }

    /// How many active certificates there are with each common name.
    pub(crate) async fn active(&self) -> BTreeMap<String, usize> {
        self.active_in(ZONE).await
    }

    pub(crate) async fn active_in(&self, zone: &str) -> BTreeMap<String, usize> {
        let mut active = BTreeMap::new();
        for certificate in self.certificates_of(zone).await {
            if certificate.status() == &Status::Active {
                let name = certificate.common_name().unwrap_or_default().to_owned();
                *active.entry(name).or_default() += 1;
            }
        }
        active
    }

    pub(crate) async fn plan(&self) -> (Plan, Vec<PlanEntry>) {
        let mut entries = Vec::new();
        let plan = self.fleet().plan(|entry| entries.push(entry)).await;
        (plan.expect("a plan"), entries)
    }

    pub(crate) async fn apply(&self) -> Summary {
        self.try_apply(&ApplyOptions::default())
            .await
            .expect("is applied")
    }

    pub(crate) async fn refresh(&self) -> Summary {
        let mut options = ApplyOptions::default();
        options.refresh = true;
        self.try_apply(&options).await.expect("is applied")
    }

    pub(crate) async fn try_apply(&self, options: &ApplyOptions) -> Result<Summary, Error> {
        let (_stop, stopped) = watch::channel(false);
        self.fleet().apply(options, stopped, |_| {}).await
    }

    /// Applies, and ends as a process that is killed after this time.
    pub(crate) async fn killed_after(&self, time: Duration) {
        let options = ApplyOptions::default();
        let applied = tokio::time::timeout(time, self.try_apply(&options)).await;
        assert!(applied.is_err(), "it ended before: {applied:?}");
    }

    pub(crate) fn ask(&self, ask: Ask, devices: &[&str]) {
        let journal = self.fleet().journal().expect("a journal");
        let names: Vec<_> = devices.iter().map(|device| name(device)).collect();
        let now = journal.service_time().expect("is read");
        let now = now.unwrap_or_else(shieldcert::jiff::Timestamp::now);
        let asked = journal.ask(ask, &names, now).expect("is asked");
        assert_eq!(asked, devices.len() as u64);
    }

    pub(crate) async fn compare(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let compared = self.fleet().compare(|finding| findings.push(finding)).await;
        compared.expect("is compared");
        findings
    }

    /// What was done for a device.
    pub(crate) fn history(&self, device: &str) -> Vec<Entry> {
        let journal = self.fleet().journal().expect("a journal");
        journal
            .history(Some(&name(device)), 10_000)
            .expect("is read")
    }

    pub(crate) fn acts(&self, device: &str) -> Vec<Act> {
        self.history(device).iter().map(|entry| entry.act).collect()
    }

    /// How many requests there were.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.emulator.history().count(operation)
    }

    /// How many requests it takes to list the zone.
    pub(crate) async fn list_requests(&self) -> usize {
        let before = self.count(Operation::List);
        self.certificates().await;
        self.count(Operation::List) - before
    }

    /// The generation in use, and what its files hold.
    pub(crate) fn current(&self, device: &str) -> (u32, Identity) {
        let link = self.path("devices").join(device).join("current");
        let number = fs::read_link(&link).expect("is a link");
        let number = number.to_str().and_then(|number| number.parse().ok());
        let read = |name: &str| fs::read(link.join(name)).expect("is read");
        let text = [read("key.pem"), read("cert.pem")].concat();
        let identity = Identity::from_pem(text).expect("they belong together");
        (number.expect("a number"), identity)
    }

    /// Checks that each of these devices has one active certificate, which is the one of its files.
    pub(crate) async fn check_in_use(&self, devices: &[&str]) {
        let held = self.certificates().await;
        for device in devices {
            let active: Vec<_> = held
                .iter()
                .filter(|held| held.common_name() == Some(device))
                .filter(|held| held.status() == &Status::Active)
                .collect();
            assert_eq!(active.len(), 1, "{device}");
            let serial = self.current(device).1.certificate().serial_number();
            assert_eq!(active[0].has_serial_number(&serial), Some(true), "{device}");
        }
    }
}

/// A deployment, or a check, that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) what: &'static str,
    pub(crate) device: String,
    pub(crate) generation: u32,
    pub(crate) at: Instant,
}

type Judge = Box<dyn FnMut(&str, &Deployment) -> DeployResult + Send>;

/// Brings certificates into use as a test says.
pub(crate) struct Deployer {
    begun: Mutex<Vec<Begun>>,
    judge: Mutex<Judge>,
    hangs: AtomicBool,
}

impl Deployer {
    /// `judge` says what comes of a `deploy` or `verify`.
    pub(crate) fn new(
        judge: impl FnMut(&str, &Deployment) -> DeployResult + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            begun: Mutex::default(),
            judge: Mutex::new(Box::new(judge)),
            hangs: AtomicBool::new(false),
        })
    }

    pub(crate) fn succeeding() -> Arc<Self> {
        Self::new(|_, _| Ok(String::new()))
    }

    pub(crate) fn judge(
        &self,
        judge: impl FnMut(&str, &Deployment) -> DeployResult + Send + 'static,
    ) {
        *self.judge.lock().expect("is free") = Box::new(judge);
    }

    pub(crate) fn begun(&self, what: &str) -> Vec<Begun> {
        let begun = self.begun.lock().expect("is free");
        begun
            .iter()
            .filter(|begun| begun.what == what)
            .cloned()
            .collect()
    }

    /// Whether what is begun from now on never ends.
    pub(crate) fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
    }

    async fn try_it(&self, what: &'static str, deployment: &Deployment) -> DeployResult {
        self.begun.lock().expect("is free").push(Begun {
            what,
            device: deployment.device.to_string(),
            generation: deployment.generation,
            at: Instant::now(),
        });
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        (self.judge.lock().expect("is free"))(what, deployment)
    }
}

impl Deploy for Deployer {
    fn deploy(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(async move { self.try_it("deploy", &deployment).await })
    }

    fn verify(
        &self,
        deployment: Deployment,
    ) -> Pin<Box<dyn Future<Output = DeployResult> + Send + '_>> {
        Box::pin(async move { self.try_it("verify", &deployment).await })
    }
}
