//! The choices that the service depends on. Everything else in the crate may import this module.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use crate::error::ParseError;

/// The path of the API's base URL.
pub(crate) const BASE_PATH: &str = "/client/v4";

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Order {
    /// The certificate issued last comes first.
    #[default]
    NewestFirst,
    /// The certificate issued first comes first.
    OldestFirst,
    /// By id, which says nothing about when a certificate was issued.
    ById,
    /// By common name. Needs the store in memory.
    ByName,
    /// By the time when a certificate expires. Needs the store in memory.
    ByExpiry,
}

impl Order {
    /// Whether only the store in memory has this order.
    pub(crate) fn needs_memory(self) -> bool {
        matches!(self, Self::ByName | Self::ByExpiry)
    }
}

/// What `total_count` counts in the response to a list with a status filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TotalCount {
    /// Every certificate of the zone, as the published document says.
    #[default]
    Unfiltered,
    /// The certificates that match the filter.
    Filtered,
}

/// How certificate ids are written in responses. Requests may use either style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IdStyle {
    /// A UUID with hyphens, 36 characters: what a documented real response has.
    #[default]
    Hyphenated,
    /// 32 hex digits: as many as the published document allows.
    Hex,
}

impl IdStyle {
    pub(crate) fn format(self, id: Uuid) -> String {
        match self {
            Self::Hyphenated => id.hyphenated().to_string(),
            Self::Hex => id.simple().to_string(),
        }
    }
}

/// The rule by which the edge admits a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EdgeRule {
    /// `cert_verified` and not `cert_revoked`: a revoked certificate is blocked.
    #[default]
    VerifiedAndNotRevoked,
    /// `cert_verified` alone, as many rules have it: a revoked certificate is admitted.
    Verified,
}

/// The settings of an emulator that its operations and handlers read.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) transition_delay: Duration,
    pub(crate) reactivate_revoked: bool,
    pub(crate) order: Order,
    pub(crate) total_count: TotalCount,
    pub(crate) ids: IdStyle,
    /// The most certificates of a zone that may be active at once.
    pub(crate) quota: Option<usize>,
    /// Added to every request.
    pub(crate) latency: Duration,
    /// Whether the control endpoints are served.
    pub(crate) control: bool,
    pub(crate) edge_rule: EdgeRule,
    /// The names of the server certificates, beside those of this machine.
    pub(crate) tls_names: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            transition_delay: Duration::from_secs(2),
            reactivate_revoked: true,
            order: Order::default(),
            total_count: TotalCount::default(),
            ids: IdStyle::default(),
            quota: None,
            latency: Duration::ZERO,
            control: false,
            edge_rule: EdgeRule::default(),
            tls_names: Vec::new(),
        }
    }
}

/// A number of requests that are allowed in a window of whole seconds.
///
/// ```
/// use shieldcert_emulator::RateLimit;
///
/// let limit: RateLimit = "1200/300s".parse()?;
/// assert_eq!(limit, RateLimit::default());
/// assert_eq!(limit.to_string(), "1200/300s");
/// # Ok::<_, shieldcert_emulator::ParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    quota: u32,
    window: Duration,
}

impl RateLimit {
    /// Allows `quota` requests in `window`. Both are at least 1; the window is rounded up to whole seconds.
    pub fn new(quota: u32, window: Duration) -> Self {
        Self {
            quota: quota.max(1),
            window: Duration::from_secs(round_up_to_seconds(window).max(1)),
        }
    }

    pub(crate) fn quota(self) -> u32 {
        self.quota
    }

    pub(crate) fn window(self) -> Duration {
        self.window
    }
}

impl Default for RateLimit {
    /// The service's own limit: 1,200 requests in 300 seconds.
    fn default() -> Self {
        Self::new(1200, Duration::from_secs(300))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.quota, self.window.as_secs())
    }
}

/// The longest window that can be written, in seconds: a day.
const MAX_WINDOW: u64 = 86_400;

impl FromStr for RateLimit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (quota, window) = text.split_once('/')?;
            let seconds: u64 = window.strip_suffix('s')?.parse().ok()?;
            let quota: u32 = quota.parse().ok()?;
            (quota > 0 && (1..=MAX_WINDOW).contains(&seconds))
                .then(|| Self::new(quota, Duration::from_secs(seconds)))
        };
        parse().ok_or_else(|| {
            ParseError::new(format!(
                "{text:?} is not a rate limit; write requests, from 1 to {}, and seconds, from 1 to {MAX_WINDOW}, such as \
                 1200/300s",
                u32::MAX
            ))
        })
    }
}

/// Whole seconds, rounded up: how the service's headers count time.
pub(crate) fn round_up_to_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limits_round_trip_through_text() {
        for text in ["1200/300s", "1/1s", "1000000/86400s"] {
            let limit: RateLimit = text.parse().expect(text);
            assert_eq!(limit.to_string(), text);
        }
        for text in [
            "", "1200", "0/1s", "1/0s", "1/1", "1/86401s", "-1/1s", "1/1m", "off", "a/bs",
        ] {
            let error = text.parse::<RateLimit>().expect_err(text);
            assert!(error.to_string().contains("1200/300s"), "{error}");
        }
    }
}
