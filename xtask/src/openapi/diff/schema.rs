//! Schemas: types, values, bounds and properties.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::schema::{Schema, merge_schema};
use super::change::Class::{Additive, Breaking, Risky};
use super::differ::{Differ, Direction, format_value, narrowed, widened, with_type_change};

impl<'a> Differ<'a> {
    pub(super) fn schema(
        &mut self,
        at: &str,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
        direction: Direction,
        depth: usize,
    ) {
        // A schema that contains itself has been compared at this depth.
        if depth > 24 {
            return;
        }
        let (Some(old), Some(new)) = (old, new) else {
            match (old, new) {
                (None, Some(_)) => self.add(
                    with_type_change(narrowed(direction)),
                    at,
                    "a schema where there was none",
                ),
                (Some(_), None) => self.add(
                    with_type_change(widened(direction)),
                    at,
                    "the schema is gone",
                ),
                _ => {}
            }
            return;
        };
        let (old, new) = (merge_schema(self.old, old), merge_schema(self.new, new));
        self.kind(at, &old, &new, direction);
        self.values(at, &old, &new, direction);
        self.bounds(at, &old, &new, direction);
        self.nullable(at, &old, &new, direction);
        for key in ["format", "pattern", "default", "multipleOf", "uniqueItems"] {
            let (before, after) = (old.get(key), new.get(key));
            if before != after {
                self.add(
                    Risky,
                    at,
                    format!(
                        "`{key}` changes from {} to {}",
                        format_value(before.cloned()),
                        format_value(after.cloned())
                    ),
                );
            }
        }
        self.properties(at, &old, &new, direction, depth);
        self.closed(at, &old, &new, direction);
        let items = |schema: &Schema<'a>| schema.get("items").copied();
        if items(&old).is_some() || items(&new).is_some() {
            self.schema(
                &format!("{at}[]"),
                items(&old),
                items(&new),
                direction,
                depth + 1,
            );
        }
        for key in ["anyOf", "oneOf", "not"] {
            match (old.get(key).copied(), new.get(key).copied()) {
                (Some(Value::Array(before)), Some(Value::Array(after)))
                    if before.len() == after.len() =>
                {
                    for (before, after) in before.iter().zip(after) {
                        self.schema(at, Some(before), Some(after), direction, depth + 1);
                    }
                }
                (before, after) if before == after => {}
                _ => self.add(Risky, at, format!("the choices of `{key}` change")),
            }
        }
    }

    fn kind(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let kind = |schema: &Schema<'_>| {
            schema
                .get("type")
                .and_then(|kind| kind.as_str().map(str::to_owned))
        };
        let (before, after) = (kind(old), kind(new));
        if before == after {
            return;
        }
        let class = match (before.as_deref(), after.as_deref()) {
            (Some("integer"), Some("number")) => match direction {
                Direction::Request => Additive,
                // A value that was read as an integer may no longer be one.
                Direction::Response => Breaking,
            },
            (Some("number"), Some("integer")) => narrowed(direction),
            (Some(_), None) => widened(direction),
            (None, Some(_)) => narrowed(direction),
            _ => Breaking,
        };
        let named = |kind: Option<String>| kind.unwrap_or_else(|| "anything".into());
        self.add(
            with_type_change(class),
            at,
            format!(
                "the type changes from {} to {}",
                named(before),
                named(after)
            ),
        );
    }

    fn values(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let values = |schema: &Schema<'_>| -> Option<BTreeSet<String>> {
            let values = schema.get("enum")?.as_array()?;
            Some(values.iter().map(Value::to_string).collect())
        };
        match (values(old), values(new)) {
            (Some(before), Some(after)) => {
                for value in after.difference(&before) {
                    self.add(widened(direction), at, format!("the value {value} is new"));
                }
                for value in before.difference(&after) {
                    self.add(
                        // A generated enum loses the variant.
                        with_type_change(narrowed(direction)),
                        at,
                        format!("the value {value} is gone"),
                    );
                }
            }
            (None, Some(_)) => self.add(
                with_type_change(narrowed(direction)),
                at,
                "only listed values are left",
            ),
            (Some(_), None) => self.add(
                with_type_change(widened(direction)),
                at,
                "any value is possible where some were listed",
            ),
            (None, None) => {}
        }
    }

    fn bounds(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
        const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
        for key in LOWER.into_iter().chain(UPPER) {
            let bound = |schema: &Schema<'_>| schema.get(key).and_then(|bound| bound.as_f64());
            let (class, how) = match (bound(old), bound(new)) {
                (before, after) if before == after => continue,
                (None, Some(_)) => (narrowed(direction), "is new"),
                (Some(_), None) => (widened(direction), "is gone"),
                (Some(before), Some(after)) => {
                    if (after > before) == LOWER.contains(&key) {
                        (narrowed(direction), "is tighter")
                    } else {
                        (widened(direction), "is looser")
                    }
                }
                (None, None) => continue,
            };
            let class = if changes_type(key, bound(old), bound(new)) {
                with_type_change(class)
            } else {
                class
            };
            let value =
                |schema: &Schema<'_>| format_value(schema.get(key).map(|value| (*value).clone()));
            self.add(
                class,
                at,
                format!("`{key}` {how}: {} before, {} now", value(old), value(new)),
            );
        }
    }

    fn nullable(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let nullable = |schema: &Schema<'_>| schema.get("nullable") == Some(&&Value::Bool(true));
        match (nullable(old), nullable(new)) {
            (false, true) => self.add(
                with_type_change(widened(direction)),
                at,
                "null is now possible",
            ),
            (true, false) => self.add(
                with_type_change(narrowed(direction)),
                at,
                "null is no longer possible",
            ),
            _ => {}
        }
    }

    fn properties(
        &mut self,
        at: &str,
        old: &Schema<'a>,
        new: &Schema<'a>,
        direction: Direction,
        depth: usize,
    ) {
        for (name, before) in &old.properties {
            let place = format!("{at}.{name}");
            match new.properties.get(name) {
                Some(after) => {
                    let required = |schema: &Schema<'_>| schema.required.contains(name);
                    match (required(old), required(new)) {
                        (false, true) => self.add(
                            with_type_change(narrowed(direction)),
                            &place,
                            "the property is now required",
                        ),
                        (true, false) => self.add(
                            with_type_change(widened(direction)),
                            &place,
                            "the property is no longer required",
                        ),
                        _ => {}
                    }
                    self.schema(&place, Some(before), Some(after), direction, depth + 1);
                }
                None => self.add(Breaking, &place, "the property is gone"),
            }
        }
        for name in new
            .properties
            .keys()
            .filter(|name| !old.properties.contains_key(*name))
        {
            let place = format!("{at}.{name}");
            if direction == Direction::Request && new.required.contains(name) {
                self.add(Breaking, &place, "a new property that is required");
            } else {
                self.add(Additive, &place, "a new property");
            }
        }
    }

    fn closed(&mut self, at: &str, old: &Schema<'_>, new: &Schema<'_>, direction: Direction) {
        let closed =
            |schema: &Schema<'_>| schema.get("additionalProperties") == Some(&&Value::Bool(false));
        match (closed(old), closed(new)) {
            (false, true) => self.add(
                narrowed(direction),
                at,
                "other properties are no longer possible",
            ),
            (true, false) => self.add(widened(direction), at, "other properties are now possible"),
            _ => {}
        }
    }
}

/// Says whether the generator makes another Rust type for a changed bound.
///
/// It makes a newtype for a string of bounded length, and another integer for those from 1 or from 0.
fn changes_type(key: &str, old: Option<f64>, new: Option<f64>) -> bool {
    match key {
        "minLength" | "maxLength" => old.is_none() || new.is_none(),
        "minimum" => [old, new]
            .into_iter()
            .flatten()
            .any(|bound| bound == 0.0 || bound == 1.0),
        _ => false,
    }
}
