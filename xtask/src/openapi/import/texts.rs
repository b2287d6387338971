//! Descriptions, examples and titles: upstream's are removed, the fragment's own are kept.

use serde_json::{Map, Value};

/// Keys whose members are named by the document's author; they are not keywords of the standard.
const NAMED: [&str; 5] = [
    "properties",
    "schemas",
    "securitySchemes",
    "paths",
    "responses",
];

fn is_text(key: &str) -> bool {
    matches!(
        key,
        "description" | "summary" | "example" | "examples" | "title"
    )
}

/// Removes all texts.
pub(super) fn strip(document: &mut Value) {
    fn strip_node(node: &mut Value, is_named: bool) {
        match node {
            Value::Object(members) => {
                members.retain(|key, _| is_named || !is_text(key));
                for (key, value) in members {
                    strip_node(value, !is_named && NAMED.contains(&key.as_str()));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| strip_node(item, false)),
            _ => {}
        }
    }
    strip_node(document, false);
}

/// Gives everything that is still in its old place its old texts.
pub(super) fn restore(document: &mut Value, current: &Value) {
    fn restore_node(node: &mut Value, current: &Value, is_named: bool) {
        match (node, current) {
            (Value::Object(members), Value::Object(current)) => {
                if !is_named && !members.contains_key("$ref") {
                    let texts = current.iter().filter(|(key, _)| is_text(key));
                    members.extend(texts.map(|(key, text)| (key.clone(), text.clone())));
                }
                for (key, value) in members {
                    if let Some(current) = current.get(key) {
                        restore_node(value, current, !is_named && NAMED.contains(&key.as_str()));
                    }
                }
            }
            (Value::Array(items), Value::Array(current)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    // Parameters are matched by name, whatever their order.
                    let same = match item.get("name") {
                        Some(name) => current.iter().find(|other| other.get("name") == Some(name)),
                        None => current.get(index),
                    };
                    if let Some(same) = same {
                        restore_node(item, same, false);
                    }
                }
            }
            _ => {}
        }
    }
    for key in ["info", "tags"] {
        if let Some(own) = current.get(key) {
            document[key] = own.clone();
        }
    }
    restore_node(document, current, false);
}

/// Adds the texts that the standard requires: a title for the document, a description for each response.
pub(super) fn fill_required(document: &mut Value) {
    if document["info"].get("title").is_none() {
        document["info"]["title"] = "Client certificates".into();
    }
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        let responses = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut);
        for response in responses
            .into_iter()
            .flat_map(Map::values_mut)
            .filter_map(Value::as_object_mut)
        {
            response
                .entry("description")
                .or_insert_with(|| "To be described.".into());
        }
    }
}
