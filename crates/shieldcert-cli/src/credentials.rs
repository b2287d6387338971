//! Where the credentials come from. Never from an argument, which every process of the machine can read.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use shieldcert::ClientBuilder;

use crate::args::globals::Globals;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, Result};

const TOKEN_VARIABLE: &str = "CLOUDFLARE_API_TOKEN";

/// Where the credentials come from. Shown in place of what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CredentialSource {
    TokenFile(PathBuf),
    TokenCommand(String),
    TokenVariable,
    EmailAndKeyVariables,
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenFile(path) => write!(f, "the token in {}", path.display()),
            Self::TokenCommand(command) => write!(f, "the token that `{command}` prints"),
            Self::TokenVariable => write!(f, "the token in {TOKEN_VARIABLE}"),
            Self::EmailAndKeyVariables => {
                f.write_str("the email and key in CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY")
            }
        }
    }
}

impl CredentialSource {
    pub(crate) fn of(globals: &Globals) -> Self {
        if let Some(path) = &globals.token_file {
            return Self::TokenFile(path.clone());
        }
        if let Some(command) = &globals.token_command {
            return Self::TokenCommand(command.clone());
        }
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match !is_set(TOKEN_VARIABLE) && is_set("CLOUDFLARE_API_KEY") {
            true => Self::EmailAndKeyVariables,
            false => Self::TokenVariable,
        }
    }

    /// Whether it is where they are looked for by default, and they are not there.
    pub(crate) fn is_missing(&self) -> bool {
        *self == Self::TokenVariable
            && std::env::var_os(TOKEN_VARIABLE).is_none_or(|value| value.is_empty())
    }

    /// Gives the credentials to a builder that has those of the environment.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder> {
        Ok(match self.read()? {
            Some(token) => builder.token(token),
            None => builder,
        })
    }

    /// Reads the token. `None` if the credentials are in the environment.
    pub(crate) fn read(&self) -> Result<Option<String>> {
        let token = match self {
            Self::TokenFile(path) => std::fs::read_to_string(path).map_err(|error| Failure {
                code: ExitCode::Usage,
                ..Failure::input(path, &error).about("--token-file")
            })?,
            Self::TokenCommand(command) => run(command)?,
            Self::TokenVariable | Self::EmailAndKeyVariables => return Ok(None),
        };
        let token = token.trim();
        if token.is_empty() {
            return Err(Failure::usage(format!("{self}: it is empty")));
        }
        Ok(Some(token.to_owned()))
    }
}

/// Runs a command in a shell. Its standard error, where it may ask for a password, is this process's.
fn run(command: &str) -> Result<String> {
    let (shell, flag) = match cfg!(windows) {
        true => ("cmd", "/C"),
        false => ("sh", "-c"),
    };
    let failure =
        |problem: String| Failure::usage(format!("--token-command `{command}`: {problem}"));
    let output = Command::new(shell)
        .args([flag, command])
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failure(format!("it can't be run: {error}")))?;
    if !output.status.success() {
        return Err(failure(format!("it failed ({})", output.status)));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| failure("it printed something else than a token".to_owned()))
}
