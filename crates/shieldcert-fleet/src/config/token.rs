//! Where tokens come from.

use super::TokenSource;
use super::error::ConfigError;
use super::section::Section;
use super::value::{path, text};

/// Parses the one source of a budget.
pub(super) fn token_source(budget: &Section<'_>) -> Result<TokenSource, ConfigError> {
    let variable = budget.get("token_env", |value| variable(&text(value)?))?;
    let file = budget.get("token_file", |value| {
        let path = path(value)?;
        refuse_token(&path.to_string_lossy())?;
        Ok(TokenSource::File(path))
    })?;
    let command = budget.get("token_command", |value| {
        let command = text(value)?;
        refuse_token(&command)?;
        Ok(TokenSource::Command(command))
    })?;
    let mut sources = [
        ("token_env", variable),
        ("token_file", file),
        ("token_command", command),
    ]
    .into_iter()
    .filter_map(|(key, source)| Some((key, source?)));
    let Some((_, source)) = sources.next() else {
        let message = "the budget has no token; give token_env, token_file or token_command";
        return Err(budget.refuse("token_env", message));
    };
    match sources.next() {
        None => Ok(source),
        Some((key, _)) => {
            let message = "the budget has more than one source of its token; keep one of token_env, token_file and \
                           token_command";
            Err(budget.refuse(key, message))
        }
    }
}

fn variable(name: &str) -> Result<TokenSource, String> {
    refuse_token(name)?;
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = name.starts_with(|c: char| is_inner(c) && !c.is_ascii_digit());
    if starts_well && name.chars().all(is_inner) {
        return Ok(TokenSource::Variable(name.to_owned()));
    }
    // The value may be a token, so it is not shown.
    Err("it is not the name of an environment variable, which has letters, digits and _; give the name, not the \
         token"
        .to_owned())
}

/// Refuses what looks like a token, without showing it.
fn refuse_token(text: &str) -> Result<(), String> {
    const MIN_LEN: usize = 36;
    let is_token = text.len() >= MIN_LEN
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if is_token {
        return Err(
            "it looks like the token itself, which does not belong in this file; give where the token is"
                .to_owned(),
        );
    }
    Ok(())
}
