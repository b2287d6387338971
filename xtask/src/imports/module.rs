//! The modules of a target, and what their paths resolve to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::{Binding, Contents, Named};
use crate::workspace::read;

/// The index of a module in [`Modules`].
pub(super) type ModuleId = usize;

/// A module: a file, or an inline part of one.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    items: Vec<String>,
    pub(super) bindings: Vec<Binding>,
    pub(super) paths: Vec<Named>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A module of this crate, or an item that it defines.
    Module(ModuleId),
    /// Another crate, or something that no file of this crate defines.
    External,
}

/// The modules of one target. The first is its root.
#[derive(Debug, Default)]
pub(super) struct Modules(pub(super) Vec<Module>);

/// No chain of re-exports is longer.
const MAX_REEXPORTS: usize = 16;

impl Modules {
    /// Parses a target from its root file.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut modules = Self::default();
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        modules.add_file(root, None, &folder)?;
        Ok(modules)
    }

    /// Adds a module in a file of its own, and those below it. `folder` is where its children are.
    fn add_file(
        &mut self,
        file: &Path,
        parent: Option<ModuleId>,
        folder: &Path,
    ) -> Result<ModuleId> {
        let source = syn::parse_file(&read(file)?)
            .with_context(|| format!("{} can't be parsed", file.display()))?;
        self.add(Contents::of(source.items), file, parent, folder)
    }

    fn add(
        &mut self,
        contents: Contents,
        file: &Path,
        parent: Option<ModuleId>,
        folder: &Path,
    ) -> Result<ModuleId> {
        let id = self.0.len();
        self.0.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            items: contents.items,
            bindings: contents.bindings,
            paths: contents.paths,
        });
        for child in contents.children {
            let below = folder.join(&child.name);
            let child_id = match (child.items, child.path) {
                (Some(items), _) => self.add(Contents::of(items), file, Some(id), &below)?,
                (None, Some(path)) => {
                    let path = file.parent().unwrap_or(folder).join(path);
                    let folder = path.parent().unwrap_or(folder).to_owned();
                    self.add_file(&path, Some(id), &folder)?
                }
                (None, None) => {
                    let beside = below.with_extension("rs");
                    let inside = below.join("mod.rs");
                    let path = if beside.exists() { beside } else { inside };
                    self.add_file(&path, Some(id), &below)?
                }
            };
            self.0[id].children.insert(child.name, child_id);
        }
        Ok(id)
    }

    /// Resolves a path as it is written in a module.
    pub(super) fn resolve(&self, from: ModuleId, path: &[String]) -> Target {
        self.resolve_within(from, path, 0)
    }

    fn resolve_within(&self, from: ModuleId, path: &[String], depth: usize) -> Target {
        let mut start = from;
        let mut rest = path;
        let mut is_anchored = false;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => start = 0,
                "self" => {}
                "super" => match self.0[start].parent {
                    Some(parent) => start = parent,
                    None => return Target::External,
                },
                _ => break,
            }
            is_anchored = true;
            rest = after;
        }
        match self.look_up(start, rest, depth) {
            // What `crate::`, `self::` or `super::` names is in that module, whatever made it.
            Target::External if is_anchored => Target::Module(start),
            target => target,
        }
    }

    /// Looks up a path without anchors in a module.
    fn look_up(&self, id: ModuleId, path: &[String], depth: usize) -> Target {
        let Some((first, rest)) = path.split_first() else {
            return Target::Module(id);
        };
        let module = &self.0[id];
        if let Some(child) = module.children.get(first) {
            return match self.look_up(*child, rest, depth) {
                Target::External => Target::Module(*child),
                target => target,
            };
        }
        if module.items.contains(first) {
            return Target::Module(id);
        }
        if depth == MAX_REEXPORTS {
            return Target::External;
        }
        for binding in &module.bindings {
            let target = &binding.target.path;
            let path: Vec<String> = if binding.is_glob {
                target.iter().chain(path).cloned().collect()
            } else if binding.name.as_ref() == Some(first) {
                target.iter().chain(rest).cloned().collect()
            } else {
                continue;
            };
            // `use name::…` names a crate unless the module has a child with that name.
            let is_self_reference = !binding.is_glob && target.first() == Some(first);
            if is_self_reference && !module.children.contains_key(first) {
                return Target::External;
            }
            let found = self.resolve_exact(id, &path, depth + 1);
            if found != Target::External {
                return found;
            }
        }
        Target::External
    }

    /// Like [`resolve_within`](Self::resolve_within), but an unknown name in a known module is external: so a glob
    /// that does not bring the name is passed over.
    fn resolve_exact(&self, from: ModuleId, path: &[String], depth: usize) -> Target {
        let anchors = path
            .iter()
            .take_while(|part| ["crate", "self", "super"].contains(&part.as_str()))
            .count();
        let (anchor, rest) = path.split_at(anchors);
        let Target::Module(mut id) = self.resolve_within(from, anchor, depth) else {
            return Target::External;
        };
        let mut rest = rest;
        while let Some((first, after)) = rest.split_first() {
            match self.0[id].children.get(first) {
                Some(child) => {
                    id = *child;
                    rest = after;
                }
                None => return self.look_up(id, rest, depth),
            }
        }
        Target::Module(id)
    }
}
