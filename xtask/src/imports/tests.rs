use std::fs;
use std::path::{Path, PathBuf};

use super::graph::Graph;
use super::rules;
use super::targets::{Package, packages};
use crate::workspace;

/// A package of these files, whose root is the first.
fn package(name: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Package) {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        let path = folder.path().join("a").join(file);
        fs::create_dir_all(path.parent().expect("has one")).expect("a folder");
        fs::write(path, text).expect("writes");
    }
    let package = Package {
        name: name.into(),
        folder: "a".into(),
        roots: vec![folder.path().join("a").join(files[0].0)],
    };
    (folder, package)
}

fn violations(name: &str, files: &[(&str, &str)]) -> Vec<String> {
    let (folder, package) = package(name, files);
    let graph = Graph::read(folder.path(), &package).expect("parses");
    let violations = rules::check(&package, &graph);
    violations.iter().map(ToString::to_string).collect()
}

fn circles(files: &[(&str, &str)]) -> Vec<Vec<PathBuf>> {
    let (folder, package) = package("p", files);
    let graph = Graph::read(folder.path(), &package).expect("parses");
    let circles = graph.circles();
    let circles = circles
        .into_iter()
        .map(|circle| circle.into_iter().map(Path::to_owned).collect());
    circles.collect()
}

fn circle(files: &[&str]) -> Vec<Vec<PathBuf>> {
    vec![files.iter().map(PathBuf::from).collect()]
}

#[test]
fn the_workspace_imports_one_way() {
    let root = workspace::root().expect("the workspace");
    let packages = packages(root).expect("cargo lists them");
    let mut checked = Vec::new();
    for package in packages {
        let graph = Graph::read(root, &package).expect("parses");
        let violations = rules::check(&package, &graph);
        assert!(violations.is_empty(), "{violations:#?}");
        checked.push(package.name);
    }
    for name in [
        "xtask",
        "shieldcert",
        "shieldcert-emulator",
        "shieldcert-tests",
    ] {
        assert!(checked.iter().any(|checked| checked == name), "{name}");
    }
}

#[test]
fn a_circle_is_reported_with_the_lines_that_close_it() {
    insta::assert_snapshot!(
        violations(
            "p",
            &[
                ("src/lib.rs", "mod a;\nmod b;\nmod c;\n"),
                (
                    "src/a.rs",
                    "//! A.\n\nuse crate::b::B;\n\npub struct A(B);\n"
                ),
                (
                    "src/b.rs",
                    "pub struct B;\n\nfn f() {\n    let _ = crate::c::C;\n}\n"
                ),
                ("src/c.rs", "use super::a::A;\n\npub struct C;\n"),
            ]
        )
        .join("\n")
    );
}

#[test]
fn every_way_to_name_a_file_counts() {
    for (case, line) in [
        ("use", "use crate::b::B;"),
        ("group", "use crate::{b::{B}};"),
        ("glob", "use crate::b::*;"),
        ("rename", "use crate::b as other;"),
        ("self", "use super::b::{self};"),
        ("re-export", "pub use super::b::B;"),
        ("the root's re-export", "use crate::B;"),
        ("the root's glob", "use crate::C;"),
        ("a path in a body", "fn f() { let _ = crate::b::B; }"),
        ("a path in a type", "fn f() -> Option<super::b::B> { None }"),
        (
            "a path in a macro",
            "fn f() { println!(\"{}\", crate::b::f()); }",
        ),
        ("a use in a body", "fn f() { use crate::b::B; }"),
        ("an inline module", "mod inner { use super::super::b::B; }"),
    ] {
        let root = "mod a;\nmod b;\nmod c;\npub use b::B;\npub use c::*;\n";
        let files = [
            ("src/lib.rs", root),
            ("src/a.rs", line),
            ("src/b.rs", "use crate::a;\npub struct B;\npub fn f() {}"),
            ("src/c.rs", "use crate::a;\npub struct C;"),
        ];
        let found = circles(&files);
        assert_eq!(found.len(), 1, "{case}: {found:?}");
    }
}

#[test]
fn what_is_no_import_does_not_count() {
    for (case, line) in [
        ("test code", "#[cfg(test)]\nmod tests { use crate::b::B; }"),
        ("a test's use", "#[cfg(test)]\nuse crate::b::B;"),
        (
            "a test's method",
            "struct A;\nimpl A {\n#[cfg(test)]\nfn f() { crate::b::f(); } }",
        ),
        ("a crate of the same name", "use ::b::B;"),
        ("another crate", "use std::fmt;"),
        ("a comment", "// crate::b::B"),
        ("a doc comment", "/// [`crate::b::B`]\nstruct A;"),
    ] {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\n"),
            ("src/a.rs", line),
            ("src/b.rs", "use crate::a;\npub struct B;\npub fn f() {}"),
        ];
        assert!(circles(&files).is_empty(), "{case}");
    }
}

#[test]
fn re_exports_are_followed_to_the_file_that_defines_the_item() {
    let files = [
        (
            "src/lib.rs",
            "mod a;\nmod b;\npub use a::A;\npub use b::B;\n",
        ),
        (
            "src/a/mod.rs",
            "mod inner;\npub use inner::{A as Renamed, f};\npub use inner::A;\n",
        ),
        ("src/a/inner.rs", "pub struct A;\npub fn f() {}\n"),
        (
            "src/b.rs",
            "use crate::A;\nuse crate::a::Renamed;\npub struct B(A);\n",
        ),
    ];
    assert!(circles(&files).is_empty());
    let mut files = files;
    files[2].1 = "use crate::B;\npub struct A;\npub fn f() {}\n";
    assert_eq!(circles(&files), circle(&["src/a/inner.rs", "src/b.rs"]));
}

#[test]
fn a_parent_that_imports_a_child_that_imports_it_is_a_circle() {
    let files = [
        ("src/main.rs", "mod a;\nfn main() { a::f(); }\n"),
        (
            "src/a/mod.rs",
            "mod b;\npub fn f() { b::g(); }\npub struct Shared;\n",
        ),
        (
            "src/a/b.rs",
            "use super::Shared;\npub fn g() { let _ = Shared; }\n",
        ),
    ];
    assert_eq!(circles(&files), circle(&["src/a/b.rs", "src/a/mod.rs"]));
}

#[test]
fn a_module_with_a_path_attribute_is_found() {
    let files = [
        (
            "src/main.rs",
            "#[path = \"../other/a.rs\"]\nmod a;\nmod b;\n",
        ),
        ("other/a.rs", "use super::b::B;\n"),
        ("src/b.rs", "use super::a;\npub struct B;\n"),
    ];
    // The path is shown as it is written.
    assert_eq!(circles(&files), circle(&["src/../other/a.rs", "src/b.rs"]));
}

#[test]
fn only_the_named_circle_is_allowed() {
    let mut files = vec![
        ("src/lib.rs", "mod client;\nmod zone;\nmod transport;\n"),
        (
            "src/client/mod.rs",
            "use crate::zone::Zone;\npub struct Client;\n",
        ),
        (
            "src/zone.rs",
            "use crate::client::Client;\npub struct Zone;\n",
        ),
        ("src/transport.rs", ""),
    ];
    assert_eq!(violations("shieldcert", &files), Vec::<String>::new());
    // The same files in another package.
    assert_eq!(violations("other", &files).len(), 1);
    // A third file in the circle.
    files[0].1 = "mod client;\nmod zone;\nmod transport;\nmod third;\n";
    files[2].1 = "use crate::third::Third;\npub struct Zone;\n";
    files.push((
        "src/third.rs",
        "use crate::client::Client;\npub struct Third;\n",
    ));
    assert_eq!(violations("shieldcert", &files).len(), 1);
}

#[test]
fn an_import_the_wrong_way_is_reported_with_its_reason() {
    let files = [
        (
            "src/lib.rs",
            "mod chaos;\nmod core;\nmod edge;\nmod http;\n",
        ),
        (
            "src/core/mod.rs",
            "mod store;\nfn f() -> http::StatusCode { todo!() }\n",
        ),
        (
            "src/core/store.rs",
            "use axum::Router;\nuse crate::http::Handler;\n",
        ),
        ("src/chaos.rs", "use crate::core;\nuse http::Request;\n"),
        ("src/edge.rs", "use crate::chaos::Fault;\n"),
        ("src/http.rs", "pub struct Handler;\n"),
    ];
    insta::assert_snapshot!(violations("shieldcert-emulator", &files).join("\n"));
}

#[test]
fn a_rule_that_binds_nothing_is_reported() {
    let files = [("src/lib.rs", "")];
    insta::assert_snapshot!(violations("shieldcert", &files).join("\n"));
}
