//! `shieldcert completions` and `man`.

use std::process::Command;

use crate::service::{Service, is_installed, run, shieldcert};

#[test]
fn completions_load_in_their_shells() {
    let service = Service::start();
    let folder = service.folder.path();
    for (shell, check) in [
        (
            "bash",
            ". ./script && COMP_WORDS=(shieldcert rev) COMP_CWORD=1 && _shieldcert shieldcert rev shieldcert && echo \"${COMPREPLY[@]}\"",
        ),
        (
            "zsh",
            "autoload -U compinit && compinit -u -D && . ./script && whence -w _shieldcert",
        ),
        ("fish", "source ./script && complete -C 'shieldcert rev'"),
    ] {
        let script = run(shieldcert(folder).args(["completions", shell]));
        assert_eq!(script.code, Some(0), "{script:?}");
        std::fs::write(folder.join("script"), &script.out).expect("is written");
        if !is_installed(shell, "--version") {
            continue;
        }
        let ran = run(Command::new(shell)
            .args(["-c", check])
            .current_dir(folder)
            .env("HOME", folder));
        assert_eq!(
            (ran.code, ran.err.as_str()),
            (Some(0), ""),
            "{shell}: {ran:?}"
        );
        let expected = if shell == "zsh" {
            "_shieldcert: function"
        } else {
            "revoke"
        };
        assert!(ran.out.contains(expected), "{shell}: {ran:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let service = Service::start();
    let folder = service.folder.path();
    let overview = run(shieldcert(folder).arg("man"));
    assert!(overview.out.contains(".TH shieldcert 1"), "{overview:?}");
    let ran = run(shieldcert(folder).args(["man", "--dir", "."]));
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), "", "")
    );
    for page in [
        "shieldcert.1",
        "shieldcert-list.1",
        "shieldcert-issue.1",
        "shieldcert-fleet-run.1",
        "shieldcert-emulator.1",
    ] {
        assert!(folder.join(page).is_file(), "{page}");
    }
    let ran = run(shieldcert(folder).args(["man", "--dir", "none"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    insta::assert_snapshot!(ran.err, @"error: --dir none: there is no such folder; make it, or give another");
}
