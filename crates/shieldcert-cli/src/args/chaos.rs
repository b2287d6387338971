//! Faults by chance.

use std::str::FromStr;

use shieldcert_emulator::{Chaos, Fault, ParseError};

/// Faults, or a request for the list of them.
#[derive(Debug, Clone)]
pub(crate) enum ChaosArg {
    Help,
    Faults(Chaos),
}

impl FromStr for ChaosArg {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "help" => Ok(Self::Help),
            faults => faults.parse().map(Self::Faults),
        }
    }
}

/// What `--chaos help` prints.
pub(crate) fn help() -> String {
    format!(
        "Faults are written NAME=PERCENT%, separated by commas. A parameter follows the percentage:\n\
         --chaos \"lose-response=5%, late=2%:1s..60s, respond=1%:503 retry-after=30\"\n\n{}",
        Fault::help()
    )
}
