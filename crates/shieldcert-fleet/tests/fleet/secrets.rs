//! Keys stay where they belong.

use std::fs;

use shieldcert_fleet::Ask;

use crate::kit::{World, emulator, manifest};

#[tokio::test(start_paused = true)]
async fn no_private_key_is_in_the_journal() {
    let world = World::new(
        emulator(),
        "[outputs]\nformats = [\"combined\"]\n",
        &manifest(3),
    );
    world.script("create: lose-response");
    world.apply().await;
    world.ask(Ask::Rotate, &["sensor-1"]);
    world.apply().await;
    let copy = world.path("copy.db");
    world
        .fleet()
        .journal()
        .expect("a journal")
        .backup(&copy)
        .expect("is copied");
    let mut journal = Vec::new();
    for file in ["journal.db", "journal.db-wal", "copy.db"] {
        journal.extend(fs::read(world.path(file)).unwrap_or_default());
    }
    let contains = |text: &str| {
        journal
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(contains("sensor-1"), "it is the journal");
    assert!(!contains("PRIVATE KEY"));
    let mut keys = 0;
    for device in 1..=3 {
        for generation in 1..=2 {
            let path = format!("devices/sensor-{device}/{generation}/key.pem");
            let Ok(pem) = fs::read_to_string(world.path(path)) else {
                continue;
            };
            keys += 1;
            let lines = pem.lines().filter(|line| !line.starts_with("-----"));
            // The first line of two keys of one algorithm begins the same.
            for line in lines.skip(1) {
                assert!(!contains(line), "a line of the key is in the journal");
            }
        }
    }
    assert_eq!(keys, 4);
}
