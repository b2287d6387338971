//! Reads the list by ranges that overlap with what was read.
//!
//! A response is used only if it holds a record that was read, an *anchor*. Assume that everything up to the anchor has
//! been read. A response has no gaps, so with it everything up to its last record has been read. The beginning of the
//! list is an anchor too. By induction everything is read, whatever the order of the states that the responses show. A
//! response without an anchor is dropped, and the next request starts further back, up to the beginning.
//!
//! A range that overlaps never begins beyond the end, so it does not matter what the service does there. The exception
//! are up to five records: the second of the smallest pages begins behind them.

use std::cmp::Reverse;

use super::super::range::{Addressing, MIN_SIZE, PageRange};
use super::reading::Reading;
use super::response::{Key, Response};
use super::step::{Obstacle, Step};

/// How a range is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    /// By `page` and `per_page`.
    Page,
    /// By `offset` and `limit`.
    Offset,
}

impl Parameters {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Page => Self::Offset,
            Self::Offset => Self::Page,
        }
    }
}

/// How often in a row a response may be one that was had before, at another place.
const MAX_REPEATS: u32 = 2;
/// How often in a row a range may be refused by parameters that have not worked yet.
const MAX_REFUSALS: u32 = 2;
/// How often in a row the second of the smallest pages is refused, if nothing is on it.
const REFUSALS_BEHIND_FEW: u32 = 3;
/// How often in a row a response may have no anchor. Stepping back doubles each time.
const MAX_MISSES: u32 = 24;

pub(super) struct Overlap {
    pub(super) parameters: Parameters,
    /// The place and the tail of the reading when these parameters had not been believed yet.
    origin: (u64, Option<Key>),
    /// How far behind the place of the last record to ask, because anchors are missing.
    step_back: u64,
    /// The ranges that were requested since something new was read.
    requested: Vec<PageRange>,
    /// The last response.
    last: Option<(PageRange, Vec<Key>)>,
    /// A page that had no anchor, to be asked for with another size, to see whether the size is ignored.
    probe: Option<PageRange>,
    is_probed: bool,
    repeats: u32,
    refusals: u32,
    /// How many responses were empty although something was read behind their beginning.
    empty: u32,
    misses: u32,
    /// Something new was read by these parameters.
    has_worked: bool,
    /// How many responses in a row were what they were to be.
    regular: u64,
}

impl Overlap {
    pub(super) fn new(parameters: Parameters, reading: &Reading) -> Self {
        Self {
            parameters,
            origin: (reading.place, reading.tail),
            step_back: 0,
            requested: Vec::new(),
            last: None,
            probe: None,
            is_probed: false,
            repeats: 0,
            refusals: 0,
            empty: 0,
            misses: 0,
            has_worked: false,
            regular: 0,
        }
    }

    /// Returns the range to request with nothing in flight. `None` if no range overlaps.
    pub(super) fn plan(&mut self, reading: &Reading) -> Option<PageRange> {
        let range = self.find_range(reading)?;
        self.requested.push(range);
        Some(range)
    }

    fn find_range(&self, reading: &Reading) -> Option<PageRange> {
        let size = reading.sizes.asked;
        let beginning = PageRange::page(1, size);
        if let Some(probe) = self.probe {
            return Some(probe);
        }
        if reading.place <= self.step_back {
            return Some(beginning);
        }
        if self.step_back > 0 {
            let last = reading.place - self.step_back - 1;
            let range = match self.parameters {
                Parameters::Offset => PageRange::offset(last, size),
                Parameters::Page => PageRange::page_with(last, size),
            };
            return Some(if range.start > 0 { range } else { beginning });
        }
        let ranges = match self.parameters {
            Parameters::Offset => offsets(reading),
            Parameters::Page => pages(reading),
        };
        let other = ranges.iter().find(|range| !self.requested.contains(range));
        // The same range again may show another state, and it speaks for the end too.
        let is_again =
            self.parameters == Parameters::Offset && (self.has_worked || reading.end.shows > 0);
        let again = ranges.first().filter(|_| is_again);
        other.or(again).copied()
    }

    /// Returns the range behind those that were requested up to `end`, if it may be requested before they arrive.
    pub(super) fn prefetch(
        &self,
        end: u64,
        in_flight: u64,
        reading: &Reading,
    ) -> Option<PageRange> {
        // A service must have shown to do what it is asked to.
        if in_flight >= self.regular {
            return None;
        }
        let size = reading.sizes.asked;
        match self.parameters {
            Parameters::Offset => Some(PageRange::offset(end - 1, size)),
            Parameters::Page => PageRange::overlapping_pages(end, size).into_iter().next(),
        }
    }

    pub(super) fn take(&mut self, response: Response, reading: &mut Reading) -> Step {
        self.refusals = 0;
        self.probe = None;
        let last = self.last.replace((response.range, response.keys.clone()));
        if !response.is_beginning() {
            if let Some(obstacle) = ignored_size(&response, last.as_ref()) {
                return Step::Stuck(obstacle);
            }
            if response.is_empty() {
                return self.take_empty(&response, reading);
            }
        }
        let has_new = reading.records.has_new(&response);
        if !response.is_beginning() {
            let is_repeated = last.is_some_and(|(range, keys)| {
                range.start != response.range.start && keys == response.keys
            });
            if !has_new && (is_repeated || response.keys.first() == reading.front.as_ref()) {
                return self.take_repeat(&response, reading);
            }
            if !reading.records.has_anchor(&response) {
                return self.miss(response.range, reading);
            }
        }
        self.repeats = 0;
        self.misses = 0;
        let has_stepped_back = std::mem::take(&mut self.step_back) > 0;
        if has_new || response.is_beginning() {
            return self.take_new(response, has_new, reading);
        }
        self.regular = 0;
        if has_stepped_back {
            if response.is_short() && response.last_id() != reading.tail {
                reading.sizes.note_cut(response.count());
            }
            reading.place = response.end();
            return Step::Nothing;
        }
        take_nothing_new(&response, reading)
    }

    fn take_new(&mut self, response: Response, has_new: bool, reading: &mut Reading) -> Step {
        let range = response.range;
        let tail = reading.tail;
        let tail_index = response.keys.iter().position(|key| Some(*key) == tail);
        let behind_tail = tail_index.map(|index| (response.keys.len() - 1 - index) as u64);
        if let (Some(count), Some(1..)) = (reading.end.short, behind_tail) {
            reading.sizes.note_cut(count);
        }
        reading.place = match behind_tail {
            // It may start elsewhere than asked.
            Some(behind) if response.is_short() => response.end().min(reading.place + behind),
            _ => response.end(),
        };
        let last = response.last_id();
        if tail_index.is_some() || last.is_some_and(|key| !reading.records.is_anchor(key)) {
            reading.tail = last;
        }
        if response.is_beginning() {
            self.origin = (reading.place, reading.tail);
        }
        let continues = reading.place == range.end();
        self.regular = if continues { self.regular + 1 } else { 0 };
        if has_new {
            self.has_worked |= !response.is_beginning();
            self.requested.clear();
        }
        Step::Page {
            page: reading.take(response),
            has_new,
            continues,
        }
    }

    /// Takes an empty response that was to start behind the beginning.
    fn take_empty(&mut self, response: &Response, reading: &mut Reading) -> Step {
        if is_behind_few(response.range, reading) {
            // It shows nothing of the places between, and nothing at all where the size of pages is ignored.
            return if speaks_for_few(reading) {
                Step::End
            } else {
                Step::Stuck(Obstacle::NoOverlap)
            };
        }
        if response.range.start == reading.place {
            return reading.show_end(response);
        }
        let is_probed = self.is_probed || self.parameters == Parameters::Offset;
        if reading.only_grows && is_probed && !self.has_worked {
            // What was read is still there: the range is not supported.
            self.empty += 1;
            return if self.empty < MAX_REFUSALS {
                Step::Nothing
            } else {
                Step::Stuck(Obstacle::Refused)
            };
        }
        self.miss(response.range, reading)
    }

    /// Takes a response that was had before, at another place.
    fn take_repeat(&mut self, response: &Response, reading: &mut Reading) -> Step {
        let count = response.count();
        if is_behind_few(response.range, reading)
            && count == reading.place
            && response.page.total_count == Some(count)
            && reading.end.short.is_some()
        {
            return Step::End;
        }
        self.regular = 0;
        if response.range.start >= reading.place {
            // It is the last page, in place of what is beyond the end.
            return Step::Nothing;
        }
        self.repeats += 1;
        if self.repeats >= MAX_REPEATS {
            (reading.place, reading.tail) = self.origin;
            return Step::Stuck(Obstacle::Ignored);
        }
        Step::Nothing
    }

    /// The response to this range holds nothing that was read.
    fn miss(&mut self, range: PageRange, reading: &Reading) -> Step {
        self.regular = 0;
        if let Addressing::Page(number) = range.by
            && !self.is_probed
        {
            self.is_probed = true;
            let size = if range.size > MIN_SIZE {
                range.size - 1
            } else {
                range.size + 1
            };
            self.probe = Some(PageRange::page(number, size));
            return Step::Nothing;
        }
        self.misses += 1;
        if self.misses > MAX_MISSES {
            return Step::Stuck(Obstacle::NoAnchor);
        }
        if is_behind_few(range, reading) {
            return Step::Stuck(Obstacle::NoOverlap);
        }
        self.step_back = (2 * self.step_back).max(reading.sizes.asked / 2);
        tracing::debug!(
            start = reading.place.saturating_sub(self.step_back),
            "the list moved; stepping back"
        );
        Step::Nothing
    }

    /// Takes a 400 or 404: the range may be beyond the end of a list that has shrunk, or not supported. `repeats`: the
    /// one before it was the same.
    pub(super) fn refuse(&mut self, range: PageRange, repeats: bool, reading: &Reading) -> Step {
        self.refusals = if repeats { self.refusals + 1 } else { 1 };
        if is_behind_few(range, reading) {
            self.requested.pop();
            return match self.refusals {
                ..REFUSALS_BEHIND_FEW => Step::Nothing,
                _ if speaks_for_few(reading) => Step::End,
                _ => Step::Stuck(Obstacle::Refused),
            };
        }
        if !self.has_worked {
            return if self.refusals < MAX_REFUSALS {
                Step::Nothing
            } else {
                Step::Stuck(Obstacle::Refused)
            };
        }
        self.is_probed = true;
        self.miss(range, reading)
    }
}

/// Whether this is the second of the smallest pages, and what was read is on the first.
fn is_behind_few(range: PageRange, reading: &Reading) -> bool {
    range.is_by_page() && range.start == MIN_SIZE && reading.place <= MIN_SIZE
}

/// Whether something else than the second of the smallest pages speaks for the end of a few records: a total, or a short
/// page where offsets, which are tried first in a filtered list, led nowhere.
fn speaks_for_few(reading: &Reading) -> bool {
    reading.end.agrees || !reading.only_grows && reading.end.short.is_some()
}

/// Returns the ranges that overlap with what was read, the one to request first.
fn offsets(reading: &Reading) -> Vec<PageRange> {
    let Reading { place, .. } = *reading;
    let size = reading.sizes.asked;
    // Nothing overlaps with a single record and can show that its response is whole.
    let starts = (place.saturating_sub(MIN_SIZE).max(1)..place).rev();
    let exact = (reading.only_grows || place == 1).then_some(place);
    starts
        .chain(exact)
        .map(|start| PageRange::offset(start, size))
        .collect()
}

/// Returns the pages that overlap with what was read, the one to request first.
fn pages(reading: &Reading) -> Vec<PageRange> {
    let place = reading.place;
    if place <= MIN_SIZE {
        return vec![PageRange::page(2, MIN_SIZE)];
    }
    let size = reading.sizes.asked;
    let mut pages = PageRange::overlapping_pages(place, size);
    if reading.end.short.is_some() {
        // A response that was cut shows the more, the less it overlaps.
        pages.sort_by_key(|page| Reverse(page.start));
    }
    if !reading.sizes.is_capped() {
        let mut larger = PageRange::overlapping_pages(place, reading.sizes.max);
        larger.sort_by_key(|page| Reverse(page.start));
        pages.extend(larger);
    }
    let exact = PageRange::page_at(place, size).filter(|_| reading.only_grows);
    pages.extend(exact);
    pages
}

/// Whether the service returns pages of a size of its own.
fn ignored_size(response: &Response, last: Option<&(PageRange, Vec<Key>)>) -> Option<Obstacle> {
    let range = response.range;
    let is_same_page = last.is_some_and(|(other, keys)| {
        other.by == range.by && other.size != range.size && *keys == response.keys
    });
    let is_ignored = range.is_by_page() && (response.count() > range.size || is_same_page);
    is_ignored.then_some(Obstacle::SizeIgnored)
}

/// Takes a response that overlaps with what was read and holds nothing else.
fn take_nothing_new(response: &Response, reading: &mut Reading) -> Step {
    if !response.is_short() {
        // The list moved: what has not been read is further on.
        reading.place = response.end();
        return Step::Nothing;
    }
    let count = response.count();
    if response.last_id() != reading.tail {
        // It was cut, or the last record has left the list.
        reading.sizes.note_cut(count);
        reading.end.shows = 0;
        if !reading.only_grows {
            reading.place = response.end();
            reading.tail = response.last_id();
        } else if !response.range.is_by_page() {
            reading.place = reading.place.max(response.end());
        }
        return Step::Nothing;
    }
    let is_exact = response.end() == reading.place;
    let other = reading.end.last_count.replace(count);
    // A service that always cuts to the same number of records can't have cut two responses to different ones.
    let is_whole = !reading.sizes.may_be_cap(count)
        || is_exact && (!reading.sizes.knows_later() || response.counts_to_its_end())
        || other.is_some_and(|other| other != count);
    reading.sizes.note(response);
    if is_whole {
        return reading.show_end(response);
    }
    if other == Some(count) {
        reading.sizes.note_cut(count);
    }
    Step::Nothing
}
