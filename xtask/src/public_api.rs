//! The public items of the generated sources, and how they differ.
//!
//! What a user's build depends on is not the spec but what the generator makes of it. So the items themselves are
//! compared: types, fields, variants, functions with their signatures, and trait implementations.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use quote::ToTokens;
use syn::{Fields, ImplItem, Item, TraitItem, Type, Visibility};

use crate::generate::Sources;
use crate::openapi::diff::{Change, Class};

/// Public items by their path, each with what a user's code can depend on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct PublicApi {
    items: BTreeMap<String, String>,
}

impl PublicApi {
    /// Reads the items of both generated sources.
    ///
    /// # Errors
    /// A source is no Rust.
    pub(crate) fn read(sources: &Sources) -> Result<Self> {
        let mut api = Self::default();
        for (name, source) in [
            ("shieldcert_api", &sources.api),
            ("shieldcert_httpmock", &sources.httpmock),
        ] {
            let file = syn::parse_file(source).with_context(|| format!("the source of {name}"))?;
            api.items(name, &file.items);
        }
        Ok(api)
    }

    fn add(&mut self, path: String, what: &impl ToTokens) {
        self.items
            .insert(path, shorten(&what.to_token_stream().to_string()));
    }

    fn add_trait(&mut self, path: &str, name: &str, associated: &str) {
        let name = name.strip_suffix("<'de>").unwrap_or(name);
        self.items
            .insert(format!("{path}: {name}"), shorten(associated));
    }

    fn items(&mut self, module: &str, items: &[Item]) {
        for item in items {
            match item {
                Item::Mod(item) if is_public(&item.vis) => {
                    let path = format!("{module}::{}", item.ident);
                    if let Some((_, items)) = &item.content {
                        self.items(&path, items);
                    }
                }
                Item::Struct(item) if is_public(&item.vis) => {
                    let path = format!("{module}::{}", item.ident);
                    self.add(path.clone(), &item.generics);
                    self.derives(&path, &item.attrs);
                    self.fields(&path, &item.fields);
                }
                Item::Enum(item) if is_public(&item.vis) => {
                    let path = format!("{module}::{}", item.ident);
                    self.add(path.clone(), &item.generics);
                    self.derives(&path, &item.attrs);
                    for variant in &item.variants {
                        self.add(format!("{path}::{}", variant.ident), &variant.fields);
                    }
                }
                Item::Trait(item) if is_public(&item.vis) => {
                    let path = format!("{module}::{}", item.ident);
                    self.add(path.clone(), &item.generics);
                    for member in &item.items {
                        if let TraitItem::Fn(function) = member {
                            let name = format!("{path}::{}", function.sig.ident);
                            self.add(name, &function.sig);
                        }
                    }
                }
                Item::Fn(item) if is_public(&item.vis) => {
                    self.add(format!("{module}::{}", item.sig.ident), &item.sig);
                }
                Item::Const(item) if is_public(&item.vis) => {
                    self.add(format!("{module}::{}", item.ident), &item.ty);
                }
                Item::Type(item) if is_public(&item.vis) => {
                    self.add(format!("{module}::{}", item.ident), &item.ty);
                }
                Item::Impl(item) => self.implementation(module, item),
                _ => {}
            }
        }
    }

    fn derives(&mut self, path: &str, attributes: &[syn::Attribute]) {
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("derive"))
        {
            let _ = attribute.parse_nested_meta(|meta| {
                if let Some(name) = meta.path.segments.last() {
                    self.add_trait(path, &name.ident.to_string(), "");
                }
                Ok(())
            });
        }
    }

    fn fields(&mut self, path: &str, fields: &Fields) {
        for (index, field) in fields.iter().enumerate() {
            if is_public(&field.vis) {
                let name = match &field.ident {
                    Some(name) => name.to_string(),
                    None => index.to_string(),
                };
                self.add(format!("{path}.{name}"), &field.ty);
            }
        }
    }

    fn implementation(&mut self, module: &str, item: &syn::ItemImpl) {
        let Some(name) = type_name(&item.self_ty) else {
            return;
        };
        // In `builder`, `super::X` is the type itself.
        let path = match name.strip_prefix("super::") {
            Some(name) => format!(
                "{}::{name}",
                module.rsplit_once("::").map_or(module, |(up, _)| up)
            ),
            None => format!("{module}::{name}"),
        };
        if let Some((implemented, _)) = &item.trait_ {
            let name = shorten(&implemented.to_token_stream().to_string());
            // `From<T>` for a type of the standard library belongs to T.
            if let (Some(from), true) = (name.strip_prefix("From<"), path.contains("::std::")) {
                let from = from.trim_end_matches('>').trim_start_matches("super::");
                let into = shorten(&item.self_ty.to_token_stream().to_string());
                self.add_trait(&format!("{module}::{from}"), &format!("Into<{into}>"), "");
                return;
            }
            let associated = item.items.iter().filter_map(|member| match member {
                ImplItem::Type(member) => Some(member.ty.to_token_stream().to_string()),
                _ => None,
            });
            let associated: Vec<String> = associated.collect();
            self.add_trait(&path, &name, &associated.join(", "));
            return;
        }
        for member in &item.items {
            if let ImplItem::Fn(function) = member
                && is_public(&function.vis)
            {
                self.add(format!("{path}::{}()", function.sig.ident), &function.sig);
            }
        }
    }
}

/// Returns what users' code loses, meets otherwise, and gains.
pub(crate) fn compare(old: &PublicApi, new: &PublicApi) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |class, at: &str, what: String| {
        changes.push(Change {
            class,
            at: at.to_owned(),
            what,
        });
    };
    for (path, before) in &old.items {
        match new.items.get(path) {
            Some(after) if before == after => {}
            Some(_) if is_implied(path, &old.items, &new.items) => {}
            Some(after) => {
                let (before, after) = differing_words(before, after);
                add(
                    Class::Breaking,
                    path,
                    format!("changes from {before} to {after} in the generated code"),
                );
            }
            None if is_implied(path, &old.items, &new.items) => {}
            None => add(Class::Breaking, path, "gone from the generated code".into()),
        }
    }
    for path in new.items.keys() {
        if !old.items.contains_key(path) && !is_implied(path, &new.items, &old.items) {
            add(Class::Additive, path, "new in the generated code".into());
        }
    }
    changes
}

/// Returns what is left without the words that both begin and end with.
fn differing_words(before: &str, after: &str) -> (String, String) {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.split(' ').collect(), after.split(' ').collect());
    let shortest = before.len().min(after.len());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = before.iter().zip(&after).take_while(same).count();
    let end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(same)
        .count();
    let end = end.min(shortest - start);
    let show = |words: &[&str]| match words[start..words.len() - end].join(" ") {
        text if text.is_empty() => "nothing".to_owned(),
        // The parenthesis of the arguments stands before them.
        text if !text.contains('(') => text.trim_end_matches(')').to_owned(),
        text => text,
    };
    (show(&before), show(&after))
}

/// Says whether another change says this one too: a type's members come and go with it, and a builder has a setter for
/// each field of what it builds.
fn is_implied(
    path: &str,
    here: &BTreeMap<String, String>,
    there: &BTreeMap<String, String>,
) -> bool {
    let differs = |path: &str| here.contains_key(path) && here.get(path) != there.get(path);
    let is_gone = |path: &str| here.contains_key(path) && !there.contains_key(path);
    let owner = path.find([':', '.']).and_then(|_| {
        let base = path.split(": ").next().unwrap_or(path);
        let end = match base.len() < path.len() {
            true => base.len(),
            false => base.rfind("::").max(base.rfind('.'))?,
        };
        Some(&path[..end])
    });
    if owner.is_some_and(|owner| owner != path && is_gone(owner)) {
        return true;
    }
    let Some((before, after)) = path.split_once("::types::builder::") else {
        return false;
    };
    // `types::builder::T::f()` sets `types::T.f`; `types::builder::T` builds `types::T`.
    match after
        .strip_suffix("()")
        .and_then(|setter| setter.split_once("::"))
    {
        Some((owner, field)) => differs(&format!("{before}::types::{owner}.{field}")),
        None => is_gone(&format!(
            "{before}::types::{}",
            after.split(':').next().unwrap_or(after)
        )),
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Returns a type's name without its generics.
fn type_name(item: &Type) -> Option<String> {
    let Type::Path(path) = item else { return None };
    let segments = path.path.segments.iter();
    let names: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
    Some(names.join("::"))
}

/// Removes what a reader knows: where the standard library's types are, and the spaces between tokens.
fn shorten(tokens: &str) -> String {
    let mut text = tokens.to_owned();
    for path in [
        ":: std :: option ::",
        ":: std :: string ::",
        ":: std :: vec ::",
        ":: std :: result ::",
        ":: std :: convert ::",
        "std :: convert ::",
        ":: std :: default ::",
        ":: std :: fmt ::",
        ":: std :: str ::",
        ":: std :: ops ::",
        ":: std :: primitive ::",
        ":: std :: num ::",
        ":: serde ::",
    ] {
        text = text.replace(path, "");
    }
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (", )", ")"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" : ", ": "),
        ("& ", "&"),
        (", {", " {"),
        (",>", ">"),
    ] {
        text = text.replace(from, to);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches(',').to_owned()
}
