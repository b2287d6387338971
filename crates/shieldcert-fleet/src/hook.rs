//! The commands of a fleet that bring a certificate into use, and check that it works.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Why a command did not succeed, with the end of its output.
pub(crate) type Failure = String;

/// How much of the end of a command's output is kept.
const MAX_OUTPUT: usize = 4 * 1024;

/// How long its output may stay open after it has ended, by what it left running.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// Runs a shell command. Returns the end of its output.
///
/// # Cancel safety
/// When the future is dropped, the command and what it started are ended.
pub(crate) async fn run(
    command: &str,
    folder: &std::path::Path,
    variables: &[(String, OsString)],
    timeout: Duration,
) -> Result<String, Failure> {
    let (shell, flag) = match cfg!(windows) {
        true => ("cmd", "/C"),
        false => ("sh", "-c"),
    };
    let mut process = Command::new(shell);
    process
        .args([flag, command])
        .current_dir(folder)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A group of its own, which is ended as a whole. Ctrl-C at a terminal then does not reach it: a step that began is
    // finished.
    #[cfg(unix)]
    process.process_group(0);
    let mut child = process
        .spawn()
        .map_err(|error| format!("`{command}` can't be started: {error}"))?;
    let out = tokio::spawn(read_end(child.stdout.take()));
    let err = tokio::spawn(read_end(child.stderr.take()));
    let mut group = Group::of(&child);
    let ended = tokio::time::timeout(timeout, child.wait()).await;
    match &ended {
        // What it left running, on purpose, goes on.
        Ok(Ok(_)) => group.forget(),
        _ => group.end(),
    }
    let mut output = String::new();
    for part in [out, err] {
        if let Ok(Ok(part)) = tokio::time::timeout(OUTPUT_GRACE, part).await {
            output.push_str(&part);
        }
    }
    let output = output.trim_end();
    match ended {
        Ok(Ok(status)) if status.success() => Ok(output.to_owned()),
        Ok(Ok(status)) => Err(format!("`{command}` failed ({status}){}", said(output))),
        Ok(Err(error)) => Err(format!("`{command}`: {error}")),
        Err(_) => Err(format!(
            "`{command}` was ended, because it took longer than {timeout:?}{}",
            said(output)
        )),
    }
}

fn said(output: &str) -> String {
    match output.is_empty() {
        true => String::new(),
        false => format!(": {output}"),
    }
}

async fn read_end(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut end = Vec::new();
    let mut chunk = vec![0; MAX_OUTPUT];
    while let Ok(count) = pipe.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        end.extend_from_slice(&chunk[..count]);
        let excess = end.len().saturating_sub(MAX_OUTPUT);
        end.drain(..excess);
    }
    String::from_utf8_lossy(&end).into_owned()
}

/// The processes that a command has started. Ended when dropped.
struct Group {
    #[cfg(unix)]
    id: Option<nix::unistd::Pid>,
}

impl Group {
    #[cfg(unix)]
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            id: id.map(nix::unistd::Pid::from_raw),
        }
    }

    #[cfg(not(unix))]
    fn of(_: &Child) -> Self {
        Self {}
    }

    fn end(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.id.take() {
            let _ = nix::sys::signal::killpg(id, nix::sys::signal::Signal::SIGKILL);
        }
    }

    fn forget(&mut self) {
        #[cfg(unix)]
        {
            self.id = None;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(all(test, unix))]
mod tests;
