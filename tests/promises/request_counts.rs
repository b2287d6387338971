//! What each operation costs: its requests on a well-behaved and on a hostile service, beside the least possible there.

use std::time::Duration;

use shieldcert::{BoxFuture, Csr, StatusFilter, Zone};
use shieldcert_emulator::{Emulator, Fault, Operation, Quirks, ScriptedFault};
use shieldcert_tests::kit::{TOKEN, ZONE, issue, key_and_csr, zone_through};

/// A gateway that caps pages, ignores offsets, hides totals and has no empty page, and a CA that backdates.
const HOSTILE: &str =
    "cap=25, ignore-offset, total=missing, beyond-end=404, backdate=5m, csr=reencoded";

type Run = fn(Zone, Csr) -> BoxFuture<'static, ()>;
type Row = (&'static str, Run, usize, Option<Fault>, [usize; 4]);

/// Returns the requests of an operation in a zone of so many certificates. The first create has the fault.
async fn count(run: Run, certificates: usize, fault: Option<Fault>, quirks: Quirks) -> usize {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(1)
        .latency(Duration::from_millis(30))
        .transition_delay(Duration::from_secs(2))
        .populate(ZONE, certificates)
        .quirks(quirks)
        .open()
        .await
        .expect("opens");
    let (_, csr) = key_and_csr("sensor-001");
    emulator.script(fault.map(|fault| ScriptedFault::next(Operation::Create, fault)));
    run(zone_through(emulator.transport()), csr).await;
    emulator.history().count(Operation::Any)
}

const ISSUE: Run = |zone, csr| {
    Box::pin(async move {
        zone.issue(&csr).await.expect("is issued");
    })
};
const FIND: Run = |zone, csr| {
    Box::pin(async move {
        zone.find_by_csr(&csr).await.expect("is read");
    })
};
const FIND_100: Run = |zone, _| {
    Box::pin(async move {
        let csrs = (0..100).map(|number| key_and_csr(&format!("sensor-{number}")).1);
        let csrs: Vec<Csr> = csrs.collect();
        zone.find_by_csrs(csrs).await.expect("is read");
    })
};
const LIST: Run = |zone, _| {
    Box::pin(async move {
        zone.list().await.expect("is read");
    })
};
const LIST_ACTIVE: Run = |zone, _| {
    Box::pin(async move {
        let list = zone.list().status(StatusFilter::Active);
        assert_eq!(list.await.expect("is read").len(), 182);
    })
};
const ISSUE_AND_GET: Run = |zone, csr| {
    Box::pin(async move {
        let id = issue(&zone, &csr).await;
        zone.get(&id).await.expect("is there");
    })
};
const ISSUE_AND_REVOKE: Run = |zone, csr| {
    Box::pin(async move {
        let id = issue(&zone, &csr).await;
        zone.revoke(&id).await.expect("is revoked");
    })
};
const ISSUE_AND_REVOKE_AND_WAIT: Run = |zone, csr| {
    Box::pin(async move {
        let id = issue(&zone, &csr).await;
        zone.revoke(&id).until_settled().await.expect("is revoked");
    })
};

#[tokio::test(start_paused = true)]
async fn each_operation_takes_about_the_fewest_requests_possible() {
    let lost_request = Some(Fault::lose_request());
    let lost_response = Some(Fault::lose_response());
    // Beside the certificates of the zone: the least possible and what is taken, twice.
    let rows: [Row; 12] = [
        ("issue", ISSUE, 230, None, [1, 1, 1, 1]),
        (
            "issue, response lost",
            ISSUE,
            230,
            lost_response,
            [2, 2, 2, 2],
        ),
        (
            "issue, request lost",
            ISSUE,
            230,
            lost_request,
            [7, 9, 12, 24],
        ),
        ("find_by_csr", FIND, 230, None, [5, 6, 10, 16]),
        (
            "find_by_csrs, 100 CSRs",
            FIND_100,
            230,
            None,
            [5, 6, 10, 16],
        ),
        ("list, 1", LIST, 1, None, [1, 2, 1, 9]),
        ("list, 230", LIST, 230, None, [5, 6, 10, 16]),
        ("list, 1,000", LIST, 1000, None, [20, 21, 40, 57]),
        ("list, active ones", LIST_ACTIVE, 230, None, [4, 5, 8, 23]),
        ("issue, get", ISSUE_AND_GET, 230, None, [2, 2, 2, 2]),
        ("issue, revoke", ISSUE_AND_REVOKE, 230, None, [2, 2, 2, 2]),
        // The transition takes two seconds.
        (
            "issue, revoke, wait",
            ISSUE_AND_REVOKE_AND_WAIT,
            230,
            None,
            [3, 6, 3, 6],
        ),
    ];
    let mut differs = Vec::new();
    println!("{:24} {:>14} {:>14}", "", "well-behaved", "hostile");
    println!(
        "{:24} {:>6} {:>7} {:>6} {:>7}",
        "requests", "least", "taken", "least", "taken"
    );
    for (name, run, certificates, fault, expected) in rows {
        let well_behaved = count(run, certificates, fault.clone(), Quirks::default()).await;
        let hostile = count(run, certificates, fault, HOSTILE.parse().expect("quirks")).await;
        let [least, _, least_hostile, _] = expected;
        println!("{name:24} {least:>6} {well_behaved:>7} {least_hostile:>6} {hostile:>7}");
        if expected != [least, well_behaved, least_hostile, hostile] {
            differs.push(name);
        }
    }
    assert!(differs.is_empty(), "{differs:?}: see the table");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_lost_one_after_the_other_share_their_look_ups() {
    const ISSUES: u64 = 20;
    let emulator = Emulator::builder()
        .token(TOKEN)
        .seed(1)
        .latency(Duration::from_millis(30))
        .populate(ZONE, 230)
        .open()
        .await
        .expect("opens");
    let lost = ScriptedFault::next(Operation::Create, Fault::lose_request()).times(ISSUES);
    emulator.script([lost]);
    let zone = zone_through(emulator.transport());
    let issues: Vec<_> = (0..ISSUES)
        .map(|number| {
            let (zone, (_, csr)) = (zone.clone(), key_and_csr(&format!("sensor-{number}")));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(number)).await;
                zone.issue(&csr).await.expect("is issued");
            })
        })
        .collect();
    for issue in issues {
        issue.await.expect("ends");
    }
    let history = emulator.history();
    assert_eq!(history.count(Operation::Create) as u64, 2 * ISSUES);
    // 14 here; 20 if complete look-ups wait for no others, and 26 if early ones are not limited.
    let pages = history.count(Operation::List);
    assert!(pages <= 16, "{pages} pages");
}
