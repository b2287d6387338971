//! The emulator's faults, each with a parameter or two that stand for the rest.

use shieldcert_emulator::Fault;

/// Shorter and longer than the timeout of an attempt, and within the settle window.
const DELAYS: &[&str] = &["2s", "60s"];

/// Below and above what a client waits for.
const BLOCKS: &[&str] = &["1s", "600s"];

/// What a gateway may respond without having asked the service.
const GATEWAY: &[&str] = &["503 retry-after=1", "403", "404", "522"];

/// What the service itself may refuse with, when it does not act.
const REFUSALS: &[&str] = &["403 code=1445", "200 code=1445", "500 code=1000"];

/// Returns the table: its names, each with its parameters. A fault that is added to the emulator is in it.
///
/// # Panics
/// If the emulator has a kind of parameter that this does not know.
pub(super) fn faults() -> Vec<Fault> {
    let help = Fault::help();
    let rows = help.lines().take_while(|line| !line.is_empty());
    let mut faults = Vec::new();
    for row in rows {
        let usage = row.split_whitespace().next().expect("a row has a name");
        let (name, kind) = usage.split_once('=').unwrap_or((usage, ""));
        for argument in arguments(name, kind) {
            let text = match argument {
                "" => name.to_owned(),
                argument => format!("{name}={argument}"),
            };
            let fault = text.parse();
            faults.push(fault.unwrap_or_else(|error| panic!("{text}: {error}")));
        }
    }
    faults
}

fn arguments(name: &str, kind: &str) -> Vec<&'static str> {
    match (name, kind) {
        (_, "") => vec![""],
        // Between any two bytes.
        ("slow", _) => vec!["10ms"],
        ("rate-limit" | "block", _) => BLOCKS.to_vec(),
        (_, "TIME") => DELAYS.to_vec(),
        ("respond", _) => [GATEWAY, REFUSALS].concat(),
        // A refusal of the API after it acted would be a lie that nobody can notice.
        ("respond-after", _) => GATEWAY.to_vec(),
        _ => panic!("choose parameters that stand for {name}={kind}"),
    }
}
