//! Lost responses, late certificates, and processes that are killed.

use std::time::Duration;

use shieldcert_emulator::{Operation, RateLimit};
use shieldcert_fleet::{Act, ApplyOptions, Hold, Progress};

use crate::kit::{World, emulator, manifest};

const SHORT_WINDOW: &str = "[limits]\nsettle_window = \"2s\"\n";

fn one() -> World {
    World::new(emulator(), SHORT_WINDOW, "name\nsensor-1\n")
}

const HOUR: Duration = Duration::from_secs(3600);

/// How many certificates there are, in any status.
async fn held(world: &World) -> usize {
    world.certificates().await.len()
}

#[tokio::test(start_paused = true)]
async fn the_response_of_a_create_is_proof_enough() {
    let world = World::new(emulator(), "", &manifest(20));
    world.apply().await;
    assert_eq!(world.count(Operation::Create), 20);
    assert_eq!(world.count(Operation::Get), 0);
    assert_eq!(world.count(Operation::List), 1, "which tells the time");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_response_the_certificate_is_found_and_looked_for_once_more() {
    for fault in [
        "lose-response",
        "reset-after",
        "502-after",
        "html",
        "truncate",
    ] {
        let world = one();
        world.script(&format!("create: {fault}"));
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{fault}: {summary:?}");
        assert_eq!(summary.progress.recovered, 1, "{fault}");
        assert_eq!(
            world.count(Operation::Create),
            1,
            "{fault}: it is not sent again"
        );
        assert_eq!(held(&world).await, 1, "{fault}");
        world.check_in_use(&["sensor-1"]).await;
        // The look that it was owed has found nothing else.
        assert!(
            world.acts("sensor-1").contains(&Act::LookedAgain),
            "{fault}"
        );
        assert_eq!((summary.looks_owed, summary.surplus), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_lost_is_sent_again_after_the_settle_window() {
    for fault in ["lose-request", "502-before", "maintenance"] {
        let world = one();
        world.script(&format!("create: {fault}"));
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{fault}: {summary:?}");
        assert_eq!(world.count(Operation::Create), 2, "{fault}");
        assert_eq!(held(&world).await, 1, "{fault}");
        world.check_in_use(&["sensor-1"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_settle_window_is_surplus_and_revoked() {
    let world = one();
    // It is sent again after two seconds.
    world.script("create: late=3s");
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.count(Operation::Create), 2);
    assert_eq!(held(&world).await, 2);
    world.check_in_use(&["sensor-1"]).await;
    assert_eq!((summary.progress.issued, summary.progress.revoked), (1, 1));
    let acts = world.acts("sensor-1");
    assert!(acts.contains(&Act::SurplusFound), "{acts:?}");
    assert_eq!(acts.last(), Some(&Act::SurplusRevoked));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_wait_leaves_the_look_to_the_next_one() {
    let world = one();
    world.script("create: late=3s");
    let mut options = ApplyOptions::default();
    options.skip_reconciliation = true;
    let summary = world.try_apply(&options).await.expect("is applied");
    assert_eq!(summary.looks_owed, 1);
    assert!(!summary.is_complete());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.active().await["sensor-1"], 2);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_made_again_later() {
    let world = one();
    world.script("create: lose-response; list@4..: respond=503");
    let summary = world.apply().await;
    // The first list tells the time, and then one finds the certificate or none does.
    assert!(!summary.is_complete(), "{summary:?}");
    world.emulator.clear_script();
    tokio::time::sleep(HOUR).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(held(&world).await, 1);
    world.check_in_use(&["sensor-1"]).await;
}

/// Kills a run in the middle of so many requests. Returns how many lists the next run needs.
async fn lists_to_resume(count: usize) -> usize {
    // It says its rate limit, so that requests don't wait for each other, and takes its time, so that they overlap.
    let limited = emulator()
        .rate_limit(RateLimit::default())
        .latency(Duration::from_millis(30));
    let world = World::new(limited, SHORT_WINDOW, &manifest(count));
    // The service acts, and the process is killed before it hears of that.
    world.script("create@*: stall=1h");
    world.killed_after(Duration::from_secs(20)).await;
    world.emulator.clear_script();
    assert_eq!(held(&world).await, count);
    let lists = world.count(Operation::List);
    let summary = world.apply().await;
    let lists = world.count(Operation::List) - lists;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(
        world.count(Operation::Create),
        count,
        "nothing is sent again"
    );
    assert_eq!(held(&world).await, count);
    let names: Vec<String> = (1..=count)
        .map(|number| format!("sensor-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.check_in_use(&names).await;
    lists
}

#[tokio::test(start_paused = true)]
async fn all_open_requests_of_a_killed_run_are_resolved_together() {
    let (few, many) = (lists_to_resume(5).await, lists_to_resume(30).await);
    // A scan takes two requests or three. Each request is looked for, and each is owed a look.
    assert!(
        few.max(many) <= 15,
        "{few} lists for 5 open requests, {many} for 30"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_arrived_is_sent_by_the_next_run() {
    let world = one();
    world.script("create: lose-request");
    world.killed_after(Duration::from_secs(1)).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.count(Operation::Create), 2);
    assert_eq!(held(&world).await, 1);
    assert!(world.acts("sensor-1").contains(&Act::Resuming));
    assert!(
        !world.path("devices/sensor-1/2").exists(),
        "with the same key"
    );
}

/// The process is dead: its request settles within the settle window after the next one began, whatever its deadline was.
#[tokio::test(start_paused = true)]
async fn what_a_killed_run_has_sent_is_waited_for_no_longer_than_it_can_act() {
    const WINDOW: Duration = Duration::from_secs(75);
    let world = World::new(emulator(), "", "name\nsensor-1\n");
    world.script("create: lose-request");
    world.killed_after(Duration::from_secs(1)).await;
    let mut waits = Vec::new();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let options = {
        let mut options = ApplyOptions::default();
        options.skip_reconciliation = true;
        options
    };
    let begun = tokio::time::Instant::now();
    let fleet = world.fleet();
    let report =
        |done: &Progress| waits.extend(done.open_wait.map(|wait| (done.open_requests, wait)));
    let summary = fleet
        .apply(&options, stopped, report)
        .await
        .expect("is applied");
    let passed = begun.elapsed();
    assert_eq!(summary.progress.issued, 1, "{summary:?}");
    assert!(
        (WINDOW..WINDOW + Duration::from_secs(5)).contains(&passed),
        "{passed:?}"
    );
    let (count, wait) = waits[0];
    assert_eq!(count, 1);
    assert!(
        wait <= WINDOW && wait > WINDOW - Duration::from_secs(2),
        "{wait:?}"
    );

    // Long after it could act, nothing is waited for.
    for fault in ["lose-request", "stall=1h"] {
        let world = World::new(emulator(), "", "name\nsensor-1\n");
        world.script(&format!("create: {fault}"));
        world.killed_after(Duration::from_secs(1)).await;
        tokio::time::sleep(HOUR * 2).await;
        let begun = tokio::time::Instant::now();
        let summary = world.try_apply(&options).await.expect("is applied");
        assert_eq!(summary.progress.issued, 1, "{fault}: {summary:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{fault}: {:?}",
            begun.elapsed()
        );
        world.check_in_use(&["sensor-1"]).await;
        assert_eq!(held(&world).await, 1, "{fault}");
    }
}

/// A lost request takes two settle windows: until it is sent again, and until what may still come of it was looked for.
#[tokio::test(start_paused = true)]
async fn no_settle_window_is_waited_for_twice() {
    const TWO_WINDOWS: Duration = Duration::from_secs(150);
    for is_killed in [false, true] {
        let world = World::new(emulator(), "", "name\nsensor-1\n");
        world.script("create: lose-request");
        if is_killed {
            world.killed_after(Duration::from_secs(1)).await;
        }
        let begun = tokio::time::Instant::now();
        let summary = world.apply().await;
        let passed = begun.elapsed();
        assert!(summary.is_complete(), "{is_killed}: {summary:?}");
        let expected = TWO_WINDOWS..TWO_WINDOWS + Duration::from_secs(40);
        assert!(expected.contains(&passed), "{is_killed}: {passed:?}");
        world.check_in_use(&["sensor-1"]).await;
    }
}

/// The service acts at the very end of the settle window after the process was killed.
#[tokio::test(start_paused = true)]
async fn what_arrives_late_within_the_settle_window_is_found_and_not_issued_again() {
    let world = World::new(emulator(), "", "name\nsensor-1\n");
    world.script("create: late-lost=74s");
    world.killed_after(Duration::from_secs(1)).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.count(Operation::Create), 1);
    assert_eq!(held(&world).await, 1);
    world.check_in_use(&["sensor-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_device_that_is_absent_by_now_is_not_sent_again() {
    for (fault, certificates) in [("lose-request", 0), ("stall=1h", 1)] {
        let world = one();
        world.script(&format!("create: {fault}"));
        world.killed_after(Duration::from_secs(1)).await;
        world.write("devices.csv", "name,state\nsensor-1,absent\n");
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{fault}: {summary:?}");
        assert_eq!(world.count(Operation::Create), 1, "{fault}");
        assert_eq!(held(&world).await, certificates, "{fault}");
        assert_eq!(world.active().await.len(), 0, "{fault}");
    }
}

/// The certificate comes when the run has found out, as far as it could, that there is none.
#[tokio::test(start_paused = true)]
async fn a_late_certificate_of_an_absent_device_is_revoked() {
    let world = one();
    world.script("create: late-lost=4s");
    world.killed_after(Duration::from_secs(1)).await;
    world.write("devices.csv", "name,state\nsensor-1,absent\n");
    world.apply().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.apply().await;
    assert_eq!(held(&world).await, 1);
    assert_eq!(world.active().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_has_changed_since_the_request_gets_one_certificate() {
    for fault in ["lose-request", "stall=1h"] {
        let world = one();
        world.script(&format!("create: {fault}"));
        world.killed_after(Duration::from_secs(1)).await;
        world.write("devices.csv", "name,organization\nsensor-1,Acme\n");
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{fault}: {summary:?}");
        assert_eq!(world.count(Operation::Create), 2, "{fault}");
        world.check_in_use(&["sensor-1"]).await;
        let (number, identity) = world.current("sensor-1");
        assert_eq!(number, 2, "{fault}");
        let subject = identity.certificate().subject();
        assert!(subject.contains("Acme"), "{fault}: {subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for_and_not_amplified() {
    let world = World::new(emulator(), SHORT_WINDOW, &manifest(200));
    world.script("any@*: respond=503");
    let summary = world.apply().await;
    assert!(!summary.is_complete());
    assert!(
        summary
            .waiting
            .keys()
            .all(|hold| { matches!(hold, Hold::Failed | Hold::Unclear) }),
        "{summary:?}"
    );
    let requests = world.count(Operation::Any);
    assert!(
        requests < 400,
        "{requests} requests for 200 devices in an outage"
    );
    world.emulator.clear_script();
    tokio::time::sleep(HOUR).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(world.active().await.len(), 200);
    assert!(world.active().await.values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been() {
    for milliseconds in (0..4_000).step_by(133) {
        let slow = emulator().latency(Duration::from_millis(300));
        let policy = format!("[renew]\ngrace = \"0s\"\n{SHORT_WINDOW}");
        let world = World::new(slow, &policy, &manifest(3));
        let time = Duration::from_millis(milliseconds);
        let options = ApplyOptions::default();
        let _ = tokio::time::timeout(time, world.try_apply(&options)).await;
        let summary = world.apply().await;
        assert!(summary.is_complete(), "{milliseconds}: {summary:?}");
        world
            .check_in_use(&["sensor-1", "sensor-2", "sensor-3"])
            .await;
        assert_eq!(held(&world).await, 3, "{milliseconds}");
        let again = world.apply().await;
        assert_eq!(again.progress.devices, 0, "{milliseconds}");
    }
}

/// The service signs for longer than was asked.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_what_was_asked_for_is_revoked_and_made_anew_later() {
    let world = one();
    world
        .emulator
        .set_quirks("extra-validity=10".parse().expect("a quirk"));
    let summary = world.apply().await;
    assert!(!summary.is_complete(), "{summary:?}");
    assert_eq!(
        world.count(Operation::Create),
        1,
        "it waits before the next try"
    );
    assert_eq!(world.active().await.len(), 0, "the wrong one is revoked");
    assert!(!world.path("devices/sensor-1/current").exists());
    world.emulator.set_quirks(Default::default());
    tokio::time::sleep(HOUR).await;
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    world.check_in_use(&["sensor-1"]).await;
    assert_eq!(world.current("sensor-1").0, 2, "with a new key");
}

/// The request was unclear before it led to a wrong certificate: what comes later is looked for, too.
#[tokio::test(start_paused = true)]
async fn after_a_wrong_certificate_the_zone_is_looked_at_once_more() {
    let world = one();
    world
        .emulator
        .set_quirks("extra-validity=10".parse().expect("a quirk"));
    // It is sent again after two seconds, and both come.
    world.script("create: late=3s");
    world.apply().await;
    assert_eq!(world.count(Operation::Create), 2);
    assert_eq!(held(&world).await, 2);
    assert_eq!(world.active().await.len(), 0, "both are revoked");
    let acts = world.acts("sensor-1");
    let surplus = acts.iter().filter(|act| **act == Act::SurplusFound);
    assert_eq!(surplus.count(), 2, "{acts:?}");
    let summary = world.apply().await;
    assert_eq!((summary.looks_owed, summary.surplus), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_ends_what_is_in_flight_and_leaves_the_rest() {
    let slow = emulator().latency(Duration::from_secs(1));
    let policy = "[limits]\nconcurrency = 2\n";
    let world = World::new(slow, policy, &manifest(20));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let fleet = world.fleet();
    let options = ApplyOptions::default();
    let (summary, ()) = tokio::join!(fleet.apply(&options, stopped, |_| {}), async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        stop.send(true).expect("it runs");
    });
    let summary = summary.expect("is applied");
    assert!(summary.is_stopped && !summary.is_complete());
    let issued = summary.progress.issued as usize;
    assert!((1..20).contains(&issued), "{summary:?}");
    // Nothing was left open.
    assert_eq!(held(&world).await, issued);
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.progress.issued as usize, 20 - issued);
    assert_eq!(world.count(Operation::Create), 20);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_says_who_works_on_the_fleet() {
    let world = World::new(emulator(), "", &manifest(3));
    world.script("create@*: stall=1h");
    let options = ApplyOptions::default();
    let first = world.try_apply(&options);
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let fleet = world.fleet();
        assert_eq!(fleet.worker(), Some(std::process::id()));
        let refused = world
            .try_apply(&options)
            .await
            .expect_err("another one runs");
        // The plan and the history can be read all the same.
        world.plan().await;
        assert!(!world.acts("sensor-1").is_empty());
        refused.to_string()
    };
    tokio::pin!(second);
    let refused = tokio::select! {
        ended = first => panic!("it waits: {ended:?}"),
        refused = &mut second => refused,
    };
    let expected = format!(
        "another process (pid {}) works on this fleet; wait until it has ended, or stop it",
        std::process::id()
    );
    assert!(refused.ends_with(&expected), "{refused}");
    world.emulator.clear_script();
    assert!(world.apply().await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn surplus_that_is_said_not_to_be_found_is_revoked_all_the_same() {
    let world = one();
    world.script("create: late=3s; delete: not-found");
    let summary = world.apply().await;
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(summary.progress.failures, 1, "it is tried again");
    assert_eq!(held(&world).await, 2);
    world.check_in_use(&["sensor-1"]).await;
}
