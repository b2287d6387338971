//! `shieldcert systemd-unit`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use shieldcert::ZoneId;
use shieldcert_fleet::parse_duration;

use super::issue::parse_days;
use super::renew::check_days;
use crate::args::zone;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};
use crate::output::shell;

/// Print systemd units that renew certificates, or keep a fleet
///
/// For files it prints a service that runs `shieldcert renew` once, and the timer that starts it every day. A quoted
/// pattern, such as 'ids/*.pem', is expanded at each run, so that files that are added later are renewed too.
///
/// With --fleet it prints a service that runs `shieldcert fleet run`. systemd starts it again if it ends, or no longer says
/// that it is alive.
///
/// The services may write to the folders of what they renew or keep, and to nothing else. The units say how they are
/// installed, and what to change: user, token, and what a command needs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert systemd-unit 'ids/*.pem' --exec 'systemctl reload nginx' --revoke-old-after 24h --print
  shieldcert systemd-unit 'ids/*.pem' --print --only timer | sudo tee /etc/systemd/system/shieldcert-renew.timer
  shieldcert systemd-unit --fleet /srv/sensors --print | sudo tee /etc/systemd/system/shieldcert-fleet.service
  sudo systemctl daemon-reload && sudo systemctl enable --now shieldcert-fleet")]
pub(crate) struct SystemdUnit {
    /// The folder of the fleet
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "RenewArgs"])]
    fleet: Option<PathBuf>,

    /// Files to renew, or quoted patterns of their names
    #[arg(value_name = "FILE", required_unless_present = "fleet")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    renew: RenewArgs,

    /// Print the units to standard output
    #[arg(long, required = true)]
    print: bool,
}

/// What `shieldcert renew` is given, and when.
#[derive(Debug, Args)]
struct RenewArgs {
    /// The zone that has issued the certificates [default: CLOUDFLARE_ZONE_ID]
    #[arg(long, value_name = "ID", value_parser = zone::parse)]
    zone: Option<ZoneId>,

    /// The file with the API token, which systemd hands to the service
    #[arg(long, value_name = "FILE", default_value = "/etc/shieldcert/token")]
    token_file: PathBuf,

    /// Renew what expires within this time
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = Length::parse)]
    if_within: Length,

    /// How many days the new certificates are valid [default: as long as the old ones]
    #[arg(long, value_name = "N", value_parser = parse_days, allow_hyphen_values = true)]
    days: Option<u32>,

    /// Run this shell command once, after all files were replaced
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    exec: Option<String>,

    /// Run this shell command for each file that was replaced; SHIELDCERT_OUTPUT_FILE is its path
    #[arg(long, value_name = "CMD", value_parser = NonEmptyStringValueParser::new())]
    exec_each: Option<String>,

    /// Revoke the old certificate, so long after the new one is in use, such as 24h
    #[arg(long, value_name = "DURATION", value_parser = Length::parse)]
    revoke_old_after: Option<Length>,

    /// When the timer starts the service, as systemd.time(7) writes it; each machine chooses its own minute of the next hour
    #[arg(long, value_name = "WHEN", default_value = "daily", value_parser = NonEmptyStringValueParser::new())]
    on_calendar: String,

    /// Print this unit alone [default: both]
    #[arg(long, value_name = "UNIT", value_enum)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Service,
    Timer,
}

/// A duration as it was written.
#[derive(Debug, Clone)]
struct Length {
    text: String,
    duration: Duration,
}

impl Length {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let (text, duration) = (text.to_owned(), parse_duration(text)?);
        Ok(Self { text, duration })
    }
}

impl SystemdUnit {
    pub(crate) fn run(self) -> Result {
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("this program's own path: {error}")))?;
        let text = match &self.fleet {
            Some(folder) => unit(&escape(&program)?, &escape(&absolute(folder)?)?),
            None => self.renew.units(&program, &self.files)?,
        };
        let mut out = io::stdout();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))?;
        Ok(ExitCode::Done)
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Failure::file(path, &error))
}

/// Where the units belong.
const SERVICE: &str = "/etc/systemd/system/shieldcert-renew.service";
const TIMER: &str = "/etc/systemd/system/shieldcert-renew.timer";

impl RenewArgs {
    fn units(&self, program: &Path, files: &[PathBuf]) -> Result<String> {
        check_days(self.days, Some(self.if_within.duration))?;
        let service = self.service(program, files)?;
        let timer = self.timer()?;
        Ok(match self.only {
            Some(Part::Service) => format!("# {SERVICE}\n{service}"),
            Some(Part::Timer) => format!("# {TIMER}\n{timer}"),
            None => {
                let command = shell::this_command();
                format!(
                    "\
# Two units, a file each. To install them, and let the timer run:
#   {command} --only service | sudo tee {SERVICE}
#   {command} --only timer | sudo tee {TIMER}
#   sudo systemctl daemon-reload && sudo systemctl enable --now shieldcert-renew.timer
# To run it once now, and to see what it did:
#   sudo systemctl start shieldcert-renew.service; journalctl -u shieldcert-renew.service

# {SERVICE}
{service}
# {TIMER}
{timer}"
                )
            }
        })
    }

    fn zone(&self) -> Result<ZoneId> {
        let zone = self.zone.clone().or_else(zone::from_environment);
        zone.ok_or_else(|| {
            Failure::usage(
                "--zone: give the zone that has issued the certificates, or set CLOUDFLARE_ZONE_ID",
            )
        })
    }

    fn service(&self, program: &Path, files: &[PathBuf]) -> Result<String> {
        let mut folders = BTreeSet::new();
        let mut words = Vec::new();
        let mut has_pattern = false;
        for file in files {
            let (word, folder) = Word::of(file)?;
            has_pattern |= matches!(word, Word::Pattern(_));
            folders.insert(quote(&escape(&folder)?));
            words.push(word);
        }
        let mut arguments = vec![
            program.display().to_string(),
            "--zone".to_owned(),
            self.zone()?.to_string(),
            "--token-file".to_owned(),
            "/run/credentials/shieldcert-renew.service/token".to_owned(),
            "renew".to_owned(),
            "--if-within".to_owned(),
            self.if_within.text.clone(),
        ];
        let length = |length: &Option<Length>| length.as_ref().map(|length| length.text.clone());
        for (option, value) in [
            ("--days", self.days.map(|days| days.to_string())),
            ("--revoke-old-after", length(&self.revoke_old_after)),
            ("--exec", self.exec.clone()),
            ("--exec-each", self.exec_each.clone()),
        ] {
            arguments.extend(
                value
                    .map(|value| [option.to_owned(), value])
                    .into_iter()
                    .flatten(),
            );
        }
        let mut words: Vec<Word> = arguments
            .into_iter()
            .map(Word::Plain)
            .chain(words)
            .collect();
        if has_pattern {
            let script: Vec<_> = words.iter().map(Word::in_shell).collect();
            let script = format!("exec {}", script.join(" "));
            words = ["/bin/sh", "-c", &script]
                .map(|word| Word::Plain(word.to_owned()))
                .into();
        }
        let command: Vec<_> = words.iter().map(Word::in_unit).collect::<Result<_>>()?;
        let command = command.join(" ");
        let folders = folders.into_iter().collect::<Vec<_>>().join(" ");
        let token = quote(&escape(&absolute(&self.token_file)?)?);
        // Commands were written for this folder.
        let folder = match self.exec.is_some() || self.exec_each.is_some() {
            true => format!("WorkingDirectory={}\n", escape(&absolute(Path::new("."))?)?),
            false => String::new(),
        };
        Ok(format!(
            "\
[Unit]
Description=Renews client certificates
Documentation=man:shieldcert-renew(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
{folder}# What has failed is tried again, but for a wrong command line and a refused token.
Restart=on-failure
RestartSec=30min
RestartPreventExitStatus=2 4
# What is in flight is finished.
TimeoutStopSec=120

# The user that owns the files.
#User=shieldcert
# The token, in a file that root alone can read.
LoadCredential=token:{token}
# What is kept between runs, in /var/lib/shieldcert.
StateDirectory=shieldcert
StateDirectoryMode=0700
Environment=XDG_STATE_HOME=%S

# The commands of --exec and --exec-each have these bounds too. Leave out what they can't do without.
UMask=0077
ReadWritePaths={folders}
# To keep the files' owners. With a User= that owns them, leave it empty.
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE
{HARDENING}"
        ))
    }

    fn timer(&self) -> Result<String> {
        let when = Word::Plain(self.on_calendar.clone());
        when.check()?;
        let when = self.on_calendar.replace('%', "%%");
        Ok(format!(
            "\
[Unit]
Description=Renews client certificates when they are due
Documentation=man:shieldcert-renew(1)

[Timer]
OnCalendar={when}
# A machine that was off then catches up.
Persistent=true
# Machines spread over an hour, each at its own time.
RandomizedDelaySec=1h
FixedRandomDelay=true

[Install]
WantedBy=timers.target
"
        ))
    }
}

/// A word of a command line.
enum Word {
    Plain(String),
    /// A path in whose last part a shell expands `*`, `?` and `[…]`.
    Pattern(String),
}

const WILDCARDS: [char; 3] = ['*', '?', '['];

impl Word {
    /// The word for a file, and the folder in which it is replaced.
    fn of(file: &Path) -> Result<(Self, PathBuf)> {
        let refuse = |problem: &str| Failure::usage(format!("{}: {problem}", file.display()));
        let path = absolute(file)?;
        let folder = |path: &Path| {
            let folder = path.parent().map(Path::to_owned);
            folder.ok_or_else(|| refuse("it is no file; give the files to renew"))
        };
        if let Ok(place) = path.canonicalize() {
            if place.is_dir() {
                return Err(refuse(
                    "it is a folder; give the files in it, such as 'FOLDER/*.pem' in quotes",
                ));
            }
            // A link stays as it is, and what it leads to is replaced.
            let word = path
                .to_str()
                .ok_or_else(|| refuse("its path is not UTF-8; rename it"))?;
            return Ok((Self::Plain(word.to_owned()), folder(&place)?));
        }
        let word = path
            .to_str()
            .ok_or_else(|| refuse("its path is not UTF-8; rename it"))?;
        let folder = folder(&path)?;
        if !word.contains(WILDCARDS) {
            return Err(refuse("there is no such file; give the files to renew"));
        }
        if folder.to_string_lossy().contains(WILDCARDS) {
            return Err(refuse(
                "the service must know the folder to write to; use a pattern for the name of the file alone",
            ));
        }
        Ok((Self::Pattern(word.to_owned()), folder))
    }

    fn in_shell(&self) -> String {
        match self {
            Self::Plain(word) => shell::quote(word),
            Self::Pattern(pattern) => {
                let is_plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,!^]".contains(c);
                let mut word = String::new();
                for c in pattern.chars() {
                    if !is_plain(c) && !WILDCARDS.contains(&c) {
                        word.push('\\');
                    }
                    word.push(c);
                }
                word
            }
        }
    }

    fn check(&self) -> Result<&str> {
        let (Self::Plain(word) | Self::Pattern(word)) = self;
        match word.chars().any(char::is_control) {
            true => Err(Failure::usage(format!(
                "{word:?}: it has a control character, which a unit can't have; put the command into a script"
            ))),
            false => Ok(word),
        }
    }

    /// As a command line in a unit has it, which knows variables, specifiers, quotes and escapes.
    fn in_unit(&self) -> Result<String> {
        let word = self.check()?;
        let text = [('\\', "\\\\"), ('"', "\\\""), ('%', "%%"), ('$', "$$")];
        let text = text
            .iter()
            .fold(word.to_owned(), |text, (c, by)| text.replace(*c, by));
        let is_plain = |c: char| !c.is_whitespace() && !"\"'\\;".contains(c);
        Ok(match !word.is_empty() && word.chars().all(is_plain) {
            true => text,
            false => format!("\"{text}\""),
        })
    }
}

/// What neither service needs.
const HARDENING: &str = "\
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
";

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
{HARDENING}CapabilityBoundingSet=

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

    #[test]
    fn words_are_written_as_units_and_shells_read_them() {
        for (word, unit, shell) in [
            ("/srv/a.pem", "/srv/a.pem", "/srv/a.pem"),
            ("", "\"\"", "''"),
            ("100% $x", "\"100%% $$x\"", "'100% $x'"),
            (r#"echo "a\b""#, r#""echo \"a\\b\"""#, r#"'echo "a\b"'"#),
        ] {
            let word = Word::Plain(word.to_owned());
            assert_eq!(word.in_unit().expect("a word"), unit);
            assert_eq!(word.in_shell(), shell);
        }
        let pattern = Word::Pattern("/srv/a b;$x/*.pem".to_owned());
        assert_eq!(pattern.in_shell(), r"/srv/a\ b\;\$x/*.pem");
        let odd = Word::Plain("a\nExecStart=/bin/sh".to_owned());
        assert!(odd.in_unit().is_err());
    }
}
