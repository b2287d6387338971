//! A fleet that is run until it is told to stop, in simulated time.

use std::time::Duration;

use shieldcert_emulator::Emulator;
use shieldcert_fleet::{Ask, Error, RunEvent, RunOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::kit::World;

fn report(heard: &UnboundedSender<String>) -> impl FnMut(RunEvent<'_>) + use<> {
    let heard = heard.clone();
    move |event| {
        let text = match event {
            RunEvent::Begun(cause) => format!("begun: {cause}"),
            RunEvent::Ended(_, summary) => {
                let end = if summary.is_stopped {
                    "stopped"
                } else {
                    "ended"
                };
                format!("{end}: {} issued", summary.progress.issued)
            }
            RunEvent::Failed(_, error) => match error {
                Error::Manifest { problems, .. } => format!("failed: {}", problems[0]),
                other => format!("failed: {other}"),
            },
            _ => return,
        };
        // Nobody listens any more at the end.
        let _ = heard.send(text);
    }
}

async fn expect(events: &mut UnboundedReceiver<String>, expected: &[&str]) {
    for text in expected {
        assert_eq!(next(events).await, *text);
    }
}

async fn next(events: &mut UnboundedReceiver<String>) -> String {
    events.recv().await.expect("it runs")
}

#[tokio::test(start_paused = true)]
async fn it_runs_at_intervals_and_when_something_has_changed() {
    let world = World::new(Emulator::builder(), "", "name\nsensor-1\n");
    let (stop, stopped) = watch::channel(false);
    let (sender, mut events) = unbounded_channel();
    let fleet = world.fleet();
    let running = fleet.run(RunOptions::default(), stopped, report(&sender));
    let driving = async {
        expect(&mut events, &["begun: start", "ended: 1 issued"]).await;
        let begun = tokio::time::Instant::now();
        expect(&mut events, &["begun: interval", "ended: 0 issued"]).await;
        let passed = begun.elapsed().as_secs();
        assert!((290..=300).contains(&passed), "{passed}");

        world.write("devices.csv", "name\nsensor-1\nsensor-2\n");
        let begun = tokio::time::Instant::now();
        expect(&mut events, &["begun: changed files", "ended: 1 issued"]).await;
        assert!(begun.elapsed() < Duration::from_secs(10));

        // What has problems changes nothing until it is mended.
        world.write(
            "devices.csv",
            "name,state\nsensor-1,absent\nsensor-2,gone\n",
        );
        expect(&mut events, &["begun: changed files"]).await;
        let failed = next(&mut events).await;
        assert!(
            failed.starts_with("failed: line 3, column state: "),
            "{failed}"
        );
        assert_eq!(world.certificates().await.len(), 2);
        let text = std::fs::read_to_string(world.path("fleet.toml")).expect("is read");
        world.write("fleet.toml", "[zones]\n");
        expect(&mut events, &["begun: changed files"]).await;
        let failed = next(&mut events).await;
        assert!(failed.contains("fleet.toml"), "{failed}");
        // The policy names another manifest, which is watched from then on.
        world.write("others.csv", "name\nsensor-1\nsensor-2\nsensor-3\n");
        world.write(
            "fleet.toml",
            &format!("{text}\n[devices]\nmanifest = \"others.csv\"\n"),
        );
        expect(&mut events, &["begun: changed files", "ended: 1 issued"]).await;
        world.write(
            "others.csv",
            "name\nsensor-1\nsensor-2\nsensor-3\nsensor-4\n",
        );
        expect(&mut events, &["begun: changed files", "ended: 1 issued"]).await;

        let name = "sensor-1".parse().expect("a name");
        let known = world
            .fleet()
            .ask(Ask::RotateNow, [&name])
            .expect("is asked");
        assert_eq!(known, 1);
        expect(&mut events, &["begun: asked for", "ended: 1 issued"]).await;
        stop.send_replace(true);
    };
    let (ran, ()) = tokio::join!(running, driving);
    ran.expect("it was stopped");
    assert_eq!(world.fleet().worker(), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_ends_a_run_early_and_nothing_is_lost() {
    let devices: String = (0..40).map(|device| format!("sensor-{device}\n")).collect();
    let world = World::new(
        Emulator::builder().latency(Duration::from_secs(5)),
        "[limits]\nconcurrency = 1\n",
        &format!("name\n{devices}"),
    );
    let (stop, stopped) = watch::channel(false);
    let (sender, mut events) = unbounded_channel();
    let fleet = world.fleet();
    let running = fleet.run(RunOptions::default(), stopped, report(&sender));
    let driving = async {
        assert_eq!(next(&mut events).await, "begun: start");
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.write("devices.csv", &format!("name\n{devices}gateway\n"));
        let ended = next(&mut events).await;
        assert!(ended.starts_with("stopped: "), "{ended}");
        assert_eq!(next(&mut events).await, "begun: changed files");
        let ended = next(&mut events).await;
        assert!(ended.starts_with("ended: "), "{ended}");
        stop.send_replace(true);
    };
    let (ran, ()) = tokio::join!(running, driving);
    ran.expect("it was stopped");
    assert_eq!(world.certificates().await.len(), 41);
}

#[tokio::test]
async fn one_process_works_on_a_fleet() {
    let world = World::new(Emulator::builder(), "", "name\nsensor-1\n");
    let (stop, stopped) = watch::channel(false);
    let (sender, mut events) = unbounded_channel();
    let fleet = world.fleet();
    let running = fleet.run(RunOptions::default(), stopped.clone(), report(&sender));
    let driving = async {
        next(&mut events).await;
        assert_eq!(world.fleet().worker(), Some(std::process::id()));
        let second = world
            .fleet()
            .run(RunOptions::default(), stopped, |_| {})
            .await;
        let error = second.expect_err("it is locked");
        assert!(
            matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        stop.send_replace(true);
    };
    let (ran, ()) = tokio::join!(running, driving);
    ran.expect("it was stopped");
}
