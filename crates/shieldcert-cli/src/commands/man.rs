//! `shieldcert man`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;

use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};

/// Print the manual page, or write those of all commands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shieldcert man | man -l -
  shieldcert man --dir /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, cli: clap::Command) -> Result {
        match self.dir {
            Some(folder) => {
                if !folder.is_dir() {
                    let problem = match folder.exists() {
                        true => "it is no folder; give one",
                        false => "there is no such folder; make it, or give another",
                    };
                    let message = format!("--dir {}: {problem}", folder.display());
                    return Err(Failure::usage(message));
                }
                clap_mangen::generate_to(cli, &folder)
                    .map_err(|error| Failure::file(&folder, &error))?;
            }
            None => {
                let mut page = Vec::new();
                let rendered = Page::new(cli).render(&mut page);
                let written = rendered.and_then(|()| io::stdout().write_all(&page));
                written.map_err(|error| Failure::output(&error))?;
            }
        }
        Ok(ExitCode::Done)
    }
}
