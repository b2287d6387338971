//! `shieldcert completions`.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};

/// Print a script that completes the command line in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert completions bash > /etc/bash_completion.d/shieldcert
  shieldcert completions zsh > \"${fpath[1]}/_shieldcert\"
  shieldcert completions fish > ~/.config/fish/completions/shieldcert.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut cli: clap::Command) -> Result {
        let mut script = Vec::new();
        let name = cli.get_name().to_owned();
        clap_complete::generate(self.shell, &mut cli, name, &mut script);
        let written = io::stdout().write_all(&script);
        written.map_err(|error| Failure::output(&error))?;
        Ok(ExitCode::Done)
    }
}
