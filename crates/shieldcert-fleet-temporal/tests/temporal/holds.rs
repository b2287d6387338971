//! What devices wait for, shown by `apply`, `status` and `failed.csv`.

use std::fs;

use serde_json::Value;
use shieldcert_emulator::Operation;

use crate::kit::{POLICY, World, config, emulator, manifest};

/// The holds in `failed.csv`.
fn failed(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.path("fleet/failed.csv")).expect("is there");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("name,generation,state,hold,problem,retry_at")
    );
    let holds = lines.map(|line| line.split(',').nth(3).expect("a hold").to_owned());
    holds.collect()
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
    let output = world.run(&["--output", "json", "apply", "--timeout", "120s"]);
    assert_eq!(
        output.status.code(),
        Some(7),
        "{output:?}\n{}",
        world.logs()
    );
    let applied: Value = serde_json::from_slice(&output.stdout).expect("JSON");
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
    let output = world.run(&["--output", "json", "apply", "--timeout", "120s"]);
    assert_eq!(
        output.status.code(),
        Some(7),
        "{output:?}\n{}",
        world.logs()
    );
    let applied: Value = serde_json::from_slice(&output.stdout).expect("JSON");
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
    let applied = world.run(&["--output", "json", "apply", "--timeout", "120s"]);
    let applied: Value = serde_json::from_slice(&applied.stdout).expect("JSON");
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
