//! What devices wait for, shown by `apply`, `status` and `failed.csv`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use shieldcert_emulator::Operation;

use crate::kit::{POLICY, World, config, emulator, manifest};

/// The holds in `failed.csv`.
fn failed(world: &World) -> Vec<String> {
    let rows = world.failed().into_iter();
    rows.map(|[_, hold, _]| hold).collect()
}

fn count(shown: &Value, hold: &str) -> u64 {
    shown.as_u64().unwrap_or_else(|| panic!("{hold}: {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_command_that_fails_everywhere_is_paused_at_its_worker() {
    // As many as a worker deploys at once may fail after the tenth.
    const DEVICES: usize = 40;
    const AT_ONCE: u64 = 16;
    let rows = (0..DEVICES).map(|number| format!("device-{number:03},worker:one\n"));
    let rows = rows.chain((0..3).map(|number| format!("other-{number},worker:two\n")));
    let rows = format!("name,labels\n{}", rows.collect::<String>());
    let Some(mut world) = World::new(emulator(), POLICY, &rows).await else {
        return;
    };
    let mended = world.path("mended");
    let hook = |command: &str| {
        let policy = format!("{POLICY}[deploy]\ncommand = \"{command}\"\n");
        config("default", &policy)
    };
    world.set_config(&hook("true"));
    let _second = world.worker("two", 0.0);
    world.set_config(&hook(&format!("test -e {}", mended.display())));
    let _first = world.worker("one", 1.0);
    let (applied, _) = world.ends(7, &["apply", "--timeout", "120s"]);
    let waiting = &applied["waiting"];
    let tried = count(&waiting["failed"], "failed");
    let paused = count(&waiting["deploy-paused"], "deploy-paused");
    assert!((10..10 + AT_ONCE).contains(&tried), "{applied}");
    assert_eq!(tried + paused, DEVICES as u64, "{applied}");
    // The other worker's command does what it should.
    assert_eq!(applied["settled"], 3, "{applied}");
    assert_eq!(applied["deployed"], 3, "{applied}");
    assert_eq!(applied["failures"], tried, "{applied}");
    let status = world.json(&["status"]);
    assert_eq!(status["holds"]["deploy-paused"], paused, "{status}");
    let holds = failed(&world);
    assert_eq!(holds.len(), DEVICES);
    let listed = holds.iter().filter(|hold| *hold == "deploy-paused").count();
    assert_eq!(listed as u64, paused);

    // A device is tried after a minute. Its success resumes the others.
    fs::write(&mended, "").expect("is written");
    world
        .until_within(300, &["status"], |shown| {
            shown["states"]["verified"] == DEVICES + 3
        })
        .await;
    let applied = world.json(&["apply"]);
    assert_eq!(applied["complete"], true, "{applied}");
    assert!(!world.path("fleet/failed.csv").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_reached_holds_its_zone() {
    let Some(world) = World::new(emulator().quota(3), POLICY, &manifest(5)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    let (applied, _) = world.ends(7, &["apply", "--timeout", "120s"]);
    assert_eq!(applied["settled"], 3, "{applied}");
    assert_eq!(applied["waiting"]["quota"], 2, "{applied}");
    assert_eq!(failed(&world), ["quota", "quota"]);
    let status = world.json(&["status"]);
    assert_eq!(status["holds"]["quota"], 2, "{status}");
    let held = world.json(&["status", "--hold", "quota"]);
    let problem = held[0]["problem"].as_str().expect("a problem");
    assert!(problem.contains("1445"), "{held}");

    // The service is not asked again for a new device meanwhile.
    let sent = world.emulator.history().count(Operation::Create);
    world.write_manifest(&manifest(6));
    let (applied, _) = world.ends(7, &["apply", "--timeout", "120s"]);
    assert_eq!(applied["waiting"]["quota"], 3, "{applied}");
    assert_eq!(world.emulator.history().count(Operation::Create), sent);

    // A place becomes free.
    let rows = manifest(6);
    let gone = held.as_array().expect("rows").iter();
    let gone: Vec<_> = gone.filter_map(|row| row["device"].as_str()).collect();
    let first = rows
        .lines()
        .skip(1)
        .find(|name| !gone.contains(name) && *name != "device-005");
    let first = first.expect("one that has a certificate");
    let rows = rows.lines().skip(1).map(|name| match name == first {
        true => format!("{name},absent\n"),
        false => format!("{name},\n"),
    });
    world.write_manifest(&format!("name,state\n{}", rows.collect::<String>()));
    world.run(&["apply", "--yes", "--timeout", "60s"]);
    world
        .until_within(200, &["status"], |shown| {
            shown["holds"]["quota"] == 2 && shown["states"]["verified"] == 3
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_for_a_worker_says_so() {
    let rows = "name,labels\ndevice-000,\ndevice-001,worker:ghost\n";
    let Some(mut world) = World::new(emulator(), POLICY, rows).await else {
        return;
    };
    world.write_manifest("name,labels\ndevice-000,worker:a/b\n");
    let (_, said) = world.ends(2, &["apply"]);
    let wrong = "error: device-000: the label worker:a/b names no worker";
    assert!(said.starts_with(wrong), "{said}");
    world.write_manifest(rows);

    // Without any worker, nothing takes long.
    let (_, said) = world.ends(1, &["apply", "--timeout", "1s"]);
    let none =
        "no worker of fleet fleet is there; start one: shieldcert-temporal worker --name NAME";
    assert!(said.contains(none), "{said}");
    assert_eq!(failed(&world), ["worker", "worker"]);
    let (_, said) = world.ends(6, &["status", "device-000"]);
    assert_eq!(said.trim(), format!("error: {none}"));
    world.ends(6, &["plan"]);
    world.ends(6, &["reconcile"]);
    let (status, said) = world.ends(0, &["status"]);
    assert!(said.contains(none), "{said}");
    assert!(count(&status["unpolled"]["fleet"], "fleet") > 0, "{status}");

    // With another one than it waits for.
    let worker = world.worker("one", 1.0);
    let (applied, said) = world.ends(7, &["apply"]);
    assert_eq!(applied["settled"], 1, "{applied}");
    assert_eq!(applied["waiting"]["worker"], 1, "{applied}");
    let ghost = "the fleet has no worker ghost; start one in a new folder, or change the label worker:ghost";
    assert!(said.contains(ghost), "{said}");
    assert_eq!(world.failed(), [["device-001", "worker", ghost]]);
    let shown = world.json(&["status", "device-001"]);
    assert_eq!(shown[0]["hold"], "worker", "{shown}");
    assert_eq!(shown[0]["problem"], ghost, "{shown}");
    let status = world.json(&["status"]);
    assert_eq!(status["workers"]["ghost"], 1, "{status}");
    let unpolled = serde_json::json!({"fleet/worker/ghost": 1});
    assert_eq!(status["unpolled"], unpolled, "{status}");
    assert_eq!(status["holds"]["worker"], 1, "{status}");
    let held = world.json(&["status", "--hold", "worker"]);
    assert_eq!(held[0]["device"], "device-001", "{held}");
    let planned = world.json(&["plan"]);
    assert_eq!(planned[1]["hold"], "worker", "{planned}");
    {
        let _ghost = world.worker("ghost", 0.0);
        world.settle();
    }

    // With one whose fleet.toml has another budget.
    world.set_config(&config("other", POLICY));
    world.write_manifest("name,labels\ndevice-000,\ndevice-002,worker:one\n");
    let (applied, said) = world.ends(7, &["apply"]);
    assert_eq!(applied["waiting"]["worker"], 1, "{applied}");
    let budget = "no worker sends requests of budget other; start one with a --share above 0 whose fleet.toml has that \
                  budget";
    assert!(said.contains(budget), "{said}");
    assert_eq!(world.failed(), [["device-002", "worker", budget]]);
    let logs = world.logs();
    assert!(
        logs.contains("fleet.toml here has no such budget"),
        "{logs}"
    );
    worker.stop();
    let _worker = world.worker("one", 1.0);
    let applied = world.json(&["apply", "--timeout", "120s"]);
    assert_eq!(applied["complete"], true, "{applied}");
}

/// It polls no queue of steps while it has as many as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_worker_is_not_taken_for_gone() {
    const AT_ONCE: usize = 16;
    let rows = (0..=AT_ONCE).map(|number| format!("device-{number:03},worker:one\n"));
    let rows = format!("name,labels\n{}", rows.collect::<String>());
    let Some(mut world) = World::new(emulator(), POLICY, &rows).await else {
        return;
    };
    let begun = world.path("begun");
    fs::create_dir(&begun).expect("is made");
    // Until the test's folder is removed.
    let begun_at = begun.display();
    let hook =
        format!("touch {begun_at}/$SHIELDCERT_DEVICE; while test -e {begun_at}; do sleep 1; done");
    let policy = format!("{POLICY}[deploy]\ncommand = \"{hook}\"\ntimeout = \"20m\"\n");
    world.set_config(&config("default", &policy));
    let _busy = world.worker("one", 1.0);
    let _other = world.worker("two", 0.0);
    world.json(&["apply", "--no-wait"]);
    let count = || fs::read_dir(&begun).expect("is read").count();
    let began = Instant::now();
    while count() < AT_ONCE {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{}",
            world.logs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Its last poll is older than that of a worker that is gone.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(count(), AT_ONCE);
    let status = world.json(&["status"]);
    assert_eq!(status["states"]["working"], AT_ONCE + 1, "{status}");
    assert_eq!(status["unpolled"], serde_json::json!({}), "{status}");
    assert!(status["holds"]["worker"].is_null(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_says_so() {
    let Some(world) = World::new(emulator(), POLICY, &manifest(2)).await else {
        return;
    };
    let _worker = world.worker("one", 1.0);
    world.json(&["apply", "--timeout", "120s"]);
    let paused = world.json(&["pause", "--name", "device-000"]);
    assert_eq!(paused["paused"], 1, "{paused}");
    world
        .until(&["status"], |shown| shown["states"]["paused"] == 1)
        .await;
    // There is nothing to do for it.
    let applied = world.json(&["apply"]);
    assert_eq!(
        (&applied["settled"], &applied["paused"]),
        (&2.into(), &1.into())
    );
    world.ok(&["rotate", "--name", "device-000", "--yes"]);
    world
        .until(&["status"], |shown| shown["holds"]["paused"] == 1)
        .await;
    let (applied, said) = world.ends(7, &["apply"]);
    assert_eq!(applied["waiting"]["paused"], 1, "{applied}");
    assert!(
        said.contains("`shieldcert-temporal pause --resume --name device-000` goes on"),
        "{said}"
    );
    assert_eq!(world.failed(), [["device-000", "paused", ""]]);
    let planned = world.json(&["plan"]);
    assert_eq!(planned[0]["action"], "wait", "{planned}");
    assert_eq!(planned[0]["hold"], "paused", "{planned}");
    let shown = world.json(&["status", "device-000"]);
    assert_eq!(shown[0]["hold"], "paused", "{shown}");
    let resumed = world.json(&["pause", "--all", "--resume"]);
    assert_eq!(resumed["resumed"], 1, "{resumed}");
    world.settle();
    let shown = world.json(&["status", "device-000"]);
    assert_eq!(shown[1]["state"], "verified", "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_restored_or_replaced() {
    let Some(mut world) = World::new(emulator(), POLICY, &manifest(2)).await else {
        return;
    };
    let mended = world.path("mended");
    let policy = format!(
        "{POLICY}[deploy]\ncommand = \"test -e {}\"\n",
        mended.display()
    );
    world.set_config(&config("default", &policy));
    let _worker = world.worker("one", 1.0);
    world.ends(7, &["apply", "--timeout", "60s"]);
    let devices = world.path("one/devices");
    let aside = world.path("aside");
    fs::rename(devices.join("device-000/1"), &aside).expect("is moved");
    let key = devices.join("device-001/1/key.pem");
    fs::remove_file(&key).expect("is removed");
    fs::write(&mended, "").expect("is written");
    world.ends(1, &["apply", "--retry-now"]);
    let rows = world.failed();
    for (row, lost) in rows.iter().zip(["it is missing", "key.pem is missing"]) {
        assert_eq!(row[1], "key-lost", "{row:?}");
        let advice = format!("{lost}; restore it, or rotate the device");
        assert!(row[2].ends_with(&advice), "{row:?}");
    }
    assert_eq!(rows.len(), 2);
    assert!(!devices.join("device-000/current").exists());

    fs::rename(&aside, devices.join("device-000/1")).expect("is moved");
    let (applied, said) = world.ends(7, &["apply", "--retry-now", "--name", "device-000"]);
    assert!(said.contains("1 device tried again at once"), "{said}");
    assert_eq!(applied["settled"], 1, "{applied}");
    let first = world.active().await["device-001"][0].id().clone();
    world.ok(&["rotate", "--name", "device-001", "--yes"]);
    world
        .until(&["status", "device-001"], |shown| {
            shown[1]["state"] == "verified"
        })
        .await;
    let shown = world.json(&["status", "device-001"]);
    assert_eq!(shown[0]["certificate"], first.as_str(), "{shown}");
    assert!(!shown[0]["revoke_at"].is_null(), "{shown}");
    world.json(&["apply"]);
}
