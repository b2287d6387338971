//! What a contender is asked to do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::{Answer, Service};

/// A task, from the command line.
#[derive(Clone, Debug)]
pub enum Task {
    /// `list`: read every certificate of the zone, and hold them all.
    List,
    /// `stream`: read every certificate of the zone, and hold none.
    Stream,
    /// `issue COUNT FOLDER`: issue so many, each for a key of its own, and write key and certificate to the folder.
    Issue {
        /// How many certificates.
        count: u64,
        /// Where they go.
        folder: PathBuf,
    },
    /// `revoke FILE`: revoke those with these ids, and wait until all of them are revoked.
    Revoke {
        /// The ids.
        ids: Vec<String>,
    },
    /// `get ID TIMES`: get this certificate so often, one time after the other.
    Get {
        /// The certificate's id.
        id: String,
        /// How often.
        times: u64,
    },
}

impl Task {
    /// Reads the command line.
    pub fn from_arguments() -> anyhow::Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(match arguments[..] {
            ["list"] => Self::List,
            ["stream"] => Self::Stream,
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
                bail!("the tasks are: list, stream, issue COUNT FOLDER, revoke FILE, get ID TIMES")
            }
        })
    }
}

/// Ids, one a line.
pub fn read_ids(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file).context("can't read the ids")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Does what the command line says, and prints the answer.
pub async fn run(
    contender: impl AsyncFnOnce(Service, Task) -> anyhow::Result<Answer>,
) -> anyhow::Result<()> {
    let answer = contender(Service::from_env()?, Task::from_arguments()?).await?;
    say(&answer)
}

/// Prints a line of JSON.
pub fn say(answer: &impl serde::Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(answer)?)?;
    Ok(())
}
