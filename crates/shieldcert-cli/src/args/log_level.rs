//! What is logged.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::usage::exit_with_usage_error;

const VARIABLE: &str = "RUST_LOG";

const LEVELS: &str = "off, error, warn, info, debug or trace";

/// Parses a level.
pub(crate) fn parse(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| format!("write {LEVELS}"))
}

/// The filter of the environment variable, or else the informational messages.
pub(crate) fn from_environment() -> Targets {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    if text.is_empty() {
        return Targets::new().with_default(LevelFilter::INFO);
    }
    text.parse().unwrap_or_else(|_| {
        exit_with_usage_error(&format!(
            "invalid value {text:?} in {VARIABLE}; write a level ({LEVELS}), or MODULE=LEVEL, separated by commas"
        ))
    })
}
