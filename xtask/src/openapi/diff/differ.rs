//! The state of a comparison, and the rules that its parts share.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::change::Class::{self, Additive, Breaking, Risky};
use super::change::{Change, sort};

/// Which way a schema's values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client's users to the service.
    Request,
    /// From the service to the client's users.
    Response,
}

/// Returns the class of a change that allows more values: welcome in a request, a surprise in a response.
pub(super) fn widened(direction: Direction) -> Class {
    match direction {
        Direction::Request => Additive,
        Direction::Response => Risky,
    }
}

/// Returns the class of a change that allows fewer values: breaking in a request, harmless in a response.
pub(super) fn narrowed(direction: Direction) -> Class {
    match direction {
        Direction::Request => Breaking,
        Direction::Response => Additive,
    }
}

/// Raises a class to what it is at least when the generated Rust type changes, too.
pub(super) fn with_type_change(class: Class) -> Class {
    class.max(Risky)
}

/// Collects the differences of two documents.
#[derive(Default)]
pub(super) struct Differ {
    changes: Vec<Change>,
}

impl Differ {
    pub(super) fn add(&mut self, class: Class, at: &str, what: impl Into<String>) {
        self.changes.push(Change {
            class,
            at: at.to_owned(),
            what: what.into(),
        });
    }

    /// Returns how many changes were found so far.
    pub(super) fn count(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn finish(self) -> Vec<Change> {
        let mut changes = group(self.changes);
        sort(&mut changes);
        changes
    }
}

/// Says once what holds for several operations.
fn group(changes: Vec<Change>) -> Vec<Change> {
    let mut groups: BTreeMap<(Class, String, String), BTreeSet<String>> = BTreeMap::new();
    for Change { class, at, what } in changes {
        let (operation, place) = match at.split_once(" › ") {
            Some((operation, place)) => (operation.to_owned(), format!(" › {place}")),
            None => (at, String::new()),
        };
        groups
            .entry((class, place, what))
            .or_default()
            .insert(operation);
    }
    let groups = groups.into_iter();
    let groups = groups.map(|((class, place, what), operations)| Change {
        class,
        at: name_all(&operations) + &place,
        what,
    });
    groups.collect()
}

/// Names operations by their methods where the path is the same.
fn name_all(operations: &BTreeSet<String>) -> String {
    let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for operation in operations {
        let (method, path) = operation.split_once(' ').unwrap_or(("", operation));
        paths.entry(path).or_default().push(method);
    }
    let paths = paths.into_iter();
    let paths =
        paths.map(|(path, methods)| format!("{} {path}", methods.join(", ")).trim().to_owned());
    paths.collect::<Vec<_>>().join("; ")
}

/// Formats a value for a message.
pub(super) fn format_value(value: Option<impl Borrow<Value>>) -> String {
    value.map_or_else(|| "nothing".into(), |value| value.borrow().to_string())
}
