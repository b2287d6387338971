//! What two schemas say together: the members of an `allOf`.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::schema::{Additional, Schema};

impl Schema {
    /// Returns the schema that allows what both allow. Where that can't be said in one schema, both are kept as parts.
    pub(crate) fn and(self, other: Schema) -> Schema {
        if other.is_empty() {
            return self;
        }
        if self.is_empty() {
            return other;
        }
        match merge(&self, &other) {
            Some(mut merged) => {
                merged.sort_parts();
                merged.drop_implied_choices();
                merged
            }
            None => {
                let mut both = Schema::default();
                for schema in [self, other] {
                    match schema {
                        schema if schema.is_only_parts() => both.parts.extend(schema.parts),
                        schema => both.parts.push(schema),
                    }
                }
                both.sort_parts();
                both
            }
        }
    }

    /// Drops an `anyOf` of which the type alone fulfils a member: it says nothing more.
    pub(super) fn drop_implied_choices(&mut self) {
        let is_implied = |choice: &Schema| {
            let is_type = choice.kind().is_some() && choice.kind() == self.kind();
            let type_alone = Schema {
                keywords: choice
                    .keywords
                    .iter()
                    .filter(|(key, _)| *key == "type" || *key == "nullable")
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                ..Schema::default()
            };
            is_type && *choice == type_alone && (choice.flag("nullable") || !self.flag("nullable"))
        };
        if self
            .choices
            .get("anyOf")
            .is_some_and(|choices| choices.iter().any(is_implied))
        {
            self.choices.remove("anyOf");
        }
    }

    fn is_only_parts(&self) -> bool {
        !self.parts.is_empty() && {
            let without_parts = Schema {
                parts: Vec::new(),
                ..self.clone()
            };
            without_parts.is_empty()
        }
    }

    fn sort_parts(&mut self) {
        self.parts.sort_by_cached_key(Schema::sort_key);
        self.parts.dedup();
    }

    /// A schema without a type allows null, one with a type only if it says so.
    fn admits_null(&self) -> bool {
        self.kind().is_none() || self.flag("nullable")
    }
}

fn merge(a: &Schema, b: &Schema) -> Option<Schema> {
    let keywords = merge_keywords(a, b)?;
    // `additionalProperties` sees the properties of its own part alone.
    let names = |schema: &Schema| schema.properties.keys().cloned().collect::<Vec<_>>();
    let is_closed = |schema: &Schema| schema.additional != Additional::Any;
    if (is_closed(a) || is_closed(b)) && names(a) != names(b) {
        return None;
    }
    let additional = match (&a.additional, &b.additional) {
        (Additional::Any, other) | (other, Additional::Any) => other.clone(),
        (a, b) if a == b => a.clone(),
        (Additional::None, _) | (_, Additional::None) => Additional::None,
        (Additional::Matching(a), Additional::Matching(b)) => {
            Additional::Matching(Box::new((**a).clone().and((**b).clone())))
        }
    };
    let mut choices = a.choices.clone();
    for (key, schemas) in &b.choices {
        match choices.get(key) {
            Some(known) if known != schemas => return None,
            _ => drop(choices.insert(key, schemas.clone())),
        }
    }
    let mut properties = a.properties.clone();
    for (name, schema) in &b.properties {
        let merged = match properties.remove(name) {
            Some(known) => known.and(schema.clone()),
            None => schema.clone(),
        };
        properties.insert(name.clone(), merged);
    }
    let items = match (&a.items, &b.items) {
        (Some(a), Some(b)) => Some(Box::new((**a).clone().and((**b).clone()))),
        (items, None) | (None, items) => items.clone(),
    };
    Some(Schema {
        keywords,
        properties,
        required: a.required.union(&b.required).cloned().collect(),
        items,
        additional,
        choices,
        parts: a.parts.iter().chain(&b.parts).cloned().collect(),
        origin: Default::default(),
    })
}

fn merge_keywords(a: &Schema, b: &Schema) -> Option<BTreeMap<String, Value>> {
    let mut merged = a.keywords.clone();
    for (key, value) in &b.keywords {
        let Some(known) = merged.get(key) else {
            merged.insert(key.clone(), value.clone());
            continue;
        };
        if known == value {
            continue;
        }
        let value = match key.as_str() {
            "type" => match (known.as_str()?, value.as_str()?) {
                ("integer", "number") | ("number", "integer") => Value::from("integer"),
                _ => return None,
            },
            "enum" => {
                let both = known.as_array()?.iter();
                let both: Vec<_> = both
                    .filter(|known| value.as_array().is_some_and(|all| all.contains(known)))
                    .cloned()
                    .collect();
                if both.is_empty() {
                    return None;
                }
                both.into()
            }
            "minLength" | "minItems" | "minProperties" => larger(known, value)?,
            "maxLength" | "maxItems" | "maxProperties" => smaller(known, value)?,
            // Whether a bound itself is allowed is said beside it.
            "minimum" if !is_exclusive(a, b, "exclusiveMinimum") => larger(known, value)?,
            "maximum" if !is_exclusive(a, b, "exclusiveMaximum") => smaller(known, value)?,
            _ => return None,
        };
        merged.insert(key.clone(), value);
    }
    if merged.contains_key("type") {
        match a.admits_null() && b.admits_null() {
            true => merged.insert("nullable".into(), true.into()),
            false => merged.remove("nullable"),
        };
    }
    Some(merged)
}

fn is_exclusive(a: &Schema, b: &Schema, key: &str) -> bool {
    a.flag(key) || b.flag(key)
}

fn larger(a: &Value, b: &Value) -> Option<Value> {
    Some(if a.as_f64()? < b.as_f64()? { b } else { a }.clone())
}

fn smaller(a: &Value, b: &Value) -> Option<Value> {
    Some(if a.as_f64()? < b.as_f64()? { a } else { b }.clone())
}

/// Writes a number one way: 1.0 as 1.
pub(super) fn normalize_number(value: &Value) -> Value {
    let number = value.as_f64().filter(|_| value.as_i64().is_none());
    let whole = number.filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
    match whole {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        Some(whole) => Value::Number(Number::from(whole as i64)),
        None => value.clone(),
    }
}
