//! Reads a well-behaved list page by page, several pages at once.
//!
//! This needs one more assumption: a response is not older than one that had arrived before its request was sent. It is
//! checked at *checkpoints*, pages that are requested with nothing else in flight: every 64th, and the one that the
//! total says is the last. In such a list a record only moves to later places. So it is missed only if a page shows a
//! newer state than the next page. A checkpoint shows a state that is no older than both. By then the records moved, so
//! pages overlap, or the total changed. At the first repeated record, short page or other total, the list is read with
//! overlaps from the last checkpoint on.

use super::super::dedup::key;
use super::super::range::PageRange;
use super::reading::{EndEvidence, Reading};
use super::response::{Key, Response};
use super::step::Step;

/// Every so many pages nothing is prefetched, to see whether the list has moved.
const CHECKPOINT: u64 = 64;

/// Pages of a list that only grows and whose total does not change.
pub(super) struct Pages {
    size: u64,
    total: u64,
    /// How many pages have been read.
    read: u64,
    /// The ids that have been read since the last checkpoint.
    pending: Vec<u128>,
    /// The place and the tail of the reading at the last checkpoint.
    checkpoint: (u64, Option<Key>),
    is_at_checkpoint: bool,
    /// The rest of the list is to be read by ranges that overlap.
    pub(super) is_over: bool,
}

impl Pages {
    /// Reads what is behind a first page of this size.
    pub(super) fn behind(size: u64, total: u64, reading: &Reading) -> Self {
        Self {
            size,
            total,
            read: 1,
            pending: Vec::new(),
            checkpoint: (reading.place, reading.tail),
            is_at_checkpoint: false,
            is_over: false,
        }
    }

    pub(super) fn plan(&mut self, reading: &Reading) -> PageRange {
        let range = PageRange::page(reading.place / self.size + 1, self.size);
        self.is_at_checkpoint = self.is_checkpoint(range);
        range
    }

    /// Returns the page behind those that were requested up to `end`, if it may be requested before they arrive.
    pub(super) fn prefetch(&self, end: u64, in_flight: u64) -> Option<PageRange> {
        let range = PageRange::page(end / self.size + 1, self.size);
        let waits = self.is_at_checkpoint || self.is_checkpoint(range);
        // The first pages show whether the service does what it is asked to.
        (!waits && in_flight < self.read).then_some(range)
    }

    fn is_checkpoint(&self, range: PageRange) -> bool {
        let number = range.start / range.size + 1;
        number.is_multiple_of(CHECKPOINT) || range.end() >= self.total
    }

    /// Takes the next page.
    pub(super) fn take(&mut self, response: Response, reading: &mut Reading) -> Step {
        let count = response.count();
        let is_regular = response.page.total_count == Some(self.total)
            && (1..=self.size).contains(&count)
            && (count == self.size || response.is_fresh && response.counts_to_its_end());
        if !is_regular {
            let has_moved = response.page.total_count != Some(self.total);
            if has_moved {
                self.leave(reading);
            } else {
                self.leave_all(reading);
            }
            return Step::Nothing;
        }
        let is_fresh = response.is_fresh;
        let ids: Vec<u128> = response.ids().collect();
        self.read += 1;
        reading.place = response.end();
        reading.tail = response.last_id();
        let page = reading.take(response);
        if page.certificates.len() < ids.len() {
            // A record came again: the list moved.
            let certificates = page.certificates.iter();
            self.pending
                .extend(certificates.map(|certificate| key(certificate.id())));
            self.leave(reading);
        } else if is_fresh {
            self.pending.clear();
            self.checkpoint = (reading.place, reading.tail);
            self.is_over = reading.place >= self.total;
        } else {
            self.pending.extend(ids);
        }
        Step::Page {
            page,
            has_new: true,
            continues: !self.is_over,
        }
    }

    /// Takes back everything: a page of a list that did not move is not what it was to be, so those before it may have
    /// been others than they seemed.
    fn leave_all(&mut self, reading: &mut Reading) {
        tracing::debug!("the pages are not what they were to be; starting again");
        self.is_over = true;
        reading.records.doubt_all();
        (reading.place, reading.tail) = (0, None);
        reading.end = EndEvidence::default();
    }

    /// Takes back what was read since the last checkpoint.
    pub(super) fn leave(&mut self, reading: &mut Reading) {
        tracing::debug!(start = self.checkpoint.0, "the list moved; stepping back");
        self.is_over = true;
        reading.records.doubt(self.pending.drain(..));
        (reading.place, reading.tail) = self.checkpoint;
        reading.end = EndEvidence::default();
    }
}
