//! The state of a check, and what its parts share.

use std::fmt;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::super::pointer::Pointer;

/// Every problem that was found, one a line.
#[derive(Debug)]
struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} problem{plural} in the document", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects the problems of a document.
pub(super) struct Checker<'a> {
    document: &'a Value,
    problems: Vec<String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self {
            document,
            problems: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> &'a Value {
        self.document
    }

    /// # Errors
    /// There are problems.
    pub(super) fn finish(self) -> Result<()> {
        if !self.problems.is_empty() {
            bail!(Problems(self.problems));
        }
        Ok(())
    }

    pub(super) fn problem(&mut self, at: &Pointer, what: impl fmt::Display) {
        self.problems.push(format!("{at}: {what}"));
    }

    pub(super) fn object(
        &mut self,
        at: &Pointer,
        value: &'a Value,
    ) -> Option<&'a Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.problem(
                at,
                format_args!("expected an object, found {}", kind(value)),
            );
        }
        object
    }

    pub(super) fn member_object(
        &mut self,
        at: &Pointer,
        parent: &'a Map<String, Value>,
        key: &str,
    ) -> Option<&'a Map<String, Value>> {
        match parent.get(key) {
            Some(value) => self.object(&at.key(key), value),
            None => {
                self.problem(at, format_args!("`{key}` is missing"));
                None
            }
        }
    }

    /// Follows a local `$ref`. A value without one is returned as it is.
    pub(super) fn resolve(&mut self, at: &Pointer, value: &'a Value) -> Option<&'a Value> {
        let mut value = value;
        // No document has a longer chain of references, unless it is a cycle.
        for _ in 0..32 {
            let Some(reference) = value.get("$ref") else {
                return Some(value);
            };
            let target = reference
                .as_str()
                .and_then(|reference| reference.strip_prefix('#'));
            let Some(pointer) = target else {
                self.problem(
                    &at.key("$ref"),
                    format_args!("{reference} does not point into this document (`#/…`)"),
                );
                return None;
            };
            match self.document.pointer(pointer) {
                Some(target) => value = target,
                None => {
                    self.problem(
                        &at.key("$ref"),
                        format_args!("{reference} has no target in this document"),
                    );
                    return None;
                }
            }
        }
        self.problem(&at.key("$ref"), "circular reference");
        None
    }
}

/// Names the JSON type of a value, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
