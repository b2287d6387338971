//! Schemas: types, values, bounds and properties.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::wire::{Additional, Schema};
use super::change::Class::{Additive, Breaking, Risky};
use super::differ::{Differ, Direction, format_value, narrowed, widened, with_type_change};

const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];

impl Differ {
    pub(super) fn optional_schema(
        &mut self,
        at: &str,
        old: Option<&Schema>,
        new: Option<&Schema>,
        direction: Direction,
    ) {
        match (old, new) {
            (Some(old), Some(new)) => self.schema(at, old, new, direction),
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
            (None, None) => {}
        }
    }

    fn schema(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        if old == new {
            return;
        }
        let known = self.count();
        self.kind(at, old, new, direction);
        self.values(at, old, new, direction);
        self.bounds(at, old, new, direction);
        self.nullable(at, old, new, direction);
        self.access(at, old, new, direction);
        self.other_keywords(at, old, new);
        self.properties(at, old, new, direction);
        self.additional(at, old, new, direction);
        if old.items.is_some() || new.items.is_some() {
            let (old, new) = (old.items.as_deref(), new.items.as_deref());
            self.optional_schema(&format!("{at}[]"), old, new, direction);
        }
        for key in ["anyOf", "oneOf", "not"] {
            self.list(
                at,
                old.choices.get(key),
                new.choices.get(key),
                direction,
                key,
            );
        }
        let parts = |schema: &Schema| Some(schema.parts.clone()).filter(|parts| !parts.is_empty());
        self.list(
            at,
            parts(old).as_ref(),
            parts(new).as_ref(),
            direction,
            "allOf",
        );
        if self.count() == known {
            // The same was already said of another place with this name, or there is no rule for it.
            self.add(
                Risky,
                at,
                "the schema changes in a way that has no name here",
            );
        }
    }

    /// Compares schemas whose order says nothing. Those that are the same in both are left out.
    fn list(
        &mut self,
        at: &str,
        old: Option<&Vec<Schema>>,
        new: Option<&Vec<Schema>>,
        direction: Direction,
        key: &str,
    ) {
        let schemas = |list: Option<&Vec<Schema>>, other: Option<&Vec<Schema>>| -> Vec<Schema> {
            let list = list.into_iter().flatten();
            let is_shared = |schema: &&Schema| other.is_some_and(|other| other.contains(schema));
            list.filter(|schema| !is_shared(schema)).cloned().collect()
        };
        let (before, after) = (schemas(old, new), schemas(new, old));
        match (old, new) {
            _ if before.is_empty()
                && after.is_empty()
                && old.map(Vec::len) == new.map(Vec::len) => {}
            (Some(_), Some(_)) if before.len() == after.len() => {
                for (before, after) in before.iter().zip(&after) {
                    self.schema(at, before, after, direction);
                }
            }
            _ => self.add(Risky, at, format!("the choices of `{key}` change")),
        }
    }

    fn kind(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        let (before, after) = (old.kind(), new.kind());
        if before == after {
            return;
        }
        let class = match (before, after) {
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
        let (before, after) = (before.unwrap_or("anything"), after.unwrap_or("anything"));
        self.add(
            with_type_change(class),
            at,
            format!("the type changes from {before} to {after}"),
        );
    }

    fn values(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        let values = |schema: &Schema| -> Option<BTreeSet<String>> {
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

    fn bounds(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        for key in LOWER.into_iter().chain(UPPER) {
            let bound = |schema: &Schema| schema.get(key).and_then(Value::as_f64);
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
            let value = |schema: &Schema| format_value(schema.get(key));
            self.add(
                class,
                at,
                format!("`{key}` {how}: {} before, {} now", value(old), value(new)),
            );
        }
        for (key, bound) in [
            ("exclusiveMinimum", "minimum"),
            ("exclusiveMaximum", "maximum"),
        ] {
            match (old.flag(key), new.flag(key)) {
                (false, true) => self.add(
                    narrowed(direction),
                    at,
                    format!("`{bound}` itself is no longer possible"),
                ),
                (true, false) => self.add(
                    widened(direction),
                    at,
                    format!("`{bound}` itself is now possible"),
                ),
                _ => {}
            }
        }
    }

    fn nullable(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        match (old.flag("nullable"), new.flag("nullable")) {
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

    /// Read-only values are only read, write-only ones only sent.
    fn access(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        for (key, name, affected) in [
            ("readOnly", "read-only", Direction::Request),
            ("writeOnly", "write-only", Direction::Response),
        ] {
            match (old.flag(key), new.flag(key)) {
                (false, true) if direction == affected => {
                    self.add(Breaking, at, format!("it is now {name}"));
                }
                (false, true) => self.add(Additive, at, format!("it is now {name}")),
                (true, false) => self.add(Additive, at, format!("it is no longer {name}")),
                _ => {}
            }
        }
        match (old.flag("deprecated"), new.flag("deprecated")) {
            (false, true) => self.add(Risky, at, "it is now deprecated"),
            (true, false) => self.add(Additive, at, "it is no longer deprecated"),
            _ => {}
        }
    }

    /// Keywords without a rule of their own: `format`, `pattern`, `default` and the like.
    fn other_keywords(&mut self, at: &str, old: &Schema, new: &Schema) {
        const RULED: [&str; 8] = [
            "type",
            "enum",
            "nullable",
            "readOnly",
            "writeOnly",
            "deprecated",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ];
        let keys: BTreeSet<&String> = old.keywords.keys().chain(new.keywords.keys()).collect();
        for key in keys {
            let key = key.as_str();
            let is_ruled = RULED.contains(&key) || LOWER.contains(&key) || UPPER.contains(&key);
            let (before, after) = (old.get(key), new.get(key));
            if !is_ruled && before != after {
                let (before, after) = (format_value(before), format_value(after));
                self.add(
                    Risky,
                    at,
                    format!("`{key}` changes from {before} to {after}"),
                );
            }
        }
    }

    fn properties(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        for (name, before) in &old.properties {
            let place = format!("{at}.{name}");
            let Some(after) = new.properties.get(name) else {
                self.add(Breaking, &place, "the property is gone");
                continue;
            };
            match (old.required.contains(name), new.required.contains(name)) {
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
            self.schema(&place, before, after, direction);
        }
        for name in new.properties.keys() {
            let place = format!("{at}.{name}");
            if old.properties.contains_key(name) {
                continue;
            }
            match direction == Direction::Request && new.required.contains(name) {
                true => self.add(Breaking, &place, "a new property that is required"),
                false => self.add(Additive, &place, "a new property"),
            }
        }
        // Required without a schema of their own.
        let unnamed = |schema: &Schema| -> BTreeSet<String> {
            let names = schema.required.iter();
            names
                .filter(|name| {
                    !old.properties.contains_key(*name) && !new.properties.contains_key(*name)
                })
                .cloned()
                .collect()
        };
        let (before, after) = (unnamed(old), unnamed(new));
        for name in after.difference(&before) {
            let place = format!("{at}.{name}");
            self.add(narrowed(direction), &place, "the property is now required");
        }
        for name in before.difference(&after) {
            let place = format!("{at}.{name}");
            self.add(
                widened(direction),
                &place,
                "the property is no longer required",
            );
        }
    }

    fn additional(&mut self, at: &str, old: &Schema, new: &Schema, direction: Direction) {
        if old.additional == new.additional {
            return;
        }
        match (&old.additional, &new.additional) {
            (Additional::Any, Additional::Any) => {}
            (_, Additional::None) => self.add(
                narrowed(direction),
                at,
                "other properties are no longer possible",
            ),
            (Additional::None, _) => {
                self.add(widened(direction), at, "other properties are now possible")
            }
            (Additional::Any, Additional::Matching(_)) => self.add(
                with_type_change(narrowed(direction)),
                at,
                "other properties must now match a schema",
            ),
            (Additional::Matching(_), Additional::Any) => self.add(
                with_type_change(widened(direction)),
                at,
                "other properties need no longer match a schema",
            ),
            (Additional::Matching(before), Additional::Matching(after)) => {
                self.schema(&format!("{at}.*"), before, after, direction);
            }
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
