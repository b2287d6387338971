//! Whole numbers.

use std::str::FromStr;

/// Parses a whole number.
pub(crate) fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "write a whole number, such as 1000".to_owned())
}
