//! What `shieldcert fleet` shows at a terminal, in tmux.

use std::time::Duration;

use shieldcert_emulator::{Fault, Operation, ScriptedFault};

use crate::fleet::TestFleet;
use crate::service::is_installed;
use crate::terminal::Terminal;

fn manifest(devices: usize) -> String {
    let rows: Vec<_> = (1..=devices)
        .map(|device| format!("sensor-{device:03}\n"))
        .collect();
    format!("name\n{}", rows.concat())
}

#[test]
fn apply_asks_before_it_revokes() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let fleet = TestFleet::new("", &manifest(3));
    let terminal = Terminal::open(&fleet.service, 120);
    let first = terminal.run("shieldcert fleet --dir fleet apply");
    assert!(
        first.starts_with("issue 3 certificates: 3 requests, within the rate limit\n"),
        "{first}"
    );
    assert!(first.ends_with("code: 0"), "{first}");
    let again = terminal.run("shieldcert fleet --dir fleet apply");
    assert!(again.starts_with("nothing is due\n"), "{again}");
    fleet.write(
        "devices.csv",
        "name,state\nsensor-001,absent\nsensor-002,absent\nsensor-003,\n",
    );
    let ask = |typed: &str| {
        terminal.start("shieldcert fleet --dir fleet apply");
        terminal.wait_for(|screen| screen.contains("Type 2 to revoke them:"));
        terminal.type_keys(&[typed, "Enter"]);
        terminal.end()
    };
    let refused = ask("y");
    assert!(
        refused.contains(
            "this leaves 2 devices that the manifest says are absent without a certificate"
        ),
        "{refused}"
    );
    assert!(refused.ends_with("nothing was done\ncode: 1"), "{refused}");
    assert_eq!(fleet.service.emulator.history().count(Operation::Delete), 0);
    let done = ask("2");
    assert!(done.contains("revoked   2\n"), "{done}");
    assert!(done.ends_with("code: 0"), "{done}");
}

#[test]
fn progress_is_shown_and_ctrl_c_says_how_to_go_on() {
    if !is_installed("tmux", "-V") {
        return;
    }
    let fleet = TestFleet::new("[limits]\nconcurrency = 4\n", &manifest(60));
    let stall = Fault::stall(Duration::from_secs(3_600));
    fleet
        .service
        .emulator
        .script([ScriptedFault::nth(Operation::Create, 21, stall).times(4)]);
    let terminal = Terminal::open(&fleet.service, 100);
    terminal.start("shieldcert fleet --dir fleet apply --yes");
    let created = || fleet.service.emulator.history().count(Operation::Create);
    // A request that arrives after the clock was moved would stall for an hour.
    let progress = terminal.wait_for(|screen| screen.contains("done 20 of 60") && created() == 24);
    assert!(progress.contains("requests used"), "{progress}");
    terminal.type_keys(&["C-c"]);
    terminal.wait_for(|screen| screen.contains("finishing what is in flight"));
    fleet.service.emulator.advance(Duration::from_secs(3_600));
    let end = terminal.end();
    assert!(end.contains("issued    24\n"), "{end}");
    assert!(
        end.ends_with(
            "to go on, which is safe: shieldcert fleet --dir fleet apply --yes\ncode: 130"
        ),
        "{end}"
    );
    fleet.ends(0, &["apply"]);
    assert_eq!(created(), 60);
}
