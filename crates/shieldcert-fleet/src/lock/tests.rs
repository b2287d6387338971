use super::*;

fn path() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fleet.lock");
    (folder, path)
}

#[test]
fn the_second_one_says_who_holds_it() {
    let (_folder, path) = path();
    let first = Lock::take(&path).expect("is free");
    let second = Lock::take(&path).expect_err("is held");
    let pid = std::process::id();
    assert_eq!(
        second.to_string(),
        format!(
            "{}: another process (pid {pid}) works on this fleet; wait until it has ended, or stop it",
            path.display()
        )
    );
    assert_eq!(Lock::holder(&path), Some(pid));
    drop(first);
    assert_eq!(Lock::holder(&path), None);
    Lock::take(&path).expect("is free again");
}

#[test]
fn who_asks_who_holds_it_changes_nothing() {
    let (_folder, path) = path();
    assert_eq!(Lock::holder(&path), None);
    assert!(!path.exists());
    std::fs::write(&path, "12345\n").expect("is written");
    assert_eq!(Lock::holder(&path), None, "that process has ended");
    assert_eq!(std::fs::read_to_string(&path).expect("is read"), "12345\n");
}

#[test]
fn a_longer_number_of_a_process_before_leaves_nothing_behind() {
    let (_folder, path) = path();
    std::fs::write(&path, "123456789012\nmore\n").expect("is written");
    let _lock = Lock::take(&path).expect("is free");
    let text = std::fs::read_to_string(&path).expect("is read");
    assert_eq!(text, format!("{}\n", std::process::id()));
}

#[cfg(unix)]
#[test]
fn it_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = path();
    let _lock = Lock::take(&path).expect("is free");
    let mode = path.metadata().expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let (folder, _) = path();
    let path = folder.path().join("none").join("fleet.lock");
    let error = Lock::take(&path)
        .expect_err("there is no folder")
        .to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
}

/// Another program on this machine, as far as there is one without the rest of this crate.
#[cfg(target_os = "linux")]
#[test]
fn another_process_that_holds_it_is_named() {
    use std::io::Read;
    use std::process::{Command, Stdio};

    let (_folder, path) = path();
    // It holds the lock until its input ends.
    let script = "exec 9>>\"$0\" && flock -n 9 && echo $$ > \"$0\" && echo held && cat";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("is started");
    let mut said = [0; 5];
    let out = child.stdout.as_mut().expect("a pipe");
    out.read_exact(&mut said).expect("holds the lock");
    let pid = child.id();
    assert_eq!(Lock::holder(&path), Some(pid));
    let refused = Lock::take(&path).expect_err("is held").to_string();
    assert!(refused.contains(&format!("(pid {pid})")), "{refused}");
    drop(child.stdin.take());
    child.wait().expect("ends");
    Lock::take(&path).expect("is free again");
}
