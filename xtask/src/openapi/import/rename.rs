//! Upstream's component names without the prefix that they share.

use anyhow::{Result, ensure};
use serde_json::{Map, Value};

/// Removes the prefix that all of upstream's component names share: the product's name, up to the first `_`.
pub(super) fn without_prefix(picked: &Value) -> Result<Value> {
    let names: Vec<&String> = picked["components"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(section, _)| *section != "securitySchemes")
        .filter_map(|(_, components)| components.as_object())
        .flat_map(Map::keys)
        .collect();
    let prefix = names
        .first()
        .and_then(|name| name.split_once('_'))
        .map(|(prefix, _)| format!("{prefix}_"));
    let Some(prefix) = prefix
        .filter(|prefix| names.len() > 1 && names.iter().all(|name| name.starts_with(prefix)))
    else {
        return Ok(picked.clone());
    };
    let mut renamed = picked.clone();
    if let Some(sections) = renamed["components"].as_object_mut() {
        for (section, components) in sections
            .iter_mut()
            .filter(|(section, _)| *section != "securitySchemes")
        {
            let Some(components) = components.as_object_mut() else {
                continue;
            };
            for (name, component) in std::mem::take(components) {
                let short = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
                ensure!(
                    components.insert(short.clone(), component).is_none(),
                    "/components/{section}/{name}: without upstream's prefix {prefix:?} two components are named {short:?}"
                );
            }
        }
    }
    rewrite_references(&mut renamed, &prefix);
    Ok(renamed)
}

fn rewrite_references(node: &mut Value, prefix: &str) {
    match node {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replacen(&format!("/{prefix}"), "/", 1);
                    }
                    value => rewrite_references(value, prefix),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite_references(item, prefix)),
        _ => {}
    }
}
