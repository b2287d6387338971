//! Reads a well-behaved list page by page, several pages at once.
//!
//! This needs one more assumption: a response is not older than one that had arrived before its request was sent. In such
//! a list a record only moves to later places. So it is missed only if a page shows a newer state than the next page. A
//! later response that is no older than both shows it: by then the records moved, so pages overlap, or the total changed.
//! The page that the total says is the last is requested with nothing else in flight, so it is no older than any. The others
//! are no older than those that had arrived when they were requested, and confirm them. At the first repeated record, short
//! page or other total, the list is read with overlaps from the last page on that is confirmed.

use std::collections::VecDeque;

use super::super::dedup::key;
use super::super::range::PageRange;
use super::reading::{EndEvidence, Reading};
use super::response::{Key, Response};
use super::step::Step;

/// Pages of a list that only grows and whose total does not change.
pub(super) struct Pages {
    size: u64,
    total: u64,
    /// How many pages have been read.
    read: u64,
    /// The pages that have been read behind the last one that is confirmed: no more than are in flight at once.
    unconfirmed: VecDeque<Unconfirmed>,
    /// The place and the tail of the reading at the end of the last page that is confirmed.
    confirmed: (u64, Option<Key>),
    /// The rest of the list is to be read by ranges that overlap.
    pub(super) is_over: bool,
}

struct Unconfirmed {
    ids: Vec<u128>,
    /// The place and the tail of the reading at its end.
    end: (u64, Option<Key>),
}

impl Pages {
    /// Reads what is behind a first page of this size.
    pub(super) fn behind(size: u64, total: u64, reading: &Reading) -> Self {
        Self {
            size,
            total,
            read: 1,
            unconfirmed: VecDeque::new(),
            confirmed: (reading.place, reading.tail),
            is_over: false,
        }
    }

    pub(super) fn plan(&self, reading: &Reading) -> PageRange {
        PageRange::page(reading.place / self.size + 1, self.size)
    }

    /// Returns the page behind those that were requested up to `end`, if it may be requested before they arrive.
    pub(super) fn prefetch(&self, end: u64, in_flight: u64) -> Option<PageRange> {
        let range = PageRange::page(end / self.size + 1, self.size);
        let is_last = range.end() >= self.total;
        // The first pages show whether the service does what it is asked to.
        (!is_last && in_flight < self.read).then_some(range)
    }

    /// Takes the next page.
    pub(super) fn take(&mut self, response: Response, reading: &mut Reading) -> Step {
        let count = response.count();
        let ahead = response.ahead;
        let is_regular = response.page.total_count == Some(self.total)
            && (1..=self.size).contains(&count)
            && (count == self.size || ahead == 0 && response.counts_to_its_end());
        if !is_regular {
            let has_moved = response.page.total_count != Some(self.total);
            if has_moved {
                self.leave(reading);
            } else {
                self.leave_all(reading);
            }
            return Step::Nothing;
        }
        let ids: Vec<u128> = response.ids().collect();
        self.read += 1;
        reading.place = response.end();
        reading.tail = response.last_id();
        let end = (reading.place, reading.tail);
        let page = reading.take(response);
        if page.certificates.len() < ids.len() {
            // A record came again: the list moved.
            let certificates = page.certificates.iter();
            let ids = certificates
                .map(|certificate| key(certificate.id()))
                .collect();
            self.unconfirmed.push_back(Unconfirmed { ids, end });
            self.leave(reading);
        } else {
            self.unconfirmed.push_back(Unconfirmed { ids, end });
            self.confirm(ahead);
            self.is_over = ahead == 0 && reading.place >= self.total;
        }
        Step::Page {
            page,
            has_new: true,
            continues: !self.is_over,
        }
    }

    /// The last page confirms all but so many: those that had not arrived when it was requested.
    fn confirm(&mut self, ahead: usize) {
        let count = self.unconfirmed.len().saturating_sub(ahead);
        if let Some(last) = self.unconfirmed.drain(..count).next_back() {
            self.confirmed = last.end;
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

    /// Takes back what is not confirmed.
    pub(super) fn leave(&mut self, reading: &mut Reading) {
        tracing::debug!(start = self.confirmed.0, "the list moved; stepping back");
        self.is_over = true;
        let ids = self.unconfirmed.drain(..).flat_map(|page| page.ids);
        reading.records.doubt(ids);
        (reading.place, reading.tail) = self.confirmed;
        reading.end = EndEvidence::default();
    }
}
