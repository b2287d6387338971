//! The emulator's faults, each with a parameter or two that stand for the rest.

use shieldcert_emulator::Fault;

/// Longer than the timeout of an attempt, and with [`LAG`] within the settle window.
const DELAY: &str = "45s";

/// What a gateway may respond by itself, beside the pages that have a name.
const GATEWAY: &[&str] = &["503 retry-after=1", "403", "404"];

/// How the service may differ for one request.
const QUIRKS: &[&str] = &[
    "cap=3",
    "cut=3",
    "repeat-page",
    "ignore-page",
    "ignore-offset",
    "beyond-end=last",
    "total=zero",
    "total=page",
    LAG,
    "list-csr=null",
    "null-record@40%",
    "backdate=11m",
    "max-validity=7",
    "date-offset=-3h",
    "refuse-repeats",
];

const LAG: &str = "lag=20s";

/// A row of the emulator's table.
pub(super) struct Row {
    pub(super) name: String,
    /// Parameters that stand for the rest. Not empty; "" for no parameter.
    pub(super) arguments: Vec<&'static str>,
}

/// Returns the emulator's table. So a fault that is added there is in it.
///
/// # Panics
/// If the emulator has a kind of parameter that this does not know.
pub(super) fn rows() -> Vec<Row> {
    let help = Fault::help();
    let rows = help.lines().take_while(|line| !line.is_empty());
    rows.map(|row| {
        let usage = row.split_whitespace().next().expect("a row has a name");
        let (name, parameter) = usage.split_once('=').unwrap_or((usage, ""));
        Row {
            name: name.to_owned(),
            arguments: arguments(name, parameter),
        }
    })
    .collect()
}

/// Returns every fault of the table.
pub(super) fn faults() -> Vec<Fault> {
    let texts = rows().into_iter().flat_map(|row| {
        let text = move |argument| match argument {
            "" => row.name.clone(),
            argument => format!("{}={argument}", row.name),
        };
        row.arguments.into_iter().map(text)
    });
    texts
        .map(|text| {
            text.parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"))
        })
        .collect()
}

fn arguments(name: &str, parameter: &str) -> Vec<&'static str> {
    match (name, parameter) {
        (_, "") => vec![""],
        ("quirk", _) => QUIRKS.to_vec(),
        // Between any two bytes.
        ("slow", _) => vec!["10ms"],
        // Longer than a client waits for.
        ("block", _) => vec!["600s"],
        ("rate-limit", _) => vec!["1s"],
        (_, "TIME") => vec![DELAY],
        ("respond", _) => [GATEWAY, &["500 code=1000"]].concat(),
        // A refusal of the API after it acted would be a lie that nobody can notice.
        ("respond-after", _) => GATEWAY.to_vec(),
        _ => panic!("choose parameters that stand for {name}={parameter}"),
    }
}
