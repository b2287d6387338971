//! `shieldcert systemd-unit`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};

/// Print a systemd unit that keeps a fleet
///
/// The unit runs `shieldcert fleet run` as a service that may write to the fleet's folder and to nothing else. systemd
/// starts it again if it ends, or no longer says that it is alive. The unit says what to change: user, token, and what a
/// deploy command needs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert systemd-unit --fleet /srv/sensors --print | sudo tee /etc/systemd/system/shieldcert-fleet.service
  sudo systemctl daemon-reload && sudo systemctl enable --now shieldcert-fleet")]
pub(crate) struct SystemdUnit {
    /// The folder of the fleet
    #[arg(long, value_name = "DIR")]
    fleet: PathBuf,

    /// Print the unit to standard output
    #[arg(long, required = true)]
    print: bool,
}

impl SystemdUnit {
    pub(crate) fn run(self) -> Result {
        let folder =
            std::path::absolute(&self.fleet).map_err(|error| Failure::file(&self.fleet, &error))?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("this program's own path: {error}")))?;
        let (program, folder) = (escape(&program)?, escape(&folder)?);
        let unit = unit(&program, &folder);
        let mut out = io::stdout();
        let written = out.write_all(unit.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))?;
        Ok(ExitCode::Done)
    }
}

fn unit(program: &str, folder: &str) -> String {
    // A command line knows variables; other settings don't.
    let command = [program, folder].map(|path| quote(&path.replace('$', "$$")));
    let [program, argument] = command;
    let folder = quote(folder);
    format!(
        "\
[Unit]
Description=Certificates of the fleet in {folder}
Documentation=man:shieldcert-fleet-run(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={program} fleet run --dir {argument}
Restart=on-failure
RestartSec=30
# It says that it is alive every few seconds, but for reading a large manifest, which takes up to a minute.
WatchdogSec=300
# What is in flight is finished.
TimeoutStopSec=120

# The user that owns the folder.
#User=shieldcert
# The token, as token_file = \"/run/credentials/shieldcert-fleet.service/token\" in fleet.toml.
#LoadCredential=token:/etc/shieldcert/token

# The deploy command has these bounds too. Leave out what it can't do without. `owner` in fleet.toml needs CAP_CHOWN.
UMask=0077
# The folder of --metrics-textfile belongs here, too.
ReadWritePaths={folder}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
PrivateDevices=true
NoNewPrivileges=true
ProtectKernelTunables=true
ProtectKernelModules=true
ProtectKernelLogs=true
ProtectControlGroups=true
ProtectClock=true
ProtectHostname=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
MemoryDenyWriteExecute=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
"
    )
}

/// A path as a unit has it, where `%` begins a specifier.
fn escape(path: &Path) -> Result<String> {
    let refuse = |problem: &str| {
        Failure::usage(format!(
            "{}: the path {problem}, which a unit can't have; give the folder another name",
            path.display()
        ))
    };
    let text = path.to_str().ok_or_else(|| refuse("is not UTF-8"))?;
    if text
        .chars()
        .any(|c| c.is_control() || c == '"' || c == '\\')
    {
        return Err(refuse("has a quote, a backslash or a control character"));
    }
    Ok(text.replace('%', "%%"))
}

/// Keeps what has blanks together.
fn quote(text: &str) -> String {
    match text.contains([' ', '\'', ';']) {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_units_read_them() {
        let folder = escape(Path::new("/srv/50% $x")).expect("a path");
        let unit = unit("/usr/bin/shieldcert", &folder);
        for line in [
            "ExecStart=/usr/bin/shieldcert fleet run --dir \"/srv/50%% $$x\"",
            "ReadWritePaths=\"/srv/50%% $x\"",
        ] {
            assert!(unit.lines().any(|own| own == line), "{unit}");
        }
        for path in ["/srv/a\nExecStart=/bin/sh", "/srv/a\"b"] {
            assert!(escape(Path::new(path)).is_err(), "{path:?}");
        }
    }
}
