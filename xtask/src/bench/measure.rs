//! Measures a process, and ends it with the runner.
//!
//! The system sums up the usage of all ended children of a process. To get the usage of one, each measured process has
//! a parent of its own: this program again, with the hidden task `measured`. The parent also holds a pipe to the runner,
//! and ends its child when the pipe closes: however the runner ends, no process is left behind.

use std::ffi::OsString;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The resources that a process used, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Wall time in seconds.
    pub(crate) wall: f64,
    /// Processor time in seconds, user and system.
    pub(crate) processor: f64,
    /// Peak memory in KiB.
    pub(crate) peak_kib: i64,
}

/// Precedes the usage, on a line of its own after the output of the process.
const MARK: &str = "\nmeasured: ";

/// The hidden task: runs the command, and prints its usage after its output.
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
        .context("the process can't be started")?;
    let pid = Pid::from_raw(child.id().try_into()?);
    thread::spawn(move || {
        // Nothing is ever sent: this returns when the runner closes the pipe or ends.
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
    // The reader may have ended.
    let _ = write!(io::stdout(), "{MARK}{}", serde_json::to_string(&usage)?);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Other systems report usage in other ways.
#[cfg(not(unix))]
pub(crate) fn measured(_: &[OsString]) -> anyhow::Result<ExitCode> {
    bail!("the benchmark runs on Unix only")
}

/// Returns a command that measures `command`.
pub(crate) fn command(command: &[OsString]) -> anyhow::Result<Command> {
    let mut measured = Command::new(std::env::current_exe()?);
    measured
        .arg("measured")
        .arg("--")
        .args(command)
        .stdin(Stdio::piped());
    Ok(measured)
}

/// Runs a [`command`] to its end. Returns its output and its usage.
pub(crate) fn run(mut command: Command) -> anyhow::Result<(String, Usage)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // `wait_with_output` would close stdin, and so end the process.
    let stdin = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(stdin);
    if !output.status.success() {
        let lines = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        // Python prints the cause last, all others print it first.
        let why = match lines.first() {
            Some(first) if first.starts_with("Traceback") => lines.last(),
            first => first,
        };
        bail!("failed: {}", why.unwrap_or(&"no reason given"));
    }
    parse(&String::from_utf8(output.stdout)?)
}

fn parse(output: &str) -> anyhow::Result<(String, Usage)> {
    let (printed, usage) = output
        .rsplit_once(MARK)
        .context("the output has no usage")?;
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
        self.child.stdout.take().context("stdout is not a pipe")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Closing the pipe ends the process.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// A process that is killed with all that it has started: at the latest when this is dropped.
pub(crate) struct Killable(Child);

impl Killable {
    /// Starts a command, in a process group of its own. Nothing that it prints is kept.
    #[cfg(unix)]
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;

        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Other systems have no process groups.
    #[cfg(not(unix))]
    pub(crate) fn start(_: Command) -> anyhow::Result<Self> {
        bail!("the benchmark runs on Unix only")
    }

    /// Returns how it has ended by itself, if it has.
    pub(crate) fn status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, killpg};
            use nix::unistd::Pid;

            // The group may be gone. While its first process was not waited for, no other group has this number.
            if let (Ok(None), Ok(group)) = (self.0.try_wait(), self.0.id().try_into()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_is_parsed_after_the_output() {
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
