//! Zone ids.

use shieldcert::ZoneId;

use super::usage::exit_with_usage_error;

/// The zone id of the examples in Cloudflare's documents.
#[cfg(feature = "emulator")]
const EXAMPLE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

const VARIABLE: &str = "CLOUDFLARE_ZONE_ID";

/// Parses a zone id.
pub(crate) fn parse(text: &str) -> Result<ZoneId, String> {
    text.parse::<ZoneId>()
        .map_err(|error| error.problem().to_owned())
}

/// The zone of the environment variable.
///
/// Called only where a zone is needed: the variable may hold something for other commands.
pub(crate) fn from_environment() -> Option<ZoneId> {
    let zone = std::env::var(VARIABLE).unwrap_or_default();
    if zone.is_empty() {
        return None;
    }
    Some(parse(&zone).unwrap_or_else(|problem| {
        exit_with_usage_error(&format!("invalid value in {VARIABLE}: {problem}"))
    }))
}

/// The zone of the examples, for the emulator, where every zone exists.
#[cfg(feature = "emulator")]
pub(crate) fn example() -> ZoneId {
    EXAMPLE.parse().expect("it has 32 hex digits")
}
