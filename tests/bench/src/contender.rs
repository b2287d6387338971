//! The tasks of a contender.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{Service, Tally};

/// A task, from the command line.
#[derive(Clone, Debug)]
pub enum Task {
    /// `list`: read every certificate of the zone, and keep them all.
    List,
    /// `stream`: read every certificate of the zone, and keep none.
    Stream,
    /// `ids FILE`: read every certificate of the zone, and write the ids to the file, one a line, as they come.
    Ids {
        /// The file.
        file: PathBuf,
    },
    /// `issue COUNT FOLDER`: issue certificates, each for a new key, and write keys and certificates to the folder.
    Issue {
        /// The number of certificates.
        count: u64,
        /// The folder.
        folder: PathBuf,
    },
    /// `revoke FILE`: revoke the certificates with these ids, and wait until all are revoked.
    Revoke {
        /// The ids.
        ids: Vec<String>,
    },
    /// `get ID TIMES`: get a certificate several times, one after another.
    Get {
        /// The certificate's id.
        id: String,
        /// The number of times.
        times: u64,
    },
}

impl Task {
    /// Parses the command line.
    pub fn from_arguments() -> anyhow::Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(match arguments[..] {
            ["list"] => Self::List,
            ["stream"] => Self::Stream,
            ["ids", file] => Self::Ids { file: file.into() },
            ["issue", count, folder] => Self::Issue {
                count: count.parse()?,
                folder: folder.into(),
            },
            ["revoke", file] => Self::Revoke {
                ids: read_ids(Path::new(file))?,
            },
            ["get", id, times] => Self::Get {
                id: id.to_owned(),
                times: times.parse()?,
            },
            _ => {
                bail!(
                    "the tasks are: list, stream, ids FILE, issue COUNT FOLDER, revoke FILE, get ID TIMES"
                )
            }
        })
    }
}

/// Reads a file of ids, one a line.
pub fn read_ids(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file).context("can't read the ids")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Runs the task of the command line, and prints the tally.
pub async fn run(
    contender: impl AsyncFnOnce(Service, Task) -> anyhow::Result<Tally>,
) -> anyhow::Result<()> {
    let tally = contender(Service::from_env()?, Task::from_arguments()?).await?;
    print_json(&tally)
}

/// Prints a line of JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(value)?)?;
    Ok(())
}
