//! Other people's programs that outputs are checked with.

use std::io::Write;

/// Whether a program is installed. Panics if it must be and is not.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    let required = std::env::var_os("SHIELDCERT_INTEROP").is_some_and(|value| value == "require");
    assert!(
        !required,
        "{program} is not installed, and SHIELDCERT_INTEROP requires it"
    );
    // Not `eprintln!`: the test harness captures its output and hides it if the test passes.
    let message =
        format!("skipped: {program} is not installed; `tests/interop/install.sh` installs it\n");
    let written = std::io::stderr().write_all(message.as_bytes());
    written.expect("can be written to");
    false
}
