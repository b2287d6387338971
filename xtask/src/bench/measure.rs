//! Measures one process, and ends it with the runner.
//!
//! The system adds up what all ended children of a process have used. So that this is one child's alone,
//! and to the microsecond, each measured process has a parent of its own: this program again, with the
//! hidden task `measured`. It also holds a pipe to the runner, and ends its child when that closes: however
//! the runner ends, nothing it started is left behind.

use std::ffi::OsString;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// What a process took, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Seconds by the clock on the wall.
    pub(crate) wall: f64,
    /// Seconds of processors, its own and the system's on its behalf.
    pub(crate) processor: f64,
    /// The most memory it had at once, in KiB.
    pub(crate) peak_kib: i64,
}

/// What stands before the usage in the output, on a line of its own after what the process printed.
const MARK: &str = "\nmeasured: ";

/// The hidden task: runs the command and prints what it took after what it printed.
#[cfg(unix)]
pub(crate) fn measured(command: &[OsString]) -> anyhow::Result<ExitCode> {
    use std::io::{self, Read, Write};
    use std::thread;
    use std::time::Instant;

    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let (program, arguments) = command.split_first().context("no command")?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .context("can't be started")?;
    let pid = Pid::from_raw(child.id().try_into()?);
    thread::spawn(move || {
        // Nothing ever comes: this returns when the runner is gone, or wants an end.
        let _ = io::stdin().read(&mut [0]);
        let _ = kill(pid, Signal::SIGTERM);
    });
    let status = child.wait()?;
    let wall = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        time.tv_sec() as f64 + f64::from(i32::try_from(time.tv_usec()).unwrap_or(0)) / 1e6
    };
    let usage = Usage {
        wall,
        processor: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_kib: usage.max_rss(),
    };
    // Whoever reads may be gone.
    let _ = write!(io::stdout(), "{MARK}{}", serde_json::to_string(&usage)?);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a process took is asked of the system in its own way everywhere.
#[cfg(not(unix))]
pub(crate) fn measured(_: &[OsString]) -> anyhow::Result<ExitCode> {
    bail!("the benchmark runs on Unix alone")
}

/// The command, measured.
pub(crate) fn command(command: &[OsString]) -> anyhow::Result<Command> {
    let mut measured = Command::new(std::env::current_exe()?);
    measured
        .arg("measured")
        .arg("--")
        .args(command)
        .stdin(Stdio::piped());
    Ok(measured)
}

/// Runs a [`command`] to its end: what it printed, and what it took.
pub(crate) fn run(mut command: Command) -> anyhow::Result<(String, Usage)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // `wait_with_output` would close it, and so end the process.
    let stdin = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(stdin);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        // Python says last what went wrong, all others first.
        let why = match said.first() {
            Some(first) if first.starts_with("Traceback") => said.last(),
            first => first,
        };
        bail!("it failed: {}", why.unwrap_or(&"it does not say why"));
    }
    parse(&String::from_utf8(output.stdout)?)
}

fn parse(output: &str) -> anyhow::Result<(String, Usage)> {
    let (printed, usage) = output.rsplit_once(MARK).context("it was not measured")?;
    Ok((printed.trim().to_owned(), serde_json::from_str(usage)?))
}

/// A [`command`] that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.spawn()?;
        Ok(Self {
            stdin: child.stdin.take(),
            child,
        })
    }

    pub(crate) fn stdout(&mut self) -> anyhow::Result<std::process::ChildStdout> {
        self.child.stdout.take().context("its output is not a pipe")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closes the pipe, which is how it is told.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_after_what_was_printed() {
        let (printed, usage) =
            parse("{\"count\":3}\n\nmeasured: {\"wall\":1.5,\"processor\":0.25,\"peak_kib\":7000}")
                .expect("is measured");
        assert_eq!(printed, "{\"count\":3}");
        let expected = Usage {
            wall: 1.5,
            processor: 0.25,
            peak_kib: 7000,
        };
        assert_eq!(usage, expected);
        for text in [
            "",
            "{}",
            "measured: {}",
            "\nmeasured: {}",
            "\nmeasured: {\"wall\":1",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
