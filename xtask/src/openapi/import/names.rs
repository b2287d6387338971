//! Names for upstream's components: the fragment's own where it has them, short ones where it has not.

use std::collections::{BTreeMap, BTreeSet};

use super::super::wire::Schema;

#[derive(Default)]
pub(super) struct Names {
    /// What all of upstream's names for one product begin with.
    prefix: String,
    taken: BTreeSet<String>,
    /// The fragment's names for upstream's components.
    known: BTreeMap<String, String>,
    /// How often new text would name a component of upstream.
    counts: BTreeMap<String, usize>,
    /// Upstream's components that become components of the fragment, under their new names.
    new: BTreeMap<String, String>,
    unwritten: Vec<(String, Schema)>,
}

impl Names {
    pub(super) fn new(prefix: String, taken: BTreeSet<String>) -> Self {
        Self {
            prefix,
            taken,
            ..Self::default()
        }
    }

    /// Remembers that the fragment has a name for where the schema stood.
    pub(super) fn learn(&mut self, schema: &Schema, name: &str) {
        if let Some(origin) = &schema.origin.0 {
            self.known
                .entry(origin.clone())
                .or_insert_with(|| name.to_owned());
        }
    }

    pub(super) fn known(&self, schema: &Schema) -> Option<String> {
        self.known.get(schema.origin.0.as_ref()?).cloned()
    }

    /// Counts that new text would name the schema's component. Says whether it was counted before.
    pub(super) fn count(&mut self, schema: &Schema) -> bool {
        let Some(origin) = &schema.origin.0 else {
            return false;
        };
        let count = self.counts.entry(origin.clone()).or_default();
        *count += 1;
        *count > 1
    }

    /// Returns the name of the new component for a schema that occurs more than once.
    pub(super) fn new_component(&mut self, schema: &Schema) -> Option<String> {
        let origin = schema.origin.0.as_ref()?;
        if self.counts.get(origin).is_none_or(|count| *count < 2) {
            return None;
        }
        if let Some(name) = self.new.get(origin) {
            return Some(name.clone());
        }
        let short = origin.strip_prefix(&self.prefix).unwrap_or(origin);
        let numbered = (2..).map(|number| format!("{origin}_{number}"));
        let mut names = [short.to_owned(), origin.clone()]
            .into_iter()
            .chain(numbered);
        let name = names.find(|name| !name.is_empty() && !self.taken.contains(name))?;
        self.taken.insert(name.clone());
        self.new.insert(origin.clone(), name.clone());
        self.unwritten.push((name.clone(), schema.clone()));
        Some(name)
    }

    /// Returns a new component that is still to be written.
    pub(super) fn next_new(&mut self) -> Option<(String, Schema)> {
        self.unwritten.pop()
    }
}

/// Returns the product's name that most of upstream's components begin with, up to the first `_`.
pub(super) fn product_prefix<'a>(names: impl Iterator<Item = &'a String> + Clone) -> String {
    let prefix = |name: &'a String| name.find('_').map(|end| &name[..=end]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for prefix in names.clone().filter_map(prefix) {
        *counts.entry(prefix).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    match most {
        Some((prefix, count)) if count > 1 && 2 * count > names.count() => prefix.to_owned(),
        _ => String::new(),
    }
}
