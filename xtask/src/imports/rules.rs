//! What is allowed, and what must not import what.

use std::fmt;
use std::path::Path;

use super::graph::{Graph, Import};
use super::targets::Package;

/// A circle that is allowed.
struct Allowed {
    package: &'static str,
    /// All files of the circle.
    files: &'static [&'static str],
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
}

const ALLOWED: &[Allowed] = &[Allowed {
    package: "shieldcert",
    files: &["src/client/mod.rs", "src/zone.rs"],
    reason: "a handle and what it hands out: `Client::zone` returns a `Zone`, which holds its `Client`",
}];

/// Files that must not import others.
struct Rule {
    package: &'static str,
    /// The module whose files are bound by the rule: `src/core` is `src/core.rs` and everything in `src/core/`.
    module: &'static str,
    /// The modules that they must not import.
    not_modules: &'static [&'static str],
    /// The crates that they must not use.
    not_crates: &'static [&'static str],
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        package: "shieldcert",
        module: "src/transport",
        not_modules: &[
            "src/client",
            "src/context",
            "src/zone",
            "src/get",
            "src/issue",
            "src/revoke",
            "src/find",
            "src/list",
            "src/wait",
            "src/certificate",
            "src/pki",
        ],
        not_crates: &[],
        reason: "the transport knows HTTP, and no domain type",
    },
    Rule {
        package: "shieldcert-emulator",
        module: "src/core",
        not_modules: &["src/http", "src/chaos", "src/edge"],
        not_crates: &["axum", "http"],
        reason: "the core is the service without HTTP",
    },
    Rule {
        package: "shieldcert-emulator",
        module: "src/chaos",
        not_modules: &["src/http", "src/edge"],
        not_crates: &[],
        reason: "the order is http, chaos, core",
    },
    Rule {
        package: "shieldcert-emulator",
        module: "src/edge",
        not_modules: &["src/http", "src/chaos"],
        not_crates: &[],
        reason: "the edge needs the core alone",
    },
    Rule {
        package: "xtask",
        module: "src/bench",
        not_modules: &[
            "src/generate",
            "src/imports",
            "src/openapi",
            "src/regen",
            "src/spec",
        ],
        not_crates: &[],
        reason: "the benchmark is apart from the tasks for the spec",
    },
    Rule {
        package: "xtask",
        module: "src/openapi",
        not_modules: &[
            "src/bench",
            "src/generate",
            "src/imports",
            "src/main",
            "src/output",
            "src/regen",
            "src/spec",
            "src/workspace",
        ],
        not_crates: &[],
        reason: "the fuzz targets include the module by its path",
    },
];

/// A circle, an import the wrong way, or a rule that binds nothing.
#[derive(Debug)]
pub(super) struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks the imports of a package.
pub(super) fn check(package: &Package, graph: &Graph) -> Vec<Violation> {
    let mut violations = refused_circles(package, graph);
    for rule in RULES.iter().filter(|rule| rule.package == package.name) {
        violations.extend(refused_imports(package, graph, rule));
    }
    violations
}

fn refused_circles(package: &Package, graph: &Graph) -> Vec<Violation> {
    let mut violations = Vec::new();
    for circle in graph.circles() {
        let is_allowed = |allowed: &Allowed| {
            allowed.package == package.name
                && allowed.files.len() == circle.len()
                && allowed
                    .files
                    .iter()
                    .all(|file| circle.contains(Path::new(file)))
        };
        if ALLOWED.iter().any(is_allowed) {
            continue;
        }
        let folder = &package.folder;
        let files: Vec<String> = circle
            .iter()
            .map(|file| folder.join(file).display().to_string())
            .collect();
        let mut text = format!("circle of {} files: {}", files.len(), files.join(", "));
        for (from, to, imports) in graph.imports() {
            if circle.contains(from) && circle.contains(to) {
                for import in imports {
                    text.push_str(&line(folder, import, to));
                }
            }
        }
        violations.push(Violation(text));
    }
    violations
}

fn line(folder: &Path, import: &Import, to: &Path) -> String {
    let shown = folder.join(&import.from);
    let Import { line, path, .. } = import;
    format!(
        "\n  {}:{line}: `{path}` imports {}",
        shown.display(),
        to.display()
    )
}

fn refused_imports(package: &Package, graph: &Graph, rule: &Rule) -> Vec<Violation> {
    let folder = &package.folder;
    let mut violations = Vec::new();
    if !graph.files().any(|file| is_in(file, rule.module)) {
        violations.push(Violation(format!(
            "{}: there is no module {}; mend the rule that binds it",
            package.name, rule.module
        )));
    }
    for (from, to, imports) in graph.imports() {
        let is_refused = rule.not_modules.iter().any(|module| is_in(to, module));
        if is_in(from, rule.module) && is_refused {
            for import in imports {
                let text = line(folder, import, to);
                let text = text.trim_start();
                violations.push(Violation(format!("{text}: {}", rule.reason)));
            }
        }
    }
    for name in rule.not_crates {
        for import in graph.uses_of_crate(name) {
            if is_in(&import.from, rule.module) {
                let shown = folder.join(&import.from);
                let Import { line, path, .. } = import;
                violations.push(Violation(format!(
                    "{}:{line}: `{path}` uses the crate {name}: {}",
                    shown.display(),
                    rule.reason
                )));
            }
        }
    }
    violations
}

/// Says whether a file belongs to a module.
fn is_in(file: &Path, module: &str) -> bool {
    file.with_extension("").starts_with(module)
}
