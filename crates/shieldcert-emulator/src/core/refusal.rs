//! Why an operation is refused.

use super::csr::CsrError;

/// Why the service does not do what a request asks for. Nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The zone has no certificate with this id.
    NotFound,
    /// The CSR is not acceptable.
    InvalidCsr(CsrError),
    /// The validity is out of bounds.
    InvalidValidity,
    /// The zone has as many active certificates as it may have.
    QuotaReached,
    /// A setting forbids to reactivate what is settled as revoked.
    Revoked,
    /// A quirk forbids to ask for the status that the certificate has.
    Repeated,
    /// A quirk asks for what only the store in memory can show.
    NeedsMemory,
    /// The store failed.
    StoreFailed,
    /// The CA could not sign.
    SigningFailed,
}
