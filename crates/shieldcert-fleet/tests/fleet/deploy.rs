//! Commands that bring certificates into use, and what comes of their failures.

use std::fs;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shieldcert::Status;
use shieldcert_emulator::Operation;
use shieldcert_fleet::{Act, Action, Ask, Deploy, DeployResult, Deployment, Hold};

use crate::kit::{DAY, Deployer, World, emulator, manifest};

fn fails() -> Arc<Deployer> {
    Deployer::new(|_, deployment| Err(format!("{} can't be reached", deployment.device)))
}

#[cfg(unix)]
#[tokio::test]
async fn commands_learn_names_and_paths() {
    let policy = "[deploy]\n\
        command = 'env | grep ^SHIELDCERT_ | grep -v INTEROP | sort > deploy-$SHIELDCERT_DEVICE-$SHIELDCERT_GENERATION; echo installed'\n\
        verify = 'test -s deploy-$SHIELDCERT_DEVICE-$SHIELDCERT_GENERATION && echo accepted'\n\
        [outputs]\nformats = [\"combined\", \"pkcs12\"]\npkcs12_password_file = \"password\"\n";
    let world = World::new(emulator(), policy, "name,labels\nsensor-1,site:a blue\n");
    world.write("password", "secret");
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    let held = world.certificates().await;
    let mut ids: Vec<_> = held.iter().map(|held| held.id().to_string()).collect();
    let serial = world.current("sensor-1").1.certificate().serial_number();
    // The newest last.
    ids.sort_by_key(|id| {
        let held = held.iter().find(|held| held.id().as_str() == id);
        held.and_then(|held| held.has_serial_number(&serial))
    });
    let said = |generation: u32| {
        let text = fs::read_to_string(world.path(format!("deploy-sensor-1-{generation}")));
        let folder = world.folder.path().canonicalize().expect("a path");
        text.expect("was run")
            .replace(&folder.display().to_string(), "FLEET")
            .replace(&world.folder.path().display().to_string(), "FLEET")
            .replace(&ids[0], "FIRST")
            .replace(&ids[1], "SECOND")
    };
    insta::assert_snapshot!([said(1), said(2)].join("\n"));
    let details: Vec<_> = world
        .history("sensor-1")
        .into_iter()
        .filter(|entry| matches!(entry.act, Act::Deployed | Act::Verified))
        .map(|entry| entry.detail.unwrap_or_default())
        .collect();
    assert_eq!(details, ["installed", "accepted", "installed", "accepted"]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_end_of_what_a_failing_command_prints_is_in_the_history() {
    let policy = "[deploy]\ncommand = 'echo no route to $SHIELDCERT_DEVICE >&2; exit 9'\n";
    let world = World::new(emulator(), policy, "name\nsensor-1\n");
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::Failed), Some(&1));
    let failed = world.history("sensor-1").pop().expect("an entry");
    assert_eq!(failed.act, Act::DeployFailed);
    let detail = failed.detail.expect("is said");
    assert!(
        detail.ends_with("failed (exit status: 9): no route to sensor-1"),
        "{detail}"
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_that_hangs_is_ended_and_the_rest_goes_on() {
    let policy = "[deploy]\ncommand = 'test $SHIELDCERT_DEVICE != sensor-1 || sleep 600'\ntimeout = \"1s\"\n";
    let world = World::new(emulator(), policy, &manifest(3));
    let summary = world.apply().await;
    assert_eq!(summary.progress.deployed, 2, "{summary:?}");
    let failed = world.history("sensor-1").pop().expect("an entry");
    assert_eq!(failed.act, Act::DeployFailed);
    let detail = failed.detail.expect("is said");
    assert!(detail.contains("it took longer than 1s"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_is_tried_again_at_once_where_somebody_asks() {
    let deploy = fails();
    let world = World::new(emulator(), "", &manifest(3)).with_deploy(&deploy);
    world.apply().await;
    deploy.judge(|_, _| Ok(String::new()));
    let again = world.apply().await;
    assert_eq!(
        again.progress.deployed, 0,
        "it waits for its time: {again:?}"
    );
    let fleet = world.fleet();
    let tried = fleet.retry_now(|name| name.as_str() == "sensor-2");
    assert_eq!(tried.expect("is recorded"), 1);
    let summary = world.apply().await;
    assert_eq!(summary.progress.deployed, 1, "{summary:?}");
    assert!(world.acts("sensor-2").contains(&Act::Asked));
    assert_eq!(fleet.retry_now(|_| true).expect("is recorded"), 2);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(fleet.retry_now(|_| true).expect("is recorded"), 0);
    assert_eq!(world.count(Operation::Create), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_lost_before_its_deployment_is_restored_or_replaced() {
    let deploy = fails();
    let world = World::new(emulator(), "", &manifest(2)).with_deploy(&deploy);
    world.apply().await;
    let keys = ["sensor-1", "sensor-2"].map(|name| world.path(format!("devices/{name}/1/key.pem")));
    let key = std::fs::read(&keys[0]).expect("is read");
    for key in &keys {
        std::fs::remove_file(key).expect("is removed");
    }
    deploy.judge(|_, _| Ok(String::new()));
    let fleet = world.fleet();
    assert_eq!(fleet.retry_now(|_| true).expect("is recorded"), 2);
    let summary = world.apply().await;
    assert_eq!(summary.waiting.get(&Hold::KeyLost), Some(&2), "{summary:?}");
    assert_eq!(summary.progress.deployed, 0, "{summary:?}");
    let failed = world.history("sensor-1").pop().expect("an entry");
    let detail = failed.detail.expect("is said");
    let advice = "sensor-1/1: key.pem is missing; restore it, or rotate the device";
    assert!(detail.ends_with(advice), "{detail}");

    // It is tried again by itself.
    std::fs::write(&keys[0], key).expect("is restored");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let summary = world.apply().await;
    assert_eq!(summary.progress.deployed, 1, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::KeyLost), Some(&1), "{summary:?}");
    world.ask(Ask::Rotate, &["sensor-2"]);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.current("sensor-2").0, 2);
    tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
    world.apply().await;
    world.check_in_use(&["sensor-1", "sensor-2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_with_backoff_and_makes_no_other_certificate() {
    let deploy = Deployer::succeeding();
    let world = World::new(emulator(), "", &manifest(1)).with_deploy(&deploy);
    world.apply().await;
    let old = world.current("sensor-1").1.certificate().serial_number();
    deploy.judge(|what, _| match what {
        "deploy" => Err("can't be reached".to_owned()),
        _ => Ok(String::new()),
    });
    world.ask(Ask::Rotate, &["sensor-1"]);
    // It is asked to do so every minute, and then every half hour, for two days.
    for minutes in [1; 130].into_iter().chain([30; 96]) {
        world.apply().await;
        tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
    }
    assert_eq!(
        world.count(Operation::Create),
        2,
        "the first one, and one more"
    );
    let held = world.certificates().await;
    assert!(held.iter().all(|held| held.status() == &Status::Active));
    assert!(
        held.iter()
            .any(|held| held.has_serial_number(&old) == Some(true))
    );
    let begun = deploy.begun("deploy");
    let minutes: Vec<_> = begun[1..]
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).as_secs() / 60)
        .collect();
    assert_eq!(minutes[..7], [1, 2, 4, 8, 16, 32, 64]);
    assert!(
        minutes[9..].iter().all(|pause| (360..=390).contains(pause)),
        "{minutes:?}"
    );
    let (plan, _) = world.plan().await;
    assert_eq!(plan.actions[&Action::Wait], 1);
    // It succeeds in the end.
    deploy.judge(|_, _| Ok(String::new()));
    tokio::time::sleep(DAY).await;
    world.apply().await;
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    assert_eq!(world.count(Operation::Create), 2);
    world.check_in_use(&["sensor-1"]).await;
    assert_ne!(
        world.current("sensor-1").1.certificate().serial_number(),
        old
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_work_does_not_replace_anything() {
    let deploy = Deployer::succeeding();
    let world = World::new(emulator(), "[renew]\ngrace = \"0s\"\n", &manifest(1));
    let world = world.with_deploy(&deploy);
    world.apply().await;
    deploy.judge(|what, _| match what {
        "verify" => Err("the handshake failed".to_owned()),
        _ => Ok(String::new()),
    });
    world.ask(Ask::Rotate, &["sensor-1"]);
    for _ in 0..20 {
        world.apply().await;
        tokio::time::sleep(Duration::from_secs(7 * 3600)).await;
    }
    assert_eq!(
        (
            world.count(Operation::Create),
            world.count(Operation::Delete)
        ),
        (2, 0)
    );
    assert_eq!(world.active().await["sensor-1"], 2);
    let acts = world.acts("sensor-1");
    assert_eq!(
        acts.iter().filter(|act| **act == Act::Deployed).count(),
        2,
        "once each"
    );
    deploy.judge(|_, _| Ok(String::new()));
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_one_that_was_never_verified_is_replaced() {
    let deploy = fails();
    let world = World::new(emulator(), "", "name,days\nsensor-1,2\n").with_deploy(&deploy);
    for _ in 0..4 {
        world.apply().await;
        tokio::time::sleep(DAY).await;
    }
    assert_eq!(
        world.count(Operation::Delete),
        1,
        "the first one has expired"
    );
    assert_eq!(world.count(Operation::Create), 2);
    deploy.judge(|_, _| Ok(String::new()));
    world.apply().await;
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    world.apply().await;
    let active: Vec<_> = world.certificates().await;
    let active = active
        .iter()
        .filter(|held| held.status() == &Status::Active);
    assert_eq!(active.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_failures_in_a_row_pause_deployment_until_one_succeeds() {
    let deploy = fails();
    let world = World::new(emulator(), "[limits]\nconcurrency = 1\n", &manifest(30));
    let world = world.with_deploy(&deploy);
    let summary = world.apply().await;
    assert_eq!(
        summary.progress.issued, 30,
        "certificates are issued all the same"
    );
    assert_eq!(deploy.begun("deploy").len(), 10);
    assert_eq!(summary.waiting.get(&Hold::Failed), Some(&10));
    assert_eq!(summary.waiting.get(&Hold::DeployPaused), Some(&20));
    deploy.judge(|_, _| Ok(String::new()));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.count(Operation::Create), 30);
}

/// Within a run a try that succeeds lets all others go on.
#[tokio::test(start_paused = true)]
async fn failures_that_are_not_in_a_row_pause_nothing() {
    let count = AtomicUsize::new(0);
    let deploy = Deployer::new(move |what, _| {
        let is_tenth = what == "deploy" && count.fetch_add(1, Ordering::Relaxed) % 10 == 9;
        match what == "verify" || is_tenth {
            true => Ok(String::new()),
            false => Err("can't be reached".to_owned()),
        }
    });
    let world = World::new(emulator(), "[limits]\nconcurrency = 1\n", &manifest(30));
    let world = world.with_deploy(&deploy);
    let summary = world.apply().await;
    assert_eq!(summary.progress.deployed, 3, "{summary:?}");
    assert_eq!(summary.waiting.get(&Hold::DeployPaused), None);
}

/// The process is killed while the command runs.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_was_interrupted_is_done_again() {
    let deploy = Deployer::succeeding();
    let world = World::new(emulator(), "", &manifest(1)).with_deploy(&deploy);
    world.apply().await;
    deploy.hang(true);
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.killed_after(Duration::from_secs(60)).await;
    deploy.hang(false);
    // A device may use the new one by now. Another is wanted, and both stay until that one works.
    world.write("devices.csv", "name,organization\nsensor-1,Acme\n");
    world.apply().await;
    assert_eq!(world.current("sensor-1").0, 3);
    assert_eq!(world.count(Operation::Delete), 0);
    tokio::time::sleep(DAY * 2).await;
    world.apply().await;
    world.check_in_use(&["sensor-1"]).await;
    assert_eq!(
        (
            world.count(Operation::Create),
            world.count(Operation::Delete)
        ),
        (3, 2)
    );
}

/// Brings certificates into use together, as a server that is reloaded once.
#[derive(Default)]
struct Server {
    fails: AtomicBool,
    reloads: Mutex<Vec<Vec<String>>>,
}

type Deploying<'a> = Pin<Box<dyn Future<Output = DeployResult> + Send + 'a>>;

impl Deploy for Server {
    fn deploy(&self, _: Deployment) -> Deploying<'_> {
        Box::pin(async { Ok(String::new()) })
    }

    fn deploys_together(&self) -> bool {
        true
    }

    fn deploy_together(&self, deployments: Vec<Deployment>) -> Deploying<'_> {
        let mut devices: Vec<_> = deployments
            .iter()
            .map(|deployment| deployment.device.to_string())
            .collect();
        devices.sort_unstable();
        self.reloads.lock().expect("is free").push(devices);
        Box::pin(async {
            match self.fails.load(Ordering::Relaxed) {
                true => Err("the server does not start".to_owned()),
                false => Ok("reloaded".to_owned()),
            }
        })
    }

    fn verify(&self, _: Deployment) -> Deploying<'_> {
        Box::pin(async { Ok(String::new()) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_brought_into_use_together_works_or_fails_together() {
    let server = Arc::new(Server::default());
    let policy = "[renew]\ngrace = \"0s\"\n";
    let world = World::new(emulator(), policy, &manifest(3)).with_deploy(&server);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    let all = ["sensor-1", "sensor-2", "sensor-3"];
    let reloads = || server.reloads.lock().expect("is free").clone();
    assert_eq!(reloads(), [all]);
    let deployed = world.history("sensor-1").into_iter();
    let mut deployed = deployed.filter(|entry| entry.act == Act::Deployed);
    let detail = deployed.next().and_then(|entry| entry.detail);
    assert_eq!(detail.as_deref(), Some("reloaded"));
    // It fails: nothing is verified, so nothing is revoked, and no others are made.
    server.fails.store(true, Ordering::Relaxed);
    world.ask(Ask::Rotate, &all[..2]);
    for _ in 0..3 {
        let summary = world.apply().await;
        assert_eq!(summary.waiting.get(&Hold::Failed), Some(&2), "{summary:?}");
    }
    assert_eq!(reloads().len(), 2, "it waits before the next try");
    assert_eq!(world.active().await["sensor-1"], 2);
    server.fails.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(reloads()[2], all[..2]);
    assert_eq!(world.count(Operation::Create), 5);
    world.check_in_use(&all).await;
}
