//! Rate limits.

use std::str::FromStr;

use shieldcert_emulator::RateLimit;

/// A rate limit, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RateLimitArg {
    Off,
    Limit(RateLimit),
}

impl FromStr for RateLimitArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            limit => limit
                .parse()
                .map(Self::Limit)
                .map_err(|error| format!("{error}, or off")),
        }
    }
}
