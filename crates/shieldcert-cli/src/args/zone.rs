//! Zone ids.

use super::usage::exit_with_usage_error;

/// The zone id of the examples in Cloudflare's documents.
const EXAMPLE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

const VARIABLE: &str = "CLOUDFLARE_ZONE_ID";

/// Parses a zone id.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not a zone id; write 32 hex digits"))
}

/// The zone of the environment variable, or else an example.
///
/// Called only where a zone is needed: the variable may hold something for other commands.
pub(crate) fn from_environment_or_example() -> String {
    let zone = std::env::var(VARIABLE).unwrap_or_default();
    if zone.is_empty() {
        return EXAMPLE.to_owned();
    }
    parse(&zone).unwrap_or_else(|error| {
        exit_with_usage_error(&format!("invalid value in {VARIABLE}: {error}"))
    })
}
