//! Writes schemas in the layout that the fragment has.
//!
//! The fragment and upstream's document are walked side by side. Where both say the same on the wire, the fragment's own
//! text is kept as it is. Where upstream says something else, that place alone is rewritten. A component of the fragment
//! keeps its name and its place; it is rewritten if everything that refers to it has changed alike, otherwise those
//! places leave it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::super::pointer::{escape, unescape};
use super::super::wire::{Additional, Resolver, Schema, is_text};
use super::names::Names;
use super::references::references;

/// The layout of the current fragment.
///
/// Walking has four passes, which do the same. The first two find what upstream says where the fragment refers to a
/// component: as a whole, then also as a part of an `allOf`, which is less clear. The third counts which of upstream's
/// components new text would name. The last one writes.
pub(super) struct Layout<'a> {
    current: &'a Value,
    resolver: Resolver<'a>,
    pass: Pass,
    /// What upstream says in the places that refer to a component, with how many say so.
    demands: BTreeMap<&'a str, Vec<(Schema, usize)>>,
    /// What each component says from now on, as far as the passes before this one have found it.
    agreed: BTreeMap<&'a str, Schema>,
    names: Names,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pass {
    Demand,
    Share,
    Count,
    Write,
}

const SCHEMAS: &str = "#/components/schemas/";

fn pointer(name: &str) -> String {
    format!("/components/schemas/{}", escape(name))
}

fn schema_references(text: &Value) -> Vec<String> {
    let targets = references(text, "").into_iter();
    let names = targets.filter_map(|(_, target)| Some(unescape(target.strip_prefix(SCHEMAS)?)));
    names.collect()
}

impl<'a> Layout<'a> {
    pub(super) fn new(current: &'a Value, prefix: String) -> Self {
        let components = current.pointer("/components/schemas");
        let components = components.and_then(Value::as_object).into_iter().flatten();
        Self {
            current,
            resolver: Resolver::new(current),
            pass: Pass::Demand,
            demands: BTreeMap::new(),
            agreed: BTreeMap::new(),
            names: Names::new(prefix, components.map(|(name, _)| name.clone()).collect()),
        }
    }

    pub(super) fn start(&mut self, pass: Pass) -> Result<()> {
        if self.is_finding() {
            for (name, mut demands) in std::mem::take(&mut self.demands) {
                let own = self.current.pointer(&pointer(name));
                let own = own.map(|own| self.resolver.schema(own)).transpose()?;
                // What it says already, or else what most places say.
                demands.sort_by_key(|(schema, count)| {
                    (Some(schema) != own.as_ref(), std::cmp::Reverse(*count))
                });
                self.agreed
                    .extend(demands.into_iter().next().map(|(schema, _)| (name, schema)));
            }
        }
        self.pass = pass;
        Ok(())
    }

    /// Says whether this pass only finds what upstream says of components.
    fn is_finding(&self) -> bool {
        matches!(self.pass, Pass::Demand | Pass::Share)
    }

    /// Writes the components that a text refers to.
    pub(super) fn components(&mut self, text: &Value) -> Result<Map<String, Value>> {
        let mut written = Map::new();
        let mut wanted: Vec<String> = schema_references(text);
        loop {
            while let Some(name) = wanted.pop() {
                if written.contains_key(&name) {
                    continue;
                }
                let body = self.current.pointer(&pointer(&name));
                let agreed = self.agreed.get(name.as_str()).cloned();
                let value = match (body, agreed) {
                    (Some(body), Some(agreed)) => self.fit(body, &agreed)?,
                    (Some(body), None) => body.clone(),
                    // One of the new ones, which come below.
                    (None, _) => continue,
                };
                wanted.extend(schema_references(&value));
                written.insert(name, value);
            }
            let Some((name, schema)) = self.names.next_new() else {
                return Ok(written);
            };
            let value = self.body(&schema);
            wanted.extend(schema_references(&value));
            written.insert(name, value);
        }
    }

    /// Returns the text for what upstream says in a place of the fragment.
    pub(super) fn fit(&mut self, place: &'a Value, schema: &Schema) -> Result<Value> {
        if let Some(name) = component(place) {
            return self.reference(place, name, schema);
        }
        let own = self.resolver.schema(place)?;
        let is_same = own == *schema;
        if is_same && !self.is_finding() {
            return Ok(place.clone());
        }
        let has_single_choice = ["anyOf", "oneOf"].into_iter().any(|key| {
            let choices = place.get(key).and_then(Value::as_array);
            choices.is_some_and(|choices| choices.len() == 1)
        });
        if has_single_choice {
            return Ok(self.new_schema(schema));
        }
        match place.get("allOf").and_then(Value::as_array) {
            Some(parts) => self.parts(place, parts, &own, schema),
            None => self.plain(place, &own, schema),
        }
    }

    fn reference(&mut self, place: &'a Value, name: &'a str, schema: &Schema) -> Result<Value> {
        let Some(body) = self.current.pointer(&pointer(name)) else {
            return Ok(self.new_schema(schema));
        };
        if self.is_finding() {
            let demands = self.demands.entry(name).or_default();
            match demands.iter_mut().find(|(known, _)| known == schema) {
                Some((_, count)) => *count += 1,
                None => {
                    demands.push((schema.clone(), 1));
                    self.fit(body, schema)?;
                }
            }
            return Ok(place.clone());
        }
        if self.agreed.get(name) == Some(schema) {
            self.names.learn(schema, name);
            return Ok(place.clone());
        }
        if let Some(agreed) = self.agreed.get(name) {
            let more = extra(agreed, schema);
            if agreed.clone().and(more.clone()) == *schema && schema.origin.0.is_none() {
                let more = self.body(&more);
                return Ok(json!({ "allOf": [place.clone(), more] }));
            }
        }
        Ok(self.new_schema(schema))
    }

    fn plain(&mut self, place: &'a Value, own: &Schema, schema: &Schema) -> Result<Value> {
        let Some(members) = place.as_object() else {
            return Ok(self.new_schema(schema));
        };
        let mut written = members.clone();
        let keys = own.keywords.keys().chain(schema.keywords.keys());
        for key in keys.cloned().collect::<BTreeSet<_>>() {
            let (before, after) = (own.get(&key), schema.get(&key));
            if before == after {
                continue;
            }
            match after {
                Some(after) if key == "enum" => {
                    let order = members.get("enum");
                    written.insert(key, ordered(after, order));
                }
                Some(after) => drop(written.insert(key, after.clone())),
                None => drop(written.remove(&key)),
            }
        }
        let is_number = |schema: &Schema| matches!(schema.kind(), Some("integer" | "number"));
        if own.kind() != schema.kind() && !(is_number(own) && is_number(schema)) {
            // They show a value of the old type.
            written.remove("example");
            written.remove("examples");
        }
        if own.required != schema.required {
            let after = json!(schema.required);
            match schema.required.is_empty() {
                true => drop(written.remove("required")),
                false => {
                    let required = ordered(&after, members.get("required"));
                    written.insert("required".into(), required);
                }
            }
        }
        if !own.properties.is_empty() || !schema.properties.is_empty() {
            let current = members.get("properties");
            let mut properties = Map::new();
            for (name, property) in &schema.properties {
                let value = match current.and_then(|current| current.get(name)) {
                    Some(place) => self.fit(place, property)?,
                    None => self.new_schema(property),
                };
                properties.insert(name.clone(), value);
            }
            match properties.is_empty() {
                true => drop(written.remove("properties")),
                false => drop(written.insert("properties".into(), properties.into())),
            }
        }
        match (&schema.items, members.get("items")) {
            (Some(items), Some(place)) => {
                drop(written.insert("items".into(), self.fit(place, items)?))
            }
            (Some(items), None) => drop(written.insert("items".into(), self.new_schema(items))),
            (None, _) => drop(written.remove("items")),
        }
        if own.additional != schema.additional {
            match &schema.additional {
                Additional::Any => drop(written.remove("additionalProperties")),
                Additional::None => {
                    written.insert("additionalProperties".into(), false.into());
                }
                Additional::Matching(matching) => {
                    let value = match members.get("additionalProperties") {
                        Some(place) if place.is_object() => self.fit(place, matching)?,
                        _ => self.new_schema(matching),
                    };
                    written.insert("additionalProperties".into(), value);
                }
            }
        }
        for key in ["anyOf", "oneOf", "not"] {
            let (before, after) = (own.choices.get(key), schema.choices.get(key));
            if before == after {
                continue;
            }
            let Some(after) = after else {
                written.remove(key);
                continue;
            };
            let value = match members.get(key) {
                Some(Value::Array(places)) => self.choices(places, after)?.into(),
                Some(place) if key == "not" && after.len() == 1 => self.fit(place, &after[0])?,
                _ if key == "not" => self.new_schema(&after[0]),
                _ => after.iter().map(|choice| self.new_schema(choice)).collect(),
            };
            written.insert(key.into(), value);
        }
        if !schema.parts.is_empty() {
            let parts: Vec<Value> = schema
                .parts
                .iter()
                .map(|part| self.new_schema(part))
                .collect();
            written.insert("allOf".into(), parts.into());
        }
        Ok(written.into())
    }

    /// Keeps the choices that are still there, and adds the new ones.
    fn choices(&mut self, places: &'a [Value], schemas: &[Schema]) -> Result<Vec<Value>> {
        let mut left: Vec<&Schema> = schemas.iter().collect();
        let mut written = Vec::new();
        for place in places {
            let own = self.resolver.schema(place)?;
            if let Some(index) = left.iter().position(|schema| **schema == own) {
                written.push(self.fit(place, left.remove(index))?);
            }
        }
        written.extend(left.into_iter().map(|schema| self.new_schema(schema)));
        Ok(written)
    }

    /// Distributes what upstream says over the parts of an `allOf`, each as far as it says something of it already. What
    /// is new goes into the last part that is no component.
    fn parts(
        &mut self,
        place: &'a Value,
        parts: &'a [Value],
        own: &Schema,
        schema: &Schema,
    ) -> Result<Value> {
        let mut beside = place.as_object().cloned().unwrap_or_default();
        beside.remove("allOf");
        let mut stated = Vec::new();
        for part in parts {
            stated.push(self.resolver.schema(part)?);
        }
        // The keywords beside the `allOf` are one more part.
        let is_plain = |key: &str| {
            ![
                "properties",
                "required",
                "items",
                "additionalProperties",
                "anyOf",
                "oneOf",
                "not",
            ]
            .contains(&key)
        };
        let can_distribute = beside.keys().all(|key| is_plain(key));
        let beside_text = Value::from(beside.clone());
        stated.push(Resolver::new(&Value::Null).schema(&beside_text)?);
        let home = parts.iter().rposition(|part| component(part).is_none());
        let new = extra(own, schema);
        let mut new_part = None;
        let mut shares: Vec<Schema> = (0..stated.len())
            .map(|index| share(index, &stated, own, schema))
            .collect();
        if !new.is_empty() {
            // Where all parts are components, the last one is asked first.
            let asked = parts.len().checked_sub(1).filter(|_| self.is_finding());
            match home.or(asked) {
                Some(home) => shares[home] = std::mem::take(&mut shares[home]).and(new),
                None => new_part = Some(new),
            }
        }
        // First as the components are elsewhere, and only then as if they changed here.
        let as_agreed = |inline: &[Schema]| -> Vec<Schema> {
            let places = parts.iter().map(Some).chain([None]);
            let shares = inline.iter().zip(&stated).zip(places);
            shares
                .map(|((inline, stated), part)| match part.and_then(component) {
                    Some(name) => self.agreed.get(name).unwrap_or(stated).clone(),
                    None => inline.clone(),
                })
                .collect()
        };
        let conjunction = |shares: &[Schema], new_part: &Option<Schema>| {
            let all = shares.iter().chain(new_part).cloned();
            all.fold(Schema::default(), Schema::and)
        };
        let agreed = as_agreed(&shares);
        let more = extra(&conjunction(&agreed, &None), schema);
        let candidates = [
            (as_agreed(&stated), None),
            (agreed.clone(), None),
            (agreed, Some(more).filter(|_| !self.is_finding())),
        ];
        let is_whole =
            |(shares, more): &(Vec<Schema>, Option<Schema>)| conjunction(shares, more) == *schema;
        let clear = candidates.into_iter().find(is_whole);
        let is_clear = clear.is_some();
        if let Some(clear) = clear {
            (shares, new_part) = clear;
        }
        let whole = conjunction(&shares, &new_part);
        if whole != *schema || !can_distribute {
            let texts = beside.into_iter().filter(|(key, _)| is_text(key));
            let mut written = self.body(schema);
            if let Some(members) = written.as_object_mut() {
                members.extend(texts);
            }
            return Ok(written);
        }
        let mut written = Vec::new();
        for ((part, share), stated) in parts.iter().zip(&shares).zip(&stated) {
            let is_unclear = !is_clear && self.pass == Pass::Demand && component(part).is_some();
            if !is_unclear && (!share.is_empty() || stated.is_empty()) {
                written.push(self.fit(part, share)?);
            }
        }
        written.extend(new_part.map(|part| self.new_schema(&part)));
        if let Some(share) = shares.last() {
            beside.retain(|key, _| is_text(key) || share.keywords.contains_key(key));
            beside.extend(share.keywords.clone());
        }
        beside.insert("allOf".into(), written.into());
        Ok(beside.into())
    }

    /// Writes what the fragment has no place for yet. Upstream's components are inlined, unless the fragment has them
    /// already, or they occur more than once.
    pub(super) fn new_schema(&mut self, schema: &Schema) -> Value {
        if self.is_finding() {
            return Value::Null;
        }
        if let Some(name) = self.names.known(schema)
            && self.agreed.get(name.as_str()) == Some(schema)
        {
            return json!({ "$ref": format!("{SCHEMAS}{}", escape(&name)) });
        }
        if self.pass == Pass::Count {
            if self.names.count(schema) {
                return Value::Null;
            }
        } else if let Some(name) = self.names.new_component(schema) {
            return json!({ "$ref": format!("{SCHEMAS}{}", escape(&name)) });
        }
        self.body(schema)
    }

    fn body(&mut self, schema: &Schema) -> Value {
        schema.to_value(&mut |schema| self.new_schema(schema))
    }
}

/// Returns the name of the component that a place refers to.
fn component(place: &Value) -> Option<&str> {
    let target = place.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)?;
    // A name that needs escapes is not one of the fragment's.
    (unescape(target) == target).then_some(target)
}

/// Returns what one part of an `allOf` says of the whole.
fn share(index: usize, stated: &[Schema], own: &Schema, schema: &Schema) -> Schema {
    let part = &stated[index];
    let later = &stated[index + 1..];
    let mut share = Schema::default();
    for (key, value) in &part.keywords {
        match (own.get(key), schema.get(key)) {
            // It is said beside a type.
            _ if key == "nullable" => drop(share.keywords.insert(key.clone(), value.clone())),
            (before, after) if before == after => {
                share.keywords.insert(key.clone(), value.clone());
            }
            (_, Some(after)) => drop(share.keywords.insert(key.clone(), after.clone())),
            (_, None) => {}
        }
    }
    for (name, property) in &part.properties {
        let Some(after) = schema.properties.get(name) else {
            continue;
        };
        if own.properties.get(name) == Some(after) {
            share.properties.insert(name.clone(), property.clone());
        } else if !later.iter().any(|part| part.properties.contains_key(name)) {
            share.properties.insert(name.clone(), after.clone());
        } else if property.clone().and(after.clone()) == *after {
            // A later part says more of it.
            share.properties.insert(name.clone(), property.clone());
        }
    }
    share.required = part
        .required
        .intersection(&schema.required)
        .cloned()
        .collect();
    share.items = match &part.items {
        Some(_) if own.items == schema.items => part.items.clone(),
        Some(_) if !later.iter().any(|part| part.items.is_some()) => schema.items.clone(),
        _ => None,
    };
    share.additional = match own.additional == schema.additional {
        true => part.additional.clone(),
        false => Additional::Any,
    };
    for (key, choices) in &part.choices {
        match schema.choices.get(key) {
            after if after == own.choices.get(key) => {
                share.choices.insert(key, choices.clone());
            }
            Some(after) => drop(share.choices.insert(key, after.clone())),
            None => {}
        }
    }
    if own.parts == schema.parts {
        share.parts = part.parts.clone();
    }
    share
}

/// Returns what upstream says and the fragment doesn't.
fn extra(own: &Schema, schema: &Schema) -> Schema {
    let mut extra = Schema::default();
    for (key, value) in &schema.keywords {
        if !own.keywords.contains_key(key) {
            extra.keywords.insert(key.clone(), value.clone());
        }
    }
    for (name, property) in &schema.properties {
        if !own.properties.contains_key(name) {
            extra.properties.insert(name.clone(), property.clone());
        }
    }
    if !extra.properties.is_empty() {
        extra.keywords.insert("type".into(), "object".into());
    }
    extra.required = schema.required.difference(&own.required).cloned().collect();
    if own.items.is_none() {
        extra.items = schema.items.clone();
    }
    if own.additional != schema.additional {
        extra.additional = schema.additional.clone();
    }
    for (key, choices) in &schema.choices {
        if !own.choices.contains_key(key) {
            extra.choices.insert(key, choices.clone());
        }
    }
    if own.parts != schema.parts {
        extra.parts = schema.parts.clone();
    }
    extra
}

/// Puts values into the order that they had; new ones come last.
fn ordered(values: &Value, before: Option<&Value>) -> Value {
    let values = values.as_array().cloned().unwrap_or_default();
    let before = before.and_then(Value::as_array).into_iter().flatten();
    let mut ordered: Vec<Value> = before
        .filter(|value| values.contains(value))
        .cloned()
        .collect();
    ordered.dedup();
    let new: Vec<Value> = values
        .into_iter()
        .filter(|value| !ordered.contains(value))
        .collect();
    ordered.extend(new);
    ordered.into()
}
