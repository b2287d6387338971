//! Help texts, and what is said of arguments that can't be used.

use tempfile::TempDir;

use crate::service::{Ran, run, shieldcert};

fn plain(arguments: &[&str]) -> Ran {
    let folder = TempDir::new().expect("a folder");
    run(shieldcert(folder.path()).args(arguments))
}

#[test]
fn every_command_explains_itself() {
    let overview = plain(&["--help"]);
    assert_eq!(overview.code, Some(0));
    insta::assert_snapshot!("overview", overview.out);
    for command in [
        "list",
        "get",
        "find",
        "issue",
        "renew",
        "revoke",
        "reactivate",
        "wait",
        "verify",
        "export",
        "report",
        "metrics",
        "doctor",
        "fleet",
        "fleet init",
        "fleet adopt",
        "fleet plan",
        "fleet apply",
        "fleet run",
        "fleet status",
        "fleet history",
        "fleet rotate",
        "fleet revoke",
        "fleet backup",
        "systemd-unit",
        "completions",
        "man",
    ] {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = plain(&words);
        assert_eq!(help.code, Some(0), "{help:?}");
        insta::assert_snapshot!(format!("help_{}", command.replace(' ', "_")), help.out);
    }
}

#[test]
fn what_is_missing_is_named_before_anything_is_sent() {
    let texts = [
        &["list"][..],
        &["list", "--zone", "023e105f4ecef8ad9ca31a8372d0c353"],
        &["list", "--zone", "example.com"],
        &["--local", "list", "--base-url", "http://127.0.0.1:1"],
        &[
            "--token-file",
            "none",
            "list",
            "--zone",
            "023e105f4ecef8ad9ca31a8372d0c353",
        ],
        &[
            "--token-command",
            "exit 3",
            "list",
            "--zone",
            "023e105f4ecef8ad9ca31a8372d0c353",
        ],
        &["--token-file", "a", "list", "--token-command", "b"],
        &["--local", "list", "--fields", "id,cn"],
        &["--local", "list", "--name", "[a"],
        &["--local", "list", "--subject", "Acme"],
        &["--local", "list", "--expires-within", "1mo"],
        &["--local", "list", "--issued-before", "yesterday"],
        &["--quiet", "emulator"],
    ]
    .map(|arguments| {
        let ran = plain(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        format!("$ shieldcert {}\n{}", arguments.join(" "), ran.err)
    });
    insta::assert_snapshot!(texts.join("\n"));
}
