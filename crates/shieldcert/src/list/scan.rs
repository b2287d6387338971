//! Reads a list that others change, through a service that may not do what it is asked to, and misses nothing.
//!
//! # What is promised
//!
//! A list yields every certificate that was there, and matched the filter, the whole time of the listing exactly once,
//! or it ends in an error. A certificate that was added, or changed its status, meanwhile may be in it, at most once.
//!
//! Three things are assumed of the service. It never removes a certificate from a zone. It keeps certificates in an
//! order that does not change, whichever that is. A response shows consecutive records of one state of the list, and
//! may break off early. Nothing else is believed: `page`, `per_page`, `offset`, `limit`, `status` and `total_count` may
//! all be ignored, capped or wrong.
//!
//! # Overlap
//!
//! Each request overlaps what was read by at least one record, and its response is used only if it holds a record that
//! was read, an *anchor*. Assume that everything up to the anchor has been read. A response has no gaps, so with it
//! everything up to its last record has been read. The beginning of the list is an anchor too. By induction everything
//! is read, whatever the order of the states that the responses show. A response without an anchor is dropped, and the
//! next request starts further back, up to the beginning.
//!
//! **The end** is shown by a response that holds nothing but the records that the request was to overlap: nothing is
//! behind them. Such a request never asks for what is beyond the end, so it does not matter what the service does
//! there. A constant cap can't have cut the response, because it has fewer records than another one. Where the service
//! was seen to cut responses, or an unfiltered total says that there is more, the end must show again, with a larger
//! overlap. A total by itself proves nothing, and neither does a short page.
//!
//! Without a filter there is a second proof, for services whose pages can't overlap. The list only grows, so a state
//! with at most as many records as were read holds those and no others. An empty page that starts at exactly the number
//! of records read shows such a state.
//!
//! # Pages
//!
//! A well-behaved list without a filter is read faster: page by page, without an overlap, several pages at once. This
//! needs one more assumption: a response is not older than one that had arrived before its request was sent. It is
//! checked at *checkpoints*, pages that are requested with nothing else in flight: every 64th, and the one that the
//! total says is the last. In such a list a record only moves to later places. So it is missed only if a page shows a
//! newer state than the next page. A checkpoint shows a state that is no older than both. By then the records moved, so
//! pages overlap, or the total changed. At the first repeated record, short page or other total, the list is read with
//! overlaps from the last checkpoint on. Every list ends with an overlap.
//!
//! # Pages of a size that the service chooses
//!
//! Where a service ignores the size, pages can't overlap. The list is then read without the filter, page by page, one
//! request at a time. Each response is no older than the one before it, and records only move to later places, so none
//! is missed.
//!
//! # Bounds
//!
//! Responses that bring nothing new are at most 50 more than those that do. Then the list ends in an error. So it does
//! as soon as the service is seen to ignore both `page` and `offset`.
//!
//! # Cost
//!
//! A well-behaved list takes one request more than the fewest possible if it is not filtered and nobody issues, and
//! otherwise one record of each page, or a few, twice. Memory holds the prefetched pages, and 16 bytes for each
//! certificate's id in a hash set.

use std::collections::HashSet;

use super::dedup::{hash, key};
use super::fetch::Query;
use super::page::Page;
use super::range::{Addressing, MIN_SIZE, PageRange};
use crate::certificate::envelope::RecordPage;
use crate::certificate::filter::StatusFilter;
use crate::error::call::Call;
use crate::error::{Error, Result};

/// How the list is read; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Pages of a list that only grows and whose total is this.
    Pages { total: u64 },
    /// Ranges that overlap.
    Overlap,
    /// Pages of a size that the service chooses.
    Fixed {
        size: u64,
        /// The number of the next page.
        page: u64,
        /// The last page had fewer records than the others.
        short: bool,
    },
}

/// How ranges that overlap are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameters {
    Page,
    Offset,
}

/// The state of a listing: what has been read, and what to fetch next.
pub(super) struct Scan {
    pub(super) query: Query,
    /// What the service filters by. Nothing if the list is filtered here alone.
    pub(super) service_filter: StatusFilter,
    mode: Mode,
    parameters: Parameters,
    /// What the service was seen to ignore or refuse.
    is_page_ignored: bool,
    is_offset_ignored: bool,
    /// The keys of the ids that have been read.
    seen: HashSet<u128>,
    /// Those of them that have been read since the last checkpoint.
    pending: Vec<u128>,
    /// Those that had been read since a checkpoint when pages turned out not to be regular: no anchors.
    unverified: HashSet<u128>,
    /// The keys of the records that can't be read. They are no anchors either: they may look alike.
    unreadable: HashSet<u128>,
    /// The keys of the ids that were read before the reading began anew.
    read_before: HashSet<u128>,
    /// The place behind the last record of the last response that was used.
    place: u64,
    /// The last record of that response.
    tail: Option<u128>,
    /// The range that they follow from, if it brought nothing new: it proves nothing by coming again.
    repeated_range: Option<PageRange>,
    /// `place` and `tail` at the last checkpoint.
    checkpoint: (u64, Option<u128>),
    /// The first record of the list.
    front: Option<u128>,
    /// The last page that brought something new.
    last_page: Option<PageRange>,
    /// The page that is asked for twice with different sizes, to see whether the service ignores them.
    probe: Option<Vec<u128>>,
    /// The number, size and records of the last page without an anchor.
    unanchored: Option<(u64, u64, Vec<u128>)>,
    /// The place behind the ranges that have been requested.
    requested_to: u64,
    /// Nothing is requested until the checkpoint in flight has arrived.
    is_at_checkpoint: bool,
    /// How many responses were used since something odd was seen.
    used: u64,
    /// The total of the last response, and the largest one.
    total: Option<u64>,
    max_total: u64,
    /// A response held more records than its total.
    is_total_wrong: bool,
    /// The most records in a response.
    max_count: u64,
    /// How many records to ask for at most: no more than the service has shown to return.
    size: u64,
    max_size: u64,
    /// How many records the last response held that had fewer than asked for.
    last_cut: Option<u64>,
    /// The last response that was used had fewer records than asked for.
    was_short: bool,
    /// A response broke off although there was more, and the fewest records of such a one.
    cuts: bool,
    least_cut: u64,
    /// How far to step back, because anchors are missing.
    step_back: u64,
    /// How often the end showed in a row.
    ends_shown: u64,
    /// How often in a row nothing new came, and how often that was the beginning of the list again.
    misses: u32,
    restarts_seen: u32,
    /// How often in a row the service refused a page as not there.
    refusals: u32,
    productive: u64,
    useless: u64,
    /// How often the beginning was read again.
    rewinds: u64,
    /// The least that was left to be read, as far as totals show it, and when.
    least_left: u64,
    productive_at_least_left: u64,
    /// How many records the last response had that ended like the list.
    end_count: Option<u64>,
    /// The first record of a response that ended like the list and was longer than the overlap.
    loose_end: Option<Option<u128>>,
    /// A page before the end was empty: the service ignores the size.
    is_contradicted: bool,
    /// The beginning is read again to see whether parameters are ignored.
    is_doubted: bool,
    /// Whether a page far behind is the last page again.
    is_far: bool,
    /// The first page was asked for with more than the smallest size.
    is_widened: bool,
    /// Pages of a size that the service chooses did not work either.
    is_fixed_tried: bool,
    pub(super) ended: bool,
}

/// What a response leads to.
pub(super) struct Step {
    pub(super) page: Option<Page>,
    /// What is in flight continues where this response ended.
    pub(super) continues: bool,
}

impl Step {
    const SKIP: Self = Self {
        page: None,
        continues: false,
    };
}

/// The keys of a response.
struct Keys {
    readable: Vec<u128>,
    count: u64,
}

impl Keys {
    /// Whether a record is in the response twice.
    fn has_twice(&self) -> bool {
        let mut sorted = self.readable.clone();
        sorted.sort_unstable();
        sorted.windows(2).any(|two| two[0] == two[1])
    }
}

impl Scan {
    /// Every so many pages nothing is prefetched, to see whether the list has moved.
    const CHECKPOINT: u64 = 64;
    /// How many more responses may bring nothing new than something new.
    const MAX_USELESS: u64 = 50;
    /// How often the list may be read from its beginning again.
    const MAX_REWINDS: u64 = 50;
    /// How many responses in a row may leave as much to be read as there was.
    const MAX_WITHOUT_APPROACH: u64 = 100;
    /// A list of a million certificates.
    const MAX_RESPONSES: u64 = 25_000;
    /// How often in a row nothing new may come before other parameters are tried.
    const MAX_MISSES: u32 = 8;
    /// A list may move just so that its beginning comes again, so once proves nothing.
    const MAX_RESTARTS_SEEN: u32 = 2;
    /// How often in a row a page may be refused.
    const MAX_REFUSALS: u32 = 3;

    pub(super) fn new(query: Query) -> Self {
        let is_filtered = query.filter != StatusFilter::All;
        let size = u64::from(query.page_size);
        Self {
            service_filter: query.filter,
            query,
            mode: Mode::Overlap,
            parameters: if is_filtered {
                Parameters::Offset
            } else {
                Parameters::Page
            },
            is_page_ignored: false,
            is_offset_ignored: false,
            seen: HashSet::new(),
            pending: Vec::new(),
            unverified: HashSet::new(),
            unreadable: HashSet::new(),
            read_before: HashSet::new(),
            place: 0,
            tail: None,
            repeated_range: None,
            checkpoint: (0, None),
            front: None,
            last_page: None,
            probe: None,
            unanchored: None,
            requested_to: 0,
            is_at_checkpoint: false,
            used: 0,
            total: None,
            max_total: 0,
            is_total_wrong: false,
            max_count: 0,
            size,
            max_size: size,
            last_cut: None,
            was_short: false,
            cuts: false,
            least_cut: u64::MAX,
            step_back: 0,
            ends_shown: 0,
            misses: 0,
            restarts_seen: 0,
            refusals: 0,
            productive: 0,
            useless: 0,
            rewinds: 0,
            least_left: u64::MAX,
            productive_at_least_left: 0,
            loose_end: None,
            end_count: None,
            is_contradicted: false,
            is_doubted: false,
            is_far: false,
            is_widened: false,
            is_fixed_tried: false,
            ended: false,
        }
    }

    /// Returns the range to request next. `None` if what is in flight must arrive first.
    pub(super) fn next(&mut self, in_flight: usize) -> Option<PageRange> {
        let range = if in_flight == 0 {
            self.is_at_checkpoint = false;
            self.plan()
        } else {
            self.prefetch(in_flight as u64)?
        };
        self.requested_to = range.end();
        if let Mode::Pages { total } = self.mode {
            self.is_at_checkpoint = is_checkpoint(range, total);
        }
        Some(range)
    }

    /// Returns the range behind those in flight, if it may be requested before they arrive.
    fn prefetch(&self, in_flight: u64) -> Option<PageRange> {
        // The first pages show whether the service does what it is asked to.
        if in_flight >= self.used.min(u64::from(self.query.prefetch)) {
            return None;
        }
        match self.mode {
            Mode::Pages { total } => {
                let range = PageRange::page(self.requested_to / self.size + 1, self.size);
                let waits = self.is_at_checkpoint || is_checkpoint(range, total);
                (!waits && self.requested_to < total).then_some(range)
            }
            Mode::Overlap => {
                let is_odd = self.step_back + self.ends_shown + u64::from(self.misses) > 0;
                let total = self.total.filter(|_| !self.is_total_wrong)?;
                if is_odd || self.was_short || self.requested_to >= total {
                    return None;
                }
                match self.parameters {
                    Parameters::Page => {
                        PageRange::overlapping_page(self.requested_to, self.requested_to, self.size)
                    }
                    Parameters::Offset => Some(PageRange::offset(self.requested_to - 1, self.size)),
                }
            }
            Mode::Fixed { .. } => None,
        }
    }

    /// Returns the range that continues what was read.
    fn plan(&mut self) -> PageRange {
        match self.mode {
            Mode::Fixed { size, page, .. } => {
                let page = if self.is_far { page * 2 } else { page };
                PageRange {
                    start: (page - 1) * size,
                    size: size.clamp(MIN_SIZE, self.query.page_size.into()),
                    by: Addressing::Page(page),
                }
            }
            Mode::Pages { .. } => PageRange::page(self.place / self.size + 1, self.size),
            Mode::Overlap => self.plan_overlap(),
        }
    }

    fn plan_overlap(&mut self) -> PageRange {
        let beginning = PageRange::page(1, self.size);
        if self.probe.is_some() {
            return PageRange::page(2, MIN_SIZE + 1);
        }
        // Each time that the end shows, the overlap grows.
        let place = self.place.saturating_sub(self.step_back);
        if place == 0 {
            return beginning;
        }
        // Other overlaps, where one may have been cut.
        let vary = self
            .end_count
            .map_or(0, |_| u64::from(self.misses) % MIN_SIZE);
        let place = place.saturating_sub(self.ends_shown + vary).max(1);
        match self.parameters {
            // Nothing can overlap a single record and show that its response was not cut.
            Parameters::Offset if self.place == 1 => PageRange::offset(1, self.size),
            Parameters::Offset => {
                let start = place.max(2) - 1;
                let is_cut_size = start > 1 && self.is_cut_size(self.place - start);
                PageRange::offset(start - u64::from(is_cut_size), self.size)
            }
            // The second page of the smallest size starts here or behind.
            Parameters::Page if self.place <= MIN_SIZE && self.is_widened && self.misses == 0 => {
                PageRange::page(1, 2 * MIN_SIZE)
            }
            Parameters::Page if self.place <= MIN_SIZE => PageRange::page(2, MIN_SIZE),
            Parameters::Page => {
                // Before stepping back: a service that ignores the size may still show that the list ends.
                if self.grows() && self.step_back == 0 && self.ends_shown == 0 {
                    let odd = match self.misses {
                        1 => PageRange::page_at(self.read(), self.size),
                        2 => self.last_page,
                        _ => None,
                    };
                    if let Some(range) = odd.filter(|range| range.start > 0) {
                        return range;
                    }
                }
                let behind = self.place - self.step_back;
                let page = |from, max| PageRange::overlapping_page(from, behind, max);
                // A larger overlap than the last cut.
                let before_cut = place.saturating_sub(self.last_cut.unwrap_or(1).min(MIN_SIZE));
                let is_cut_size = |page: &PageRange| {
                    Some(*page) == self.repeated_range
                        || self.step_back == 0 && self.is_cut_size(self.place - page.start)
                };
                // A response that was cut shows the more, the less it overlaps.
                let least = PageRange::least_overlapping_page(place, self.size);
                least
                    .filter(|page| self.was_short && !is_cut_size(page))
                    .or_else(|| page(place, self.size))
                    .filter(|page| !is_cut_size(page))
                    .or_else(|| {
                        page(before_cut, self.size).or_else(|| page(before_cut, 2 * self.size))
                    })
                    .or_else(|| page(place, self.size))
                    .or_else(|| page(behind, self.size))
                    .or_else(|| page(place, 2 * self.size))
                    .or_else(|| page(behind, 2 * self.size))
                    .unwrap_or(beginning)
            }
        }
    }

    /// Takes the keys of the records that can't be read, if all of the zone's were met.
    pub(super) fn take_unreadable(&mut self) -> Option<HashSet<u128>> {
        self.grows().then(|| std::mem::take(&mut self.unreadable))
    }

    /// Whether records never leave the list that the service shows.
    fn grows(&self) -> bool {
        self.service_filter == StatusFilter::All
    }

    /// How many different records have been read.
    fn read(&self) -> u64 {
        (self.seen.len() + self.unreadable.len()) as u64
    }

    fn verified(&self) -> u64 {
        self.read() - self.unverified.len() as u64
    }

    fn is_anchor(&self, key: &u128) -> bool {
        self.seen.contains(key) && !self.unverified.contains(key)
    }

    /// Takes the response for the next range in order. `is_fresh` says that it was requested with nothing in flight.
    pub(super) fn advance(
        &mut self,
        range: PageRange,
        is_fresh: bool,
        response: RecordPage,
        call: &Call,
    ) -> Result<Step> {
        let readable = response.records.iter().flatten();
        let keys = Keys {
            readable: readable.map(|record| key(record.id())).collect(),
            count: response.records.len() as u64,
        };
        self.refusals = 0;
        let is_older = self.note_total(range, &keys, response.total_count);
        let step = if keys.count == 0 && range.start == 0 {
            self.take_empty_list(&keys, response, call)
        } else {
            match self.mode {
                Mode::Pages { total } => Ok(self.take_page(range, is_fresh, total, keys, response)),
                Mode::Overlap => self.take_overlap(range, is_older, keys, response, call),
                Mode::Fixed { size, page, short } => {
                    self.take_fixed(size, page, short, keys, response, call)
                }
            }
        };
        let step = step?;
        self.check_bounds(call)?;
        Ok(step)
    }

    /// A list that changes faster than it is read, or repeats itself, would be read for ever.
    fn check_bounds(&mut self, call: &Call) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let left = self.total.filter(|_| self.grows() && !self.is_total_wrong);
        let left = left.map_or(0, |total| total.saturating_sub(self.place));
        if left < self.least_left || left == 0 {
            self.least_left = left;
            self.productive_at_least_left = self.productive;
        }
        let without_approach = self.productive - self.productive_at_least_left;
        let is_endless = self.useless > Self::MAX_USELESS + self.productive
            || self.rewinds > Self::MAX_REWINDS
            || without_approach > Self::MAX_WITHOUT_APPROACH
            || self.productive > Self::MAX_RESPONSES;
        if is_endless {
            return Err(self.fail(
                call,
                "it changes faster than it can be read, or the service repeats itself; try again later",
            ));
        }
        Ok(())
    }

    /// Returns whether the response shows an older state than another one, as far as its total can be believed.
    fn note_total(&mut self, range: PageRange, keys: &Keys, total: Option<u64>) -> bool {
        self.total = total;
        let Some(total) = total.filter(|_| self.grows()) else {
            return false;
        };
        let has_new = || keys.readable.iter().any(|key| !self.seen.contains(key));
        self.is_total_wrong |= total < range.start + keys.count && has_new();
        // A total of none with no records is the response's own count.
        let is_own = total == 0 && keys.count == 0;
        let is_older = !self.is_total_wrong && !is_own && total < self.max_total;
        self.max_total = self.max_total.max(total);
        is_older
    }

    fn take_empty_list(&mut self, keys: &Keys, response: RecordPage, call: &Call) -> Result<Step> {
        let is_contradicted = self.grows()
            && (self.read() > 0 || response.total_count.is_some_and(|total| total > 0));
        if !is_contradicted {
            self.ended = true;
            return Ok(self.use_records(response, keys, false));
        }
        self.useless += 1;
        self.misses += 1;
        if self.misses < 2 {
            return Ok(Step::SKIP);
        }
        let total = response.total_count.unwrap_or(0);
        let read = self.read();
        Err(self.fail(
            call,
            &format!(
                "its first page is empty, although there are {} certificates; try again later",
                total.max(read)
            ),
        ))
    }

    /// A page of a well-behaved list.
    fn take_page(
        &mut self,
        range: PageRange,
        is_fresh: bool,
        total: u64,
        keys: Keys,
        response: RecordPage,
    ) -> Step {
        let is_regular = response.total_count == Some(total)
            && keys.count > 0
            && keys.count <= range.size
            && (keys.count == range.size || is_fresh)
            && !keys.readable.iter().any(|key| self.seen.contains(key))
            && !keys.has_twice();
        if !is_regular {
            self.useless += 1;
            self.leave_pages();
            return Step::SKIP;
        }
        self.productive += 1;
        self.used += 1;
        self.place = range.start + keys.count;
        self.tail = keys.readable.last().copied();
        self.last_page = Some(range);
        self.was_short = keys.count < range.size;
        let step = self.use_records(response, &keys, true);
        if is_fresh {
            self.pending.clear();
            self.checkpoint = (self.place, self.tail);
            if self.was_short || self.place >= total {
                self.mode = Mode::Overlap;
                self.note_size(range, keys.count);
            }
        } else {
            self.pending.extend(keys.readable);
        }
        step
    }

    /// Goes on with overlaps behind the last checkpoint.
    fn leave_pages(&mut self) {
        tracing::debug!(start = self.checkpoint.0, "the list moved; stepping back");
        self.mode = Mode::Overlap;
        self.unverified.extend(self.pending.drain(..));
        (self.place, self.tail) = self.checkpoint;
        self.used = 0;
        self.was_short = false;
    }

    fn take_overlap(
        &mut self,
        range: PageRange,
        is_older: bool,
        keys: Keys,
        response: RecordPage,
        call: &Call,
    ) -> Result<Step> {
        if let Some(probed) = self.probe.take() {
            if probed == keys.readable {
                self.fix(self.max_count);
            } else {
                self.parameters = Parameters::Offset;
            }
            self.useless += 1;
            return Ok(Step::SKIP);
        }
        let is_beginning = range.start == 0;
        if range.is_by_page() && keys.count > range.size && (!is_beginning || self.grows()) {
            // The first page is read again, as the first of the pages of this size.
            self.useless += 1;
            self.fix(keys.count);
            return Ok(Step::SKIP);
        }
        if keys.count == 0 {
            let is_behind_few =
                self.place <= MIN_SIZE && range.start >= self.place && range.start <= MIN_SIZE;
            let is_counted = self.grows() && range.start == self.read();
            return if is_behind_few || is_counted {
                Ok(self.note_end(is_older))
            } else {
                self.is_contradicted = self.grows() && range.start < self.read();
                Ok(self.miss(range, None))
            };
        }
        if !is_beginning && !keys.readable.iter().any(|key| self.is_anchor(key)) {
            if range.is_by_page() && self.place <= MIN_SIZE {
                if self.place == MIN_SIZE {
                    // Pages of the smallest size can't overlap.
                    if std::mem::replace(&mut self.is_widened, true) {
                        self.fix(MIN_SIZE);
                    }
                } else {
                    self.probe = Some(keys.readable);
                }
                self.useless += 1;
                return Ok(Step::SKIP);
            }
            // The same page, whatever its size: the service ignores the size.
            if let Addressing::Page(number) = range.by
                && let Some((page, size, records)) = self.unanchored.take()
                && (page, size) != (number, range.size)
                && page == number
                && records == keys.readable
            {
                self.useless += 1;
                self.fix(self.max_count);
                return Ok(Step::SKIP);
            }
            if let Addressing::Page(number) = range.by {
                self.unanchored = Some((number, range.size, keys.readable));
            }
            return Ok(self.miss(range, None));
        }
        let has_new = keys.readable.iter().any(|key| !self.is_anchor(key));
        let last = keys.readable.last().copied();
        let is_short = keys.count < range.size;
        let is_end = !has_new
            && !is_beginning
            && range.start + keys.count == self.place
            && last == self.tail
            && is_short
            && keys.count < self.max_count;
        if is_end {
            let may_be_cut = Some(range) == self.repeated_range || self.is_cut_size(keys.count);
            // A constant cap can't have cut two responses to different numbers of records.
            let other = self.end_count.replace(keys.count);
            if !may_be_cut || self.is_contradicted || other.is_some_and(|n| n != keys.count) {
                let mut step = self.use_records(response, &keys, false);
                step.continues = self.note_end(is_older).continues;
                return Ok(step);
            }
            self.useless += 1;
            self.misses += 1;
            self.switch_if_stuck();
            return Ok(Step::SKIP);
        }
        if is_beginning && std::mem::take(&mut self.is_doubted) {
            if !has_new && keys.readable.first().copied() == self.front {
                return Err(self.fail(call, IGNORED));
            }
            self.misses = 0;
            self.restarts_seen = 0;
            self.is_page_ignored = false;
            self.is_offset_ignored = false;
        }
        // A list that moved shows more than the overlap. So does a page that starts elsewhere than asked, by chance. Two
        // such responses that start differently can't both be chance.
        let is_loose_end = !has_new
            && !is_beginning
            && last == self.tail
            && is_short
            && keys.count < self.max_count;
        if is_loose_end {
            let first = keys.readable.first().copied();
            if self
                .loose_end
                .replace(first)
                .is_some_and(|other| other != first)
            {
                let mut step = self.use_records(response, &keys, false);
                step.continues = self.note_end(is_older).continues;
                return Ok(step);
            }
        }
        let comes_again = !is_beginning && keys.readable.first().copied() == self.front;
        if !has_new && comes_again {
            return Ok(self.miss(range, Some(keys.count)));
        }
        let has_tail = keys.readable.iter().any(|key| Some(*key) == self.tail);
        if !has_new && !is_beginning && is_short && !has_tail && self.grows() {
            // It was cut, or starts elsewhere than asked.
            self.note_size(range, keys.count);
            self.size = keys.count.clamp(MIN_SIZE, self.max_size);
            self.useless += 1;
            self.misses += 1;
            self.switch_if_stuck();
            return Ok(Step::SKIP);
        }
        // A short response may start elsewhere than asked: its place follows from the last record that was read.
        let known = self.tail.filter(|_| is_short && !is_beginning);
        let known = known.and_then(|tail| keys.readable.iter().position(|key| *key == tail));
        self.place = match known {
            Some(index) if keys.readable.len() as u64 == keys.count => {
                self.place + keys.count - 1 - index as u64
            }
            _ => range.start + keys.count,
        };
        let continues = self.place == range.end();
        self.tail = last;
        self.repeated_range = (!has_new && !is_beginning).then_some(range);
        self.step_back = 0;
        self.ends_shown = 0;
        if is_beginning {
            self.rewinds += 1;
            self.front = keys.readable.first().copied();
        }
        let cut_before = self.last_cut;
        self.note_size(range, keys.count);
        if !has_new && !is_beginning {
            self.useless += 1;
            self.misses += 1;
            self.switch_if_stuck();
            return Ok(Step::SKIP);
        }
        if has_new {
            if self.was_short {
                self.cuts = true;
                self.least_cut = self.least_cut.min(cut_before.unwrap_or(u64::MAX));
            }
            self.loose_end = None;
            self.end_count = None;
            self.is_contradicted = false;
            self.productive += 1;
            self.used += 1;
            self.misses = 0;
            self.restarts_seen = 0;
            self.last_page = range.is_by_page().then_some(range).or(self.last_page);
        } else {
            self.useless += 1;
            self.misses += 1;
        }
        self.was_short = is_short;
        for key in &keys.readable {
            self.unverified.remove(key);
        }
        let is_first = self.productive == 1;
        let mut step = self.use_records(response, &keys, is_first);
        step.continues = continues;
        self.checkpoint = (self.place, self.tail);
        if is_first
            && is_beginning
            && self.grows()
            && let Some(total) = self.total
            && !self.is_total_wrong
            && !is_short
            && total > self.place
        {
            self.mode = Mode::Pages { total };
        }
        Ok(step)
    }

    /// A page of a size that the service chooses.
    fn take_fixed(
        &mut self,
        size: u64,
        page: u64,
        short: bool,
        keys: Keys,
        response: RecordPage,
        call: &Call,
    ) -> Result<Step> {
        let is_far = std::mem::take(&mut self.is_far);
        if keys.count == 0 && !is_far {
            return self.end_fixed(call);
        }
        let has_new = keys
            .readable
            .iter()
            .any(|key| !self.seen.contains(key) || self.unverified.contains(key));
        let last = keys.readable.last().copied();
        if has_new && short {
            // The page before was cut: read it again.
            self.useless += 1;
            self.misses += 1;
            if self.misses >= 2 * Self::MAX_REFUSALS {
                return Err(self.fail(
                    call,
                    "the service returns pages of changing sizes, with gaps between them",
                ));
            }
            self.mode = Mode::Fixed {
                size,
                page: page - 1,
                short: false,
            };
            return Ok(Step::SKIP);
        }
        let is_front = keys.readable.first().copied() == self.front;
        let is_tail = !has_new && last == self.tail && page > 2 && !is_front;
        if is_tail && is_far {
            // Whatever is behind the last page is the last page again.
            return self.end_fixed(call);
        }
        if is_tail || is_far {
            self.useless += 1;
            self.is_far = is_tail;
            if is_far {
                self.mode = Mode::Fixed {
                    size,
                    page: page + 1,
                    short,
                };
            }
            return Ok(Step::SKIP);
        }
        if !has_new && page > 1 && is_front {
            self.restarts_seen += 1;
            if self.restarts_seen >= Self::MAX_RESTARTS_SEEN {
                return Err(self.fail(call, IGNORED));
            }
        }
        if keys.count > size {
            return Err(self.fail(call, "the service returns pages of changing sizes"));
        }
        if has_new {
            self.productive += 1;
        } else {
            self.useless += 1;
        }
        if page == 1 {
            self.front = keys.readable.first().copied();
        }
        self.place = (page - 1) * size + keys.count;
        self.tail = last;
        for key in &keys.readable {
            self.unverified.remove(key);
        }
        self.mode = Mode::Fixed {
            size,
            page: page + 1,
            short: keys.count < size,
        };
        Ok(self.use_records(response, &keys, page == 1))
    }

    fn end_fixed(&mut self, call: &Call) -> Result<Step> {
        let total = self.total.filter(|_| !self.is_total_wrong).unwrap_or(0);
        if total > self.read() {
            return Err(self.fail(
                call,
                &format!("the service counts {total} certificates, but its pages end here"),
            ));
        }
        self.ended = true;
        Ok(Step::SKIP)
    }

    /// Goes on with pages of a size that the service chooses.
    fn fix(&mut self, size: u64) {
        tracing::debug!(filter = %self.service_filter, "reading the list from its beginning");
        if !self.grows() {
            self.service_filter = StatusFilter::All;
            self.total = None;
            self.read_before.extend(self.seen.drain());
            self.unverified.clear();
        }
        self.is_fixed_tried = true;
        self.misses = 0;
        self.restarts_seen = 0;
        self.mode = Mode::Fixed {
            size,
            page: self.verified() / size + 1,
            short: false,
        };
    }

    /// Asks for no more than the service has shown to return.
    fn note_size(&mut self, range: PageRange, count: u64) {
        self.max_count = self.max_count.max(count);
        if count < range.size {
            let is_cap = self.cuts
                && self.last_cut == Some(count)
                && count == self.max_count
                && count >= MIN_SIZE;
            if is_cap && count < self.max_size {
                self.max_size = count.max(MIN_SIZE);
            }
            self.last_cut = Some(count);
            if self.cuts {
                self.size = count.clamp(MIN_SIZE, self.max_size);
            }
        } else {
            self.size = self.max_size;
        }
    }

    /// The end has shown.
    fn note_end(&mut self, is_older: bool) -> Step {
        self.ends_shown += 1;
        let says_more = self.grows() && self.total.is_some_and(|total| total > self.read());
        let mut needed = 1;
        if self.cuts {
            needed += 1;
        }
        if says_more {
            needed += 1;
        }
        if is_older {
            // Either the response is an old one, or totals can't be believed.
            needed += 4;
        }
        self.ended = self.ends_shown >= needed;
        if self.place <= MIN_SIZE && !self.is_offset_ignored {
            self.parameters = Parameters::Offset;
        }
        Step::SKIP
    }

    /// The response can't be used, or is the beginning of the list again.
    fn miss(&mut self, range: PageRange, again: Option<u64>) -> Step {
        self.useless += 1;
        self.misses += 1;
        self.used = 0;
        self.ends_shown = 0;
        if let Some(count) = again {
            self.restarts_seen += 1;
            // Up to five records whose page comes again are a list that ends, if the total agrees.
            if self.place <= MIN_SIZE && count == self.place && self.total == Some(count) {
                self.ended = true;
                return Step::SKIP;
            }
        }
        let is_odd_page = range.is_by_page() && self.grows() && self.misses <= 2;
        if again.is_none() && !is_odd_page {
            self.step_back = (self.step_back * 2).max(self.size / 2);
            tracing::debug!(
                start = self.place.saturating_sub(self.step_back),
                "the list moved; stepping back"
            );
        }
        self.switch_if_stuck();
        Step::SKIP
    }

    /// Tries other parameters where these lead nowhere.
    fn switch_if_stuck(&mut self) {
        if self.restarts_seen >= Self::MAX_RESTARTS_SEEN {
            self.ignore_parameters();
        } else if self.misses >= Self::MAX_MISSES * if self.grows() { 2 } else { 1 } {
            let is_other_ignored = match self.parameters {
                Parameters::Page => self.is_offset_ignored,
                Parameters::Offset => self.is_page_ignored,
            };
            if !is_other_ignored {
                self.switch_parameters();
            } else if !self.is_fixed_tried
                && let Some(size) = self.cut_size()
            {
                self.fix(size);
            }
        }
    }

    /// The service ignores the parameters in use, or refuses them.
    fn ignore_parameters(&mut self) {
        let is_other_ignored = match self.parameters {
            Parameters::Page => {
                self.is_page_ignored = true;
                self.is_offset_ignored
            }
            Parameters::Offset => {
                self.is_offset_ignored = true;
                self.is_page_ignored
            }
        };
        if is_other_ignored {
            // Unless the list has moved just so: its beginning shows it.
            self.is_doubted = true;
            self.step_back = self.place;
        } else {
            self.switch_parameters();
        }
    }

    /// Whether a response with so many records may have been cut like one before.
    fn is_cut_size(&self, count: u64) -> bool {
        self.was_short && self.last_cut == Some(count) || count >= self.least_cut
    }

    /// Returns the size that responses were cut to, if pages of that size can be asked for.
    fn cut_size(&self) -> Option<u64> {
        let is_cap = self.max_size < self.query.page_size.into();
        is_cap.then_some(self.max_size)
    }

    fn switch_parameters(&mut self) {
        self.parameters = match self.parameters {
            Parameters::Page => Parameters::Offset,
            Parameters::Offset => Parameters::Page,
        };
        self.misses = 0;
        self.restarts_seen = 0;
        self.step_back = 0;
        self.place = self.verified();
    }

    /// Takes a 400 or 404 for a range behind the beginning: it may be beyond the end, or not supported.
    pub(super) fn refuse(&mut self, range: PageRange, error: Error) -> Result<Step> {
        self.useless += 1;
        self.refusals += 1;
        let is_next =
            range.start == self.read() || self.place <= MIN_SIZE && range.start <= MIN_SIZE;
        let agrees = is_next && (self.was_short || self.total == Some(self.read()));
        match self.mode {
            Mode::Pages { .. } => {
                self.leave_pages();
                return Ok(Step::SKIP);
            }
            Mode::Overlap => {
                if range.is_by_page() && self.refusals >= 2 && agrees {
                    self.ended = true;
                    return Ok(Step::SKIP);
                }
                self.misses += 1;
                if self.misses > 2 {
                    self.step_back = (self.step_back * 2).max(self.size / 2);
                }
                if !range.is_by_page() {
                    self.refusals = 0;
                    self.ignore_parameters();
                } else if self.refusals >= Self::MAX_REFUSALS && !self.is_offset_ignored {
                    self.refusals = 0;
                    self.switch_parameters();
                }
            }
            Mode::Fixed { size, page, short } => {
                if std::mem::take(&mut self.is_far) {
                    self.refusals = 0;
                    self.mode = Mode::Fixed {
                        size,
                        page: page + 1,
                        short,
                    };
                    return Ok(Step::SKIP);
                }
                if self.refusals >= 2 && (short || self.total == Some(self.read())) {
                    self.ended = true;
                    return Ok(Step::SKIP);
                }
            }
        }
        if self.refusals >= Self::MAX_REFUSALS || self.useless > Self::MAX_USELESS + self.productive
        {
            return Err(error);
        }
        Ok(Step::SKIP)
    }

    /// Reads the records of a response that is used.
    fn use_records(&mut self, response: RecordPage, keys: &Keys, is_first: bool) -> Step {
        let mut page = Page {
            certificates: Vec::with_capacity(response.records.len()),
            unreadable: Vec::new(),
            total_count: response.total_count,
            unreadable_keys: Vec::new(),
        };
        let mut readable = keys.readable.iter().copied();
        for record in response.records {
            match record {
                Ok(certificate) => {
                    let key = readable.next().unwrap_or_else(|| key(certificate.id()));
                    let is_new = self.seen.insert(key) && !self.read_before.contains(&key);
                    if is_new && self.query.filter.matches(certificate.status()) {
                        page.certificates.push(certificate);
                    }
                }
                Err(record) => {
                    let key = hash(record.json());
                    page.unreadable_keys.push(key);
                    if self.unreadable.insert(key) {
                        page.unreadable.push(record);
                    }
                }
            }
        }
        let is_empty = page.certificates.is_empty() && page.unreadable_keys.is_empty();
        Step {
            page: (is_first || !is_empty).then_some(page),
            continues: true,
        }
    }

    fn fail(&self, call: &Call, problem: &str) -> Error {
        let problem = format!(
            "the list can't be read to its end, after {} records: {problem}",
            self.read()
        );
        Error::invalid_response(call.clone(), problem, "")
    }
}

const IGNORED: &str = "the service returns its first records again, whatever `page` and `offset` are; check what stands \
                       between this client and the API";

fn is_checkpoint(range: PageRange, total: u64) -> bool {
    let number = range.start / range.size + 1;
    number.is_multiple_of(Scan::CHECKPOINT) || range.end() >= total
}
