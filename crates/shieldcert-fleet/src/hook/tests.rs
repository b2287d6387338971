use std::fs;
use std::path::Path;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

async fn run_in(folder: &Path, command: &str) -> Result<String, Failure> {
    let variables = [("SHIELDCERT_DEVICE".to_owned(), "sensor-1".into())];
    run(command, folder, &variables, TIMEOUT).await
}

#[tokio::test]
async fn a_command_runs_in_the_fleets_folder_with_its_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = r#"echo "$SHIELDCERT_DEVICE in $(pwd)"; echo problem >&2"#;
    let output = run_in(folder.path(), command).await.expect("succeeds");
    let here = folder.path().canonicalize().expect("a path");
    assert_eq!(output, format!("sensor-1 in {}\nproblem", here.display()));
}

#[tokio::test]
async fn it_has_no_input() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run_in(folder.path(), "cat").await.as_deref(), Ok(""));
}

#[tokio::test]
async fn a_failure_says_how_it_ended_and_what_was_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let failed = run_in(folder.path(), "echo no route; exit 3").await;
    let expected = "`echo no route; exit 3` failed (exit status: 3): no route";
    assert_eq!(failed, Err(expected.to_owned()));
    let killed = run_in(folder.path(), "kill -9 $$").await;
    assert_eq!(
        killed,
        Err("`kill -9 $$` failed (signal: 9 (SIGKILL))".to_owned())
    );
    let missing = run("true", &folder.path().join("none"), &[], TIMEOUT).await;
    let missing = missing.expect_err("there is no folder");
    assert!(
        missing.starts_with("`true` can't be started: "),
        "{missing}"
    );
}

#[tokio::test]
async fn of_much_output_the_end_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done";
    let output = run_in(folder.path(), command).await.expect("succeeds");
    assert!(output.ends_with("line 4999"), "{output}");
    assert!(
        (4000..=MAX_OUTPUT).contains(&output.len()),
        "{}",
        output.len()
    );
}

#[cfg(target_os = "linux")]
/// Whether a process runs. One that has ended, and that nobody has waited for, does not.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = "echo begun; sleep 600 & echo $! > child; echo $$ > shell; sleep 600; echo late";
    let timed_out = run(command, folder.path(), &[], Duration::from_secs(2)).await;
    let problem = timed_out.expect_err("takes too long");
    assert_eq!(
        problem,
        format!("`{command}` was ended, because it took longer than 2s: begun")
    );
    for file in ["child", "shell"] {
        let pid = fs::read_to_string(folder.path().join(file)).expect("was begun");
        // The system takes an instant.
        while is_running(pid.trim()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_run_that_is_dropped_ends_the_whole_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let command = "sleep 600 & echo $! > child.new; mv child.new child; wait";
    let pid = tokio::select! {
        _ = run(command, folder.path(), &[], TIMEOUT) => panic!("it waits"),
        pid = async {
            loop {
                if let Ok(pid) = fs::read_to_string(&child) {
                    break pid;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => pid,
    };
    while is_running(pid.trim()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_command_leaves_running_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = "sleep 600 >/dev/null 2>&1 & echo $!";
    let pid = run_in(folder.path(), command).await.expect("succeeds");
    assert!(is_running(&pid));
    let id = nix::unistd::Pid::from_raw(pid.parse().expect("a number"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).expect("is ended");
}

#[tokio::test]
async fn what_keeps_the_output_open_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run("sleep 600 & echo $! > pid", folder.path(), &[], TIMEOUT).await;
    assert_eq!(output.as_deref(), Ok(""));
    let pid = fs::read_to_string(folder.path().join("pid")).expect("was begun");
    let id = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).expect("is ended");
}
