//! Tokens.

use std::ffi::OsStr;
use std::fmt;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

/// A token. Its Debug output does not show it.
#[derive(Clone)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Parses a token. The error of clap's own parsers would show it.
#[derive(Clone)]
pub(crate) struct TokenParser;

impl TypedValueParser for TokenParser {
    type Value = Token;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Token, clap::Error> {
        let problem = match value.to_str() {
            Some("") => "it is empty",
            Some(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Ok(Token(text.to_owned()));
            }
            _ => "it has characters other than visible ASCII, such as a space or a line end",
        };
        let argument = argument.map_or_else(String::new, ToString::to_string);
        let message = format!(
            "invalid value for '{argument}': {problem}\n\nFor more information, try '--help'.\n"
        );
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}
