//! Files as containers and administrators set them up: mounted on their own, or of another owner.

#![cfg(unix)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use shieldcert::{KeyAlgorithm, PrivateKey};

use super::is_installed;

/// Where the test inside the mount namespace finds its files.
const FOLDER: &str = "SHIELDCERT_MOUNTED";

fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key")
}

#[test]
fn a_file_that_is_mounted_on_its_own_is_written_in_place() {
    let unshared = Command::new("unshare").args(["-rm", "true"]).status();
    let may = unshared.is_ok_and(|status| status.success());
    if !is_installed("unshare, which makes mount namespaces,", may) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["outside", "mounted"] {
        std::fs::write(folder.path().join(name), "old").expect("writes");
    }
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c"])
        .arg(r#"mount --bind outside mounted && exec "$0" --exact files::in_the_mount_namespace --ignored"#)
        .arg(std::env::current_exe().expect("this test"))
        .current_dir(folder.path())
        .env(FOLDER, folder.path())
        .output()
        .expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("reads");
    assert!(read("outside").starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(read("mounted"), "old", "what is below the mount");
    let files = std::fs::read_dir(folder.path()).expect("reads").count();
    assert_eq!(files, 2, "no copy is left");
}

#[test]
#[ignore = "another test runs it in a mount namespace"]
fn in_the_mount_namespace() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("is set"));
    key().write_pem(folder.join("mounted")).expect("is written");
}

#[test]
fn the_owner_and_the_group_of_a_file_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let access = || {
        let metadata = std::fs::metadata(&path).expect("exists");
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
    };
    std::fs::write(&path, "old").expect("writes");
    if access().0 != 0 {
        println!("skipped: only root can give a file to somebody else");
        return;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("is ours");
    chown(&path, Some(1234), Some(5678)).expect("root may");
    key().write_pem(&path).expect("is written");
    assert_eq!(access(), (1234, 5678, 0o640));
}
