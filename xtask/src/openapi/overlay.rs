//! OpenAPI Overlay 1.0.0: every departure from the spec, each with its reason.
//!
//! Targets are RFC 9535 JSONPaths, updates are RFC 7396 merge patches (so `null` removes a key). Two rules are
//! stricter than the standard's, so that no departure outlives its reason: an action must have a description, and an
//! action that matches nothing or changes nothing is an error.

use anyhow::{Context, Result, anyhow, bail, ensure};
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    target: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    update: Option<Value>,
    #[serde(default)]
    remove: bool,
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
        }
        Ok(overlay)
    }

    /// Applies the actions in order, each to the result of those before it.
    ///
    /// # Errors
    /// An action matches nothing or changes nothing, or its update does not fit its target.
    pub(crate) fn apply(&self, document: &mut Value) -> Result<()> {
        for (index, action) in self.actions.iter().enumerate() {
            action.apply(document).map_err(|error| {
                anyhow!(
                    "action {} of {} no longer applies: {error:#}; change the action or remove it\n  target: {}\n  reason: {}",
                    index + 1,
                    self.actions.len(),
                    action.target,
                    action.description.trim()
                )
            })?;
        }
        Ok(())
    }
}

impl Action {
    fn apply(&self, document: &mut Value) -> Result<()> {
        let path = JsonPath::parse(&self.target)?;
        // Reversed below: removing a match never moves one that is still to be removed.
        let mut pointers: Vec<String> = path
            .query_located(document)
            .locations()
            .map(|location| location.to_json_pointer())
            .collect();
        ensure!(!pointers.is_empty(), "the target matches nothing");
        pointers.reverse();
        for pointer in pointers {
            match &self.update {
                Some(patch) => {
                    let node = document
                        .pointer_mut(&pointer)
                        .context("a match is inside another one")?;
                    ensure!(
                        node.is_object() || node.is_array(),
                        "{pointer} can't be updated: it is neither an object nor an array"
                    );
                    let before = node.clone();
                    update(node, patch);
                    ensure!(*node != before, "{pointer} already has the updated value");
                }
                None => remove(document, &pointer)?,
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(actions: Value, mut document: Value) -> Result<Value> {
        let overlay = json!({
            "overlay": "1.0.0",
            "info": { "title": "test", "version": "1" },
            "actions": actions,
        });
        // JSON is YAML.
        Overlay::parse(&overlay.to_string())?.apply(&mut document)?;
        Ok(document)
    }

    fn refusal(actions: Value, document: Value) -> String {
        format!(
            "{:#}",
            apply(actions, document).expect_err("must be refused")
        )
    }

    #[test]
    fn an_update_merges_by_rfc_7396() {
        let merged = apply(
            json!([{ "target": "$.a", "description": "why", "update": { "x": 2, "y": null, "z": { "n": 1 } } }]),
            json!({ "a": { "x": 1, "y": 1, "keep": true } }),
        )
        .expect("applies");
        assert_eq!(
            merged,
            json!({ "a": { "x": 2, "keep": true, "z": { "n": 1 } } })
        );
    }

    #[test]
    fn an_update_appends_to_an_array() {
        let merged = apply(
            json!([{ "target": "$.tags", "description": "why", "update": "b" }]),
            json!({ "tags": ["a"] }),
        )
        .expect("applies");
        assert_eq!(merged, json!({ "tags": ["a", "b"] }));
    }

    #[test]
    fn a_filter_selects_every_match() {
        let merged = apply(
            json!([{ "target": "$.p[?@.name=='page' || @.name=='per_page'].schema", "description": "why",
                     "update": { "type": "integer" } }]),
            json!({ "p": [
                { "name": "page", "schema": { "type": "number" } },
                { "name": "other", "schema": { "type": "number" } },
                { "name": "per_page", "schema": { "type": "number", "maximum": 50 } },
            ] }),
        )
        .expect("applies");
        assert_eq!(merged["p"][0]["schema"], json!({ "type": "integer" }));
        assert_eq!(merged["p"][1]["schema"], json!({ "type": "number" }));
        assert_eq!(
            merged["p"][2]["schema"],
            json!({ "type": "integer", "maximum": 50 })
        );
    }

    #[test]
    fn remove_takes_members_and_elements_away() {
        let merged = apply(
            json!([
                { "target": "$['a/b~c'].x", "description": "why", "remove": true },
                { "target": "$.list[?@ > 1]", "description": "why", "remove": true },
            ]),
            json!({ "a/b~c": { "x": 1, "y": 2 }, "list": [1, 2, 3] }),
        )
        .expect("applies");
        assert_eq!(merged, json!({ "a/b~c": { "y": 2 }, "list": [1] }));
    }

    #[test]
    fn later_actions_see_what_earlier_ones_did() {
        let merged = apply(
            json!([
                { "target": "$", "description": "why", "update": { "a": {} } },
                { "target": "$.a", "description": "why", "update": { "b": 1 } },
            ]),
            json!({}),
        )
        .expect("applies");
        assert_eq!(merged, json!({ "a": { "b": 1 } }));
    }

    #[test]
    fn an_action_that_matches_nothing_is_named() {
        let message = refusal(
            json!([{ "target": "$.gone.maxLength", "description": "ids are longer", "remove": true }]),
            json!({ "here": 1 }),
        );
        assert!(
            message.contains("action 1 of 1 no longer applies: the target matches nothing"),
            "{message}"
        );
        assert!(message.contains("$.gone.maxLength"), "{message}");
        assert!(message.contains("ids are longer"), "{message}");
    }

    #[test]
    fn an_action_that_changes_nothing_is_named() {
        let message = refusal(
            json!([{ "target": "$.a", "description": "why", "update": { "type": "integer" } }]),
            json!({ "a": { "type": "integer" } }),
        );
        assert!(message.contains("already has"), "{message}");
    }

    #[test]
    fn malformed_actions_are_refused_before_anything_is_applied() {
        for (action, expected) in [
            (
                json!({ "target": "$.a", "update": {} }),
                "`description` is empty",
            ),
            (
                json!({ "target": "$.a", "description": " ", "update": {} }),
                "`description` is empty",
            ),
            (
                json!({ "target": "$.a", "description": "why" }),
                "neither an `update` nor `remove: true`",
            ),
            (
                json!({ "target": "$.a", "description": "why", "update": {}, "remove": true }),
                "exclude each other",
            ),
            (
                json!({ "target": "a[", "description": "why", "remove": true }),
                "not a JSONPath",
            ),
            (
                json!({ "target": "$.a", "description": "why", "delete": true }),
                "delete",
            ),
            (
                json!({ "target": "$", "description": "why", "remove": true }),
                "whole document",
            ),
            (
                json!({ "target": "$.a", "description": "why", "update": {} }),
                "neither an object nor an array",
            ),
        ] {
            let message = refusal(json!([action]), json!({ "a": 1 }));
            assert!(message.contains(expected), "{action}: {message}");
        }
    }

    #[test]
    fn another_version_of_the_standard_is_refused() {
        let message = Overlay::parse("overlay: 1.1.0\ninfo: {title: t, version: '1'}\nactions: []")
            .expect_err("must be refused")
            .to_string();
        assert!(message.contains("only 1.0.0"), "{message}");
    }
}
