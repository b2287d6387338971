//! Which file of a package imports which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::module::{Modules, Target};
use super::source::Named;
use super::targets::Package;

/// Where a file imports another, or a crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) line: usize,
    pub(super) path: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, line, path } = self;
        write!(f, "{}:{line}: {path}", from.display())
    }
}

/// The imports of a package.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// By importing file, then by imported file. Files are relative to the package.
    edges: BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<Import>>>,
    /// By name: an external path's first segment.
    crates: BTreeMap<String, BTreeSet<Import>>,
}

impl Graph {
    /// Parses every target of a package.
    pub(super) fn read(root: &Path, package: &Package) -> Result<Self> {
        let folder = root.join(&package.folder);
        let mut graph = Self::default();
        for target in &package.roots {
            graph.add(&folder, &Modules::read(target)?);
        }
        Ok(graph)
    }

    fn add(&mut self, folder: &Path, modules: &Modules) {
        let relative = |file: &Path| file.strip_prefix(folder).unwrap_or(file).to_owned();
        for (id, module) in modules.0.iter().enumerate() {
            let from = relative(&module.file);
            self.edges.entry(from.clone()).or_default();
            let uses = module.bindings.iter().map(|binding| &binding.target);
            for Named { path, line } in uses.chain(&module.paths) {
                let import = Import {
                    from: from.clone(),
                    line: *line,
                    path: path.join("::"),
                };
                match modules.resolve(id, path) {
                    Target::Module(target) => {
                        let to = relative(&modules.0[target].file);
                        if to != from {
                            let edges = self.edges.entry(from.clone()).or_default();
                            edges.entry(to).or_default().insert(import);
                        }
                    }
                    Target::External => {
                        let name = path.iter().find(|part| !part.is_empty());
                        let name = name.cloned().unwrap_or_default();
                        self.crates.entry(name).or_default().insert(import);
                    }
                }
            }
        }
    }

    /// Returns the number of files.
    pub(super) fn len(&self) -> usize {
        self.edges.len()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.edges.keys().map(PathBuf::as_path)
    }

    /// Returns every import of a file by a file.
    pub(super) fn imports(&self) -> impl Iterator<Item = (&Path, &Path, &BTreeSet<Import>)> {
        self.edges.iter().flat_map(|(from, edges)| {
            let edges = edges.iter();
            edges.map(move |(to, imports)| (from.as_path(), to.as_path(), imports))
        })
    }

    /// Returns every use of a crate.
    pub(super) fn uses_of_crate(&self, name: &str) -> impl Iterator<Item = &Import> {
        self.crates.get(name).into_iter().flatten()
    }

    /// Returns the strongly connected components of more than one file, by Tarjan's algorithm.
    pub(super) fn circles(&self) -> Vec<BTreeSet<&Path>> {
        let mut search = Search {
            graph: self,
            indices: BTreeMap::new(),
            stack: Vec::new(),
            circles: Vec::new(),
        };
        for file in self.files() {
            if !search.indices.contains_key(file) {
                search.visit(file);
            }
        }
        search.circles
    }
}

struct Search<'a> {
    graph: &'a Graph,
    indices: BTreeMap<&'a Path, usize>,
    stack: Vec<&'a Path>,
    circles: Vec<BTreeSet<&'a Path>>,
}

impl<'a> Search<'a> {
    /// Returns the lowest index on the stack that the file reaches.
    fn visit(&mut self, file: &'a Path) -> usize {
        let index = self.indices.len();
        self.indices.insert(file, index);
        self.stack.push(file);
        let mut lowest = index;
        let graph = self.graph;
        for next in graph.edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            match self.indices.get(next.as_path()) {
                None => lowest = lowest.min(self.visit(next)),
                Some(seen) if self.stack.contains(&next.as_path()) => lowest = lowest.min(*seen),
                Some(_) => {}
            }
        }
        if lowest == index {
            let start = self.stack.iter().position(|other| *other == file);
            let circle = self.stack.split_off(start.unwrap_or_default());
            if circle.len() > 1 {
                self.circles.push(circle.into_iter().collect());
            }
        }
        lowest
    }
}
