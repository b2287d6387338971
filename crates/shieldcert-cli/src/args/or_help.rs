//! Values whose syntax has a help of its own.

use std::str::FromStr;

/// A value, or a request for help on how it is written.
#[derive(Debug, Clone)]
pub(crate) enum OrHelp<T> {
    Help,
    Value(T),
}

impl<T: FromStr> FromStr for OrHelp<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "help" => Ok(Self::Help),
            value => value.parse().map(Self::Value),
        }
    }
}
