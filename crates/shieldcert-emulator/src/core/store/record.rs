//! What the stores keep and return.

use std::sync::Arc;

use shieldcert_api::types::ClientCertificate;
use uuid::Uuid;

use crate::core::status::Status;
use crate::error::BoxError;

/// What a store returns. Memory never fails; a disk may.
pub(super) type Outcome<T> = Result<T, BoxError>;

/// A zone's id: 32 hex digits, of either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ZoneId(u128);

impl ZoneId {
    /// None if the text is not 32 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }

    #[cfg(all(test, feature = "sqlite"))]
    pub(super) const fn from_number(number: u128) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u128 {
        self.0
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

/// A stored certificate, and its current status.
pub(crate) type Found = (Arc<ClientCertificate>, Status);

/// A certificate to populate a zone with.
pub(crate) struct NewCertificate {
    pub(crate) id: Uuid,
    pub(crate) certificate: Arc<ClientCertificate>,
    pub(crate) status: Status,
}

/// A page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) certificates: Vec<Found>,
    /// How many certificates the zone holds.
    pub(crate) all: usize,
    /// How many of them match the filter.
    pub(crate) matching: usize,
}
