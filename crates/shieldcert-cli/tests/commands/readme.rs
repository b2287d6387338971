//! The pages for operators, in the README and about fleets: their commands print what they show.

use std::path::Path;
use std::time::SystemTime;

use regex::Regex;
use shieldcert_emulator::Fixture;

use crate::service::{Service, is_installed};
use crate::terminal::Terminal;

/// A command, and what it prints.
struct Example {
    command: String,
    output: Vec<String>,
}

/// Takes the page apart: text as it is, and examples in blocks of `console`.
enum Part {
    Line(String),
    Example(Example),
}

fn parse(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut is_example = false;
    for line in page.lines() {
        let starts = line == "```console";
        let ends = is_example && line == "```";
        let command = line.strip_prefix("$ ").filter(|_| is_example);
        match (command, parts.last_mut()) {
            (Some(command), _) => parts.push(Part::Example(Example {
                command: command.to_owned(),
                output: Vec::new(),
            })),
            (None, Some(Part::Example(example))) if is_example && !ends => {
                example.output.push(line.to_owned())
            }
            _ => parts.push(Part::Line(line.to_owned())),
        }
        is_example = starts || is_example && !ends;
    }
    parts
}

/// Replaces what differs from run to run by something of the same length.
fn steady(text: &str) -> String {
    let digits =
        Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,}").expect("a pattern");
    let text = digits.replace_all(text, |found: &regex::Captures<'_>| {
        "x".repeat(found[0].len())
    });
    let times = Regex::new(r"\d{4}-\d\d(-\d\d(T\d\d:\d\d:\d\dZ)?)?\b").expect("a pattern");
    let text = times.replace_all(&text, |found: &regex::Captures<'_>| {
        "t".repeat(found[0].len())
    });
    // In the second in which a certificate is issued, a whole day more is left than in the next.
    let left = Regex::new(r"(?m)\d+d(\)| left|$)").expect("a pattern");
    left.replace_all(&text, "days$1").into_owned()
}

/// Runs the commands of a file between two of its headings.
///
/// With `SHIELDCERT_UPDATE_README=1` it writes the output into the file.
fn check(file: &str, first: &str, end: &str, service: &Service, width: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).expect("it is there");
    let (before, rest) = text.split_once(first).expect("a page");
    let (page, after) = rest.split_once(end).expect("its end");
    let terminal = Terminal::open(service, width);
    let mut parts = parse(page);
    let mut differences = Vec::new();
    for part in &mut parts {
        let Part::Example(example) = part else {
            continue;
        };
        let screen = terminal.run(&example.command);
        let mut printed: Vec<String> = screen
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        assert_eq!(
            printed.pop().as_deref(),
            Some("code: 0"),
            "{}\n{screen}",
            example.command
        );
        // Several certificates are changed at once, and end in any order.
        let sorted = |lines: &[String]| {
            let mut lines: Vec<_> = lines.iter().map(|line| steady(line)).collect();
            lines.sort_unstable();
            lines
        };
        let (expected, found) = (sorted(&example.output), sorted(&printed));
        if expected != found {
            differences.push(format!("$ {}\n{}", example.command, printed.join("\n")));
        }
        example.output = printed;
    }
    if std::env::var_os("SHIELDCERT_UPDATE_README").is_some() {
        let mut page = String::new();
        for part in &parts {
            match part {
                Part::Line(line) => page.push_str(&format!("{line}\n")),
                Part::Example(Example { command, output }) => {
                    page.push_str(&format!("$ {command}\n"));
                    output
                        .iter()
                        .for_each(|line| page.push_str(&format!("{line}\n")));
                }
            }
        }
        let text = format!("{before}{first}{page}{end}{after}");
        return std::fs::write(path, text).expect("is written");
    }
    assert_eq!(
        differences,
        Vec::<String>::new(),
        "run this again with SHIELDCERT_UPDATE_README=1, and read the difference"
    );
}

fn can_run() -> bool {
    is_installed("tmux", "-V") && is_installed("openssl", "version")
}

#[test]
fn the_operator_page_shows_what_the_commands_print() {
    if can_run() {
        let service = Service::start();
        check(
            "README.md",
            "## For operators\n",
            "## The emulator\n",
            &service,
            120,
        );
    }
}

/// Most of it is `--local`. The zone of the rest has a small quota, of which an expired certificate takes a place.
#[test]
fn the_guide_for_fleets_shows_what_the_commands_print() {
    if can_run() {
        let service =
            Service::start_with(|builder| builder.clock_start(SystemTime::now()).quota(5));
        let expired = Fixture::new("pump-7").issued_on("2026-01-01T00:00:00Z");
        service.add(expired.validity_days(30));
        check(
            "FLEETS.md",
            "## Start a fleet\n",
            "## Run it as a service\n",
            &service,
            200,
        );
    }
}
