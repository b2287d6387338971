//! What people are told of a run, or of a plan.

use std::fmt::Display;
use std::time::Duration;

use super::time;
use crate::apply::Summary;
use crate::plan::{Action, Plan};

/// Returns what a run has done, and what is left, for people: a name and a value a line.
pub fn apply_facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let done = &summary.progress;
    let issued = match done.recovered {
        0 => done.issued.to_string(),
        recovered => format!(
            "{}, of which {recovered} after a lost response",
            done.issued
        ),
    };
    let mut facts = vec![
        ("issued", issued),
        ("deployed", done.deployed.to_string()),
        ("revoked", done.revoked.to_string()),
    ];
    if done.failures > 0 {
        facts.push(("failures", counted(done.failures, "step")));
    }
    facts.push((
        "requests",
        format!("{}, at least {}", done.requests, done.least_requests),
    ));
    facts.push(("in order", counted(summary.settled, "device")));
    if !summary.waiting.is_empty() {
        facts.push(("waiting", counts(&summary.waiting)));
    }
    push_count(&mut facts, "surplus", summary.surplus);
    push_count(&mut facts, "looks owed", summary.looks_owed);
    if let Some(next) = summary.next {
        facts.push(("next due", time::day(next)));
    }
    facts
}

/// Returns a plan in numbers, for people: a name and a value a line. A line without a name continues the one before.
pub fn plan_facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let count = |action| plan.actions.get(&action).copied().unwrap_or_default();
    let mut facts = vec![("devices", plan.devices.to_string())];
    push_count(&mut facts, "issue", count(Action::Issue));
    let renewals = count(Action::Renew);
    if renewals > 0 {
        facts.push(("renew", format!("{renewals}: {}", counts(&plan.reasons))));
    }
    push_count(&mut facts, "continue", count(Action::Continue));
    let revocations = count(Action::Revoke);
    if revocations > 0 {
        let without = match plan.left_without {
            0 => String::new(),
            without => format!(
                ", which leaves {without} absent without a certificate; {} need no confirmation",
                plan.max_revoke
            ),
        };
        facts.push(("revoke", format!("{revocations}{without}")));
    }
    let waiting = count(Action::Wait);
    if waiting > 0 {
        let holds: u64 = plan.holds.values().sum();
        let mut parts = counts(&plan.holds);
        if waiting > holds {
            let separator = if parts.is_empty() { "" } else { ", " };
            parts.push_str(&format!("{separator}until later {}", waiting - holds));
        }
        facts.push(("wait", format!("{waiting}: {parts}")));
    }
    push_count(&mut facts, "leave", count(Action::Leave));
    let unmanaged = count(Action::Unmanaged);
    if unmanaged > 0 {
        facts.push((
            "unmanaged",
            format!("{unmanaged}, not in the manifest: left alone"),
        ));
    }
    facts.push((
        "requests",
        match plan.requests {
            0 => "0".to_owned(),
            requests => format!("{requests}, {}", under_limit(plan.duration())),
        },
    ));
    for (id, zone) in &plan.zones {
        let mut parts = vec![format!("{} active", zone.active)];
        if zone.issue > 0 {
            parts.push(format!("{} to issue", zone.issue));
        }
        if zone.revoke > 0 {
            parts.push(format!("{} to revoke", zone.revoke));
        }
        if let Some(quota) = zone.quota {
            parts.push(format!("quota {quota}"));
            if zone.kept > 0 {
                parts.push(format!("{} kept for renewals", zone.kept));
            }
        }
        facts.push(("zone", format!("{id}: {}", parts.join(", "))));
    }
    for (place, (month, count)) in plan.renewals.iter().enumerate() {
        let name = if place == 0 { "renewals" } else { "" };
        facts.push((name, format!("{month}: {count}")));
    }
    if let Some(next) = plan.next {
        let left = time::relative(next, plan.at);
        facts.push(("next due", format!("{} ({left})", time::day(next))));
    }
    facts
}

fn push_count(facts: &mut Vec<(&'static str, String)>, name: &'static str, count: u64) {
    if count > 0 {
        facts.push((name, count.to_string()));
    }
}

/// Returns how long requests take that are sent one after the other under the rate limit.
pub fn under_limit(duration: Duration) -> String {
    /// The window of the rate limit.
    const WINDOW: Duration = Duration::from_secs(300);
    match duration <= WINDOW {
        true => "within the rate limit".to_owned(),
        false => format!("at least {} under the rate limit", time::short(duration)),
    }
}

/// Returns counts by their words, such as `time 10, leaked 2`.
pub fn counts<'a, K: Display>(counts: impl IntoIterator<Item = (K, &'a u64)>) -> String {
    let counts = counts.into_iter();
    let parts: Vec<String> = counts
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    parts.join(", ")
}

/// Returns a number and what it counts, such as `1 device` or `2 devices`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Hold;

    #[test]
    fn facts_leave_out_what_is_not_there() {
        let mut summary = Summary {
            settled: 1,
            ..Summary::default()
        };
        summary.progress.issued = 2;
        let lines = |summary: &Summary| -> Vec<String> {
            let facts = apply_facts(summary).into_iter();
            facts
                .map(|(name, value)| format!("{name}: {value}"))
                .collect()
        };
        assert_eq!(
            lines(&summary),
            [
                "issued: 2",
                "deployed: 0",
                "revoked: 0",
                "requests: 0, at least 0",
                "in order: 1 device"
            ]
        );
        summary.progress.recovered = 1;
        summary.progress.failures = 1;
        summary.waiting = [(Hold::Quota, 2), (Hold::Failed, 1)].into();
        summary.surplus = 3;
        summary.next = Some("2027-07-13T23:59:59Z".parse().expect("a time"));
        let lines = lines(&summary);
        assert_eq!(lines[0], "issued: 2, of which 1 after a lost response");
        assert_eq!(
            lines[3..],
            [
                "failures: 1 step",
                "requests: 0, at least 0",
                "in order: 1 device",
                "waiting: quota 2, failed 1",
                "surplus: 3",
                "next due: 2027-07-13"
            ]
        );
    }
}
