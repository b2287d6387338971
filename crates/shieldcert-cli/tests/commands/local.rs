//! `--local`: the emulator in the process.

use std::process::Stdio;

use tempfile::TempDir;

use crate::service::{Ran, run, shieldcert};

#[test]
fn what_one_process_issues_the_next_one_lists() {
    let folder = TempDir::new().expect("a folder");
    let local = |arguments: &[&str]| {
        let ran = run(shieldcert(folder.path()).arg("--local").args(arguments));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    };
    assert_eq!(local(&["list", "--output", "json"]), "[]\n");
    let id = local(&["issue", "sensor-001"]);
    assert_eq!(local(&["list"]), id);
    assert_eq!(local(&["revoke", id.trim(), "--wait"]), id);
    assert_eq!(local(&["list", "--status", "revoked"]), id);
    assert!(
        folder
            .path()
            .join(".local/share/shieldcert/local.db")
            .is_file()
    );
    let elsewhere = folder.path().join("elsewhere");
    let mut command = shieldcert(folder.path());
    let other = run(command
        .env("XDG_DATA_HOME", &elsewhere)
        .args(["--local", "list"]));
    assert_eq!((other.code, other.out.as_str()), (Some(0), ""), "{other:?}");
    assert!(elsewhere.join("shieldcert/local.db").is_file());
}

#[test]
fn several_processes_work_at_once() {
    let folder = TempDir::new().expect("a folder");
    let children: Vec<_> = (0..6)
        .map(|device| {
            let mut command = shieldcert(folder.path());
            command.args(["--local", "issue", &format!("sensor-{device}")]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        })
        .collect();
    let mut ids = Vec::new();
    for child in children {
        let ran = Ran::new(child.wait_with_output().expect("it ended"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ids.push(ran.out);
    }
    let listed = run(shieldcert(folder.path()).args(["--local", "list"]));
    let mut listed: Vec<_> = listed.out.lines().map(|id| format!("{id}\n")).collect();
    listed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(listed, ids);
}
