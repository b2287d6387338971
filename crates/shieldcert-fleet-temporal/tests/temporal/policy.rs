//! What steers a workflow is in its history: the `fleet.toml` of a worker is not.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kit::{POLICY, World, ZONE, config, emulator, manifest};
use crate::replay::{failures, keep};

/// A deploy command that says that it has begun, and ends when it may.
fn waiting_hook(begun: &Path, go: &Path) -> String {
    let (begun, go) = (begun.display(), go.display());
    format!("command = \"touch {begun}; until [ -e {go} ]; do sleep 0.1; done\"")
}

/// The activities that a history schedules: name, task queue, and the timeouts of a run and of a heartbeat.
fn scheduled(history: &[u8]) -> Vec<[String; 4]> {
    let history: Value = serde_json::from_slice(history).expect("JSON");
    let events = history["events"].as_array().expect("events").iter();
    let scheduled = events
        .filter_map(|event| event["attributes"].get("ActivityTaskScheduledEventAttributes"))
        .map(|activity| {
            [
                &activity["activity_type"]["name"],
                &activity["task_queue"]["name"],
                &activity["start_to_close_timeout"],
                &activity["heartbeat_timeout"],
            ]
            .map(|value| value.as_str().unwrap_or_default().to_owned())
        });
    scheduled.collect()
}

/// Every run of every workflow: no worker has failed a workflow task, and all replay. Returns what they have scheduled.
async fn check_histories(world: &World, kept: Option<&str>) -> Vec<[String; 4]> {
    let histories = world.server.histories("fleet").await;
    let mut activities = Vec::new();
    for (id, run, history) in &histories {
        // The second device says nothing else.
        if let Some(kind) = kept.filter(|_| !id.ends_with("device-001")) {
            keep(kind, id, run, history);
        }
        let text = String::from_utf8_lossy(history);
        assert!(
            !text.contains("WorkflowTaskFailedEventAttributes"),
            "{id}: {text}"
        );
        if id != "fleet" {
            activities.extend(scheduled(history));
        }
    }
    let histories = histories.into_iter().map(|(id, _, json)| (id, json));
    let failures = failures(histories.collect()).await;
    assert!(failures.is_empty(), "{failures:#?}");
    activities
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_policy_goes_on_with_that_of_the_device() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (begun, go) = (scratch.path().join("begun"), scratch.path().join("go"));
    let hook = waiting_hook(&begun, &go);
    let policy = format!("{POLICY}[deploy]\n{hook}\n");
    let Some(mut world) = World::new(emulator(), &policy, &manifest(1)).await else {
        return;
    };
    let worker = world.worker("one", 1.0);
    world.json(&["apply", "--no-wait"]);
    world.until_exists(&begun).await;
    // Its generation is in flight. Another zone, budget, lifetime, window and timeout.
    drop(worker);
    let other = format!(
        "[zones.a]\nid = \"123e105f4ecef8ad9ca31a8372d0c353\"\nbudget = \"other\"\n\
         [limits]\nsettle_window = \"40s\"\n[renew]\nat = 0.2\ngrace = \"1s\"\n\
         [deploy]\n{hook}\ntimeout = \"5m\"\n"
    );
    world.set_config(&config("other", &other).replace("main", "z"));
    let _worker = world.worker("one", 1.0);
    fs::write(&go, "").expect("is written");
    let shown = world
        .until(&["status", "device-000"], |shown| {
            shown[0]["state"] == "verified"
        })
        .await;
    let activities = check_histories(&world, None).await;
    let find = |name: &str| {
        let mut found = activities.iter().filter(|activity| activity[0] == name);
        found.next().expect("is scheduled")[1..].join(" ")
    };
    // That of the device: twice its timeout of a minute, and a margin. The heartbeat is half its window, at least 4 s.
    let at_worker = "fleet/worker/one 135.000000000s 4.000000000s";
    assert_eq!(
        [
            find("Requests::issue"),
            find("Keys::deploy"),
            find("Keys::verify")
        ],
        [
            "fleet/budget/default 708.000000000s 4.000000000s",
            at_worker,
            at_worker
        ]
    );
    // Renewed after two thirds of its lifetime, and not after a fifth.
    let fleet = world.json(&["status"]);
    let time = |value: &Value| -> jiff::Timestamp {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time")
    };
    let begin = time(&shown[0]["not_before"]);
    let days = time(&fleet["next_renewal"])
        .duration_since(begin)
        .as_hours()
        / 24;
    assert!((200..250).contains(&days), "{days}");

    // `apply` tells the device of the other policy. From then on it holds.
    world.json(&["apply", "--timeout", "60s"]);
    world.ok(&["rotate", "--all", "--yes"]);
    world
        .until(&["status", "device-000"], |shown| {
            let newest = shown.as_array().and_then(|rows| rows.last());
            let newest = newest.expect("a row");
            newest["generation"] == 2 && newest["state"] == "verified"
        })
        .await;
    let activities = check_histories(&world, Some("policy")).await;
    let last = |name: &str| {
        let mut found = activities.iter().filter(|activity| activity[0] == name);
        let found = found.by_ref().map(|activity| activity[1..].join(" "));
        let mut all: Vec<_> = found.collect();
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(
        last("Keys::verify"),
        [
            "fleet/worker/one 135.000000000s 4.000000000s",
            "fleet/worker/one 615.000000000s 20.000000000s"
        ]
    );
    assert_eq!(
        last("Requests::issue"),
        [
            "fleet/budget/default 708.000000000s 4.000000000s",
            "fleet/budget/other 860.000000000s 20.000000000s"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_under_the_old_name_of_a_budget_are_sent_under_the_new_one() {
    let Some(mut world) = World::new(emulator(), POLICY, &manifest(2)).await else {
        return;
    };
    // It makes keys, and nobody sends.
    let keys = world.worker("one", 0.0);
    world.json(&["apply", "--no-wait"]);
    world
        .until(&["status"], |shown| shown["workers"]["one"] == 2)
        .await;
    world
        .until(&["status", "device-001"], |shown| {
            shown[0]["state"] == "sending"
        })
        .await;
    world
        .until(&["status", "device-000"], |shown| {
            shown[0]["state"] == "sending"
        })
        .await;
    drop(keys);
    world.set_config(&config("renamed", POLICY));
    let _worker = world.worker("one", 1.0);
    let applied = world.json(&["apply", "--timeout", "120s"]);
    assert_eq!(applied["settled"], 2, "{applied}\n{}", world.logs());
    let active = world.wait_for_one_each(2).await;
    world.check_files(&active, &["one"]);
    let scanned = world.json(&["reconcile"]);
    assert_eq!(scanned[0]["active"], 2, "{scanned}");
    check_histories(&world, Some("renamed-budget")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_that_waits_under_the_old_name_of_a_budget_goes_on_under_the_new_one() {
    let Some(mut world) = World::new(emulator(), POLICY, &manifest(0)).await else {
        return;
    };
    // Nobody sends.
    let keys = world.worker("one", 0.0);
    world.json(&["apply"]);
    let output = world.run(&["reconcile", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let scans = |histories: &[(String, String, Vec<u8>)]| {
        let fleet = histories.iter().filter(|(id, ..)| id == "fleet");
        let activities = fleet.flat_map(|(_, _, history)| scheduled(history));
        activities
            .map(|[name, queue, ..]| format!("{name} {queue}"))
            .collect::<Vec<_>>()
    };
    let waiting = scans(&world.server.histories("fleet").await);
    assert_eq!(waiting, ["Requests::scan fleet/budget/default"]);
    drop(keys);
    world.set_config(&config("renamed", POLICY));
    let _worker = world.worker("one", 1.0);
    world.json(&["apply"]);
    world
        .until(&["status"], |shown| shown["zones"][ZONE]["active"] == 0)
        .await;
    let scanned = scans(&world.server.histories("fleet").await);
    assert_eq!(
        scanned,
        [
            "Requests::scan fleet/budget/default",
            "Requests::scan fleet/budget/renamed"
        ]
    );
}
