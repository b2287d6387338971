//! The outcomes of operations and of a seed.

use std::collections::{BTreeMap, BTreeSet};

use shieldcert::{Error, Issued, StatusFilter};
use tokio::time::Instant;

use super::service::plain;

/// The outcome of a seed.
pub struct Outcome {
    /// The broken promises; empty if all hold.
    pub broken: Vec<String>,
    /// The events, in order.
    pub history: Vec<String>,
    /// How many operations of each kind ended in which way.
    pub tally: BTreeMap<String, u32>,
}

/// The outcome of an issue.
pub(super) struct Issuing {
    /// The CSR's, which no other has.
    pub(super) common_name: String,
    /// Whether other tools issued for the CSR meanwhile. Then theirs may be returned.
    pub(super) is_shared: bool,
    pub(super) end: IssuingEnd,
}

#[derive(Debug)]
pub(super) enum IssuingEnd {
    Issued {
        id: String,
        /// What else the request may have led to, by its own account.
        surplus: usize,
    },
    /// An error that says that nothing was issued.
    CleanFailure(String),
    /// An error that says that it is not known.
    Unknown,
    /// An error that says that a certificate was issued that is not what was asked for.
    Wrong(String),
    Dropped,
}

impl IssuingEnd {
    /// `None`: the call was dropped.
    pub(super) fn of(outcome: Option<Result<Issued, Error>>) -> Self {
        let Some(outcome) = outcome else {
            return Self::Dropped;
        };
        match outcome {
            Ok(issued) => Self::Issued {
                id: plain(issued.certificate.id().as_str()),
                surplus: issued.surplus.len(),
            },
            Err(Error::OutcomeUnknown { .. }) => Self::Unknown,
            Err(error @ Error::WrongCertificate { .. }) => Self::Wrong(error.to_string()),
            Err(error) => Self::CleanFailure(error.to_string()),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Issued { .. } => "issued",
            Self::CleanFailure(_) => "clean failure",
            Self::Unknown => "unknown",
            Self::Wrong(_) => "wrong",
            Self::Dropped => "dropped",
        }
    }
}

/// The outcome of a list.
pub(super) struct Listing {
    pub(super) filter: StatusFilter,
    /// What was there and matched the whole time.
    pub(super) lasting: BTreeSet<String>,
    pub(super) listed: Vec<String>,
    /// How many records it says can't be read.
    pub(super) unreadable: usize,
    /// The listed ones whose status does not match the filter.
    pub(super) foreign: usize,
}

/// A certificate that nobody touches.
pub(super) struct Fixed {
    /// The status that it keeps.
    pub(super) status: String,
    pub(super) since: Instant,
}

/// The outcomes, as the clients know them.
#[derive(Default)]
pub(super) struct Record {
    pub(super) issuings: Vec<Issuing>,
    /// What other tools have issued for the CSRs of clients, by id.
    pub(super) elsewhere: BTreeSet<String>,
    pub(super) listings: Vec<Listing>,
    pub(super) tally: BTreeMap<String, u32>,
}

impl Record {
    pub(super) fn count(&mut self, kind: &str, end: &str) {
        *self.tally.entry(format!("{kind}: {end}")).or_default() += 1;
    }
}
