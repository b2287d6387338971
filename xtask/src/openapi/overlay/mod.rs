//! OpenAPI Overlay 1.0.0: every departure from the spec, each with its reason.
//!
//! Targets are RFC 9535 JSONPaths, updates are RFC 7396 merge patches (so `null` removes a key). The rules are stricter
//! than the standard's, so that no departure outlives its reason: an action must have a description; a target that can
//! match several places must say which (by listing names, or with `x-matches`, a count or
//! the names of the matches); and an action that matches
//! something else than it says, or that has become the document's own words, is an error.

mod nearest;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::pointer::unescape;

/// A parsed overlay document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overlay {
    overlay: String,
    #[serde(rename = "info")]
    _info: Info,
    #[serde(default, rename = "extends")]
    _extends: Option<String>,
    actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    target: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "x-matches")]
    matches: Option<Matches>,
    #[serde(default)]
    update: Option<Value>,
    #[serde(default)]
    remove: bool,
}

/// What a target must match.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Matches {
    Count(usize),
    /// The last keys of the matches' places.
    Names(BTreeSet<String>),
}

/// What applying an overlay showed.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Actions that can't stay as they are.
    pub(crate) failed: Vec<Failed>,
    /// Places in which the document has an action's effect by itself, where others still need it.
    pub(crate) done: Vec<String>,
}

/// An action that can't stay as it is.
#[derive(Debug)]
pub(crate) struct Failed {
    number: usize,
    what: String,
    target: String,
    reason: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "action {}: {}\n    target: {}\n    reason: {}",
            self.number, self.what, self.target, self.reason
        )
    }
}

impl Applied {
    /// # Errors
    /// An action can't stay as it is. The error lists all.
    pub(crate) fn into_result(self) -> Result<Vec<String>> {
        if self.failed.is_empty() {
            return Ok(self.done);
        }
        let failed: String = self
            .failed
            .iter()
            .map(|failed| format!("\n  {failed}"))
            .collect();
        match self.failed.len() {
            1 => bail!("1 action can't stay as it is{failed}"),
            count => bail!("{count} actions can't stay as they are{failed}"),
        }
    }
}

impl Overlay {
    /// Parses an overlay and checks everything that does not depend on a document.
    pub(crate) fn parse(yaml: &str) -> Result<Self> {
        let overlay: Overlay = serde_saphyr::from_str(yaml).context("not an OpenAPI overlay")?;
        ensure!(
            overlay.overlay == "1.0.0",
            "overlay: version {:?} can't be read; only 1.0.0 can",
            overlay.overlay
        );
        for (index, action) in overlay.actions.iter().enumerate() {
            let at = || format!("/actions/{index} ({})", action.target);
            ensure!(
                !action.description.trim().is_empty(),
                "{}: `description` is empty; give the reason",
                at()
            );
            match (&action.update, action.remove) {
                (Some(_), true) => bail!("{}: `update` and `remove` exclude each other", at()),
                (None, false) => bail!("{}: there is neither an `update` nor `remove: true`", at()),
                _ => {}
            }
            JsonPath::parse(&action.target)
                .with_context(|| format!("{}: the target is not a JSONPath", at()))?;
            ensure!(
                action.matches.is_some()
                    || nearest::is_singular(&action.target)
                    || nearest::listed_names(&action.target).is_some(),
                "{}: the target can match several places; say which with `x-matches`, a count or a list of names",
                at()
            );
        }
        Ok(overlay)
    }

    /// Applies the actions in order, each to the result of those before it. One that fails does not stop the others: it
    /// is applied as far as it can be.
    pub(crate) fn apply(&self, document: &mut Value) -> Applied {
        let mut applied = Applied::default();
        for (index, action) in self.actions.iter().enumerate() {
            let number = index + 1;
            match action.apply(document) {
                Ok(done) => applied.done.extend(done.into_iter().map(|place| {
                    format!(
                        "action {number} ({}) is not needed at {place}: upstream says so now",
                        action.target
                    )
                })),
                Err(problem) => applied.failed.push(Failed {
                    number,
                    what: problem.to_string(),
                    target: action.target.clone(),
                    reason: action.description.trim().to_owned(),
                }),
            }
        }
        applied
    }
}

/// Why an action can't stay as it is.
enum Problem {
    Done,
    Other(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str(
                "done: it changes nothing, as upstream says so by itself now; remove the action",
            ),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(format!("{error:#}; change the action or remove it"))
    }
}

impl Action {
    /// Returns the places where the document has the effect by itself, if others need the action.
    fn apply(&self, document: &mut Value) -> Result<Vec<String>, Problem> {
        let path = JsonPath::parse(&self.target).context("the target is not a JSONPath")?;
        let pointers: Vec<String> = path
            .query_located(document)
            .locations()
            .map(|location| location.to_json_pointer())
            .collect();
        if pointers.is_empty() {
            if let Some((target, path)) = nearest::with_renamed_parameters(&self.target, document) {
                // What it means is clear, so the report shows the document with it.
                let renamed = Action {
                    target,
                    ..self.clone()
                };
                renamed.apply(document)?;
                return Err(Problem::Other(format!(
                    "the path's parameters have other names: it is {path} now; change the target"
                )));
            }
            if self.remove && nearest::parent_exists(&self.target, document) {
                return Err(Problem::Done);
            }
            let names: Vec<&String> = match &self.matches {
                Some(Matches::Names(names)) => names.iter().collect(),
                Some(Matches::Count(_)) | None => Vec::new(),
            };
            return Err(Problem::Other(format!(
                "the target matches nothing; {}; change the action or remove it",
                nearest::nearest(&self.target, &names, document)
            )));
        }
        let mismatch = self
            .matches
            .as_ref()
            .and_then(|matches| mismatch(matches, &pointers));
        let total = pointers.len();
        let mut done = Vec::new();
        // Reversed: removing a match never moves one that is still to be removed.
        for pointer in pointers.into_iter().rev() {
            match &self.update {
                Some(patch) => {
                    let node = document
                        .pointer_mut(&pointer)
                        .context("a match is inside another one")?;
                    let is_container = node.is_object() || node.is_array();
                    if !is_container {
                        let what = format!(
                            "{pointer} can't be updated: it is neither an object nor an array"
                        );
                        return Err(anyhow::Error::msg(what).into());
                    }
                    let before = node.clone();
                    update(node, patch);
                    if *node == before {
                        done.push(pointer);
                    }
                }
                None => remove(document, &pointer)?,
            }
        }
        match mismatch {
            Some(mismatch) => Err(Problem::Other(mismatch)),
            None if done.len() == total => Err(Problem::Done),
            None => {
                done.reverse();
                Ok(done)
            }
        }
    }
}

/// Says how the matches differ from what was said of them.
fn mismatch(matches: &Matches, pointers: &[String]) -> Option<String> {
    let found = pointers.iter().map(|pointer| {
        let last = pointer.rsplit('/').next().unwrap_or_default();
        unescape(last)
    });
    let found: Vec<String> = found.collect();
    match matches {
        Matches::Count(count) if *count == found.len() => None,
        Matches::Count(count) => Some(format!(
            "the target matches {} places and not {count}: {}; check that the reason holds for each, and set \
             `x-matches: {}`",
            found.len(),
            found.join(", "),
            found.len()
        )),
        Matches::Names(names) => {
            let found: BTreeSet<String> = found.into_iter().collect();
            let list = |names: Vec<&String>| {
                let names = names.into_iter().map(String::as_str);
                names.collect::<Vec<_>>().join(", ")
            };
            let new: Vec<_> = found.difference(names).collect();
            let gone: Vec<_> = names.difference(&found).collect();
            let what = match (new.is_empty(), gone.is_empty()) {
                (true, true) => return None,
                (false, true) => format!("the target also matches {}", list(new)),
                (true, false) => format!("the target no longer matches {}", list(gone)),
                (false, false) => format!(
                    "the target also matches {} and no longer {}",
                    list(new),
                    list(gone)
                ),
            };
            Some(format!(
                "{what}; check that the reason holds, and change the names"
            ))
        }
    }
}

/// Merges into an object, appends to an array.
fn update(node: &mut Value, patch: &Value) {
    match node {
        Value::Array(items) => items.push(patch.clone()),
        _ => json_patch::merge(node, patch),
    }
}

fn remove(document: &mut Value, pointer: &str) -> Result<()> {
    let (parent, token) = pointer
        .rsplit_once('/')
        .context("the whole document can't be removed")?;
    match document.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&unescape(token));
        }
        Some(Value::Array(items)) => {
            let index: usize = token.parse().context("a match has no index")?;
            ensure!(index < items.len(), "{pointer} was already removed");
            items.remove(index);
        }
        _ => bail!("{pointer} was already removed"),
    }
    Ok(())
}
