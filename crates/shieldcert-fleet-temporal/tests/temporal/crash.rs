//! Workers and the server that are killed, stopped and lost.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shieldcert_emulator::{Operation, RateLimit};

use crate::kit::{POLICY, Process, World, emulator, manifest};

/// Lost, late and broken requests. The service is late by less than the settle window of two seconds.
const CHAOS: &str = "create: lose-request=2%, create: lose-response=3%, create: late=2%:0s..1s, \
                     create: late-lost=2%:0s..1s, reset=2%, 502-before=1%, 502-after=1%, truncate=1%, html=1%";

const WORKERS: [&str; 3] = ["one", "two", "three"];

const DEVICES: usize = 300;

/// How many workers are killed at least.
const MIN_KILLS: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_whose_workers_and_server_are_killed_is_what_its_manifest_says() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // A budget that is used up in between.
    let limit = RateLimit::new(300, Duration::from_secs(20));
    let service = emulator()
        .rate_limit(limit)
        .latency(Duration::from_millis(20));
    let Some(world) = World::new(service, POLICY, &manifest(DEVICES)).await else {
        return;
    };
    world.emulator.set_chaos(CHAOS.parse().expect("chaos"));
    let share = 0.33;
    let mut workers: Vec<Option<Process>> = WORKERS
        .iter()
        .map(|name| Some(world.worker(name, share)))
        .collect();
    world.json(&["apply", "--no-wait"]);
    // Until most of the requests were sent, so that they meet the faults.
    let is_going_on = || world.emulator.history().count(Operation::Create) < DEVICES * 9 / 10;
    let mut kills = 0;
    let mut restarts = 0;
    let began = Instant::now();
    while kills < MIN_KILLS || (is_going_on() && began.elapsed() < Duration::from_secs(120)) {
        tokio::time::sleep(Duration::from_millis(random.u64(500..6_000))).await;
        let one = random.usize(0..WORKERS.len());
        // SIGKILL, and another in its place.
        workers[one] = None;
        workers[one] = Some(world.worker(WORKERS[one], share));
        kills += 1;
        if kills == MIN_KILLS / 2 {
            restarts += 1;
            world.server.restart();
        }
    }
    world.emulator.set_chaos("".parse().expect("none"));
    world.settle();
    let active = world.wait_for_one_each(DEVICES).await;
    world.check_files(&active, &WORKERS);
    world.check_secrets(&WORKERS).await;
    let history = world.emulator.history();
    let over = history.iter().filter(|event| event.over_quota).count();
    assert_eq!(over, 0, "requests over the budget");
    let faults = history.iter().filter(|event| event.fault.is_some()).count();
    assert!(faults > 0, "no request met a fault");
    println!(
        "{kills} workers and {restarts} server killed; {} requests, of which {} to issue, {faults} with a fault",
        history.len(),
        history.count(Operation::Create)
    );
}

/// What a worker says that does not send.
const GIVEN_UP: &str = "given the attempt up, so nothing is sent";

/// Six devices, whose worker is stopped when it has sent the first request, and goes on after so long. Meanwhile there is
/// another one. Returns what the workers said.
async fn stop_while_it_issues(policy: &str, pause: Duration) -> String {
    const DEVICES: usize = 6;
    let service = emulator().latency(Duration::from_millis(400));
    let Some(world) = World::new(service, policy, &manifest(DEVICES)).await else {
        return GIVEN_UP.to_owned();
    };
    let first = world.worker("one", 0.5);
    world.json(&["apply", "--no-wait"]);
    let began = Instant::now();
    while world.emulator.history().count(Operation::Create) == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.signal(Signal::SIGSTOP);
    // It takes over what the first does not finish, once its heartbeat has timed out.
    let _second = world.worker("two", 0.5);
    tokio::time::sleep(pause).await;
    first.signal(Signal::SIGCONT);
    world.settle();
    let active = world.wait_for_one_each(DEVICES).await;
    world.check_files(&active, &["one", "two"]);
    // Nothing is lost here, so nothing was sent twice.
    assert_eq!(world.emulator.history().count(Operation::Create), DEVICES);
    world.logs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_while_it_issues_leaves_one_certificate() {
    stop_while_it_issues(POLICY, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_goes_on_after_the_deadline_sends_nothing() {
    // One request at a time, so that five wait for their turn when it is stopped. The deadline is 34 seconds.
    let policy = format!("{POLICY}concurrency = 1\n");
    let logs = stop_while_it_issues(&policy, Duration::from_secs(75)).await;
    assert!(logs.contains(GIVEN_UP), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_a_lost_worker_get_new_keys_elsewhere() {
    let policy = format!("{POLICY}[renew]\ngrace = \"1s\"\n");
    let Some(world) = World::new(emulator(), &policy, &manifest(8)).await else {
        return;
    };
    let _first = world.worker("one", 1.0);
    let second = world.worker("two", 0.0);
    world.json(&["apply", "--timeout", "120s"]);
    let before = world.wait_for_one_each(8).await;
    let there: Vec<String> = before
        .keys()
        .filter(|name| world.path("two/devices").join(name).exists())
        .cloned()
        .collect();
    assert!(
        !there.is_empty(),
        "the second worker has no device\n{}",
        world.logs()
    );
    drop(second);
    fs::remove_dir_all(world.path("two")).expect("is removed");
    world.ok(&["worker-lost", "two", "--yes"]);
    let began = Instant::now();
    loop {
        let active = world.active().await;
        let is_new = |name: &String| {
            let certificates = &active[name];
            certificates.len() == 1 && certificates[0].id() != before[name][0].id()
        };
        if there.iter().all(is_new) {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let after = world.wait_for_one_each(8).await;
    world.check_files(&after, &["one"]);
    for (name, certificates) in &after {
        let is_same = certificates[0].id() == before[name][0].id();
        assert_eq!(is_same, !there.contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_waits_for_a_lost_worker_is_made_elsewhere() {
    let policy = format!("{POLICY}[renew]\ngrace = \"1s\"\n");
    let Some(world) = World::new(emulator(), &policy, &manifest(1)).await else {
        return;
    };
    let first = world.worker("one", 0.5);
    world.json(&["apply", "--timeout", "120s"]);
    let before = world.wait_for_one_each(1).await;
    drop(first);
    let _second = world.worker("two", 0.5);
    // Its key is at the first, and so is that of the next generation.
    world.ok(&["rotate", "--all", "--yes"]);
    let began = Instant::now();
    while world.json(&["status", "device-000"])[1]["state"] != "planned" {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.ok(&["worker-lost", "one", "--yes"]);
    let began = Instant::now();
    loop {
        let active = world.wait_for_one_each(1).await;
        if active["device-000"][0].id() != before["device-000"][0].id() {
            world.check_files(&active, &["two"]);
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_worker_never_deployed_is_revoked_and_made_anew() {
    let service = emulator().latency(Duration::from_millis(300));
    let Some(world) = World::new(service, POLICY, &manifest(6)).await else {
        return;
    };
    // It makes keys, and sends nothing.
    let keys = world.worker("keys", 0.0);
    world.json(&["apply", "--no-wait"]);
    let folder = |name: &str| {
        world
            .path("keys/devices")
            .join(name)
            .join("1/request.csr.pem")
    };
    let began = Instant::now();
    while !(0..6).all(|number| folder(&format!("device-{number:03}")).exists()) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // They are told, and then it is gone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(keys);
    let _sender = world.worker_with("sender", &["--share", "1", "--pinned-only"], &[]);
    let began = Instant::now();
    while world.active().await.len() < 6 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let before = world.wait_for_one_each(6).await;
    world.ok(&["worker-lost", "keys", "--yes"]);
    let began = Instant::now();
    // Revoked before there is somebody to make new ones.
    while !world.active().await.is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let _other = world.worker("other", 0.0);
    let applied = world.json(&["apply", "--timeout", "60s"]);
    assert_eq!(applied["settled"], 6, "{applied}");
    let after = world.wait_for_one_each(6).await;
    world.check_files(&after, &["other"]);
    for (name, certificates) in &after {
        assert_ne!(certificates[0].id(), before[name][0].id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_issues_late_is_found_and_revoked() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(2)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "60s"]);
    let before = world.wait_for_one_each(2).await;
    // As a request that went on after it was given up: a second certificate for the same CSR.
    let csr = fs::read(world.path("one/devices/device-000/1/request.csr.pem")).expect("is there");
    let csr = shieldcert::Csr::from_pem(csr).expect("a CSR");
    let known = before["device-000"][0].id().clone();
    let late = world
        .zone()
        .issue(&csr)
        .known([known.clone()])
        .csr_is_shared()
        .await
        .expect("is issued");
    // And one that is not of this fleet.
    let key = shieldcert::PrivateKey::generate(shieldcert::KeyAlgorithm::EcdsaP256).expect("a key");
    let foreign = key
        .csr(&shieldcert::Subject::common_name("other"))
        .expect("a CSR");
    world.zone().issue(&foreign).await.expect("is issued");
    let scanned = world.json(&["reconcile"]);
    assert_eq!(
        (&scanned[0]["suspects"], &scanned[0]["foreign"]),
        (&1.into(), &1.into()),
        "{scanned}"
    );
    let after = world.wait_for_one_each(3).await;
    assert_eq!(after["device-000"][0].id(), &known);
    assert_ne!(&known, late.certificate.id());
    assert!(after.contains_key("other"));
}
