//! Back to the start.

use std::time::{Duration, UNIX_EPOCH};

use shieldcert_emulator::{
    Emulator, EmulatorBuilder, Fault, Operation, RateLimit, Script, ScriptedFault,
};

use crate::common::{ZONE, call, control, count, create_body, csr, issue};

const START: Duration = Duration::from_secs(2_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn builder() -> EmulatorBuilder {
    Emulator::builder()
        .seed(7)
        .clock_start(UNIX_EPOCH + START)
        .rate_limit(RateLimit::new(40, Duration::from_secs(600)))
        .populate(ZONE, 3)
        .control(true)
}

/// The ids, serial numbers and statuses of the zone.
async fn list(emulator: &Emulator) -> Vec<[String; 3]> {
    let list = call(emulator, "GET", "", "").await;
    let fields = |certificate: &serde_json::Value| {
        ["id", "serial_number", "status"]
            .map(|field| certificate[field].as_str().unwrap_or_default().to_owned())
    };
    let certificates = list.body["result"].as_array().expect("a list");
    certificates.iter().map(fields).collect()
}

/// What the first requests see: the limit, the certificates, and the id of a new one.
async fn first_requests(emulator: &Emulator) -> (String, Vec<[String; 3]>, String) {
    let response = call(emulator, "GET", "", "").await;
    let limit = response.headers["ratelimit"].to_str().expect("text");
    let certificates = list(emulator).await;
    (
        limit.to_owned(),
        certificates,
        issue(emulator, "device").await,
    )
}

/// Changes everything that a reset restores.
async fn change_everything(emulator: &Emulator) {
    let populated = list(emulator).await[1][0].clone();
    let path = format!("/{populated}");
    let response = call(emulator, "DELETE", &path, "").await;
    response.assert_succeeded();
    emulator.set_chaos("502-before=100%".parse().expect("is parsed"));
    emulator.script([
        ScriptedFault::next(Operation::Create, Fault::late(3 * HOUR)),
        ScriptedFault::next(Operation::List, Fault::html()),
    ]);
    let body = create_body(&csr("late"), 30);
    assert_eq!(call(emulator, "POST", "", body).await.status, 504);
    emulator.advance(HOUR);
    for _ in 0..50 {
        call(emulator, "GET", "/x", "").await;
    }
}

async fn assert_reset_restores(emulator: &Emulator) {
    let (before, ca) = (first_requests(emulator).await, emulator.ca_pem().to_owned());
    assert_eq!(before.0, "\"default\";r=39;t=600");
    assert_eq!(before.1.len(), 3);
    for over_http in [false, true] {
        change_everything(emulator).await;
        if over_http {
            assert_eq!(control(emulator, "POST", "reset", "").await.status, 204);
        } else {
            emulator.reset().await.expect("is reset");
        }
        assert!(emulator.history().is_empty());
        assert_eq!(emulator.pending_script(), Script::default());
        assert_eq!(emulator.ca_pem(), ca);
        assert!(
            emulator.now() < UNIX_EPOCH + START + HOUR,
            "the clock was advanced"
        );
        assert_eq!(first_requests(emulator).await, before);
        // The late commit was canceled.
        emulator.advance(3 * HOUR);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(count(emulator).await, 4);
    }
}

#[tokio::test]
async fn a_reset_restores_everything() {
    let emulator = builder().open().await.expect("opens");
    tokio::time::pause();
    assert_reset_restores(&emulator).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_reset_restores_a_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("emulator.db");
    let emulator = builder().db(&file).open().await.expect("opens");
    assert_reset_restores(&emulator).await;
    let again = builder().db(&file).open().await.expect("opens");
    assert_eq!(again.ca_pem(), emulator.ca_pem());
}

#[tokio::test]
async fn a_reset_restores_the_first_chaos_and_its_draws() {
    let emulator = Emulator::builder()
        .chaos("502-before=50%".parse().expect("is parsed"))
        .chaos_seed(3)
        .build()
        .expect("builds");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(call(&emulator, "GET", "", "").await.status);
        }
        assert!(statuses.contains(&200) && statuses.contains(&502));
        runs.push(statuses);
        emulator.set_chaos("html=100%".parse().expect("is parsed"));
        emulator.reset().await.expect("is reset");
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn without_a_seed_ids_are_new_after_a_reset() {
    let emulator = crate::common::emulator();
    let before = issue(&emulator, "device").await;
    emulator.reset().await.expect("is reset");
    assert_ne!(issue(&emulator, "device").await, before);
    let gone = call(&emulator, "GET", &format!("/{before}"), "").await;
    assert_eq!(gone.status, 404);
}
