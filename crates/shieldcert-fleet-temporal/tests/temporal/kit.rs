//! What the tests share: a Temporal server, the emulator, and a fleet whose workers are processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aho_corasick::AhoCorasick;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use shieldcert::{Client, ClientCertificate, Identity, Status, Zone};
use shieldcert_emulator::{Emulator, EmulatorBuilder, RunningEmulator};
use tempfile::TempDir;

pub(crate) const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";
pub(crate) const OTHER_TOKEN: &str = "q7Tz0mWc2RkYvBn4XsLdJ9hGfP1aEoU6iK3xQ8Vw";

/// The program of the server. `None`: it is not installed. Panics if it must be.
pub(crate) fn program() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = workspace.join("target/interop/temporal/bin/temporal");
    let given = std::env::var_os("SHIELDCERT_TEMPORAL").map(PathBuf::from);
    let found = [given, Some(installed)];
    let found = found.into_iter().flatten().find(|path| path.exists());
    if found.is_none() {
        let is_required =
            std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
        assert!(
            !is_required,
            "the Temporal server is not installed, and SHIELDCERT_INTEROP requires it"
        );
        // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
        writeln!(
            std::io::stderr(),
            "skipped: the Temporal server is not installed; `tests/interop/temporal.sh` installs it"
        )
        .expect("standard error can be written to");
    }
    found
}

/// A process that is killed when it is dropped.
pub(crate) struct Process(Mutex<Child>);

impl Process {
    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().expect("no thread has panicked")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child().id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("is sent");
    }

    /// Waits until it has ended. Returns its exit code.
    pub(crate) fn wait(&self) -> Option<i32> {
        self.child().wait().expect("ends").code()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.signal(Signal::SIGTERM);
        self.wait();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.child().try_wait().expect("is asked").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL. It may have ended.
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How often a server is started, where another process takes its port.
const MAX_STARTS: usize = 5;

/// A Temporal server with its own file.
pub(crate) struct Server {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts a server. `None`: it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = program()?;
        for _ in 0..MAX_STARTS {
            // It takes no port 0. Another process may take this one before it does, or one of those that it chooses itself.
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a port")
                .port();
            let server = Self {
                program: program.clone(),
                folder: tempfile::tempdir().expect("a folder"),
                port,
                process: Mutex::default(),
            };
            if server.launch() {
                return Some(server);
            }
        }
        panic!("the server does not start");
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("temporal.db")
    }

    /// Kills the server, and starts it with the same file.
    pub(crate) fn restart(&self) {
        let has_started = (0..MAX_STARTS).any(|_| self.launch());
        assert!(has_started, "{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Starts the server anew. Returns `false` if it ends before it is ready, as when another process has taken a port.
    fn launch(&self) -> bool {
        let mut process = self.process.lock().expect("no thread has panicked");
        *process = None;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .expect("a log");
        let child = Command::new(&self.program)
            .args(["server", "start-dev", "--headless", "--log-level", "error"])
            .args(["--port", &self.port.to_string(), "--db-filename"])
            .arg(self.database())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        let process = process.insert(Process(Mutex::new(child)));
        let began = Instant::now();
        loop {
            let ready = Command::new(&self.program)
                .args([
                    "operator",
                    "cluster",
                    "health",
                    "--address",
                    &self.address(),
                ])
                .stdin(Stdio::null())
                .output()
                .expect("runs");
            let has_ended = process.has_ended();
            if has_ended {
                return false;
            }
            if ready.status.success() {
                return true;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the server does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Cancels a workflow, as an operator does.
    pub(crate) fn cancel(&self, workflow: &str) {
        let cancelled = Command::new(&self.program)
            .args(["workflow", "cancel", "--address", &self.address()])
            .args(["--workflow-id", workflow])
            .stdin(Stdio::null())
            .output()
            .expect("runs");
        assert!(cancelled.status.success(), "{cancelled:?}");
    }

    /// Stops the server, and returns its file, which is removed with the world.
    pub(crate) fn stop(&self) -> PathBuf {
        if let Some(process) = &*self.process.lock().expect("no thread has panicked") {
            process.signal(Signal::SIGTERM);
            process.wait();
        }
        self.database()
    }

    /// The history of every workflow, of every run, in JSON.
    pub(crate) async fn histories(&self, fleet: &str) -> Vec<(String, String, Vec<u8>)> {
        use futures_util::StreamExt;
        use temporalio_client::{WorkflowFetchHistoryOptions, WorkflowListOptions};
        let client = self.client().await;
        let query = format!("WorkflowId = '{fleet}' OR ShieldcertFleet = '{fleet}'");
        let mut listed = client.list_workflows(query, WorkflowListOptions::default());
        let mut histories = Vec::new();
        while let Some(workflow) = listed.next().await {
            let workflow = workflow.expect("is listed");
            let info = temporalio_client::WorkflowExecutionInfo::builder()
                .namespace("default")
                .workflow_id(workflow.id())
                .run_id(workflow.run_id())
                .build();
            let history = info
                .bind_untyped(client.clone())
                .fetch_history(WorkflowFetchHistoryOptions::default());
            let json = history.to_json().await.expect("is fetched");
            histories.push((workflow.id().to_owned(), workflow.run_id().to_owned(), json));
        }
        histories
    }

    pub(crate) async fn client(&self) -> temporalio_client::Client {
        let target = format!("http://{}", self.address());
        let target = url::Url::parse(&target).expect("a URL");
        let options = temporalio_client::ConnectionOptions::new(target).build();
        let connection = temporalio_client::Connection::connect(options)
            .await
            .expect("connects");
        let options = temporalio_client::ClientOptions::new("default").build();
        temporalio_client::Client::new(connection, options).expect("a client")
    }
}

/// A fleet, its service, and its server.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) emulator: RunningEmulator,
    pub(crate) folder: TempDir,
    /// Where the service is.
    pub(crate) base_url: String,
    config: String,
    logs: AtomicU32,
}

/// The policy beside the zone and the token. The window is above what the emulator is late by.
pub(crate) const POLICY: &str = "[limits]\nsettle_window = \"2s\"\n";

/// A `fleet.toml` with one zone, whose budget has this name.
pub(crate) fn config(budget: &str, policy: &str) -> String {
    format!(
        "[zones.main]\nid = \"{ZONE}\"\n[budgets.{budget}]\ntoken_env = \"FLEET_TOKEN\"\nreserve_share = 0.0\n{policy}"
    )
}

impl World {
    /// `None`: there is no server.
    pub(crate) async fn new(
        emulator: EmulatorBuilder,
        policy: &str,
        manifest: &str,
    ) -> Option<Self> {
        let server = Server::start()?;
        let emulator = emulator.token(TOKEN).start().await.expect("starts");
        let mut world = Self {
            server,
            base_url: emulator.base_url(),
            emulator,
            folder: tempfile::tempdir().expect("a folder"),
            config: String::new(),
            logs: AtomicU32::new(0),
        };
        fs::create_dir(world.path("fleet")).expect("is made");
        world.set_config(&config("default", policy));
        world.write_manifest(manifest);
        Some(world)
    }

    /// The `fleet.toml` of workers that are started from now on, and of `apply`.
    pub(crate) fn set_config(&mut self, config: &str) {
        config.clone_into(&mut self.config);
        fs::write(self.path("fleet/fleet.toml"), config).expect("is written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_manifest(&self, text: &str) {
        fs::write(self.path("fleet/devices.csv"), text).expect("is written");
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shieldcert-temporal"));
        command
            .args(["--base-url", &self.base_url, "--dir"])
            .arg(folder)
            .env("FLEET_TOKEN", TOKEN)
            .env("OTHER_TOKEN", OTHER_TOKEN)
            .env("TEMPORAL_ADDRESS", self.server.address())
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::null());
        command
    }

    /// Starts a worker with a folder of its own, which it finds again.
    pub(crate) fn worker(&self, name: &str, share: f64) -> Process {
        self.worker_with(name, &["--share", &share.to_string()], &[])
    }

    pub(crate) fn worker_with(
        &self,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let folder = self.path(name);
        fs::create_dir_all(&folder).expect("is made");
        fs::write(folder.join("fleet.toml"), &self.config).expect("is written");
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("{name}-{number}.log"));
        let log = fs::File::create(log).expect("a log");
        let child = self
            .command(&folder)
            .args(["worker", "--name", name])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        Process(Mutex::new(child))
    }

    /// What the workers said.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.folder.path()).expect("is read") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = fs::read_to_string(&path).unwrap_or_default();
                let log: Vec<&str> = log.lines().rev().take(60).collect();
                text.push_str(&format!("--- {}\n", path.display()));
                for line in log.into_iter().rev() {
                    text.extend(line.chars().take(700));
                    text.push('\n');
                }
            }
        }
        text
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(&self.path("fleet"));
        command.envs(environment.iter().copied());
        command.args(arguments).output().expect("runs")
    }

    /// Starts a command, whose output nobody reads, and what it says.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let said = fs::File::create(self.path("said.log")).expect("a log");
        let mut command = self.command(&self.path("fleet"));
        command.args(arguments).stdout(Stdio::piped()).stderr(said);
        let mut child = command.spawn().expect("it starts");
        drop(child.stdout.take());
        Process(Mutex::new(child))
    }

    /// Runs a command that must end with this code, and returns what it prints, in JSON, and what it says.
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> (Value, String) {
        let output = self.run(&[&["--output", "json"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {said}\n{}",
            self.logs()
        );
        let printed = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (printed, said)
    }

    /// The rows of `failed.csv`: the device, what it waits for, and what went wrong.
    pub(crate) fn failed(&self) -> Vec<[String; 3]> {
        let path = self.path("fleet/failed.csv");
        let mut lines = csv::Reader::from_path(path).expect("is there");
        let header = lines
            .headers()
            .expect("a header")
            .iter()
            .collect::<Vec<_>>();
        let fields = ["name", "generation", "state", "hold", "problem", "retry_at"];
        assert_eq!(header, fields);
        let rows = lines.records().map(|row| {
            let row = row.expect("a row");
            [0, 3, 4].map(|place| row[place].to_owned())
        });
        rows.collect()
    }

    /// Runs a command that must succeed, and returns what it prints, in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.ok(&[&["--output", "json"], arguments].concat());
        serde_json::from_slice(&printed).expect("JSON")
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.logs()
        );
        output.stdout
    }

    /// Waits for what a command shows. Panics with what it shows instead.
    pub(crate) async fn until(&self, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
        self.until_within(120, arguments, is_so).await
    }

    /// Waits so many seconds at most.
    pub(crate) async fn until_within(
        &self,
        seconds: u64,
        arguments: &[&str],
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let began = Instant::now();
        loop {
            let shown = self.json(arguments);
            if is_so(&shown) {
                return shown;
            }
            assert!(
                began.elapsed() < Duration::from_secs(seconds),
                "{arguments:?}: {shown}\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Waits until a file is there.
    pub(crate) async fn until_exists(&self, path: &Path) {
        let began = Instant::now();
        while !path.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{} is not there\n{}",
                path.display(),
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Applies, and runs other processes' reconciliation until nothing is left to do.
    pub(crate) fn settle(&self) {
        let applied = self.json(&["apply", "--yes", "--timeout", "300s"]);
        assert_eq!(applied["complete"], true, "{applied}\n{}", self.logs());
        self.json(&["reconcile"]);
        self.json(&["apply", "--yes", "--timeout", "60s"]);
    }

    pub(crate) fn zone(&self) -> Zone {
        let client = Client::builder()
            .token(TOKEN)
            .base_url(self.emulator.base_url())
            .build()
            .expect("a client");
        client.zone(ZONE.parse().expect("an id"))
    }

    /// The active certificates by common name.
    pub(crate) async fn active(&self) -> BTreeMap<String, Vec<ClientCertificate>> {
        let list = self.zone().list().send().await.expect("is listed");
        let mut active = BTreeMap::<String, Vec<ClientCertificate>>::new();
        for certificate in list {
            let is_over = matches!(
                certificate.status(),
                Status::Revoked | Status::PendingRevocation
            );
            if !is_over {
                let name = certificate.common_name().unwrap_or_default().to_owned();
                active.entry(name).or_default().push(certificate);
            }
        }
        active
    }

    /// Waits until each of so many devices has one active certificate. What is surplus is revoked after a look.
    pub(crate) async fn wait_for_one_each(
        &self,
        devices: usize,
    ) -> BTreeMap<String, Vec<ClientCertificate>> {
        let began = Instant::now();
        loop {
            let active = self.active().await;
            let is_one = active.values().all(|certificates| certificates.len() == 1);
            if is_one && active.len() == devices {
                return active;
            }
            if began.elapsed() > Duration::from_secs(120) {
                let other: Vec<_> = active
                    .iter()
                    .filter(|(_, certificates)| certificates.len() != 1)
                    .map(|(name, certificates)| format!("{name}: {}", certificates.len()))
                    .collect();
                panic!(
                    "{} devices of {devices}; not one each: {other:?}\n{}",
                    active.len(),
                    self.logs()
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The key of a device is at one of these workers, with its certificate, and current.
    pub(crate) fn check_files(
        &self,
        active: &BTreeMap<String, Vec<ClientCertificate>>,
        workers: &[&str],
    ) {
        for (name, certificates) in active {
            let serial = |worker: &&str| {
                let current = self.path(worker).join("devices").join(name).join("current");
                let key = fs::read(current.join("key.pem")).ok()?;
                let certificate = fs::read(current.join("cert.pem")).ok()?;
                let identity = Identity::from_pem([key, certificate].concat());
                let identity = identity.expect("belongs together");
                Some(identity.certificate().serial_number())
            };
            let serials: Vec<_> = workers.iter().filter_map(serial).collect();
            let has = serials
                .iter()
                .any(|serial| certificates[0].has_serial_number(serial) == Some(true));
            assert!(has, "{name}: {serials:?}\n{}", self.logs());
        }
    }

    /// No private key, and no token, is in any history.
    pub(crate) async fn check_secrets(&self, workers: &[&str]) {
        let histories = self.server.histories("fleet").await;
        assert!(!histories.is_empty());
        let mut needles = vec![TOKEN.to_owned(), "PRIVATE KEY".to_owned()];
        let mut keys = 0;
        for worker in workers {
            let devices = self.path(worker).join("devices");
            let Ok(devices) = fs::read_dir(&devices) else {
                continue;
            };
            for device in devices {
                let device = device.expect("an entry").path();
                for generation in fs::read_dir(&device).expect("is read") {
                    let key = generation.expect("an entry").path().join("key.pem");
                    let Ok(key) = fs::read_to_string(key) else {
                        continue;
                    };
                    keys += 1;
                    // The middle of the key, as it is, and as it would be inside a payload, which is base64.
                    let line = key.lines().nth(1).expect("a line").to_owned();
                    needles.push(line[8..40].to_owned());
                }
            }
        }
        assert!(keys > 0);
        let secrets = AhoCorasick::new(&needles).expect("an automaton");
        // A payload holds what it was given, in base64. What JSON escapes is no part of a needle.
        for (id, _, history) in &histories {
            let decoded = decode_payloads(history);
            for text in [history, &decoded] {
                let found = secrets.find(text).map(|found| &needles[found.pattern()]);
                assert!(found.is_none(), "{id} holds a secret: {found:?}");
            }
            // The search would find one.
            assert!(!decoded.is_empty(), "{id}: no payload was decoded");
        }
        // Nor in the server's file, in any table.
        let database = fs::read(self.server.database()).expect("is read");
        let found = secrets
            .find(&database)
            .map(|found| &needles[found.pattern()]);
        assert!(
            found.is_none(),
            "the server's file holds a secret: {found:?}"
        );
        println!("{} histories without any of {keys} keys", histories.len());
    }
}

/// Every string of a document that is base64, decoded: payloads are.
fn decode_payloads(json: &[u8]) -> Vec<u8> {
    fn visit(value: &Value, into: &mut Vec<u8>) {
        use base64::Engine;
        match value {
            Value::String(text) => {
                if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
                    into.extend(bytes);
                    into.push(b'\n');
                }
            }
            Value::Array(values) => values.iter().for_each(|value| visit(value, into)),
            Value::Object(members) => members.values().for_each(|value| visit(value, into)),
            _ => {}
        }
    }
    let mut decoded = Vec::new();
    visit(&serde_json::from_slice(json).expect("JSON"), &mut decoded);
    decoded
}

/// The emulator, which settles at once.
pub(crate) fn emulator() -> EmulatorBuilder {
    Emulator::builder().transition_delay(Duration::ZERO)
}

/// A manifest of so many devices.
pub(crate) fn manifest(count: usize) -> String {
    let rows = (0..count).map(|number| format!("device-{number:03}\n"));
    format!("name\n{}", rows.collect::<String>())
}
