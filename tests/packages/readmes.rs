//! Every block of a README runs in the form in which it stands there.

use std::process::Command;

use crate::blocks::{Runner, blocks, readmes};
use crate::session::Place;
use crate::{dist, registry, run};

/// They run one after the other, because they wait for each other's builds.
#[test]
fn the_readmes_do_what_they_show() {
    let Some(dist) = dist() else { return };
    let source = tempfile::tempdir().expect("a folder");
    let settings = registry::make(source.path());
    let only = std::env::var("SHIELDCERT_README").ok();
    for file in readmes() {
        if only.as_ref().is_some_and(|only| *only != file) {
            continue;
        }
        let expected = blocks(&file)
            .iter()
            .filter(|block| block.runner() == Some(Runner::Session))
            .count();
        let place = Place::new(&settings);
        // Who follows the root's README has installed it by then; the others say that it is needed.
        if file != "README.md" {
            run(Command::new(place.python())
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-index",
                    "--find-links",
                ])
                .arg(&dist)
                .arg("shieldcert"));
        }
        assert_eq!(place.run(&file), expected, "{file}");
        println!("{file}: {expected} blocks");
    }
}
