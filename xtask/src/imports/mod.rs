//! `cargo xtask imports`: within a crate, files import each other one way.
//!
//! Every file of every target is parsed. Its `use` declarations and its inline paths (also in macros) are resolved to
//! the files that define what they name: a re-export is followed, so that `crate::Item` means the file of `Item`, not
//! `lib.rs`. `mod` declarations are not imports, and code under `#[cfg(test)]` does not count. A strongly connected
//! component of more than one file is a circle.

mod graph;
mod module;
mod rules;
mod source;
mod targets;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::output::{print_line, print_status};

/// Checks every package of the workspace, and prints the violations.
///
/// # Errors
/// A source file can't be read or parsed.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    print_status("reading the imports of every crate");
    let mut violations = Vec::new();
    let mut files = 0;
    let packages = targets::packages(root)?;
    for package in &packages {
        let graph = graph::Graph::read(root, package)?;
        files += graph.len();
        violations.extend(rules::check(package, &graph));
    }
    for violation in &violations {
        print_line(violation);
    }
    if violations.is_empty() {
        print_line(format_args!(
            "{files} files: imports run one way in every crate"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    print_status(
        "error: imports run in circles or the wrong way; move what both need to a file below both",
    );
    Ok(ExitCode::FAILURE)
}
