//! What a fleet does from its first device on.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use shieldcert_emulator::Operation;

use crate::kit::{POLICY, World, config, emulator, manifest};
use crate::replay::{failures, keep};

fn newest(shown: &Value) -> &Value {
    shown
        .as_array()
        .and_then(|rows| rows.last())
        .expect("a row")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_on_two_workers_is_what_its_manifest_says() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(10)).await else {
        return;
    };
    let planned = world.json(&["plan", "--summary"]);
    assert_eq!(planned["actions"]["issue"], 10, "{planned}");
    let _first = world.worker("one", 0.5);
    let _second = world.worker("two", 0.5);
    let applied = world.json(&["apply", "--timeout", "120s"]);
    assert_eq!(applied["settled"], 10, "{applied}\n{}", world.logs());
    let done = ["issued", "deployed", "requests", "least_requests"];
    for field in done {
        assert_eq!(applied[field], 10, "{field}: {applied}");
    }
    for field in ["recovered", "revoked", "failures", "looks_owed", "surplus"] {
        assert_eq!(applied[field], 0, "{field}: {applied}");
    }
    let active = world.wait_for_one_each(10).await;
    world.check_files(&active, &["one", "two"]);
    world.check_secrets(&["one", "two"]).await;
    // One request a device, one for the time of `plan`, and those of this test.
    let created = world.emulator.history().count(Operation::Create);
    assert_eq!(created, 10);

    // Again: there is nothing to do.
    let again = world.json(&["apply"]);
    assert_eq!(
        (&again["begun"], &again["changed"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    for field in done {
        assert_eq!(again[field], 0, "{field}: {again}");
    }
    let output = world.run(&["plan", "--detailed-exit-code"]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let status = world.json(&["status"]);
    assert_eq!(status["states"]["verified"], 10, "{status}");
    assert_eq!(status["shares"]["one"], 0.5, "{status}");
    let scanned = world.json(&["reconcile"]);
    assert_eq!(
        (
            &scanned[0]["active"],
            &scanned[0]["suspects"],
            &scanned[0]["foreign"]
        ),
        (&10.into(), &0.into(), &0.into()),
        "{scanned}"
    );

    // Every history replays, those of workflows that go on too.
    let histories = world.server.histories("fleet").await;
    assert!(histories.len() >= 21, "{} histories", histories.len());
    for (id, run, json) in &histories {
        if id == "fleet" || id.ends_with("device-000") {
            keep("issue", id, run, json);
        }
    }
    let histories = histories.into_iter().map(|(id, _, json)| (id, json));
    let failures = failures(histories.collect()).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_too_large_and_an_unknown_worker_are_refused() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(1)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "120s"]);
    world.worker("two", 0.5).wait();
    let logs = world.logs();
    let refused = "error: fleet fleet: a share of 0.5 is too much, since one has 1; give another";
    assert!(logs.contains(refused), "{logs}");
    let (_, said) = world.ends(3, &["worker-lost", "onee", "--yes"]);
    assert_eq!(
        said.trim(),
        "error: onee: fleet fleet has no such worker; it has one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_renewed_revoked_and_paused_when_asked_for() {
    let policy = format!("{POLICY}[renew]\ngrace = \"1s\"\n");
    let Some(world) = World::new(emulator(), &policy, &manifest(4)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "120s"]);
    let before = world.wait_for_one_each(4).await;

    // Renewed: the old one goes after the grace period.
    world.ok(&["rotate", "--name", "device-000", "--yes"]);
    world
        .until(&["status", "device-000"], |shown| {
            let newest = newest(shown);
            newest["generation"] == 2 && newest["state"] == "verified"
        })
        .await;
    let after = world.wait_for_one_each(4).await;
    assert_ne!(before["device-000"][0].id(), after["device-000"][0].id());
    world.check_files(&after, &["one"]);

    // Leaked: revoked at once, and made anew.
    world.ok(&["rotate", "--name", "device-001", "--now", "--yes"]);
    world
        .until(&["status", "device-001"], |shown| {
            let newest = newest(shown);
            newest["generation"] == 2 && newest["state"] == "verified"
        })
        .await;

    // Revoked until a rotation is asked for, also while it is paused.
    world.ok(&["pause", "--name", "device-002"]);
    world.ok(&["revoke", "--name", "device-002", "--yes"]);
    world
        .until(&["status", "device-002"], |shown| {
            newest(shown)["state"] == "revoked"
        })
        .await;
    world.ok(&["rotate", "--name", "device-002", "--yes"]);
    let shown = world.json(&["status", "device-002"]);
    assert_eq!(newest(&shown)["generation"], 1, "{shown}");
    world.ok(&["pause", "--name", "device-002", "--resume"]);
    world
        .until(&["status", "device-002"], |shown| {
            let newest = newest(shown);
            newest["generation"] == 2 && newest["state"] == "verified"
        })
        .await;

    // Absent: revoked. A changed row: renewed. A row that is gone: left alone.
    world.write_manifest(
        "name,days,state\ndevice-000,30,present\ndevice-001,,absent\ndevice-002,,present\n",
    );
    let planned = world.json(&["plan", "--summary"]);
    let actions = &planned["actions"];
    assert_eq!(
        (&actions["renew"], &actions["revoke"], &actions["unmanaged"]),
        (&1.into(), &1.into(), &1.into()),
        "{planned}"
    );
    let applied = world.json(&["apply", "--yes", "--timeout", "60s"]);
    assert_eq!(applied["unmanaged"], 1, "{applied}");
    assert_eq!(applied["settled"], 3, "{applied}");
    let active = world.wait_for_one_each(3).await;
    assert!(!active.contains_key("device-001"));
    assert_eq!(after["device-003"][0].id(), active["device-003"][0].id());
    let shown = world.json(&["status", "device-000"]);
    assert_eq!(newest(&shown)["reason"], "validity-changed", "{shown}");

    for (id, run, json) in world.server.histories("fleet").await {
        if id != "fleet" {
            keep("asked", &id, &run, &json);
        }
    }
    world.check_secrets(&["one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_revocations_than_allowed_need_a_confirmation() {
    let policy = "[limits]\nsettle_window = \"2s\"\nmax_revoke = 1\n";
    let Some(world) = World::new(emulator(), policy, &manifest(3)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "60s"]);
    world.write_manifest("name,state\ndevice-000,absent\ndevice-001,absent\ndevice-002,present\n");
    let refused = world.run(&["apply", "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--confirm-revoke 2"), "{said}");
    assert_eq!(world.active().await.len(), 3);
    world.json(&[
        "apply",
        "--yes",
        "--confirm-revoke",
        "2",
        "--timeout",
        "60s",
    ]);
    world.wait_for_one_each(1).await;
    // A manifest without rows revokes nothing.
    world.write_manifest("name\n");
    world.json(&["apply", "--yes", "--timeout", "60s"]);
    assert_eq!(world.active().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_holds_its_key_is_renewed_with_a_new_csr() {
    let policy = format!("{POLICY}[renew]\ngrace = \"0s\"\n");
    let Some(world) = World::new(emulator(), &policy, "name,csr\nphone,phone.csr\n").await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    let csr = || {
        let key = shieldcert::PrivateKey::generate(shieldcert::KeyAlgorithm::EcdsaP256);
        let subject = shieldcert::Subject::common_name("phone");
        key.expect("a key").csr(&subject).expect("a CSR").to_pem()
    };
    let waiting = world.json(&["apply", "--timeout", "60s"]);
    assert_eq!(waiting["waiting"]["csr"], 1, "{waiting}");
    let failed = world.path("fleet/failed.csv");
    assert_eq!(
        fs::read_to_string(&failed).expect("is there"),
        "name,generation,state,hold,problem,retry_at\nphone,,,csr,,\n"
    );
    fs::write(world.path("fleet/phone.csr"), csr()).expect("is written");
    let applied = world.json(&["apply", "--timeout", "60s"]);
    assert_eq!(applied["settled"], 1, "{applied}\n{}", world.logs());
    let first = world.wait_for_one_each(1).await;
    assert!(!failed.exists());
    assert!(!world.path("one/devices/phone/1/key.pem").exists());
    assert!(world.path("one/devices/phone/current/cert.pem").exists());
    // The next one waits for another CSR.
    world.ok(&["rotate", "--all", "--yes"]);
    world
        .until(&["status"], |shown| shown["holds"]["csr"] == 1)
        .await;
    fs::write(world.path("fleet/phone.csr"), csr()).expect("is written");
    world.json(&["apply", "--timeout", "60s"]);
    let second = world.wait_for_one_each(1).await;
    assert_ne!(first["phone"][0].id(), second["phone"][0].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_given_up_is_not_begun_again() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(2)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "60s"]);
    world.server.cancel("fleet/device-000");
    world
        .until(&["status"], |shown| shown["devices"] == 1)
        .await;
    // The others are seen to all the same.
    world.write_manifest("name\ndevice-000\ndevice-001\ndevice-002\n");
    let planned = world.ok(&["plan"]);
    let planned = String::from_utf8_lossy(&planned).into_owned();
    assert!(!planned.contains("device-000"), "{planned}");
    let (applied, said) = world.ends(7, &["apply", "--timeout", "60s"]);
    let ended = "device-000: its workflow was ended by somebody; revoke what it has";
    assert!(said.contains(ended), "{said}");
    assert_eq!(applied["settled"], 2, "{applied}");
    assert_eq!(applied["waiting"]["failed"], 1, "{applied}");
    assert_eq!(world.failed()[0][0], "device-000");
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["devices"], &status["ended"]),
        (&2.into(), &1.into())
    );
    // Nobody but an operator can revoke what it has. One that never was there has nothing.
    world.write_manifest(
        "name,state\ndevice-000,absent\ndevice-001,\ndevice-002,\ndevice-003,absent\n",
    );
    let (applied, said) = world.ends(7, &["apply", "--timeout", "60s"]);
    let id = world.active().await["device-000"][0].id().clone();
    let advice = format!("revoke what it has, if it is to have none (`shieldcert revoke {id}`)");
    assert!(said.contains(&advice), "{said}");
    assert_eq!(applied["settled"], 3, "{applied}");
    let (_, said) = world.ends(3, &["revoke", "--name", "device-000", "--now", "--yes"]);
    assert!(said.contains(&advice), "{said}");
    world.write_manifest("name,state\ndevice-001,\ndevice-002,\ndevice-003,absent\n");
    let applied = world.json(&["apply", "--timeout", "60s"]);
    assert_eq!(applied["complete"], true, "{applied}");
    assert_eq!(world.active().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_that_still_runs_stops() {
    let policy = format!("{POLICY}[renew]\ngrace = \"1s\"\n");
    let Some(world) = World::new(emulator(), &policy, &manifest(4)).await else {
        return;
    };
    let lost = world.worker("two", 0.5);
    world.json(&["apply", "--timeout", "60s"]);
    let _first = world.worker("one", 0.5);
    until_joined(&world, "one").await;
    let (said, warned) = world.ends(0, &["worker-lost", "two", "--yes"]);
    assert_eq!(said["devices"], 4, "{said}");
    assert!(warned.contains("waiting until it has stopped"), "{warned}");
    assert!(!warned.contains("end it"), "{warned}");
    until_ended(&lost).await;
    let logs = world.logs();
    assert!(
        logs.contains("error: worker two was declared lost; its devices get new keys elsewhere"),
        "{logs}"
    );
    world
        .until(&["status"], |shown| shown["workers"]["one"] == 4)
        .await;
    world.settle();
    let active = world.wait_for_one_each(4).await;
    world.check_files(&active, &["one"]);
    // Its folder is not used again. A new one is.
    world.worker("two", 0.5).wait();
    assert!(
        world
            .logs()
            .contains("this folder's worker was declared lost"),
        "{}",
        world.logs()
    );
    fs::rename(world.path("two"), world.path("gone")).expect("is moved");
    let again = world.worker("two", 0.5);
    until_joined_times(&world, "two", 2).await;
    again.stop();
    // And no other folder is, while it is a worker's.
    fs::rename(world.path("two"), world.path("moved")).expect("is moved");
    world.worker("two", 0.5).wait();
    assert!(
        world
            .logs()
            .contains("worker two has another folder, where its keys are"),
        "{}",
        world.logs()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_workers_can_be_interrupted() {
    let Some(mut world) = World::new(emulator(), POLICY, &manifest(1)).await else {
        return;
    };
    let begun = world.path("begun");
    // Until the test's folder is removed.
    let begun_at = begun.display();
    let hook = format!("touch {begun_at}; while test -e {begun_at}; do sleep 1; done");
    let policy = format!("{POLICY}[deploy]\ncommand = \"{hook}\"\n");
    world.set_config(&config("default", &policy));
    let worker = world.worker("one", 1.0);
    let apply = world.start(&["apply"]);
    world.until_exists(&begun).await;
    // Who reads has seen enough.
    assert_eq!(world.start(&["status"]).wait(), Some(0), "{}", world.logs());
    apply.signal(Signal::SIGINT);
    assert_eq!(apply.wait(), Some(130));
    // It finishes what is in flight, unless it is told so twice.
    worker.signal(Signal::SIGTERM);
    until_logged(&world, "finishing what is in flight").await;
    assert!(!worker.has_ended());
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.wait(), Some(130));
    let logs = world.logs();
    assert!(logs.contains("error: stopped at once"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_used_is_named() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(1)).await else {
        return;
    };
    let (_, said) = world.ends(3, &["status"]);
    assert_eq!(
        said.trim(),
        "error: there is no fleet fleet at the server; `shieldcert-temporal apply` begins it"
    );
    let server = format!(
        "error: the Temporal server at http://{}/",
        world.server.address()
    );
    for (variable, value, code, expected) in [
        (
            "TEMPORAL_NAMESPACE",
            "nope",
            3,
            " has no namespace nope; set TEMPORAL_NAMESPACE",
        ),
        (
            "TEMPORAL_API_KEY",
            "secret",
            1,
            "(with TLS, which TEMPORAL_API_KEY turns on)",
        ),
        (
            "TEMPORAL_ADDRESS",
            "127.0.0.1:1",
            1,
            "(without TLS; set TEMPORAL_TLS=true if the server has it)",
        ),
        (
            "TEMPORAL_ADDRESS",
            "localhost",
            1,
            "set TEMPORAL_ADDRESS, such as localhost:7233",
        ),
    ] {
        let output = world.run_with(&["status"], &[(variable, value)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{variable}={value}: {said}"
        );
        assert!(said.contains(expected), "{variable}={value}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        if variable == "TEMPORAL_NAMESPACE" {
            assert!(said.starts_with(&server), "{said}");
        }
    }
    let apply = world.start(&["apply"]);
    until_logged(&world, "1 device begun").await;
    world.server.stop();
    assert_eq!(apply.wait(), Some(1));
    let logs = world.logs();
    let lost = "error: the Temporal server can't be reached any more; when it is back, give the command again";
    assert!(logs.contains(lost), "{logs}");
    assert!(!logs.contains("WARN"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_add_up_to_one_and_folders_belong_to_one_worker() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(1)).await else {
        return;
    };
    let _first = world.worker("one", 0.75);
    until_joined(&world, "one").await;
    let second = world.worker("two", 0.5);
    until_ended(&second).await;
    assert!(
        world
            .logs()
            .contains("a share of 0.5 is too much, since one has 0.75"),
        "{}",
        world.logs()
    );
    // Another process with the same folder.
    let same = world.worker("one", 0.1);
    until_ended(&same).await;
    assert!(
        world.logs().contains("works on this fleet"),
        "{}",
        world.logs()
    );
    let _third = world.worker("three", 0.25);
    until_joined(&world, "three").await;
}

async fn until_joined(world: &World, worker: &str) {
    until_joined_times(world, worker, 1).await;
}

async fn until_joined_times(world: &World, worker: &str, times: usize) {
    let began = Instant::now();
    let name = format!("worker={worker}");
    let joined = |line: &&str| line.contains("working") && line.contains(&name);
    while world.logs().lines().filter(joined).count() < times {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_logged(world: &World, text: &str) {
    let began = Instant::now();
    while !world.logs().contains(text) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_ended(process: &crate::kit::Process) {
    let began = Instant::now();
    while !process.has_ended() {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
