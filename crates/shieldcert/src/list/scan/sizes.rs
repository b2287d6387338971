//! How many records a response holds, and how many to ask for.

use super::super::range::MIN_SIZE;
use super::response::Response;

/// How many cuts to the largest number of records make that number a cap.
const CUTS_OF_A_CAP: u32 = 2;

/// How many responses in a row must be whole before more is asked for again.
const WHOLE_BEFORE_MORE: u32 = 4;

/// Learns how many records the service returns.
pub(super) struct Sizes {
    /// How many to ask for at most.
    pub(super) max: u64,
    /// How many to ask for.
    pub(super) asked: u64,
    /// The most records in a response.
    largest: u64,
    /// The most records in a response that was not to start at the beginning.
    largest_later: Option<u64>,
    /// The fewest records in a response that broke off although there was more.
    least_cut: u64,
    /// How many responses in a row had as many records as were asked for.
    whole: u32,
    /// How many responses were cut to `largest_later`.
    cuts_to_largest: u32,
}

impl Sizes {
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            asked: max,
            largest: 0,
            largest_later: None,
            least_cut: u64::MAX,
            whole: 0,
            cuts_to_largest: 0,
        }
    }

    /// Takes note of a response that was used.
    pub(super) fn note(&mut self, response: &Response) {
        let count = response.count();
        self.largest = self.largest.max(count);
        if !response.is_beginning() && self.largest_later < Some(count) {
            self.largest_later = Some(count);
            self.cuts_to_largest = 0;
        }
        self.whole = if response.is_short() {
            0
        } else {
            self.whole + 1
        };
        if self.whole >= WHOLE_BEFORE_MORE && !self.is_capped() {
            self.asked = (2 * self.asked).min(self.max);
        }
    }

    /// A response with so many records broke off although there was more, or may have.
    pub(super) fn note_cut(&mut self, count: u64) {
        self.least_cut = self.least_cut.min(count);
        if self.largest_later.is_none_or(|largest| largest == count) {
            self.cuts_to_largest += 1;
        }
        if count >= MIN_SIZE {
            self.asked = count.min(self.max);
        }
    }

    /// Whether the service returns no more than is asked for now.
    pub(super) fn is_capped(&self) -> bool {
        self.cuts_to_largest >= CUTS_OF_A_CAP
    }

    /// Whether a response that was not to start at the beginning has been read.
    pub(super) fn knows_later(&self) -> bool {
        self.largest_later.is_some()
    }

    /// Whether responses are cut to different numbers of records, so that none proves that it is whole.
    pub(super) fn cuts_vary(&self) -> bool {
        self.largest_later
            .is_some_and(|largest| self.least_cut < largest)
    }

    /// Whether a service that always cuts to the same number of records may have cut a later response to so many.
    pub(super) fn may_be_cap(&self, count: u64) -> bool {
        self.largest_later.is_none_or(|largest| count >= largest)
    }

    /// Returns the size of pages that the service chooses.
    pub(super) fn chosen(&self) -> u64 {
        self.largest.max(1)
    }
}
