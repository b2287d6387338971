//! The filter of a list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::error::input::{InvalidInput, quote};

/// The certificates that a list holds, by their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[non_exhaustive]
pub enum StatusFilter {
    /// Every certificate. The default.
    #[default]
    All,
    /// `active` certificates, expired ones included.
    Active,
    /// `pending_reactivation` certificates.
    PendingReactivation,
    /// `pending_revocation` certificates.
    PendingRevocation,
    /// `revoked` certificates.
    Revoked,
}

impl StatusFilter {
    const ALL: [Self; 5] = [
        Self::All,
        Self::Active,
        Self::PendingReactivation,
        Self::PendingRevocation,
        Self::Revoked,
    ];

    /// Returns the API's name of the filter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::PendingReactivation => "pending_reactivation",
            Self::PendingRevocation => "pending_revocation",
            Self::Revoked => "revoked",
        }
    }

    /// Whether a list with this filter holds certificates with this status.
    pub fn matches(self, status: &Status) -> bool {
        self == Self::All || status == self.as_str()
    }
}

impl TryFrom<&Status> for StatusFilter {
    type Error = InvalidInput;

    /// Fails for [`Status::Unknown`], which the API can't filter by.
    fn try_from(status: &Status) -> Result<Self, InvalidInput> {
        status.as_str().parse()
    }
}

impl TryFrom<&str> for StatusFilter {
    type Error = InvalidInput;

    fn try_from(text: &str) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl TryFrom<String> for StatusFilter {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<StatusFilter> for &'static str {
    fn from(filter: StatusFilter) -> Self {
        filter.as_str()
    }
}

impl FromStr for StatusFilter {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let found = Self::ALL.into_iter().find(|filter| filter.as_str() == text);
        found.ok_or_else(|| {
            InvalidInput::new(
                "status",
                format!(
                    "{} can't be filtered by; give one of {}",
                    quote(text),
                    Self::ALL.map(Self::as_str).join(", ")
                ),
            )
        })
    }
}

impl AsRef<str> for StatusFilter {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<&str> for StatusFilter {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use shieldcert_api::types::ListClientCertificatesStatus;

    use super::*;

    #[test]
    fn filters_are_the_ones_of_the_spec() {
        for filter in StatusFilter::ALL {
            assert_eq!(filter.as_str().parse(), Ok(filter));
            filter
                .as_str()
                .parse::<ListClientCertificatesStatus>()
                .expect("is in the spec");
        }
        assert_eq!(
            "Active"
                .parse::<StatusFilter>()
                .expect_err("another case")
                .to_string(),
            "status: \"Active\" can't be filtered by; give one of all, active, pending_reactivation, \
             pending_revocation, revoked"
        );
    }

    #[test]
    fn statuses_convert_to_filters_that_match_them() {
        for status in [
            "active",
            "revoked",
            "pending_revocation",
            "pending_reactivation",
        ] {
            let status = Status::from(status);
            let filter = StatusFilter::try_from(&status).expect("a known status");
            assert!(filter.matches(&status) && StatusFilter::All.matches(&status));
        }
        assert!(StatusFilter::try_from(&Status::from("archived")).is_err());
        assert!(!StatusFilter::Active.matches(&Status::Revoked));
    }
}
