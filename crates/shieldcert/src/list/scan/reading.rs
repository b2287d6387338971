//! How far the list has been read, and what speaks for its end.

use super::super::page::Page;
use super::records::Records;
use super::response::{Key, Response};
use super::sizes::Sizes;
use super::step::{Obstacle, Step};
use crate::certificate::filter::StatusFilter;

/// How often in a row the same total may count more than there is.
const MAX_CONTRADICTIONS: u32 = 2;

/// What every way to read the list knows and adds to.
pub(super) struct Reading {
    /// What the list asks for.
    filter: StatusFilter,
    /// Records never leave the list that the service shows.
    pub(super) only_grows: bool,
    pub(super) records: Records,
    pub(super) sizes: Sizes,
    /// The place behind the last record of the last response that was used, as the service counts.
    pub(super) place: u64,
    /// The last record of the list, as far as it has been read.
    pub(super) tail: Option<Key>,
    /// The total of the last response that was used.
    pub(super) total: Option<u64>,
    /// The total when the beginning of the list was first read without the filter.
    first_total: Option<u64>,
    /// The first record of the list, when its beginning was last read.
    pub(super) front: Option<Key>,
    pub(super) end: EndEvidence,
}

/// What speaks for the end of the list since something new was read.
#[derive(Default)]
pub(super) struct EndEvidence {
    /// How many responses showed that nothing is behind what was read.
    pub(super) shows: u32,
    /// How many records the last response with new ones had, if it had fewer than were asked for.
    pub(super) short: Option<u64>,
    /// The last response that was used counts as many records as there are up to its end.
    pub(super) agrees: bool,
    /// The total of the last response that showed the end and counted more, and how often it was the same.
    counted: Option<u64>,
    contradictions: u32,
    /// How many records the last response had that ended like the list.
    pub(super) last_count: Option<u64>,
}

impl EndEvidence {
    /// Forgets what was shown by another method.
    pub(super) fn forget_shows(&mut self) {
        self.shows = 0;
        self.last_count = None;
    }
}

impl Reading {
    pub(super) fn new(filter: StatusFilter, page_size: u64) -> Self {
        Self {
            filter,
            only_grows: filter == StatusFilter::All,
            records: Records::default(),
            sizes: Sizes::new(page_size),
            place: 0,
            tail: None,
            total: None,
            first_total: None,
            front: None,
            end: EndEvidence::default(),
        }
    }

    /// Reads a response. Its records are anchors from now on.
    pub(super) fn take(&mut self, response: Response) -> Page {
        self.sizes.note(&response);
        self.total = response.page.total_count;
        self.end = EndEvidence {
            short: response.is_short().then(|| response.count()),
            agrees: response.counts_to_its_end(),
            ..EndEvidence::default()
        };
        if response.is_beginning() {
            self.front = response.keys.first().copied();
            if self.only_grows {
                self.first_total = self.first_total.or(self.total);
            }
        }
        self.records.take(response, self.filter)
    }

    /// The response shows that nothing is behind what was read. That is the end, if enough speaks for it.
    pub(super) fn show_end(&mut self, response: &Response) -> Step {
        if self.is_outdated(response) {
            return Step::Nothing;
        }
        self.end.shows += 1;
        // An empty response shows nothing of the places between the last record and its own.
        let end = match response.count() {
            0 => self.place,
            _ => response.end().max(self.place),
        };
        let total = response.page.total_count;
        if total.is_some() {
            let counts_to_its_end = !response.is_empty() && response.counts_to_its_end();
            self.end.agrees = total == Some(end) || counts_to_its_end;
        }
        match self.contradict(total, end) {
            Some(step) => step,
            None if self.has_ended() => Step::End,
            None => Step::Nothing,
        }
    }

    /// Whether the response shows an older state than what was read: of a list that only grows, it counts fewer records.
    /// A total that counts the response's own records says nothing of that.
    pub(super) fn is_outdated(&self, response: &Response) -> bool {
        let total = response.page.total_count;
        self.only_grows && total < self.total && total > Some(response.count())
    }

    /// Whether fewer records were read than were counted at the beginning. Those that can't be read may look alike.
    pub(super) fn lacks_counted(&self) -> bool {
        let count = self.records.exact_count();
        count.is_some() && count < self.first_total
    }

    /// The end was shown at this place by other means, unless a total says that there is more.
    pub(super) fn end_at(&mut self, place: u64, total: Option<u64>) -> Step {
        self.contradict(total, place).unwrap_or(Step::End)
    }

    /// Takes note of a total that counts more records than there are up to the end. While others issue, it may be newer
    /// than the records.
    fn contradict(&mut self, total: Option<u64>, end: u64) -> Option<Step> {
        if !self.only_grows || total <= Some(end) {
            return None;
        }
        if std::mem::replace(&mut self.end.counted, total) == total {
            self.end.contradictions += 1;
        } else {
            self.end.contradictions = 0;
        }
        Some(if self.end.contradictions >= MAX_CONTRADICTIONS {
            Step::Stuck(Obstacle::MoreCounted)
        } else {
            Step::Nothing
        })
    }

    /// Two things must speak for the end, and more where responses are cut.
    fn has_ended(&self) -> bool {
        let cuts_vary = self.sizes.cuts_vary();
        let is_short = self.end.short.is_some() && !cuts_vary;
        let evidence = self.end.shows + u32::from(is_short) + u32::from(self.end.agrees);
        evidence >= 2 + u32::from(cuts_vary)
    }
}
