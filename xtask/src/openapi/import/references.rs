//! References between the components of a document.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

use super::super::pointer::escape;

/// Returns the references below a node: where each is, and its target.
pub(super) fn references(node: &Value, at: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    match node {
        Value::Object(members) => {
            for (key, value) in members {
                let at = format!("{at}/{}", escape(key));
                match value.as_str() {
                    Some(target) if key == "$ref" => found.push((at, target.to_owned())),
                    _ => found.extend(references(value, &at)),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                found.extend(references(item, &format!("{at}/{index}")));
            }
        }
        _ => {}
    }
    found
}

/// Refuses a schema that contains itself: the generator can't make a type for it.
pub(super) fn refuse_cycles(picked: &Value) -> Result<()> {
    let schemas = picked
        .pointer("/components/schemas")
        .and_then(Value::as_object);
    let edges: BTreeMap<&str, Vec<(String, String)>> = schemas
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            (
                name.as_str(),
                references(schema, &format!("/components/schemas/{name}")),
            )
        })
        .collect();
    let mut done = BTreeSet::new();
    for start in edges.keys().copied() {
        visit(start, &edges, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}

fn visit<'a>(
    name: &'a str,
    edges: &'a BTreeMap<&str, Vec<(String, String)>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<()> {
    if done.contains(name) {
        return Ok(());
    }
    path.push(name);
    for (at, target) in edges.get(name).into_iter().flatten() {
        let Some(target) = target.strip_prefix("#/components/schemas/") else {
            continue;
        };
        if let Some(start) = path.iter().position(|visited| *visited == target) {
            bail!(
                "{at}: circular reference: {} → {target}",
                path[start..].join(" → ")
            );
        }
        if let Some((target, _)) = edges.get_key_value(target) {
            visit(target, edges, path, done)?;
        }
    }
    path.pop();
    done.insert(name);
    Ok(())
}
