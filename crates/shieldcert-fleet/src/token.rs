//! Where tokens come from.

use std::fmt;
use std::process::Stdio;

use tokio::process::Command;

use crate::config::TokenSource;
use crate::error::{Error, Result};
use crate::folder::Folder;

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Command(command) => write!(f, "the command `{command}`"),
        }
    }
}

impl TokenSource {
    /// Reads the token of a budget.
    pub(crate) async fn read(&self, budget: &str, fleet: &Folder) -> Result<String> {
        let failed = |problem: String| Error::Token {
            budget: budget.to_owned(),
            problem: format!("{self}: {problem}"),
        };
        let text = match self {
            Self::Variable(name) => std::env::var(name)
                .map_err(|_| failed("it is not set; set it to the token".to_owned()))?,
            Self::File(path) => std::fs::read_to_string(fleet.resolve(path))
                .map_err(|error| failed(error.to_string()))?,
            Self::Command(command) => run(command, fleet).await.map_err(failed)?,
        };
        match text.trim() {
            "" => Err(failed("it is empty; put the token there".to_owned())),
            token => Ok(token.to_owned()),
        }
    }
}

async fn run(command: &str, fleet: &Folder) -> Result<String, String> {
    let (shell, flag) = match cfg!(windows) {
        true => ("cmd", "/C"),
        false => ("sh", "-c"),
    };
    let output = Command::new(shell)
        .args([flag, command])
        .current_dir(fleet.path())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("it can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("it failed ({})", output.status));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| "it printed something else than a token".to_owned())
}
