//! Recorded histories still replay. Otherwise devices in flight would stop at an upgrade.
//!
//! They are in `tests/histories`. `SHIELDCERT_UPDATE_HISTORIES=1` adds those that the tests of the lifecycle and of the policy record.

use std::fs;
use std::path::{Path, PathBuf};

use shieldcert_fleet_temporal::{DeviceWorkflow, FleetWorkflow};
use temporalio_client::WorkflowHistory;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

/// Keeps the history of a run of a workflow, where that was asked for.
pub(crate) fn keep(kind: &str, workflow: &str, run: &str, json: &[u8]) {
    if std::env::var_os("SHIELDCERT_UPDATE_HISTORIES").is_some() {
        let workflow = workflow.replace('/', "-");
        let name = format!("{kind}-{workflow}-{}.json", &run[run.len() - 8..]);
        fs::create_dir_all(folder()).expect("is made");
        fs::write(folder().join(name), json).expect("is written");
    }
}

/// What does not replay, and why.
pub(crate) async fn failures(histories: Vec<(String, Vec<u8>)>) -> Vec<String> {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<DeviceWorkflow>()
        .expect("is registered")
        .register_workflow::<FleetWorkflow>()
        .expect("is registered")
        .build();
    let replayer = WorkflowReplayer::new(options).expect("a replayer");
    let mut failures = Vec::new();
    for (name, json) in histories {
        let history = WorkflowHistory::from_json(&json).expect("a history");
        if let Err(error) = replayer.replay_workflow(history).await {
            failures.push(format!("{name}: {error}"));
        }
    }
    failures
}

/// The name of an activity, as histories have it.
const PREPARE: &str = "\"Keys::prepare\"";

#[tokio::test]
async fn kept_histories_replay() {
    let mut histories = Vec::new();
    for entry in fs::read_dir(folder()).expect("is there") {
        let path = entry.expect("an entry").path();
        let json = fs::read(&path).expect("is read");
        histories.push((path.display().to_string(), json));
    }
    assert!(histories.len() >= 5, "{} histories", histories.len());
    let failures = failures(histories).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn a_history_of_another_workflow_does_not_replay() {
    let mut entries = fs::read_dir(folder()).expect("is there");
    let device = entries.find_map(|entry| {
        let path = entry.expect("an entry").path();
        let json = fs::read_to_string(path).expect("is read");
        json.contains(PREPARE).then_some(json)
    });
    // As if another version had made the key by another activity.
    let other = device
        .expect("one that made a key")
        .replace(PREPARE, "\"Keys::conjure\"");
    let failures = failures(vec![("other".to_owned(), other.into_bytes())]).await;
    assert_eq!(failures.len(), 1, "{failures:?}");
}
