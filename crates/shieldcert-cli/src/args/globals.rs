//! The options that every command of the service has, in front of the command's name or behind it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use shieldcert::ZoneId;

use super::zone;
use crate::failure::Failure;
use crate::output::format::Format;
use crate::output::shell::quote;

// Not a doc comment: it would become that of the command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Use this zone; may be repeated where a command is about several [default: CLOUDFLARE_ZONE_ID]
    #[arg(long = "zone", value_name = "ID", value_parser = zone::parse)]
    pub(crate) zones: Vec<ZoneId>,

    /// Use an emulator in this process, which keeps its certificates in your data folder: no account, no network
    #[arg(long, conflicts_with_all = ["base_url", "ca_file", "token_file", "token_command"])]
    pub(crate) local: bool,

    /// Use the service at this base URL [default: CLOUDFLARE_BASE_URL, or else https://api.cloudflare.com/client/v4]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) base_url: Option<String>,

    /// Trust the CAs of this file too, in PEM, such as that of a proxy that breaks TLS open
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Read the API token from this file [default: CLOUDFLARE_API_TOKEN]
    #[arg(long, value_name = "FILE", conflicts_with = "token_command")]
    pub(crate) token_file: Option<PathBuf>,

    /// Run this command in a shell and read the API token from its output
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) token_command: Option<String>,

    /// Print in this format [default: table at a terminal; elsewhere the ids alone, where certificates are printed]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,

    /// Print these fields, separated by commas; the names are those of JSON
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub(crate) fields: Option<Vec<String>>,

    /// Print results, warnings and errors alone
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Use colors [default: auto, which obeys NO_COLOR and CLICOLOR_FORCE]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<Color>,

    /// Log what is sent to standard error; more with -vv and -vvv
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Globals {
    /// Combines what stood in front of the command's name with what stood behind it, which wins.
    pub(crate) fn merge(self, behind: Self) -> Self {
        Self {
            zones: [self.zones, behind.zones].concat(),
            local: self.local || behind.local,
            base_url: behind.base_url.or(self.base_url),
            ca_file: behind.ca_file.or(self.ca_file),
            token_file: behind.token_file.or(self.token_file),
            token_command: behind.token_command.or(self.token_command),
            output: behind.output.or(self.output),
            fields: behind.fields.or(self.fields),
            quiet: self.quiet || behind.quiet,
            color: behind.color.or(self.color),
            verbose: self.verbose.max(behind.verbose),
        }
    }

    /// The options that choose the service and the credentials, as a shell reads them.
    pub(crate) fn service_options(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(quote);
        let text = |text: &Option<String>| text.as_ref().map(quote);
        let mut options = Vec::new();
        if self.local {
            options.push("--local".to_owned());
        }
        for (option, value) in [
            ("--base-url", text(&self.base_url)),
            ("--ca-file", path(&self.ca_file)),
            ("--token-file", path(&self.token_file)),
            ("--token-command", text(&self.token_command)),
        ] {
            options.extend(value.map(|value| format!("{option} {value}")));
        }
        options
    }

    /// What clap can't see, because the options stand on both sides of the command's name.
    pub(crate) fn conflict(&self) -> Option<&'static str> {
        let others = [
            ("--base-url", self.base_url.is_some()),
            ("--ca-file", self.ca_file.is_some()),
            ("--token-file", self.token_file.is_some()),
            ("--token-command", self.token_command.is_some()),
        ];
        let given = others.iter().find(|(_, given)| *given)?;
        if self.local {
            return Some(match given.0 {
                "--base-url" => {
                    "--local and --base-url are for different services; give one of them"
                }
                "--ca-file" => {
                    "--local makes no connection, so it has no use for --ca-file; leave it out"
                }
                _ => "--local needs no token; leave out --token-file and --token-command",
            });
        }
        (self.token_file.is_some() && self.token_command.is_some())
            .then_some("--token-file and --token-command both give a token; give one of them")
    }
}

impl Globals {
    /// Refuses options in front of a command that has no use for them.
    pub(crate) fn reject(&self, command: &str) -> Result<(), Failure> {
        match *self == Self::default() {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "the options in front of `{command}` are for commands that use the service; leave them out, or see \
                 `shieldcert {command} --help`"
            ))),
        }
    }
}
