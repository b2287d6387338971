//! The state of a comparison, and the rules that its parts share.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::change::Change;
use super::change::Class::{self, Additive, Breaking, Risky};

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
pub(super) struct Differ<'a> {
    pub(super) old: &'a Value,
    pub(super) new: &'a Value,
    changes: BTreeSet<Change>,
}

impl<'a> Differ<'a> {
    pub(super) fn new(old: &'a Value, new: &'a Value) -> Self {
        Self {
            old,
            new,
            changes: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, class: Class, at: &str, what: impl Into<String>) {
        self.changes.insert(Change {
            class,
            at: at.to_owned(),
            what: what.into(),
        });
    }

    pub(super) fn finish(self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.changes.into_iter().collect();
        changes.sort_by(|a, b| b.class.cmp(&a.class).then_with(|| a.cmp(b)));
        changes
    }
}

/// Formats a value for a message.
pub(super) fn format_value(value: Option<impl Borrow<Value>>) -> String {
    value.map_or_else(|| "nothing".into(), |value| value.borrow().to_string())
}
