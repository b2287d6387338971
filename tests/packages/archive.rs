//! The release archive, unpacked.

use std::path::Path;
use std::process::Command;

use crate::{dist, find, run};

#[test]
fn the_sums_are_right() {
    if let Some(dist) = dist() {
        let sums = run(Command::new("sha256sum")
            .args(["--check", "SHA256SUMS"])
            .current_dir(&dist));
        // The archive and two wheels.
        assert_eq!(
            sums.lines().filter(|line| line.ends_with(": OK")).count(),
            3,
            "{sums}"
        );
    }
}

#[test]
fn the_archive_holds_all_that_an_installation_needs() {
    let Some(dist) = dist() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    run(Command::new("tar")
        .arg("-xzf")
        .arg(find(&dist, "shieldcert-", ".tar.gz"))
        .arg("-C")
        .arg(scratch.path()));
    let folder = find(scratch.path(), "shieldcert-", "");
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect("can be read");
    for path in [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "CHANGELOG.md",
        "README.md",
        "FLEETS.md",
    ] {
        assert!(!read(path).is_empty(), "{path}");
    }

    let version = run(Command::new(folder.join("shieldcert")).arg("--version"));
    let name = folder.file_name().expect("a name").to_str().expect("text");
    let released = name.split('-').nth(1).expect("a version");
    assert_eq!(version.trim_end(), format!("shieldcert {released}"));

    for page in [
        "shieldcert.1",
        "shieldcert-issue.1",
        "shieldcert-fleet-run.1",
        "shieldcert-emulator.1",
    ] {
        assert!(read(&format!("man/man1/{page}")).contains(".TH "), "{page}");
    }
    assert!(read("completions/bash/shieldcert").contains("complete -F"));
    assert!(read("completions/zsh/_shieldcert").starts_with("#compdef shieldcert"));
    assert!(read("completions/fish/shieldcert.fish").contains("complete -c shieldcert"));
    let unit = read("systemd/shieldcert-fleet.service");
    assert!(
        unit.contains("ExecStart=/usr/local/bin/shieldcert fleet run "),
        "{unit}"
    );
    check_sbom(&folder);
}

/// It names what is in the command, and nothing of the machine that built it.
fn check_sbom(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("shieldcert.cdx.json")).expect("can be read");
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")));
    let sbom: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let components = sbom["components"].as_array().expect("a list");
    for name in ["shieldcert", "rustls", "ring", "tokio", "libsqlite3-sys"] {
        assert!(
            components.iter().any(|component| component["name"] == name),
            "{name}"
        );
    }
}
