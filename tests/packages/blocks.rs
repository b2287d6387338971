//! The fenced blocks of the READMEs, and which test runs each.

use std::path::PathBuf;

use crate::workspace;

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The README, from the workspace's root.
    pub(crate) file: String,
    /// The line of the fence that opens it.
    pub(crate) line: usize,
    /// The last heading of the second level before it.
    pub(crate) section: String,
    /// What the fence says, such as `rust,no_run`.
    pub(crate) language: String,
    pub(crate) text: String,
}

/// What runs a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// It is no code.
    Nothing,
    /// rustdoc, since this file includes the README in the crate's documentation.
    Doctest { includes: String },
    /// A test in another file.
    Test {
        file: &'static str,
        name: &'static str,
    },
    /// The session of its README, from top to bottom.
    Session,
}

const FIXTURES: &str = "crates/shieldcert-cli/tests/fixtures.rs";
const TEMPORAL: &str = "crates/shieldcert-fleet-temporal/tests/temporal/readme.rs";
const PAGES: &str = "crates/shieldcert-cli/tests/commands/readme.rs";

impl Block {
    /// Returns what runs the block. A block that nothing runs fails a test.
    pub(crate) fn runner(&self) -> Option<Runner> {
        let language = self.language.split(',').next().unwrap_or_default();
        Some(match (self.file.as_str(), language) {
            (_, "text") => Runner::Nothing,
            // The crate's own tests have a server of Temporal.
            ("crates/shieldcert-fleet-temporal/README.md", "sh") => {
                test(TEMPORAL, "the_readme_does_what_it_shows")
            }
            ("README.md", "rust") => doctest("tests"),
            (file, "rust") => doctest(&format!("{}/src", file.strip_suffix("/README.md")?)),
            (
                "crates/shieldcert-emulator/README.md"
                | "crates/shieldcert-emulator/pytest-shieldcert/README.md",
                "python" | "toml",
            ) => test(FIXTURES, "the_readmes_examples_for_pytest"),
            ("crates/shieldcert-emulator/README.md", "javascript") => test(FIXTURES, "vitest"),
            ("crates/shieldcert-cli/README.md", "console") if self.section == "For operators" => {
                test(PAGES, "the_operator_page_shows_what_the_commands_print")
            }
            (_, "sh" | "console" | "js") | ("README.md", "python") => Runner::Session,
            _ => return None,
        })
    }

    /// Returns where it stands, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

fn doctest(folder: &str) -> Runner {
    Runner::Doctest {
        includes: format!("{folder}/lib.rs"),
    }
}

fn test(file: &'static str, name: &'static str) -> Runner {
    Runner::Test { file, name }
}

/// Returns the READMEs, from the workspace's root: its own, the crates', and those of what the crates bring along.
pub(crate) fn readmes() -> Vec<String> {
    let root = workspace();
    let mut folders = vec![PathBuf::new()];
    for depth in [&["crates"][..], &["crates", "*"]] {
        let mut level = vec![PathBuf::new()];
        for part in depth.iter().chain(&["*"]) {
            level = level
                .iter()
                .flat_map(|folder| match *part {
                    "*" => subfolders(folder),
                    name => vec![folder.join(name)],
                })
                .collect();
        }
        folders.extend(level);
    }
    let files = folders.into_iter().map(|folder| folder.join("README.md"));
    let files = files.filter(|file| root.join(file).exists());
    files
        .map(|file| file.to_str().expect("text").to_owned())
        .collect()
}

fn subfolders(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join(folder)).expect("a folder");
    let mut folders = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| folder.join(entry.file_name()))
        .collect::<Vec<_>>();
    folders.sort();
    folders
}

/// Returns the blocks of a README, in order.
pub(crate) fn blocks(file: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(workspace().join(file)).expect("can be read");
    parse(file, &text)
}

fn parse(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(language)) => {
                open = Some(Block {
                    file: file.to_owned(),
                    line: index + 1,
                    section: section.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    section = heading.to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "{file}: a block does not end");
    blocks
}

#[test]
fn blocks_are_found_with_their_sections() {
    let text = "# A\n```sh\none\n```\n## B\n### C\n```rust,no_run\nlet two = \"```\";\n\n```\n";
    let blocks = parse("README.md", text);
    let found = blocks.iter().map(|block| {
        (
            block.line,
            block.section.as_str(),
            block.language.as_str(),
            block.text.as_str(),
        )
    });
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            (2, "", "sh", "one\n"),
            (7, "B", "rust,no_run", "let two = \"```\";\n\n")
        ]
    );
}

#[test]
fn every_block_of_every_readme_is_run_by_a_test() {
    let readmes = readmes();
    assert!(readmes.len() >= 8, "{readmes:?}");
    for block in readmes.iter().flat_map(|file| blocks(file)) {
        let place = block.place();
        let runner = block.runner().unwrap_or_else(|| {
            panic!("{place}: no test runs this block of `{}`; give it a runner in tests/packages/blocks.rs", block.language)
        });
        let read =
            |file: &str| std::fs::read_to_string(workspace().join(file)).expect("can be read");
        match runner {
            Runner::Nothing | Runner::Session => {}
            Runner::Doctest { includes } => {
                let includes_readme =
                    read(&includes).contains("doc = include_str!(\"../README.md\")");
                assert!(includes_readme, "{place}: {includes} does not include it");
                assert!(
                    !block.language.contains("ignore"),
                    "{place}: rustdoc ignores it"
                );
            }
            Runner::Test { file, name } => {
                let exists = read(file).contains(&format!("fn {name}()"));
                assert!(exists, "{place}: {file} has no test {name}");
            }
        }
    }
}
