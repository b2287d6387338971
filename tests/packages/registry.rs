//! A source of crates on this machine, which has ours too: they are not published before they are tested.
//!
//! It is what `cargo vendor` makes, with manifests alone: enough to add a dependency and to resolve a project.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;

use crate::{run, workspace};

/// What a reader's project looks up though this workspace has no use for it: the default features of reqwest.
const STUBS: &[(&str, &str, &str)] = &[(
    "quinn",
    "0.11.9",
    "[features]\nruntime-tokio = []\nrustls-aws-lc-rs = []\n",
)];

/// Makes the source in a folder, and returns the configuration that uses it in place of crates.io.
pub(crate) fn make(folder: &Path) -> String {
    let root = workspace();
    run(Command::new(env!("CARGO"))
        .args([
            "package",
            "--workspace",
            "--no-verify",
            "--allow-dirty",
            "--offline",
            "--quiet",
        ])
        .current_dir(&root));
    let packaged = root.join("target/package");
    let mut archives = crates(&packaged);
    for registry in subfolders(&cargo_home().join("registry/cache")) {
        archives.extend(crates(&registry));
    }
    let locked = std::fs::read_to_string(root.join("Cargo.lock")).expect("can be read");
    for (name, version) in packages(&locked) {
        let file = format!("{name}-{version}.crate");
        let archive = archives.iter().find(|path| path.ends_with(&file));
        let archive = archive
            .unwrap_or_else(|| panic!("{file} is not on this machine; `cargo fetch` downloads it"));
        unpack(archive, folder, &format!("{name}-{version}"));
    }
    for (name, version, features) in STUBS {
        let folder = folder.join(format!("{name}-{version}"));
        if !folder.exists() {
            let manifest =
                format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n{features}");
            write(&folder, "src/lib.rs", "");
            write(&folder, "Cargo.toml", &manifest);
            write(&folder, SUMS_FILE, SUMS);
        }
    }
    format!(
        "[net]\noffline = true\n[source.crates-io]\nreplace-with = \"here\"\n[source.here]\ndirectory = {folder:?}\n"
    )
}

fn cargo_home() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let user = || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cargo");
    home.unwrap_or_else(user)
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn crates(folder: &Path) -> Vec<PathBuf> {
    let is_crate = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "crate")
    };
    subfolders(folder).into_iter().filter(is_crate).collect()
}

/// Returns the names and versions of a lock file.
fn packages(locked: &str) -> Vec<(&str, &str)> {
    let mut packages = Vec::new();
    for block in locked.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = block.lines().find(|line| line.starts_with(name))?;
            line.split('"').nth(1)
        };
        packages.extend(field("name = ").zip(field("version = ")));
    }
    packages
}

/// What `cargo vendor` writes beside a crate: here, that there is nothing to check.
const SUMS_FILE: &str = ".cargo-checksum.json";
const SUMS: &str = "{\"files\": {}, \"package\": null}";

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
    std::fs::write(path, text).expect("is written");
}

/// Unpacks a crate's manifest and makes empty files for its library and its programs.
fn unpack(archive: &Path, folder: &Path, name: &str) {
    let file = std::fs::File::open(archive).expect("can be opened");
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    let path = Path::new(name).join("Cargo.toml");
    let mut manifest = String::new();
    for entry in tar.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path") == path {
            entry.read_to_string(&mut manifest).expect("is text");
            break;
        }
    }
    let folder = folder.join(name);
    let write = |path: &str, text: &str| write(&folder, path, text);
    let targets = ["lib]", "[bin]]", "[example]]", "[test]]", "[bench]]"];
    let is_target = |section: &str| targets.contains(&section);
    write("src/lib.rs", "");
    for section in manifest.split("\n[") {
        let value = |name: &str| {
            let line = section.lines().find(|line| line.starts_with(name))?;
            line.split('"').nth(1)
        };
        let kind = section.lines().next().unwrap_or_default();
        match value("path = ") {
            Some(path) if is_target(kind) => write(path, ""),
            // Older versions of cargo left the usual paths out.
            None if kind == "[bin]]" => {
                write(
                    &format!("src/bin/{}.rs", value("name = ").expect("a name")),
                    "",
                );
            }
            _ => {}
        }
    }
    write("Cargo.toml", &manifest);
    write(SUMS_FILE, SUMS);
}
