//! What one module's source declares and names.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, TraitItem, UseTree};

/// A path as it is written, and its line.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// A name that a `use` declaration brings into its module.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The name; none for a glob, or for `as _`.
    pub(super) name: Option<String>,
    pub(super) is_glob: bool,
    pub(super) target: Named,
}

/// A child module.
pub(super) struct Child {
    pub(super) name: String,
    /// The items, if the module is inline.
    pub(super) items: Option<Vec<Item>>,
    /// The value of its `#[path]` attribute.
    pub(super) path: Option<String>,
}

/// What a module declares and names. Code under `#[cfg(test)]` is left out.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) items: Vec<String>,
    pub(super) children: Vec<Child>,
    pub(super) bindings: Vec<Binding>,
    pub(super) paths: Vec<Named>,
}

impl Contents {
    pub(super) fn of(items: Vec<Item>) -> Self {
        let mut contents = Self::default();
        for item in items {
            contents.add(item);
        }
        contents
    }

    fn add(&mut self, item: Item) {
        if is_for_tests(attributes(&item)) {
            return;
        }
        match item {
            Item::Use(item) => {
                let prefix = item
                    .leading_colon
                    .map(|_| String::new())
                    .into_iter()
                    .collect();
                self.bind(&item.tree, prefix);
            }
            Item::Mod(module) => self.children.push(Child {
                name: module.ident.to_string(),
                path: module.attrs.iter().find_map(path_attribute),
                items: module.content.map(|(_, items)| items),
            }),
            mut item => {
                self.items.extend(name(&item));
                match &mut item {
                    Item::Impl(item) => item
                        .items
                        .retain(|item| !is_for_tests(impl_attributes(item))),
                    Item::Trait(item) => item
                        .items
                        .retain(|item| !is_for_tests(trait_attributes(item))),
                    _ => {}
                }
                collect_paths(item.into_token_stream(), &mut self.paths);
            }
        }
    }

    fn bind(&mut self, tree: &UseTree, mut prefix: Vec<String>) {
        let mut push = |name, is_glob, path, line| {
            self.bindings.push(Binding {
                name,
                is_glob,
                target: Named { path, line },
            });
        };
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.bind(&path.tree, prefix);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.bind(tree, prefix.clone());
                }
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                push(None, true, prefix, line);
            }
            UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                let ident = name.ident.to_string();
                if ident != "self" {
                    prefix.push(ident);
                }
                push(prefix.last().cloned(), false, prefix, line);
            }
            UseTree::Rename(rename) => {
                let line = rename.ident.span().start().line;
                let ident = rename.ident.to_string();
                if ident != "self" {
                    prefix.push(ident);
                }
                let name = rename.rename.to_string();
                push((name != "_").then_some(name), false, prefix, line);
            }
        }
    }
}

/// Collects every `a::b` from tokens. Tokens, not syntax, so that the arguments of macros count.
fn collect_paths(tokens: TokenStream, paths: &mut Vec<Named>) {
    let mut current: Vec<String> = Vec::new();
    let mut line = 0;
    // The colons since the last identifier: two continue a path.
    let mut colons = 0;
    let mut finish = |path: &mut Vec<String>, line| {
        let path = std::mem::take(path);
        if path.len() > 1 {
            paths.push(Named { path, line });
        }
    };
    let mut groups = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    finish(&mut current, line);
                } else if current.is_empty() {
                    // `::name`: a crate, not a module.
                    current.push(String::new());
                }
                if current.is_empty() {
                    line = ident.span().start().line;
                }
                current.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                finish(&mut current, line);
                colons = 0;
                if let TokenTree::Group(group) = other {
                    groups.push(group);
                }
            }
        }
    }
    finish(&mut current, line);
    for group in groups {
        collect_paths(group.stream(), paths);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.meta.require_list().ok();
        attribute.path().is_ident("cfg")
            && condition.is_some_and(|list| {
                let text = list.tokens.to_string();
                text == "test" || text.starts_with("all (test") || text.starts_with("all(test")
            })
    })
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let value = &attribute.meta.require_name_value().ok()?.value;
    match value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) if attribute.path().is_ident("path") => Some(text.value()),
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn impl_attributes(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

fn trait_attributes(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
