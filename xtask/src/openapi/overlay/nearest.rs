//! What a target that matches nothing may have meant.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::super::wire::shape;

/// Splits a JSONPath into its segments: `$`, `.a`, `['b']`, `[?…]`.
fn segments(target: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let (mut start, mut depth, mut quote, mut escaped) = (0, 0_u32, None, false);
    let mut last = ' ';
    for (at, c) in target.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '.' | '[') if depth == 0 => {
                // `..[` and `..` are one segment.
                if at > start && last != '.' {
                    segments.push(&target[start..at]);
                    start = at;
                }
                depth += u32::from(c == '[');
            }
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        last = c;
    }
    segments.push(&target[start..]);
    segments
}

/// Returns the one name or index that a segment selects.
fn name(segment: &str) -> Option<String> {
    let segment = segment.trim();
    if let Some(name) = segment.strip_prefix('.') {
        let is_name = !name.is_empty() && !name.contains(['*', '.', '[', ' ']);
        return is_name.then(|| name.to_owned());
    }
    let inner = segment.strip_prefix('[')?.strip_suffix(']')?.trim();
    if inner.parse::<i64>().is_ok() {
        return Some(inner.to_owned());
    }
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let name = inner.strip_prefix(quote)?.strip_suffix(quote)?;
    (!name.contains(quote)).then(|| name.to_owned())
}

/// Says whether a target can match one place at most.
pub(super) fn is_singular(target: &str) -> bool {
    segments(target)
        .iter()
        .skip(1)
        .all(|segment| name(segment).is_some())
}

/// Returns the names that a target lists in its last segment, `['a','b']`, where nothing else can match several places.
pub(super) fn listed_names(target: &str) -> Option<Vec<String>> {
    let segments = segments(target);
    let (last, rest) = segments.split_last()?;
    if !rest.iter().skip(1).all(|segment| name(segment).is_some()) {
        return None;
    }
    let inner = last.trim().strip_prefix('[')?.strip_suffix(']')?;
    let names = inner
        .split(',')
        .map(|part| name(&format!("[{}]", part.trim())));
    let names: Option<Vec<String>> = names.collect();
    names.filter(|names| names.len() > 1 && inner.contains(['\'', '"']))
}

/// Returns the target with a path of the document in which only the parameters have other names, and that path.
pub(super) fn with_renamed_parameters(target: &str, document: &Value) -> Option<(String, String)> {
    let mut segments: Vec<String> = segments(target).into_iter().map(str::to_owned).collect();
    let written = segments.iter_mut().find(|segment| segment.contains("{"))?;
    let wanted = name(written)?;
    let paths = document.get("paths")?.as_object()?;
    let now = paths
        .keys()
        .find(|path| shape(path) == shape(&wanted) && **path != wanted)?;
    *written = format!("['{now}']");
    Some((segments.concat(), now.clone()))
}

fn find<'a>(segments: &[&str], document: &'a Value) -> Option<&'a Value> {
    let path = JsonPath::parse(&segments.concat()).ok()?;
    path.query(document).first()
}

/// Says whether everything but the last segment of a target is there.
pub(super) fn parent_exists(target: &str, document: &Value) -> bool {
    let segments = segments(target);
    let parent = segments
        .split_last()
        .and_then(|(_, parent)| find(parent, document));
    parent.is_some_and(Value::is_object)
}

/// Says how far a target leads, and what is there instead. The names are those that it should match.
pub(super) fn nearest(target: &str, names: &[&String], document: &Value) -> String {
    let segments = segments(target);
    let there = (1..segments.len()).rev().find_map(|end| {
        let node = find(&segments[..end], document)?;
        Some((segments[..end].concat(), node, segments[end]))
    });
    let Some((there, node, next)) = there else {
        return "nothing of it is there".into();
    };
    let Some(wanted) = name(next) else {
        let found = names
            .iter()
            .filter_map(|name| Some((name, node.get(name.as_str())?)));
        let found: String = found
            .map(|(name, value)| format!("; its {name} is {value}"))
            .collect();
        return format!("nothing in {there} fulfils {next}{found}");
    };
    match node {
        Value::Object(members) => {
            let close = members
                .keys()
                .map(|key| (distance(key, &wanted), key))
                .filter(|(distance, key)| {
                    *distance * 2 <= key.chars().count().max(wanted.chars().count())
                })
                .min();
            match close {
                Some((_, key)) => format!("{there} has no {wanted:?}; is it {key:?} now?"),
                None => {
                    let mut keys: Vec<&str> = members.keys().map(String::as_str).collect();
                    let more = keys.len() > 12;
                    keys.truncate(12);
                    let more = if more { ", …" } else { "" };
                    format!("{there} has no {wanted:?}, but {}{more}", keys.join(", "))
                }
            }
        }
        Value::Array(items) => format!("{there} has {} elements, and none is {next}", items.len()),
        other => format!("{there} is {other}"),
    }
}

/// Returns how many characters must be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(80).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_split_at_its_segments() {
        let path = "$.paths['/a.b[c]/{d}'].get.parameters[?@.name=='x.y' && @['z']].schema";
        let expected = [
            "$",
            ".paths",
            "['/a.b[c]/{d}']",
            ".get",
            ".parameters",
            "[?@.name=='x.y' && @['z']]",
            ".schema",
        ];
        assert_eq!(segments(path), expected);
    }

    #[test]
    fn targets_that_can_match_several_places_are_known() {
        for target in ["$", "$.a['b.c'][0]", "$['it''s']"] {
            let expected = target != "$['it''s']";
            assert_eq!(is_singular(target), expected, "{target}");
        }
        for target in [
            "$.*",
            "$.a[*]",
            "$..a",
            "$[?@.b]",
            "$['a','b']",
            "$[0:2]",
            "$[0,1]",
        ] {
            assert!(!is_singular(target), "{target}");
        }
    }

    #[test]
    fn names_that_a_target_lists_are_known() {
        let names = |target: &str| listed_names(target).unwrap_or_default();
        assert_eq!(names("$.a[0]['b', 'c']"), ["b", "c"]);
        for target in ["$.a", "$.*['b','c']", "$.a['b',*]", "$.a[0,1]", "$"] {
            assert!(listed_names(target).is_none(), "{target}");
        }
    }

    #[test]
    fn the_nearest_key_is_named() {
        let document =
            json!({ "schemas": { "identifier": { "type": "string" }, "csr": 1, "list": [1] } });
        for (target, expected) in [
            (
                "$.schemas.identifer.maxLength",
                "$.schemas has no \"identifer\"; is it \"identifier\" now?",
            ),
            (
                "$.schemas.other.x",
                "$.schemas has no \"other\", but csr, identifier, list",
            ),
            (
                "$.schemas.list[4]",
                "$.schemas.list has 1 elements, and none is [4]",
            ),
            ("$.schemas.csr.x", "$.schemas.csr is 1"),
            (
                "$.schemas[?@.x].y",
                "nothing in $.schemas fulfils [?@.x]; its csr is 1",
            ),
            (
                "$.schemas.identifier.maxLength",
                "$.schemas.identifier has no \"maxLength\", but type",
            ),
        ] {
            assert_eq!(nearest(target, &[&"csr".to_owned()], &document), expected);
        }
    }
}
