//! The statuses of a certificate.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The status of a certificate.
///
/// ```text
/// active ──revoke──▶ pending_revocation ──(service)──▶ revoked
///    ▲                        │ reactivate                │ reactivate
///    └──(service)── pending_reactivation ◀────────────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Status {
    /// Not revoked. Settled.
    ///
    /// This says nothing about time: an expired certificate stays `active`, and Cloudflare's edge, where the mTLS rule
    /// runs, refuses it. See
    /// [`ClientCertificate::is_expired_at`](crate::ClientCertificate::is_expired_at).
    Active,
    /// The service is reactivating the certificate.
    PendingReactivation,
    /// The service is revoking the certificate.
    PendingRevocation,
    /// Revoked. Settled. The certificate stays in the list and can be reactivated.
    ///
    /// The edge refuses it only where the mTLS rule also checks `cf.tls_client_auth.cert_revoked`.
    Revoked,
    /// A status that this crate does not know, as the service wrote it. Empty if the service gave none.
    Unknown(String),
}

impl Status {
    /// Whether the certificate keeps this status until somebody requests a change: active or revoked.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Active | Self::Revoked)
    }

    /// Whether a transition is in progress.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::PendingReactivation | Self::PendingRevocation)
    }

    /// Returns the statuses that can follow, by the service or on request. Empty for an unknown status.
    pub fn next(&self) -> &'static [Status] {
        match self {
            Self::Active => &[Self::PendingRevocation],
            Self::PendingRevocation => &[Self::Revoked, Self::PendingReactivation],
            Self::Revoked => &[Self::PendingReactivation],
            Self::PendingReactivation => &[Self::Active, Self::PendingRevocation],
            Self::Unknown(_) => &[],
        }
    }

    /// Returns the API's name of the status.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::PendingReactivation => "pending_reactivation",
            Self::PendingRevocation => "pending_revocation",
            Self::Revoked => "revoked",
            Self::Unknown(text) => text,
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "pending_reactivation" => Self::PendingReactivation,
            "pending_revocation" => Self::PendingRevocation,
            "revoked" => Self::Revoked,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        match status {
            Status::Unknown(text) => text,
            known => known.as_str().to_owned(),
        }
    }
}

impl FromStr for Status {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl AsRef<str> for Status {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Status {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Status {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.as_str() {
            "" => "unknown",
            known => known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_can_be_reached_again() {
        for status in [
            Status::Active,
            Status::Revoked,
            Status::PendingRevocation,
            Status::PendingReactivation,
        ] {
            assert_ne!(status.is_settled(), status.is_pending());
            assert_eq!(Status::from(status.as_str()), status);
            for next in status.next() {
                assert!(!next.next().is_empty(), "{status} → {next}");
                assert!(
                    !(status.is_settled() && next.is_settled()),
                    "{status} → {next}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_status_keeps_its_text() {
        let unknown: Status = serde_json::from_str("\"archived\"").expect("a status");
        assert!(!unknown.is_settled() && !unknown.is_pending() && unknown.next().is_empty());
        assert_eq!(unknown, "archived");
        assert_eq!(unknown.to_string(), "archived");
        assert_eq!(
            serde_json::to_string(&unknown).expect("JSON"),
            "\"archived\""
        );
        assert_eq!(Status::from("").to_string(), "unknown");
    }
}
