//! The outcomes of operations and of a seed.

use std::collections::{BTreeMap, HashSet};

use shieldcert::{CertificateId, Csr, StatusFilter};

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
    pub(super) csr: Csr,
    pub(super) end: IssuingEnd,
}

#[derive(Debug)]
pub(super) enum IssuingEnd {
    Issued(CertificateId),
    /// An error that says that nothing was issued.
    CleanFailure(String),
    /// An error that says that it is not known.
    Unknown,
    Dropped,
}

/// The outcome of a list.
pub(super) struct Listing {
    pub(super) filter: StatusFilter,
    /// What was there and matched the whole time.
    pub(super) lasting: HashSet<CertificateId>,
    pub(super) listed: Vec<CertificateId>,
}

/// The outcomes, as the clients know them.
#[derive(Default)]
pub(super) struct Record {
    pub(super) issuings: Vec<Issuing>,
    pub(super) listings: Vec<Listing>,
    pub(super) tally: BTreeMap<String, u32>,
}

impl Record {
    pub(super) fn count(&mut self, kind: &str, end: &str) {
        *self.tally.entry(format!("{kind}: {end}")).or_default() += 1;
    }
}
